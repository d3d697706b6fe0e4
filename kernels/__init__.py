"""Fused CPU kernels for multilayer perceptrons, in Numba.

Ops take NumPy arrays and check them; ``kernels.reference`` defines every op in plain NumPy under the same name;
``kernels.raw`` has the unchecked forms for your own ``@njit`` code; ``kernels.simd`` is a vector type for Numba.
Nothing is compiled before the first call, and compiled code is kept in a cache directory (``$FASTMLP_CACHE``).
"""

from . import jit, raw, reference, simd
from .activations import ACTIVATIONS
from .csr import CSR
from .losses import LOSSES
from .network import Network
from .ops import (
    adam_update,
    csr,
    distort,
    dropout,
    linear_backward_input,
    linear_backward_update,
    linear_backward_weight,
    linear_forward,
    linear_relu_forward,
    mlp_forward,
    mlp_gradient,
    mlp_train_steps,
    mlp_update,
    momentum_update,
    sgd_update,
    softmax,
    softmax_cross_entropy,
)
from .peak import peak_gflops
from .team import get_num_threads, set_num_threads, threads
from .update import RULES, Rule, adam, adamw, lion, momentum, sgd

# Tells this package from the others on the Python package index that install a top-level `kernels`.
__fastmlp__ = "0.1.0"

__all__ = [
    "ACTIVATIONS",
    "CSR",
    "LOSSES",
    "RULES",
    "Network",
    "Rule",
    "adam",
    "adam_update",
    "adamw",
    "csr",
    "distort",
    "dropout",
    "get_num_threads",
    "jit",
    "linear_backward_input",
    "linear_backward_update",
    "linear_backward_weight",
    "linear_forward",
    "linear_relu_forward",
    "lion",
    "mlp_forward",
    "mlp_gradient",
    "mlp_train_steps",
    "mlp_update",
    "momentum",
    "momentum_update",
    "peak_gflops",
    "raw",
    "reference",
    "set_num_threads",
    "sgd",
    "sgd_update",
    "simd",
    "softmax",
    "softmax_cross_entropy",
    "threads",
]
