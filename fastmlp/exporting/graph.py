"""A builder of ONNX graphs: its tensors are written as NumPy's are, ``x * scale + offset``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partialmethod
from typing import Any

import numpy as np

from .. import __version__
from ..data.labels import listed
from ..errors import InputError
from ..extras import optional, to_install

_OPSETS, _IR_VERSION = {"": 17, "ai.onnx.ml": 2}, 8  # read by every ONNX Runtime since 1.14


End = tuple[str, Any, list[Any]]
"""An input or output: its name, dtype (object: text), and shape."""


class Graph:
    """Collects nodes and constants. Its own names differ from the ``taken`` ones."""

    def __init__(self, taken: Collection[str] = ()) -> None:
        self.onnx = optional("onnx", f".onnx needs onnx; {to_install('export')}")
        self._taken, self._nodes = {*taken}, list[Any]()
        self._constants: dict[str, np.ndarray] = {}

    def node(
        self, kind: str, inputs: Sequence[Value], output: str | None = None, *, dtype: Any = None, **attributes: Any
    ) -> Value:
        """Append a node; returns its first output, by default in the dtype of its first input."""
        name = output or self._free(f"{kind}_{len(self._nodes)}")
        outputs = [name, f"{name} at"] if kind == "TopK" else [name]
        self._nodes.append(self.onnx.helper.make_node(kind, [each.name for each in inputs], outputs, **attributes))
        return Value(self, name, dtype or inputs[0].dtype)

    def constant(self, value: np.ndarray, name: str | None = None) -> Value:
        """A constant tensor; one name is one value."""
        name = self._free(name or f"constant_{len(self._constants)}")
        self._constants[name] = value
        return Value(self, name, value.dtype)

    def _free(self, name: str) -> str:
        return self._free(name + "'") if name in self._taken else name

    def _kind(self, dtype: Any) -> int:
        return self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def model(self, inputs: Sequence[End], outputs: Sequence[End], words: str, properties: Mapping[str, str]) -> Any:
        """An onnx.ModelProto, checked; ``words`` are its documentation."""
        helper = self.onnx.helper
        domains = {node.domain for node in self._nodes} | {""}
        read = {name for node in self._nodes for name in node.input}  # ONNX Runtime warns of others
        ends = (
            [helper.make_tensor_value_info(name, self._kind(dtype), shape) for name, dtype, shape in each]
            for each in (inputs, outputs)
        )
        constants = {name: array for name, array in self._constants.items() if name in read}
        tensors = [self.onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
        graph = helper.make_graph(self._nodes, "mlp", *ends, tensors)
        opsets = [helper.make_opsetid(domain, _OPSETS[domain]) for domain in sorted(domains)]
        made = helper.make_model(graph, opset_imports=opsets, producer_name="fastmlp", producer_version=__version__)
        made.ir_version = _IR_VERSION
        made.doc_string = made.graph.doc_string = words
        helper.set_model_props(made, dict(properties))
        self.onnx.checker.check_model(made, full_check=True)
        return made


class Value:
    """A tensor of the graph. Arithmetic with tensors, or numbers of its dtype, adds nodes. // rounds towards 0."""

    def __init__(self, graph: Graph, name: str, dtype: Any) -> None:
        self.graph, self.name, self.dtype = graph, name, np.dtype(dtype)

    def made_by(self, operator: str, *others: Any, **options: Any) -> Value:
        """What an operator makes of this and ``others``; ``options`` are those of ``Graph.node``."""
        return self.graph.node(operator, [self, *map(self._of, others)], **options)

    def _of(self, other: Any) -> Value:
        if isinstance(other, Value):
            return other
        return self.graph.constant(np.asarray(other, None if isinstance(other, np.ndarray) else self.dtype))

    __add__ = partialmethod(made_by, "Add")
    __sub__ = partialmethod(made_by, "Sub")
    __mul__ = partialmethod(made_by, "Mul")
    __truediv__ = __floordiv__ = partialmethod(made_by, "Div")

    def __rsub__(self, other: Any) -> Value:
        return self._of(other) - self

    def __rtruediv__(self, other: Any) -> Value:
        return self._of(other) / self

    def where(self, yes: Any, no: Any, dtype: Any) -> Value:
        """``yes`` where this is true, ``no`` elsewhere, in the dtype."""
        return Value(self.graph, self.name, dtype).made_by("Where", yes, no)

    def cast(self, dtype: Any, output: str | None = None) -> Value:
        return self.made_by("Cast", output=output, dtype=dtype, to=self.graph._kind(dtype))

    clip = partialmethod(made_by, "Clip")


def most_probable(P: Value, labels: np.ndarray) -> End:
    """Add nodes from probabilities to the output "label"."""
    values = _as_labels(labels)
    P.graph.constant(values, "labels").made_by("Gather", P.made_by("ArgMax", axis=-1, keepdims=0), output="label")
    return ("label", values.dtype, ["N"])


def _as_labels(labels: np.ndarray) -> np.ndarray:
    """Labels as an ONNX tensor takes them: int64, float64, bool or text."""
    kind = labels.dtype.kind
    if kind in "iu" and labels.max() < 2**63:
        return labels.astype("int64")
    if kind in "umM" or (kind == "O" and not all(isinstance(label, str) for label in labels)):
        raise InputError(f"the classes are {listed([*map(str, labels)])}; .onnx takes text, booleans, floats or int64")
    return labels.astype("float64") if kind == "f" else labels if kind == "b" else labels.astype(object)
