"""The kernels under other libraries' roofs: user-written compiled code, PyTorch's autograd, DLPack."""

from __future__ import annotations

import threading

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
    threads = [threading.Thread(target=forward_parts, args=(k, 2, parts, X, W, b, Y, scratch)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Y.tobytes() == expected.tobytes()


def test_read_only_arrays_go_into_raw_kernels_too(rng):
    X = rng.standard_normal((5, 4))
    X.flags.writeable = False
    Y = np.empty((5, 4))
    forward_parts(0, 1, 1, X, np.eye(4), np.zeros(4), Y, raw.linear_scratch(1, X, np.eye(4)))
    np.testing.assert_array_equal(Y, np.maximum(X, 0))


def linear_relu():
    """torch.autograd.Function on these kernels: tensors are seen as arrays, without a copy."""
    torch = pytest.importorskip("torch")

    class LinearReLU(torch.autograd.Function):
        @staticmethod
        def forward(context, X, W, b):
            Y = torch.empty(len(X), W.shape[1], dtype=W.dtype)
            kernels.linear_relu_forward(X.numpy(), W.numpy(), b.numpy(), out=Y.numpy())
            context.save_for_backward(X, W, Y)
            return Y

        @staticmethod
        def backward(context, dY):
            X, W, Y = (tensor.numpy() for tensor in context.saved_tensors)
            dZ = np.where(Y <= 0, 0, dY.numpy())
            dX = kernels.linear_backward_input(dZ, W)
            dW, db = kernels.linear_backward_weight(X, dZ)
            return torch.from_numpy(dX), torch.from_numpy(dW), torch.from_numpy(db)

    return torch, LinearReLU


def test_a_torch_function_on_these_kernels_passes_gradcheck():
    torch, function = linear_relu()
    torch.manual_seed(0)
    X, W, b = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((6, 5), (5, 4), (4,)))
    assert torch.autograd.gradcheck(function.apply, (X, W, b))


def test_torch_tensors_are_written_to_without_a_copy():
    torch, _ = linear_relu()
    X, W, Y = torch.ones(3, 4), torch.ones(4, 2), torch.zeros(3, 2)
    kernels.linear_forward(X.numpy(), W.numpy(), out=np.from_dlpack(Y))
    assert (Y == 4).all()


def test_arrays_of_other_libraries_come_in_through_numpy():
    class Foreign:
        """Any object with NumPy's array protocol."""

        def __array__(self, dtype=None, copy=None):
            return np.eye(3, dtype=dtype)

    np.testing.assert_array_equal(kernels.linear_forward(Foreign(), np.eye(3)), np.eye(3))
