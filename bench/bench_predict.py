"""Logits of 784-256-10 from Python, for 1, 128 and 10,000 samples: of pixels for us, of ready-made floats for peers."""

from __future__ import annotations

import pytest

import claims

pytestmark = pytest.mark.filterwarnings("default")  # peers' warnings are no errors here


@pytest.mark.parametrize("samples", [1, 128, 10_000])
def test_logits(compare, session, samples):
    calls = claims.prediction_calls(session, samples)
    compare("logits", f"784-256-10, {samples} samples", calls.pop(claims.OURS), calls)
