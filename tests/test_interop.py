"""The kernels under other libraries' roofs: user-written compiled code, PyTorch's autograd, DLPack."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba import njit

import kernels
from kernels import raw


@njit(nogil=True)
def forward_parts(first, step, parts, X, W, b, Y, scratch):
    """A user's own function: every ``step``-th part of a layer."""
    for part in range(first, parts, step):
        raw.linear_relu_forward(part, parts, X, W, b, out=Y, scratch=scratch)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_raw_kernels_run_in_the_users_own_compiled_code_and_threads(dtype, rng):
    X, W, b = (rng.standard_normal(shape).astype(dtype) for shape in ((90, 70), (70, 50), (50,)))
    expected = kernels.linear_relu_forward(X, W, b)
    parts = 4
    Y, scratch = np.empty_like(expected), raw.linear_scratch(parts, X, W)
    forward_parts(0, 1, parts, X, W, b, Y, scratch)
    assert Y.tobytes() == expected.tobytes()
    Y[...] = np.nan
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda k: forward_parts(k, 2, parts, X, W, b, Y, scratch), range(2)))
    assert Y.tobytes() == expected.tobytes()


def test_read_only_arrays_go_into_raw_kernels_too(rng):
    X = rng.standard_normal((5, 4))
    X.flags.writeable = False
    Y = np.empty((5, 4))
    forward_parts(0, 1, 1, X, np.eye(4), np.zeros(4), Y, raw.linear_scratch(1, X, np.eye(4)))
    np.testing.assert_array_equal(Y, np.maximum(X, 0))


def test_a_torch_function_on_these_kernels_passes_gradcheck():
    pytest.importorskip("torch")
    from consumers.torch_linear.torch_linear import check_once

    check_once()


def test_torch_tensors_are_written_to_without_a_copy():
    torch = pytest.importorskip("torch")
    X, W, Y = torch.ones(3, 4), torch.ones(4, 2), torch.zeros(3, 2)
    kernels.linear_forward(X.numpy(), W.numpy(), out=np.from_dlpack(Y))
    assert (Y == 4).all()


def test_arrays_of_other_libraries_come_in_through_numpy():
    class Foreign:
        """Any object with NumPy's array protocol."""

        def __array__(self, dtype=None, copy=None):
            return np.eye(3, dtype=dtype)

    np.testing.assert_array_equal(kernels.linear_forward(Foreign(), np.eye(3)), np.eye(3))
