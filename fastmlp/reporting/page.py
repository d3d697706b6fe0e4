"""Writes reports: pictures, and an HTML page with the sections of a run, or with links to the pages of several runs."""

from __future__ import annotations

import os
import statistics
from dataclasses import replace
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, NamedTuple
from urllib.parse import quote

from ..config import TrainConfig, configure, read_toml
from ..data.labels import majority
from ..errors import InputError
from ..evaluate import load_to_test
from ..models.loading import load_model
from ..models.model import Model
from ..models.target import scored
from ..paths import CONFIG, MODEL, REPORTS, as_path, atomic_write, model_file, remove_report, runs_of_seeds, writing
from ..tables.model import TableModel
from ..training.metrics import read_metrics
from . import plots
from .sections import Section, Tested, sections_of, test_model

_SCORES = {"accuracy": "accuracy", "rmse": "RMSE", "mae": "MAE", "r2": "R²", "loss": "loss"}


class Link(NamedTuple):
    """A table's cell with a link to another page."""

    text: str
    target: str


def draw_report(place: str | Path, *, data: str | None = None, out: str | Path | None = None) -> list[Path]:
    """Draw the run in the directory ``place``, or that of a model's file, tested on its own data or ``data``, into
    ``out`` (default: report in it).

    Of a directory of several runs, which ``train --seeds`` leaves, each is drawn, and a page that leads to them.
    Returns the paths written: the pictures of each run, then its report.html. InputError for what cannot be read or
    does not fit; RunError for what cannot be written.
    """
    run = as_path(place)
    if not run.exists():
        raise InputError(f"{run}: no such directory; it must be the --out directory of train, or the model in it")
    directory = run if run.is_dir() else run.parent
    target = directory / "report" if out is None else as_path(out)
    runs = runs_of_seeds(directory)
    if not runs or run != directory:
        return _draw_run(run, data, target)[0]
    written, rows = [], []
    for run in runs:
        files, test, history = _draw_run(run, data, run / "report" if out is None else target / run.name)
        written += files
        rows.append((run, os.path.relpath(files[-1], target), test, history))
    settings = {name: value for name, value in _config(runs[0], data)[1].items() if name != "seed"}
    return written + _write(target, directory.resolve().name, *_over_seeds(rows), settings)


def _config(directory: Path, data: str | None) -> tuple[TrainConfig, dict[str, Any]]:
    """(the run's options, with ``data`` if given; those in its config.toml as they stand there)."""
    path = directory / CONFIG
    if not path.exists():
        if data is None:
            raise InputError(f"{path}: no such file; without it --data must say what to test on")
        return configure(data=data), {}
    settings = read_toml(path)
    config = configure(**settings)
    return config if data is None else replace(config, data=data, test=None), settings


def _draw_run(run: Path, data: str | None, target: Path) -> tuple[list[Path], Tested, list[dict[str, float]]]:
    """(paths written, test results, reports) of one run."""
    path = model_file(run)
    directory = path.parent
    config, settings = _config(directory, data)
    metrics = directory / REPORTS
    history = read_metrics(metrics)
    model = load_model(path)
    dataset = load_to_test(config, model, whole=data is not None, recorded=data is None)
    test = test_model(model, dataset, path)
    shown = sections_of(model, test, config, dataset, metrics)
    written = _write(target, directory.resolve().name, _summary(test, model, path, history), shown, settings)
    return written, test, history


def _summary(test: Tested, model: Model, path: Path, history: list[dict[str, float]]) -> str:
    verbs = ("classify", "predict") if isinstance(model, TableModel) else ("classifies", "predicts")
    words = f"The {model.described} ({model.parameters:,} parameters) "
    samples = f"the {test.y.size:,} test samples of {test.data.name}"
    label = None if model.label is None else model.label.name
    if model.target is None:
        right, most = plots.percent(test.y.size - test.errors.size, test.y.size), majority(test.y, model.classes)
        always = "" if most is None else f" (always {most[0]!r}: {plots.percent(most[1], test.y.size)})"
        words += f"{verbs[0]} {right} of {samples} correctly{f' by {label!r}' if label else ''}{always}"
    else:
        what = repr(label) if label else "the numbers"
        words += f"{verbs[1]} {what} of {samples} with "
        words += scored(test.scores["rmse"], test.scores["r2"], test.scores["mae"])
    of = "" if model.target is None else f", {model.target.loss} of the standardised numbers,"
    words += f"; the mean loss{of} is {test.scores['loss']:.3g}."
    if history and isinstance(model, TableModel):
        words += (
            f" They were trained in {max(row.get('seconds', 0.0) for row in history):,.1f} s, each without a part of "
            "the training rows, which chose its best epoch; what they predict is averaged."
        )
    elif history:
        last = history[-1]
        steps = f" ({last['step']:,.0f} steps)" if "step" in last else ""
        seconds = f" in {last['seconds']:,.1f} s" if "seconds" in last else ""
        words += f" It was trained for {last['epoch']:.6g} epoch{'s' * (last['epoch'] != 1)}{steps}{seconds}."
    if path.name != MODEL:
        words += f" This is {path.name}: the run was stopped, or goes on."
    return words


