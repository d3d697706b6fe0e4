"""All checks of arguments: wrong shapes, dtypes, layouts, overlaps, labels and CSR arrays become Python errors here.

Raw kernels check nothing, and a bad index there corrupts memory: every public op passes its arguments through these
functions first.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .csr_matrix import CSR, from_dense
from .network import Network

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
UINT8 = np.dtype(np.uint8)
_LARGEST = sys.float_info.max


def _dims(shape: tuple[Any, ...]) -> str:
    return "[" + ", ".join("any" if n is None else str(n) for n in shape) + "]"


def require_shape(name: str, array: Any, shape: tuple[int | None, ...]) -> None:
    """``array.shape`` must be ``shape``, where None stands for any length."""
    have = array.shape
    if have == shape or (have and have[1:] == shape[1:] and shape[0] is None):  # the usual cases
        return
    if len(have) != len(shape) or any(want not in (None, n) for n, want in zip(have, shape)):
        raise ValueError(f"{name} has shape {_dims(have)}; it must be {_dims(shape)}")


def _kernel_view(array: np.ndarray) -> np.ndarray:
    """A writable view of the array: Numba would compile a second kernel for a read-only one.

    Kernels never write to their inputs. NumPy refuses to set the flag, so the view is made from the address.
    """
    if array.flags.writeable:
        return array
    memory = _Memory()
    memory.owner = array
    memory.__array_interface__ = interface = array.__array_interface__
    interface["data"] = (interface["data"][0], False)
    return np.asarray(memory)


class _Memory:
    """A buffer at the address of ``owner``, which it keeps alive."""

    owner: np.ndarray
    __array_interface__: dict[str, Any]


def float_dtype(name: str, value: Any) -> np.dtype:
    """The dtype of ``value``, float32 or float64, in which the op then runs."""
    if type(value) is np.ndarray and value.dtype in FLOATS:  # the usual case
        return value.dtype
    refuse_sparse(name, value)
    dtype = as_array(name, value).dtype
    if dtype.kind != "f" or (native := dtype.newbyteorder("=")) not in FLOATS:
        raise TypeError(f"{name} has dtype {dtype}; it must be float32 or float64")
    return native


def as_array(name: str, value: Any) -> np.ndarray:
    """``np.asarray(value)``, refused for masked arrays, whose hidden values it would read."""
    if np.ma.is_masked(value):
        raise TypeError(f"{name} has masked values; it must have none (call .filled(...), or leave their rows out)")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is no array; it must have rows of one length ({error})") from error


def refuse_sparse(name: str, value: Any) -> None:
    """Refuse SciPy's sparse matrices, which ``np.asarray`` makes an array of one object."""
    if hasattr(value, "tocsr"):
        raise TypeError(f"{name} is a {type(value).__name__}; it must be a dense array (call .toarray())")


def require_columns(name: str, array: np.ndarray) -> None:
    """Refuse a matrix without columns: softmax needs a class to choose."""
    if not array.shape[1]:
        raise ValueError(f"{name} has shape {_dims(array.shape)}; it must have at least one column")


def as_input(name: str, value: Any, dtype: np.dtype, shape: tuple[int | None, ...]) -> np.ndarray:
    """``value`` as a C-contiguous, aligned array of ``dtype``, copied if necessary."""
    if type(value) is np.ndarray and value.dtype == dtype and value.flags.carray:  # the usual case
        if value.shape != shape:
            require_shape(name, value, shape)
        return value
    array = as_array(name, value)
    if array.dtype.kind not in "fiub":
        refuse_sparse(name, value)
        raise TypeError(f"{name} has dtype {array.dtype}; it must be a real number type")
    require_shape(name, array, shape)
    return _kernel_view(np.require(array, dtype, ["C", "A"]))


def as_matrix(name: str, value: Any) -> np.ndarray:
    """``as_input`` for a matrix of any shape in its own dtype, float32 or float64, in which the op then runs."""
    if type(value) is np.ndarray and value.ndim == 2 and value.dtype in FLOATS and value.flags.carray:
        return value  # the usual case
    return as_input(name, value, float_dtype(name, value), (None, None))


def as_labels(name: str, value: Any, n: int, classes: int) -> np.ndarray:
    """``value`` as n int64 class indices, each in 0 .. classes-1."""
    array = as_array(name, value)
    if array.ndim == 2 and array.shape[1] == classes > 1:
        raise ValueError(
            f"{name} has shape {_dims(array.shape)}; it must be [{n}]: the number of each row's class (of one-hot rows "
            "call .argmax(1))"
        )
    return _as_indices(name, value, (n,), classes)


def as_targets(name: str, value: Any, n: int, outputs: int) -> np.ndarray:
    """``value`` as int64 [n, outputs], each 0 or 1."""
    array = as_array(name, value)
    return _as_indices(name, array.astype(np.int64) if array.dtype == bool else array, (n, outputs), 2)


def as_numbers(name: str, value: Any, n: int, outputs: int, dtype: np.dtype) -> np.ndarray:
    """``value`` as numbers [n, outputs], or [n] where there is one output."""
    array = as_array(name, value)
    return as_input(name, array, dtype, (n,) if array.ndim == 1 and outputs == 1 else (n, outputs))


def as_rows(name: str, value: Any, n: int) -> np.ndarray:
    """``value`` as int64 row numbers, each in 0 .. n-1, at least one."""
    array = _as_indices(name, value, (None,), n)
    if not array.size:
        raise ValueError(f"{name} is empty; it must hold at least one row number")
    return array


