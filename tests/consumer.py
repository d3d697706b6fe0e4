"""A typed module of somebody who uses every public name of fastmlp: mypy and pyright check it, and a test runs it."""

from pathlib import Path

import numpy as np

import fastmlp
from fastmlp import (
    Dataset,
    EpochReport,
    InputError,
    Interrupted,
    MLPClassifier,
    MLPRegressor,
    Model,
    NumbersReport,
    Observer,
    Progress,
    Result,
    RunError,
    TableClassifier,
    TableRegressor,
    TrainConfig,
    export,
    fit,
    load,
    load_model,
)


class Watch:
    """Callbacks: the losses of the reports, and the end after the second."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.steps = 0

    def progress(self, progress: Progress) -> None:
        self.steps = progress.step

    def report(self, report: EpochReport | NumbersReport) -> None:
        self.losses.append(report.train_loss)

    def stop(self) -> bool:
        return len(self.losses) >= 2

    def observer(self) -> Observer:
        return Observer(progress=self.progress, report=self.report, stop=self.stop)


def use(directory: Path) -> dict[str, float]:
    data: Dataset = load("synthetic")
    few = Dataset("few", data.X[:500], data.y[:500], data.X_test[:50], data.y_test[:50], data.classes, "few digits")
    result: Result = fit(few, hidden=(16, 8), activation=("relu", "relu"), epochs=2, progress=False)
    model: Model = result.model
    model.save(directory / "model.npz")
    again: Model = load_model(directory / "model.npz")
    labels: np.ndarray = again.predict(few.X_test)
    accuracy: float = result.summary["test_accuracy"]
    watch = Watch()
    try:
        fit(few, config=TrainConfig(hidden=(16,), epochs=9), observer=watch.observer())
    except Interrupted as interruption:
        accuracy = max(accuracy, float(str(interruption) == ""))
    refused = ""
    try:
        fit(few, hidden=-1)
    except (InputError, RunError) as error:
        refused = str(error)
    X, y = np.random.default_rng(0).normal(size=(120, 3)), np.arange(120) % 2
    classifier = MLPClassifier(
        (8, 4), activation=["relu", "relu"], max_iter=9, callbacks=lambda model, epoch: epoch > 2
    )
    shares: np.ndarray = classifier.fit(X, y).predict_proba(X)
    numbers: np.ndarray = (
        MLPRegressor("squared_error", 8, max_iter=9, tol=1e9, n_iter_no_change=1).fit(X, X[:, 0]).predict(X)
    )
    table = TableClassifier(n_networks=2, epochs=2, random_state=0).fit(X, y)
    values: np.ndarray = TableRegressor(n_networks=2, epochs=2, random_state=0).fit(X, X[:, 0]).predict(X)
    usage: str = export(classifier, directory / "model.safetensors")
    assert all(map(len, (fastmlp.__version__, refused, usage)))
    assert len(labels) == len(few.X_test)
    assert len(shares) == len(numbers) == len(table.predict(X)) == len(values) == len(X)
    return {"accuracy": accuracy, "reports": len(watch.losses)}