def _over_seeds(runs: list[tuple[Path, str, Tested, list[dict[str, float]]]]) -> tuple[str, list[Section]]:
    """(summary in words, sections) of several runs, given the directory, page, test results and reports of each."""
    scores = [test.scores for _, _, test, _ in runs]
    spread = {}
    for name in (name for name in _SCORES if name in scores[0]):
        values = [each[name] for each in scores]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        shown = _score(name, deviation) if name == "accuracy" else f"{deviation:.2g}"
        spread[name] = f"{_score(name, statistics.fmean(values))} ± {shown}"
    said = ", ".join(f"{_SCORES[name]} {text}" for name, text in spread.items())
    first = runs[0][2]
    words = (
        f"{len(runs)} runs that differ in their seed, on {first.y.size:,} test samples of {first.data.name}: {said} "
        "(mean and standard deviation over the runs)."
    )
    head = ("run", *(_SCORES[name] for name in spread), "epochs", "seconds")
    table: list[tuple[Any, ...]] = [head]
    for (run, page, _, history), each in zip(runs, scores):
        epochs, seconds = (max((row.get(name, 0.0) for row in history), default=0.0) for name in ("epoch", "seconds"))
        scores_shown = (_score(name, each[name]) for name in spread)
        table.append((Link(run.name, page), *scores_shown, f"{epochs:.6g}", f"{seconds:,.1f}"))
    sections = [Section("Every run", "Each leads to its own report.", table=table)]
    if not any({"test_accuracy", "test_rmse"} & row.keys() for *_, history in runs for row in history):  # of a table
        return words, sections
    curves = plots.curves_of_seeds([history for *_, history in runs])
    alt = f"Line chart of the test error of {len(runs)} runs against epochs. {words}"
    how = "How far the runs are apart while they learn."
    return words, [*sections, Section("Learning curves", how, "seeds", curves, alt)]


def _score(name: str, value: float) -> str:
    return f"{value:.2%}" if name == "accuracy" else f"{value:.4g}"


def _write(target: Path, title: str, words: str, sections: list[Section], settings: dict[str, Any]) -> list[Path]:
    """Write the pictures and the page into ``target``, in the place of a report that is there; returns their paths."""
    remove_report(target)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {target}: cannot be made a directory ({error.strerror})") from None
    written = []
    for section in sections:
        if section.figure is not None:
            written.append(target / f"{section.name}.png")
            plots.write_png(section.figure, written[-1])
    page = _html(title, words, sections, settings)
    written.append(target / "report.html")
    with writing(written[-1]), atomic_write(written[-1]) as file:
        file.write(page.encode(errors="backslashreplace"))  # names of files may be no UTF-8
    return written


def _html(title: str, words: str, sections: list[Section], settings: dict[str, Any]) -> str:
    parts = []
    for section in sections:
        all_columns = ' class="all"' if section.table is not None and section.figure is None else ""
        parts += [f"<section{all_columns}>", f"<h2>{escape(section.title)}</h2>", f"<p>{escape(section.words)}</p>"]
        if section.figure is not None:
            label = f'<svg role="img" aria-label="{escape(section.alt)}" '
            parts.append(f'<div class="wide">{plots.svg(section.figure).replace("<svg ", label, 1)}</div>')
        if section.table is not None:
            table = _table(section.table, head=True)
            parts.append(f"<details><summary>As a table</summary>{table}</details>" if section.figure else table)
        parts.append("</section>")
    parts.append('<section class="all">\n<h2>Settings</h2>')
    rows = [(name.replace("_", "-"), _plain(value)) for name, value in settings.items()]
    settings_table = f'<div class="columns">{_table(rows, head=False)}</div>'
    parts.append(settings_table if rows else "<p>The run has no config.toml.</p>")
    parts.append("</section>")
    page = Template(resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    return page.substitute(title=escape(title), words=escape(words), body="\n".join(parts))


def _table(rows: list[tuple[Any, ...]], *, head: bool) -> str:
    """An HTML table, with its first row as a head, or else its first column."""
    lines = []
    for number, row in enumerate(rows):
        tags = ["th" if (number == 0 if head else column == 0) else "td" for column in range(len(row))]
        lines.append("".join(f"<{tag}>{_cell(cell)}</{tag}>" for tag, cell in zip(tags, row)))
    return '<div class="wide"><table>' + "".join(f"<tr>{line}</tr>\n" for line in lines) + "</table></div>"


def _cell(cell: Any) -> str:
    if isinstance(cell, Link):
        return f'<a href="{escape(quote(cell.target))}">{escape(cell.text)}</a>'
    return escape(str(cell))


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