def _as_indices(name: str, value: Any, shape: tuple[int | None, ...], limit: int) -> np.ndarray:
    array = as_array(name, value)
    if array.dtype.kind not in "iu" and (array.size or isinstance(value, np.ndarray)):  # an empty list is of no type
        raise TypeError(f"{name} has dtype {array.dtype}; it must be an integer type")
    require_shape(name, array, shape)
    if array.size:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= limit:
            raise ValueError(f"{name} holds {low if low < 0 else high}; it must be from 0 to {limit - 1}")
    return _kernel_view(np.require(array, np.int64, ["C", "A"]))


def require_network(network: Any) -> None:
    if not isinstance(network, Network):
        raise TypeError(f"network is a {type(network).__name__}; it must be a kernels.Network")


def require_slots(network: Network, slots: int) -> None:
    """Refuse a network without room for a rule's state."""
    if network.slots != slots:
        raise ValueError(
            f"network has {network.slots} slots of state; this rule needs {slots} (Network(..., slots={slots}))"
        )


def in_place(name: str, value: Any, dtype: np.dtype, shape: tuple[int | None, ...]) -> np.ndarray:
    """``value`` itself, checked as an array that the op writes to; never a copy."""
    if type(value) is np.ndarray and value.dtype == dtype and value.flags.carray:  # the usual case
        if value.shape != shape:
            require_shape(name, value, shape)
        return value
    if not isinstance(value, np.ndarray) or isinstance(value, (np.matrix, np.ma.MaskedArray)):
        raise TypeError(f"{name} is a {type(value).__name__}; it must be a numpy array, which is written to in place")
    if value.dtype != dtype:
        raise TypeError(f"{name} has dtype {value.dtype}; it must be {dtype}")
    require_shape(name, value, shape)
    if not value.flags.writeable:
        raise ValueError(f"{name} is read-only; it must be writable")
    if not (value.flags.c_contiguous and value.flags.aligned):
        raise ValueError(f"{name} has strides {value.strides}; it must be C-contiguous and aligned")
    return value


def output(name: str, value: Any, dtype: np.dtype, shape: tuple[int, ...], *inputs: Any) -> np.ndarray:
    """``value``, or a new array where it is None. It must not share memory with any of ``inputs``."""
    if value is None:
        return np.empty(shape, dtype)
    array = in_place(name, value, dtype, shape)
    no_overlap(name, array, *inputs)
    return array


def no_overlap(name: str, array: np.ndarray, *others: Any) -> None:
    """Refuse an output that shares memory with another argument; a CSR never does, as it owns its memory."""
    if not array.size:
        return
    owner = array.flags.owndata
    for other in others:
        if not isinstance(other, np.ndarray) or (owner and other.flags.owndata and other is not array):
            continue  # of two arrays that own their memory: asking NumPy took a third of a small call's checks
        if other.size and np.may_share_memory(array, other):
            raise ValueError(f"{name} overlaps the memory of another argument; it must have memory of its own")


def require_apart(written: tuple[np.ndarray, ...], *read: Any) -> None:
    """Refuse arrays to be changed in place that share memory with each other or with an array that is read."""
    arrays = (*written, *read)
    if len({id(array) for array in arrays if array.flags.owndata}) == len(arrays):
        return  # the usual case: each owns its memory
    for k, array in enumerate(written):
        no_overlap("an argument updated in place", array, *read, *written[:k])


def finite_number(name: str, value: Any, *, least: float | None = None) -> float:
    """``value`` as a finite float of at least ``least``."""
    if type(value) is float and -_LARGEST <= value <= _LARGEST and (least is None or value >= least):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}; it must be a number") from None
    except OverflowError:
        number = np.inf
    if not np.isfinite(number) or (least is not None and number < least):
        raise ValueError(
            f"{name} is {value!r}; it must be finite" + ("" if least is None else f" and at least {least}")
        )
    return number


def integer(name: str, value: Any, least: int, most: int | None = None) -> int:
    """``value`` as an int from ``least`` to ``most``."""
    whole = type(value) is int or (isinstance(value, (int, np.integer)) and not isinstance(value, bool))
    if not whole or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} is {value!r}; it must be an integer {limits}")
    return int(value)


def fraction(name: str, value: Any) -> float:
    """``value`` as a float of at least 0 and below 1."""
    number = finite_number(name, value, least=0.0)
    if number >= 1:
        raise ValueError(f"{name} is {value!r}; it must be at least 0 and below 1")
    return number


def as_csr(name: str, X: Any) -> CSR:
    """A CSR from a dense array or anything with SciPy's CSR attributes (indptr, indices, data, shape)."""
    if isinstance(X, CSR):
        return X
    if hasattr(X, "tocsr") and X.format != "csr":
        raise TypeError(f"{name} is in {X.format} format; it must be CSR (call .tocsr())")
    sparse = all(hasattr(X, attribute) for attribute in ("indptr", "indices", "data", "shape"))
    values = as_array(name, X.data if sparse else X)
    if values.dtype == bool:
        values = values.view(np.uint8)
    if values.dtype.kind not in "fu" or values.dtype.newbyteorder("=") not in (*FLOATS, UINT8):
        remedy = " (call .astype(np.float32))" if values.dtype.kind in "iuf" else ""
        raise TypeError(f"{name} has dtype {values.dtype}; it must be uint8, float32 or float64{remedy}")
    if sparse:
        require_shape(name, X, (None, None))
        rows, columns = X.shape
        return CSR(np.asarray(X.indptr), np.asarray(X.indices), values, (int(rows), int(columns)))
    require_shape(name, values, (None, None))
    return from_dense(_kernel_view(np.require(values, values.dtype.newbyteorder("="), ["C", "A"])))
