"""No op touches memory outside its arguments: guard pages and canaries, in a process that may crash."""

import itertools
import signal
import sys
from pathlib import Path

import pytest
from compiling import calls_of

from op_cases import OPS

GUARDED = str(Path(__file__).with_name("guarded.py"))
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="mprotect")


@pytest.mark.compiles(calls=lambda: itertools.chain(*(calls_of(op, "float32", "float64") for op in OPS)))
def test_ops_stay_inside_their_arguments(python, at_once):
    for result in at_once(lambda seed: python(GUARDED, seed, "750", timeout=300), ("0", "1")):
        assert int(result.stdout) >= 750


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(2, 6))
def test_ops_stay_inside_their_arguments_a_hundred_thousand_times(python, seed):
    python(GUARDED, str(seed), "25000", timeout=3000)


PAST_THE_END = """
import sys; sys.path.insert(0, {directory!r})
import numpy as np, kernels
from guarded import guarded
W = guarded(np.ones((4, 4), np.float32), True)
X, Y = np.ones((2, 5), np.float32), np.empty((2, 4), np.float32)
kernels.raw.gemm(0, 1, X, W, Y, np.empty(kernels.raw.scratch_size(5, 4), np.float32))
"""


def test_the_guard_sees_a_read_past_the_end(python):
    """A raw kernel told that W has five rows where it has four dies of it."""
    python(PAST_THE_END.format(directory=str(Path(__file__).parent)), code=-signal.SIGSEGV)
