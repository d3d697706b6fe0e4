"""PyTorch's own calls for the three products of a linear layer, outputs allocated by it as its users' are."""

from __future__ import annotations

import torch
import torch.nn.functional as F

torch.set_grad_enabled(False)


def products(X, W, b, dY):
    """Calls for relu(X W + b), dY W.T and (X.T dY, dY.sum(0)) on arrays that are shared, not copied."""
    X, W, b, dY = map(torch.from_numpy, (X, W, b, dY))
    transposed = W.T.contiguous()  # the layout of torch.nn.Linear
    return {
        "forward": lambda: F.relu_(F.linear(X, transposed, b)),
        "input gradient": lambda: dY @ transposed,
        "weight gradient": lambda: (dY.T @ X, dY.sum(0)),
    }


set_num_threads = torch.set_num_threads
