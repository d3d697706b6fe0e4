"""Logits of 784-256-10 for one sample, a batch and many, from Python: pixels for us, floats made beforehand for peers."""

from __future__ import annotations

import pytest

import claims

pytestmark = pytest.mark.filterwarnings("default")  # what the peers warn of is not ours


@pytest.mark.parametrize("samples", [1, 128, 10_000])
def test_logits(compare, session, samples):
    calls = claims.prediction_calls(session, samples)
    compare("logits", f"784-256-10, {samples} samples", calls.pop(claims.OURS), calls)
