"""The kernels beside other libraries: PyTorch's autograd, DLPack, any object with the array protocol of NumPy."""

import numpy as np
import pytest

import kernels


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
