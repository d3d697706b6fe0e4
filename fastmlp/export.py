"""``python -m fastmlp.export``: a trained model in the formats of other libraries. All take the inputs as they come."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .cli import Parser, optional, run_command
from .errors import InputError, RunError
from .paths import atomic_write

if TYPE_CHECKING:
    import numpy as np

    from .model import Model

_OPSET, _IR_VERSION = 17, 8  # read by every ONNX Runtime since 1.14
_PROTOBUF_BYTES = 2_000_000_000


def described(model: Model) -> dict[str, str]:
    """What is known of a model's inputs and outputs: classes, image_shape and columns, each as JSON."""
    meta, _ = model.contents()
    return {key: json.dumps(meta[key]) for key in ("classes", "image_shape", "columns") if meta[key] is not None}


def onnx_model(model: Model) -> Any:
    """An onnx.ModelProto: "X" float32 [N, inputs] to "class" int64 [N], an index, and "probabilities" [N, classes].

    Computed in the network's dtype. The scale is folded into the first layer; mean and std are nodes of their own, in double,
    since folded, in float32, their terms cancel: features of 2000 +- 10 put probabilities 5e-5 off, of 100,000 +- 10 4e-3.
    """
    onnx = optional("onnx", ".onnx needs onnx; pip install 'fastmlp[export]'")
    helper, dtype = onnx.helper, model.network.dtype
    real = helper.np_dtype_to_tensor_dtype(dtype)
    nodes: list[Any] = []
    tensors: dict[str, np.ndarray] = {}

    def then(kind: str, **operands: np.ndarray | None) -> None:
        """The node that takes the last one's output, and constants by name."""
        constants = {name: array for name, array in operands.items() if array is not None}
        tensors.update(constants)
        inputs = [nodes[-1].output[0] if nodes else "X", *constants]
        nodes.append(helper.make_node(kind, inputs, [f"{kind}_{len(nodes)}"]))

    if dtype == "float64" or model.mean is not None:
        nodes.append(helper.make_node("Cast", ["X"], ["double"], to=onnx.TensorProto.DOUBLE))
    if model.mean is not None:
        then("Sub", mean=model.mean)
        then("Div", std=model.std)
        nodes.append(helper.make_node("Cast", [nodes[-1].output[0]], ["standardised"], to=real))
    for k, (W, b) in enumerate(model.network.layers):
        if k == 0:
            W = (W.astype("float64") * model.scale).astype(dtype)
        else:
            then("Relu")
        then("Gemm", **{f"W{k}": W, f"b{k}": b})
    logits = nodes[-1].output[0]
    nodes.append(helper.make_node("ArgMax", [logits], ["class"], axis=-1, keepdims=0))
    nodes.append(helper.make_node("Softmax", [logits], ["probabilities"], axis=-1))
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, ["N", model.network.sizes[0]])],
        [
            helper.make_tensor_value_info("class", onnx.TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("probabilities", real, ["N", len(model.classes)]),
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    opset = helper.make_opsetid("", _OPSET)
    made = helper.make_model(graph, opset_imports=[opset], producer_name="fastmlp", producer_version=__version__)
    made.ir_version = _IR_VERSION
    helper.set_model_props(made, described(model))
    onnx.checker.check_model(made, full_check=True)
    return made


def state_dict(model: Model) -> dict[str, np.ndarray]:
    """The parameters as torch.nn.Sequential(Linear, ReLU, Linear, ...) names and lays them out: "0.weight" [O, I], "0.bias".

    In the network's dtype, but float64 where features are standardised: see ``onnx_model``. Biases are always there.
    """
    import numpy as np

    dtype = model.network.dtype if model.mean is None else np.dtype(np.float64)
    tensors = {}
    for k, (W, b) in enumerate(model.folded_layers()):
        tensors[f"{2 * k}.weight"] = np.ascontiguousarray(W.T, dtype)
        tensors[f"{2 * k}.bias"] = b.astype(dtype)
    return tensors


# Each returns (the file's bytes, the Python that uses it).


def _onnx(model: Model, path: str) -> tuple[bytes, str]:
    if model.network.params.nbytes > _PROTOBUF_BYTES:
        raise InputError(f"{path}: the weights take more than the 2 GB of an .onnx file; export to .safetensors")
    usage = f'onnxruntime.InferenceSession({path!r}).run(["class", "probabilities"], {{"X": X.astype("float32")}})'
    return onnx_model(model).SerializeToString(), usage


def _safetensors(model: Model, path: str) -> tuple[bytes, str]:
    library = optional("safetensors.numpy", ".safetensors needs safetensors; pip install 'fastmlp[export]'")
    tensors = state_dict(model)
    metadata = {"format": "pt", "producer": f"fastmlp {__version__}", **described(model)}
    return library.save(tensors, metadata), _in_torch(tensors, f"safetensors.torch.load_file({path!r})")


def _torch(model: Model, path: str) -> tuple[bytes, str]:
    torch = optional("torch", ".pt needs PyTorch; pip install torch, or export to .safetensors")
    tensors, file = state_dict(model), io.BytesIO()
    torch.save({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, file)
    return file.getvalue(), _in_torch(tensors, f"torch.load({path!r})")


def _in_torch(tensors: dict[str, np.ndarray], loaded: str) -> str:
    shapes = [tensor.shape for name, tensor in tensors.items() if name.endswith("weight")]
    layers = ", torch.nn.ReLU(), ".join(f"torch.nn.Linear({I}, {O})" for O, I in shapes)
    double = ".double()" if tensors["0.weight"].dtype == "float64" else ""
    return f"net = torch.nn.Sequential({layers}){double}; net.load_state_dict({loaded})"


_FORMATS: dict[str, Callable[[Model, str], tuple[bytes, str]]] = {
    ".onnx": _onnx, ".safetensors": _safetensors, ".pt": _torch,
}  # fmt: skip


def _command(argv: Sequence[str] | None) -> int:
    parser = Parser(
        "export",
        "Write a model for ONNX Runtime or PyTorch. It takes the samples as they come: scaling is part of it.",
        "python -m fastmlp.export runs/mnist/model.npz model.onnx",
    )
    parser.add_argument("model", metavar="MODEL", help="a model.npz that fastmlp train wrote")
    parser.add_argument(
        "out",
        metavar="OUT",
        help="the file to write: .onnx (X float32 to class and probabilities), or .safetensors or .pt (a state_dict of "
        "torch.nn.Sequential, to logits)",
    )
    options = parser.parse_args(argv)
    path = Path(options.out)
    convert = _FORMATS.get(path.suffix.lower())
    if convert is None:
        raise InputError(f"{path}: unknown format; it must end in {', '.join(_FORMATS)}")
    from .model import load_model

    model = load_model(options.model)
    content, usage = convert(model, str(path))
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror or error})") from None
    print(f"{path}: {model.network.sizes[0]} inputs, {len(model.classes)} classes; use it with  {usage}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed, 2 bad input, 130 Ctrl-C."""
    return run_command("export", _command, argv)


if __name__ == "__main__":
    sys.exit(main())
