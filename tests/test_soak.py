"""Nothing grows with the number of calls: resident memory, file descriptors, threads.

Resident memory is flat when the least of it rises by less than a megabyte from the second quarter of the calls to the
last: one array lost at each of the fewest calls is two.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soak

from op_cases import OPS

SOAK = str(Path(__file__).with_name("soak.py"))
MEGABYTE = 2**20
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc")


def check(python, count, *works, timeout=240):
    """The least of up to three processes: a leak is in each, what the allocator keeps on a busy machine is not.

    One arena of the allocator for all threads: which of them gets another by turns is not what is measured.
    """
    least = np.full((len(works), 3), MEGABYTE)
    for _ in range(3):
        result = python(SOAK, str(count), *works, env={"MALLOC_ARENA_MAX": "1"}, timeout=timeout)
        least = np.minimum(least, np.loadtxt(result.stdout.splitlines(), int, ndmin=2))
        if (least[:, 0] < MEGABYTE).all():
            break
    for work, (resident, files, threads) in zip(works, least.tolist(), strict=True):
        assert resident < MEGABYTE, f"{work}: a megabyte and more in {count} calls"
        assert (files, threads) == (0, 0), work


NAMES = [op.name for op in OPS]


@pytest.mark.slow
def test_calls_of_every_op_leave_nothing_behind(python, at_once):
    at_once(lambda names: check(python, 400, *names), (NAMES[::2], NAMES[1::2]))


@pytest.mark.nightly
@pytest.mark.parametrize("name", NAMES)
def test_a_hundred_thousand_calls_leave_nothing_behind(python, name):
    check(python, 100_000, name, timeout=3000)


@pytest.mark.slow
def test_other_shapes_threads_and_models_every_time_leave_nothing_behind(python, at_once):
    # Compiling leaves memory behind: only processes that load are measured.
    for (work, _), calls in ((soak.shapes(), 40), (soak.fits(), 4)):
        for k in range(calls):
            work(k)
    at_once(lambda work: check(python, *work), ((400, "shapes"), (40, "fits")))


@pytest.mark.nightly
def test_many_shapes_threads_and_models_leave_nothing_behind(python):
    check(python, 10_000, "shapes", timeout=3000)
    check(python, 200, "fits", timeout=3000)


@pytest.mark.nightly
def test_an_hour_of_training_leaves_nothing_behind(python):
    """$FASTMLP_SOAK_SECONDS instead of 3,600."""
    seconds = int(os.environ.get("FASTMLP_SOAK_SECONDS", "3600"))
    check(python, seconds, "run", timeout=seconds + 300)
