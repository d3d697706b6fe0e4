"""``fastmlp.export(model, path)`` and ``python -m fastmlp.export``: a trained model in the formats of other libraries.

All take the inputs as they come: scaling is part of them. The function returns in a line how to use the file.
InputError for another suffix or a model that the format cannot hold, RunError when the file cannot be written.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import __version__
from .cli import Parser, command
from .errors import InputError
from .extras import optional, to_install
from .paths import as_path, atomic_write, writing

if TYPE_CHECKING:
    import numpy as np

    from .models.model import Model

_PROTOBUF_BYTES = 2_000_000_000


def state_dict(model: Model) -> dict[str, np.ndarray]:
    """The parameters as torch.nn.Sequential(Linear, activation, ...) names and lays them out: "0.weight" [O, I], ...

    In the network's dtype, but float64 where features are standardised: see ``exporting.network``. Biases are always
    there. The outputs are logits, or numbers in their own units, or, of a loss that learns logarithms, these.
    """
    import numpy as np

    dtype = model.network.dtype if model.mean is None else np.dtype(np.float64)
    tensors, layers = {}, model.folded_layers()
    if (target := model.target) is not None:
        W, b = layers[-1]
        mean, std = (np.repeat(values, int(target.kernel.each)) for values in (target.mean, target.std))
        layers[-1] = (W, b + np.log(std)) if target.kernel.output == "exponential" else (W * std, b * std + mean)
    for k, (W, b) in enumerate(layers):
        tensors[f"{2 * k}.weight"] = np.ascontiguousarray(W.T, dtype)
        tensors[f"{2 * k}.bias"] = b.astype(dtype)
    return tensors


# Each returns (the file's bytes, the Python that uses it).


def _onnx(model: Model, labels: np.ndarray | None, path: str, uint8: bool) -> tuple[bytes, str]:
    from .tables.model import TableModel

    if isinstance(model, TableModel):
        from .exporting.tables import table_model

        made = table_model(model, labels)
        given = ", ".join(f"{each.name!r}: ..." for each in made.graph.input)
    else:
        from .exporting.network import onnx_model

        if model.network.params.nbytes > _PROTOBUF_BYTES:
            raise InputError(f"{path}: the weights take more than the 2 GB of an .onnx file; export to .safetensors")
        made = onnx_model(model, labels, uint8=uint8)
        given = f'"X": X.astype("{"uint8" if uint8 else "float32"}")'
    names = json.dumps([each.name for each in made.graph.output])
    return made.SerializeToString(), f"onnxruntime.InferenceSession({path!r}).run({names}, {{{given}}})"


def _safetensors(model: Model, labels: np.ndarray | None, path: str, uint8: bool) -> tuple[bytes, str]:
    from .models.described import described

    library = optional("safetensors.numpy", f".safetensors needs safetensors; {to_install('export')}")
    tensors = state_dict(model)
    metadata = {"format": "pt", "producer": f"fastmlp {__version__}", **described(model)}
    return library.save(tensors, metadata), _in_torch(model, tensors, f"safetensors.torch.load_file({path!r})")


def _torch(model: Model, labels: np.ndarray | None, path: str, uint8: bool) -> tuple[bytes, str]:
    torch = optional("torch", ".pt needs PyTorch; pip install torch, or export to .safetensors")
    tensors, file = state_dict(model), io.BytesIO()
    torch.save({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, file)
    return file.getvalue(), _in_torch(model, tensors, f"torch.load({path!r})")


def _in_torch(model: Model, tensors: dict[str, np.ndarray], loaded: str) -> str:
    from .backend import kernels

    shapes = [tensor.shape for name, tensor in tensors.items() if name.endswith("weight")]
    names = [kernels.ACTIVATIONS[name].torch for name in model.network.activations]
    between = [*(f", torch.nn.{name if name.endswith(')') else name + '()'}, " for name in names), ""]
    layers = "".join(f"torch.nn.Linear({I}, {O}){after}" for (O, I), after in zip(shapes, between))
    double = ".double()" if tensors["0.weight"].dtype == "float64" else ""
    usage = f"net = torch.nn.Sequential({layers}){double}; net.load_state_dict({loaded})"
    if model.target is None:
        return usage
    T, each = len(model.target.mean), int(model.target.kernel.each)
    if each > 1:
        return f"{usage}; y = net(X).unflatten(1, ({T}, {each})).sort(2).values.flatten(1)"
    return f"{usage}; y = net(X)" + ".exp()" * (model.target.kernel.output == "exponential")


def _page(model: Model, labels: np.ndarray | None, path: str, uint8: bool) -> tuple[bytes, str]:
    from .exporting.page import page

    return page(model, path), "a browser: it is a page to draw digits on"


_FORMATS: dict[str, Callable[..., tuple[bytes, str]]] = {
    ".onnx": _onnx, ".safetensors": _safetensors, ".pt": _torch, ".html": _page,
}  # fmt: skip


def export(model: Any, path: str | Path, *, uint8: bool = False) -> str:
    """Write a trained ``Model``, or a fitted estimator, by the ending of ``path``.

    ``.onnx``, for ONNX Runtime: X float32 [N, inputs] to "probabilities" [N, classes] and "class" int64 [N], an index,
    or for an estimator "label", what its ``predict`` returns; of a model that predicts numbers to "prediction". With
    ``uint8``, of a ``Model`` of images, X uint8 [N, rows, columns] goes in, and "label" is the classes' names. A model
    of a table, as ``TableClassifier`` and ``TableRegressor`` are, takes each of its columns by name in the place of X
    (``exporting.tables``), and goes to no other format. The file's documentation and metadata say what the inputs must
    be. ``.safetensors`` or ``.pt``, for PyTorch: the state_dict of a torch.nn.Sequential, to logits or numbers.
    ``.html``, for any browser: a page to draw digits on, of a ``Model`` of such images.

    Returns what uses the file, in Python or in words; it is written whole or not at all. Raises InputError for another
    ending or a package that is missing, RunError where the file cannot be written, TypeError for what is neither,
    scikit-learn's NotFittedError for an estimator without a network.
    """
    from .tables.model import TableModel

    path = as_path(path)
    convert, (model, labels) = _format_of(path), _as_model(model)
    if isinstance(model, TableModel) and (convert is not _onnx or uint8):
        raise InputError(f"{path}: a model of tables goes to .onnx only{', without uint8' * uint8}")
    if uint8 and convert is not _onnx:
        raise InputError(f"{path}: only an .onnx file can take uint8 pixels (--uint8)")
    if uint8 and model.image_shape is None:
        raise InputError(f"{path}: cannot take uint8 pixels (--uint8): the model's inputs are not known to be images")
    content, usage = convert(model, labels, str(path), uint8)
    with writing(path), atomic_write(path) as file:
        file.write(content)
    return usage


def _format_of(path: str | Path) -> Callable[..., tuple[bytes, str]]:
    convert = _FORMATS.get(Path(path).suffix.lower())
    if convert is None:
        raise InputError(f"{path}: unknown format; it must end in {', '.join(_FORMATS)}")
    return convert


def _as_model(model: Any) -> tuple[Model, np.ndarray | None]:
    """(the model, the labels of an estimator's classes)."""
    from .models.model import Model

    if isinstance(model, Model):
        return model, None
    if "sklearn" in sys.modules:  # else there is none
        from .estimator import MLPClassifier, MLPRegressor, TableClassifier, TableRegressor

        if isinstance(model, (MLPClassifier, MLPRegressor, TableClassifier, TableRegressor)):
            return model._as_model(), getattr(model, "classes_", None)
    raise TypeError(
        f"model is a {type(model).__name__}; it must be a fastmlp.Model or an estimator of fastmlp: of a "
        "search best_estimator_, of a pipeline its last step (the steps before it do not go into the file)"
    )


class _Callable(ModuleType):
    """This module: ``fastmlp.export`` is the command's and, called, the function of that name."""

    def __call__(self, model: Any, path: str | Path, *, uint8: bool = False) -> str:
        return export(model, path, uint8=uint8)


_Callable.__call__.__doc__ = export.__doc__
sys.modules[__name__].__class__ = _Callable


def parser() -> Parser:
    made = Parser(
        "export",
        "Write a model for ONNX Runtime or PyTorch, or as a page to draw digits on. It takes the samples as they "
        "come:\nscaling is part of it.",
        "python -m fastmlp.export runs/mnist/model.npz model.onnx",
    )
    made.add_argument("model", metavar="MODEL", help="a model.npz that fastmlp train wrote, or its run's directory")
    made.add_argument(
        "out",
        metavar="OUT",
        help="the file to write: .onnx (X float32 to class and probabilities, or to prediction), or .safetensors or "
        ".pt (a state_dict of torch.nn.Sequential, to logits or numbers), or .html (a page to draw digits on, for any "
        "browser)",
    )
    made.add_argument(
        "--uint8",
        action="store_true",
        help="an .onnx of a model of images takes their pixels, uint8 [N, rows, columns], and gives the classes' names",
    )
    made.add_json()
    return made


@command("export")
def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    from .models.loading import load_model

    _format_of(options.out)  # before anything is loaded
    model = load_model(options.model)
    usage = export(model, options.out, uint8=options.uint8)
    if options.json:
        told = {"file": options.out, "inputs": model.features.width, "classes": [*model.classes], "usage": usage}
        print(json.dumps(told))
        return 0
    what = f"{len(model.classes)} classes" if model.target is None else f"numbers ({model.target.loss})"
    print(f"{options.out}: {model.features.width} inputs, {what}; use it with {usage}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
