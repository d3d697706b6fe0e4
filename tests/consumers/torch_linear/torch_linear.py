"""A linear layer with ReLU for PyTorch, forward and backward on these kernels, without a copy of a tensor."""

import numpy as np
import torch

import kernels


class LinearReLU(torch.autograd.Function):
    @staticmethod
    def forward(context, X, W, b):
        Y = torch.empty(len(X), W.shape[1], dtype=W.dtype)
        kernels.linear_relu_forward(X.detach().numpy(), W.detach().numpy(), b.detach().numpy(), out=Y.numpy())
        context.save_for_backward(X, W, Y)
        return Y

    @staticmethod
    def backward(context, dY):
        X, W, Y = (tensor.detach().numpy() for tensor in context.saved_tensors)
        dZ = np.where(Y <= 0, 0, dY.numpy())
        dW, db = kernels.linear_backward_weight(X, dZ)
        return torch.from_numpy(kernels.linear_backward_input(dZ, W)), torch.from_numpy(dW), torch.from_numpy(db)


class Layer(torch.nn.Module):
    def __init__(self, inputs, outputs, dtype=torch.float32):
        super().__init__()
        self.W = torch.nn.Parameter(torch.randn(inputs, outputs, dtype=dtype) * (2 / inputs) ** 0.5)
        self.b = torch.nn.Parameter(torch.zeros(outputs, dtype=dtype))

    def forward(self, X):
        return LinearReLU.apply(X, self.W, self.b)


def check_forked():
    """PyTorch refuses to go backward in a child of a process that has, and its own threads are not there."""
    torch.manual_seed(0)
    layer, X = Layer(33, 17, torch.float64), torch.randn(65, 33, dtype=torch.float64)
    with torch.no_grad():
        Y = layer(X)
        expected = np.maximum(X.numpy() @ layer.W.numpy() + layer.b.numpy(), 0)
    np.testing.assert_allclose(Y.numpy(), expected, rtol=0, atol=1e-13)
    return layer, X


def check():
    layer, X = check_forked()
    layer(X).square().sum().backward()
    (dW,) = torch.autograd.grad(torch.relu(X @ layer.W + layer.b).square().sum(), layer.W)
    assert torch.allclose(layer.W.grad, dW, rtol=0, atol=1e-10)


def check_once():
    torch.manual_seed(0)
    X, W, b = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((6, 5), (5, 4), (4,)))
    assert torch.autograd.gradcheck(LinearReLU.apply, (X, W, b))
