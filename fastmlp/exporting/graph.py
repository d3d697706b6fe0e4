"""A builder of ONNX graphs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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

    def node(self, kind: str, inputs: Sequence[str], output: str | list[str] | None = None, **attributes: Any) -> str:
        """Append a node; returns the name of its first output."""
        outputs = output if isinstance(output, list) else [output or self._free(f"{kind}_{len(self._nodes)}")]
        self._nodes.append(self.onnx.helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]

    def constant(self, name: str, value: Any) -> str:
        """The name of a constant tensor; one name is one value."""
        name = self._free(name)
        self._constants[name] = value
        return name

    def number(self, value: np.ndarray) -> str:
        """The name of an unnamed constant tensor."""
        return self.constant(f"constant_{len(self._constants)}", value)

    def _free(self, name: str) -> str:
        return self._free(name + "'") if name in self._taken else name

    def cast(self, value: str, dtype: Any, output: str | None = None) -> str:
        return self.node("Cast", [value], output, to=self._kind(dtype))

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


def most_probable(graph: Graph, P: str, labels: np.ndarray) -> End:
    """Add nodes from probabilities to the output "label"."""
    values = _as_labels(labels)
    graph.node("Gather", [graph.constant("labels", values), graph.node("ArgMax", [P], axis=-1, keepdims=0)], "label")
    return ("label", values.dtype, ["N"])


def _as_labels(labels: np.ndarray) -> np.ndarray:
    """Labels as an ONNX tensor takes them: int64, float64, bool or text."""
    kind = labels.dtype.kind
    if kind in "iu" and labels.max() < 2**63:
        return labels.astype("int64")
    if kind in "umM" or (kind == "O" and not all(isinstance(label, str) for label in labels)):
        raise InputError(f"the classes are {listed([*map(str, labels)])}; .onnx takes text, booleans, floats or int64")
    return labels.astype("float64") if kind == "f" else labels if kind == "b" else labels.astype(object)
