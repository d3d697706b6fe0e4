"""The ONNX graph of a ``TableModel``, with an input of text or numbers for each column.

The graph does the work of ``columns`` and of all networks at once. Inputs of a number are multiplied with their rows of
the first layer; of a category's rows the right one is looked up, so that a hundred thousand cost no more than two.

Legend: ``N`` rows, ``K`` networks, ``I`` inputs, ``H`` units of a hidden layer, ``O`` outputs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from ..backend import kernels
from ..data.values import GAPS, WORDS, is_code
from ..errors import InputError
from ..tables.columns import Column
from ..tables.kinds import FARTHEST, HEIGHT, Category, Date, Number
from ..tables.model import TableModel
from ..tables.texts import texts_of
from .graph import End, Graph, Value, most_probable

_YEAR_0 = 719_468  # days from 1 March of the year 0, by our calendar, to 1 January 1970
_MOST_NAMED = 100  # columns in a sentence
_TAKES: dict[type, tuple[Any, str]] = {  # dtype and meaning of a column, by what it is
    Number: (np.float64, "a number, NaN where it is missing"),
    Category: (object, "text without blanks around it, empty where it is missing"),
    Date: (np.float64, "days since 1970-01-01, NaN where it is missing"),
}


def table_model(model: TableModel, labels: np.ndarray | None = None) -> Any:
    """An onnx.ModelProto with an input [N] for each column that is not dropped, by its name.

    Numbers are float64, NaN for gaps; categories are text; dates are float64 days since 1970-01-01. The outputs are
    "label" [N] (one of ``labels``) and "probabilities" float32 [N, classes], or "prediction" float64 [N].
    """
    columns = [column for column in model.columns.columns if column.learnt is not None]
    names = [str(column.name) for column in columns]
    outputs = ["label", "probabilities"] if model.target is None else ["prediction"]
    for name in names:
        if not name or name in outputs or names.count(name) > 1:
            why = "it has no name" if not name else f"{'an output' if name in outputs else 'another'} has this name"
            raise InputError(f"column {name!r} cannot be an input of an .onnx file: {why}; rename it")
    graph = Graph(names)
    W, b = (np.concatenate(arrays, axis=-1) for arrays in zip(*(each.layers[0] for each in model.networks)))
    W = (W.astype(np.float64) * model.scale).astype(W.dtype)
    Z, start, numbers = graph.constant(b, "b0"), 0, list[tuple[Value, np.ndarray]]()
    for name, column in zip(names, columns):
        given = Value(graph, name, _TAKES[type(column.learnt)][0])
        for part, kind in _parts(column.learnt, given):
            rows = W[start : start + kind.inputs]
            start += kind.inputs
            if isinstance(kind, Category):
                table = np.concatenate([rows, np.zeros_like(rows[:1])])
                Z = graph.constant(table, f"rows of {name} {start}").made_by("Gather", part, axis=0) + Z
            else:
                numbers.append((part, rows))
    if numbers:
        read = graph.node("Concat", [part for part, _ in numbers], axis=-1)
        Z = read.made_by("MatMul", np.concatenate([rows for _, rows in numbers])) + Z
    apart = Z.made_by("Reshape", np.array([-1, len(model.networks), model.network.sizes[1]])).made_by(
        "Transpose", perm=[1, 0, 2]
    )
    if labels is None and model.target is None:
        labels = model.labels
    made = _outputs(model, _hidden(model, apart), labels)
    ends: list[End] = [(name, _TAKES[type(column.learnt)][0], ["N"]) for name, column in zip(names, columns)]
    known = {"columns": {name: column.kind for name, column in zip(names, columns)}}
    if labels is not None:
        known |= {"classes": labels.tolist()}
    return graph.model(ends, made, _in_words(names, columns), {key: json.dumps(value) for key, value in known.items()})


def _in_words(names: list[str], columns: Sequence[Column]) -> str:
    said = [f"{name!r}, {_TAKES[type(column.learnt)][1]}" for name, column in zip(names, columns)]
    more = [f"and {len(said) - _MOST_NAMED:,} more"] if len(said) > _MOST_NAMED else []
    return "The inputs are columns of a table, [N] each: " + "; ".join([*said[:_MOST_NAMED], *more]) + "."


# -- columns -----------------------------------------------------------------------------------------------------------


def _parts(kind: Any, given: Value) -> list[tuple[Value, Number | Category]]:
    """(tensor, kind) of a column, or each date part: inputs [N, inputs] of a number, row numbers [N] of a category."""
    if isinstance(kind, Number):
        return [(_of_number(kind, given), kind)]
    if isinstance(kind, Category):
        return [(_row_of(kind, given), kind)]
    gap, found = given.made_by("IsNaN", dtype=bool), _parts_of_date(given)
    parts: list[tuple[Value, Number | Category]] = []
    for name, part in kind.parts.items():
        if isinstance(part, Number):
            parts.append((_of_number(part, gap.where(float("nan"), found[name], np.float64)), part))
        else:
            row = found[name].made_by(
                "LabelEncoder", domain="ai.onnx.ml", keys_int64s=[*map(int, part.values)],
                values_int64s=[*range(len(part.values))], default_int64=part.inputs,
            )  # fmt: skip
            parts.append((gap.where(len(part.values) if part.missing else part.inputs, row, np.int64), part))
    return parts


def _of_number(kind: Number, x: Value) -> Value:
    """``Number.entries``, with zeros: float32 [N, inputs]."""
    gap = x.made_by("IsNaN", dtype=bool)
    z = (gap.where(kind.median, x, np.float64) - kind.median) * (kind.scale or 1.0)
    z = z.clip(-FARTHEST, FARTHEST).cast(np.float32).made_by("Unsqueeze", np.array([1]))
    gap, parts = gap.made_by("Unsqueeze", np.array([1]), dtype=bool), []
    if kind.scale:
        third = z / 3
        parts.append(z / (third * third + 1).made_by("Sqrt") * kind.weight)
    if levels := kind._levels:
        low, high = kind.edges[:-1].astype(np.float64), kind.edges[1:].astype(np.float64)
        passed = ((z.cast(np.float64) - low) / (high - low)).clip(0, 1)
        place = (passed.made_by("ReduceSum", np.array([1])) / 2.0**levels).cast(np.float32)
        parts.append(place * HEIGHT)
        hats = np.concatenate([np.full(2**k, 2**k, np.float32) for k in range(levels)])  # of each hat's level
        middle = np.arange(1, 2**levels, dtype=np.float32) - hats + np.float32(0.5)
        below = (place * hats - middle).made_by("Abs") * -1 + 0.5
        parts.append(below.made_by("Relu") * (HEIGHT / np.sqrt(hats)))
    known = [gap.where(0, part, np.float32) for part in parts]
    return x.graph.node("Concat", [*known, *([gap.cast(np.float32)] if kind.missing else [])], axis=-1)


def _row_of(kind: Category, text: Value) -> Value:
    """int64 [N], the number of the text's input, or the count of inputs for none. Integers may be written as floats,
    yes and no in other words, and codes without the zeros that they begin with."""
    words = [case(word) for word in WORDS for case in (str, str.capitalize, str.upper)]
    given = [*kind.values, *words, *(value.lstrip("0") or "0" for value in kind.values if is_code(value))]
    texts, codes = texts_of(np.array(given, object))
    rows = {each: row for each, row in zip(given, kind.places(texts)[codes].tolist()) if row >= 0}
    rows |= {f"{each}.0": row for each, row in rows.items() if each.lstrip("-").isdigit() and f"{each}.0" not in rows}
    if kind.missing:
        for gap in sorted(GAPS):  # a set, whose order is another in each process
            rows |= dict.fromkeys(map("".join, product(*((c, c.upper()) for c in gap))), len(kind.values))
    return text.made_by(
        "LabelEncoder", dtype=np.int64, domain="ai.onnx.ml", keys_strings=[*rows], values_int64s=[*rows.values()],
        default_int64=kind.inputs,
    )  # fmt: skip


def _parts_of_date(days: Value) -> dict[str, Value]:
    """``kinds._parts_of_date``, by Hinnant's "chrono-compatible low-level date algorithms": years begin in March there.

    Elapsed days and hours are float64, the others int64, 1970-01-01 for gaps; no day is before the year 0.
    """
    known = days.made_by("IsNaN", dtype=bool).where(0, days, np.float64)
    # Of the second that has begun; a float of days may miss its beginning by 2e-5.
    seconds = (known * 86_400 + 1e-4).made_by("Floor").cast(np.int64) + _YEAR_0 * 86_400
    day = seconds // 86_400
    era = day // 146_097
    of_era = day - era * 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (year * 365 + year // 4 - year // 100)
    month = (of_year * 5 + 2) // 153
    next_year = month // 10
    second = seconds - day * 86_400
    return {
        "elapsed days": (seconds - _YEAR_0 * 86_400).cast(np.float64) / 86_400,
        "year": (era * 400 + year + next_year).cast(np.float64), "month": month + 3 - next_year * 12,
        "weekday": (day + 2).made_by("Mod", 7), "hour": second.cast(np.float64) / 3600,
    }  # fmt: skip


# -- networks ----------------------------------------------------------------------------------------------------------


def _hidden(model: TableModel, Z: Value) -> Value:
    """From the first layers' pre-activations [K, N, H] to the networks' outputs [K, N, O]."""
    layers = [each.layers for each in model.networks]
    for k in range(1, len(layers[0])):
        activation = kernels.ACTIVATIONS[model.network.activations[k - 1]]
        W, b = (np.stack([np.asarray(each[k][part]) for each in layers]) for part in (0, 1))
        Z = activation.onnx(Z).made_by("MatMul", W) + b[:, np.newaxis]
    return Z


def _outputs(model: TableModel, Z: Value, labels: np.ndarray | None) -> list[End]:
    """The mean predictions of the networks, as the outputs of the graph."""
    if model.target is None:
        assert labels is not None
        P = Z.made_by("Softmax", axis=-1).made_by("ReduceMean", output="probabilities", axes=[0], keepdims=0)
        return [most_probable(P, labels), (P.name, P.dtype, ["N", len(labels)])]
    mean = Z.cast(np.float64).made_by("ReduceMean", axes=[0, 2], keepdims=0)
    (mean * model.target.std[0]).made_by("Add", model.target.mean[0], output="prediction")
    return [("prediction", np.float64, ["N"])]
