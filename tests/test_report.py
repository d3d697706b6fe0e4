"""``fastmlp report``: the pictures say what the model does, the page stands alone, bad input is one line."""

import json
import os
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from lines import one_line

pytest.importorskip("matplotlib")

import fastmlp
from fastmlp import evaluate, report, train
from fastmlp.errors import InputError
from fastmlp.reporting import page as report_page
from fastmlp.reporting import plots, sections
from fastmlp.training.metrics import read_metrics, read_network_losses

PICTURES = ["learning-curves.png", "confusion.png", "confident-errors.png", "recall.png", "weights.png"]
METRICS = [
    {"epoch": 1.0, "step": 12, "train_loss": 2.1, "train_accuracy": 0.4, "validation_loss": None, "test_loss": 1.5,
     "test_accuracy": 0.625, "lr": 0.12, "seconds": 0.5, "samples_per_second": 3000.0, "note": "new"},
    {"epoch": 2.0, "step": 24, "train_loss": 0.9, "train_accuracy": 0.75, "test_loss": 1.75, "test_accuracy": 0.625},
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory, digits):
    """What a run on digits.npz leaves in its directory, with a network that still makes many mistakes."""
    directory = tmp_path_factory.mktemp("finished")
    np.savez(directory / "digits.npz", X=digits.X, y=digits.y, X_test=digits.X_test, y_test=digits.y_test)
    model = fastmlp.fit(digits, hidden=(70,), steps=15).model
    model.image_shape = (28, 28)
    (directory / "run").mkdir()
    model.save(directory / "run" / "model.npz")
    (directory / "run" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in METRICS))
    (directory / "run" / "config.toml").write_text('data = "digits.npz"\nhidden = [70]\nnesterov = true\n')
    return directory


@pytest.fixture
def run(finished, here):
    """A copy of the finished run: ./run, in the working directory beside digits.npz."""
    shutil.copytree(finished, here, dirs_exist_ok=True)
    return here / "run"


class Page(HTMLParser):
    """The words, pictures, tables and references of an HTML page; every element must be closed in its turn."""

    VOID = ("meta", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.labels, self.references, self.ids, self.tables = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.open += [] if tag in self.VOID else [tag]
        self.ids += [attributes["id"]] if "id" in attributes and tag not in ("path", "image") else []
        self.references += [attributes[name] for name in ("src", "href", "xlink:href") if name in attributes]
        if tag == "svg":
            assert attributes["role"] == "img"
            self.labels.append(attributes["aria-label"])
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
        if {"td", "th"} & set(self.open[-2:]):  # a link is in a cell
            self.tables[-1][-1].append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).replace("\N{NARROW NO-BREAK SPACE}", " ").split())


def page(path):
    return Page((path / "report.html").read_text(encoding="utf-8"))


def answers(run, digits):
    """(probabilities, predicted classes, misclassified rows) of the run's model."""
    model = fastmlp.load_model(run / "model.npz")
    predicted = model.predict(digits.X_test)
    return model.predict_proba(digits.X_test), predicted, np.flatnonzero(predicted != digits.y_test)


# -- the command ---------------------------------------------------------------------------------------------------


def test_a_run_becomes_pictures_and_a_page_that_stands_alone(run, digits, succeeds):
    out, err = succeeds(report, "run")
    assert err == ""
    assert out.splitlines() == [os.path.join("run", "report", name) for name in [*PICTURES, "report.html"]]
    for name in PICTURES:
        assert (run / "report" / name).read_bytes().startswith(b"\x89PNG\r\n")
    seen = page(run / "report")
    assert len(seen.labels) == len(PICTURES)
    assert all(len(label) > 40 for label in seen.labels)
    assert all(reference.startswith(("#", "data:image/png;base64,")) for reference in seen.references)
    assert len(set(seen.ids)) == len(seen.ids)
    html = (run / "report" / "report.html").read_text(encoding="utf-8")
    assert "http" not in html
    assert "prefers-color-scheme: dark" in html
    assert ["hidden", "70"] in seen.tables[-1]
    assert ["nesterov", "yes"] in seen.tables[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text on this system")
def test_a_run_in_a_directory_of_any_name(run, succeeds):
    named = run.rename(run.with_name("run \udcff"))  # its bytes are not UTF-8
    succeeds(report, named.name)
    assert "run \\udcff" in page(named / "report").text


def test_the_words_and_the_table_say_what_the_model_does(run, digits):
    P, predicted, wrong = answers(run, digits)
    assert 20 < len(wrong) < 400  # a run that has something to show
    report_page.draw_report(run)
    seen = page(run / "report")
    assert "Rows are those of digits.npz, counted from 0." in seen.text
    weights = 784 * 70 + 70 + 70 * 10 + 10
    assert f"The network 784-70-10 ({weights:,} parameters) " in seen.text
    assert f"classifies {100 - len(wrong) / 5:.1f} % of the 500 test samples of digits correctly" in seen.text
    assert f"Misclassified: {len(wrong)} of 500 test samples" in seen.text
    assert "It was trained for 2 epochs (24 steps)." in seen.text
    assert (
        "After epoch 2: train loss 0.9, error rate 25.0 %; test loss 1.75, error rate 37.5 %, "
        "lowest loss 1.5 at epoch 1."
    ) in seen.text
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (digits.y_test[wrong], predicted[wrong]), 1)
    true, answer = np.unravel_index(counts.argmax(), counts.shape)
    assert f"most often {true} as {answer} ({counts.max()}×)" in seen.text
    head, *rows = seen.tables[0]
    assert head == ["row", "true class", "predicted", "probability"]
    confidence = P[np.arange(500), predicted]
    expected = wrong[np.argsort(-confidence[wrong], kind="stable")][:20]
    assert [int(row[0]) for row in rows] == expected.tolist()
    assert [row[1:3] for row in rows] == [[str(digits.y_test[k]), str(predicted[k])] for k in expected]
    assert float(rows[-1][3].rstrip("%").replace("\u202f", "")) == pytest.approx(
        100 * confidence[expected[-1]], abs=0.05
    )


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    for name in ("one", "two"):
        report_page.draw_report(run, out=tmp_path / name)
    for name in [*PICTURES, "report.html"]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_report_of_a_run_of_the_train_command(run, succeeds):
    said = succeeds(train, "--data", "digits.npz", "--steps", "30", "--out", "trained", "-q").out
    accuracy = float(re.search(r"test accuracy ([\d.]+)%", said).group(1))
    out, err = succeeds(report, "trained", "--json")
    assert err == ""
    assert json.loads(out)["files"][-1] == os.path.join("trained", "report", "report.html")
    assert f"classifies {accuracy:.1f} % of the 500 test samples" in page(run.parent / "trained" / "report").text


def test_a_replaced_run_takes_its_report_along_and_a_report_its_pictures(run, rng, succeeds):
    X = rng.normal(size=(60, 2))
    np.savez("classes.npz", X=X, y=(X[:, 0] > 0).astype(int))
    np.savez("numbers.npz", X=X, y=X[:, 0])
    for data in ("digits", "classes", "numbers"):
        succeeds(train, "--data", f"{data}.npz", "--hidden", "3", "--epochs", "1", "--out", "one", "-q")
        assert not Path("one/report").exists()
        assert len(succeeds(report, "one").out.splitlines()) > 4
    Path("one/report/notes.txt").write_text("mine")
    succeeds(train, "--data", "classes.npz", "--hidden", "3", "--epochs", "1", "--out", "two", "-q")
    out = succeeds(report, "two", "--out", "one/report").out  # over that of numbers
    assert sorted([*out.splitlines(), "one/report/notes.txt"]) == sorted(map(str, Path("one/report").iterdir()))


def test_runs_of_several_seeds_have_a_page_that_leads_to_each(run, digits, command, succeeds):
    for seed, steps in ((2, 15), (10, 40)):
        shutil.copytree(run, f"many/seed-{seed}")
        model = fastmlp.fit(digits, hidden=(70,), steps=steps, seed=seed).model
        model.image_shape = (28, 28)
        model.save(f"many/seed-{seed}/model.npz")
    out, err = succeeds(report, "many")
    assert err == ""
    assert out.splitlines()[-2:] == [os.path.join("many", "report", name) for name in ("seeds.png", "report.html")]
    seen = page(run.parent / "many" / "report")
    right = [
        (fastmlp.load_model(f"many/seed-{seed}").predict(digits.X_test) == digits.y_test).mean() for seed in (2, 10)
    ]
    mean, deviation = np.mean(right), np.std(right, ddof=1)
    shown = f"accuracy {mean:.2%} ± {deviation:.2%}"
    assert f"2 runs that differ in their seed, on 500 test samples of digits: {shown}" in seen.text
    head, *rows = seen.tables[0]
    assert head == ["run", "accuracy", "loss", "epochs", "seconds"]
    assert [row[:2] for row in rows] == [[f"seed-{seed}", f"{share:.2%}"] for seed, share in zip((2, 10), right)]
    for seed in (2, 10):
        assert f"../seed-{seed}/report/report.html" in seen.references
    assert "of the 500 test samples" in page(run.parent / "many" / "seed-10" / "report").text
    one_line(
        command(train, "--resume", "many"), 2, "--resume many: holds 2 runs of --seeds; name one, such as many/seed-2"
    )
    one_line(command(evaluate, "many"), 2, "many: holds 2 runs of --seeds; name one of them, such as many/seed-2")


def test_a_table_has_a_list_of_errors_and_a_chart_of_features(here, rng):
    X = rng.normal(size=(400, 30)).astype(np.float32)
    y = (X[:, 7] + 0.5 * rng.normal(size=400) > 0).astype(int)
    np.savez("table.npz", X=X, y=y)
    model = fastmlp.fit(fastmlp.load("table.npz"), hidden=(), epochs=20).model
    model.columns = tuple(f"column {k}" for k in range(30))
    os.mkdir("run")
    model.save("run/model.npz")
    open("run/metrics.jsonl", "w").close()
    with open("run/config.toml", "w") as file:
        file.write('data = "table.npz"\n')
    written = report_page.draw_report("run")
    assert [path.name for path in written] == ["confusion.png", "recall.png", "importance.png", "report.html"]
    seen = page(here / "run" / "report")
    assert "No epoch has ended yet." in seen.text
    assert "Shown are the first 20 of 30." in seen.text
    assert len(seen.tables) == 3
    test = fastmlp.load("table.npz")
    order = np.argsort(-model.predict_proba(test.X_test)[:, 1], kind="stable")
    found = [int(test.y_test[part].sum()) for part in np.array_split(order, 4)]  # of at most ten samples
    assert seen.tables[1][0] == ["P(1) from", "mean", "samples", "are 1", "so far"]
    assert [row[2] for row in seen.tables[1][1:]] == ["10"] * 4
    assert [row[3].split()[0] for row in seen.tables[1][1:]] == [str(count) for count in found]
    assert [int(row[4]) for row in seen.tables[1][1:]] == np.cumsum(found).tolist()
    assert f"({found[0]} of all {sum(found)})" in seen.text
    head, *rows = seen.tables[0]
    assert head[:5] == ["row", "true class", "predicted", "probability", "column 7"]
    for row in rows:  # of the file: the test set is a tenth of it
        shown = [X[int(row[0]), int(name.split()[1])] for name in head[4:]]
        assert [float(value) for value in row[4:]] == pytest.approx(shown, rel=1e-5)


TABLES = {  # what stands first, each row, and what stands below each
    "commas": ("a,noise,b,kind\n", "{a:.3f},{noise:.1f},{b:.3f},{kind}\n", ""),
    "quotes": ("a,noise,b,kind\n", '{a:.3f},{noise:.1f},{b:.3f},"{kind},\nin two lines"\n', ""),
    "comments and blank lines": ("# by hand\n\na;noise;b;kind\n", "{a:.3f};{noise:.1f};{b:.3f};{kind}\n", ";;;\n\n"),
    "no header": ("", "{a:.3f},{noise:.1f},{b:.3f},{kind}\n", ""),
    "svmlight": ("# of no sense\n", "{number} 1:{a:.3f} 2:{noise:.1f} 3:{b:.3f}\n", "# after each\n"),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("with_test", [False, True])
def test_errors_are_traced_to_lines_of_the_file_and_noise_matters_least(name, with_test, here, rng):
    (head, row, below), suffix = TABLES[name], ".svm" if name == "svmlight" else ".csv"
    values = {}  # of each file's row that ends on a line, in the order of their importance
    for file in ("train", "test"):
        text = head
        for _ in range(300):
            a, b, noise = rng.normal(size=3) * (2, 1, 300)
            number = int(a + b + rng.normal() > 0)
            text += row.format(a=a, b=b, noise=noise, kind=["no", "yes"][number], number=number)
            values[file, text.count("\n")] = [f"{a:.3f}", f"{b:.3f}", f"{noise:.1f}"]
            text += below
        (here / f"{file}{suffix}").write_text(text)
    options = ["--test", f"test{suffix}"] if with_test else ["--val-fraction", "0.4"]
    assert (
        train.main(["--data", f"train{suffix}", *options, "--epochs", "5", "--hidden", "16", "--out", "run", "-q"]) == 0
    )
    report_page.draw_report("run")
    table = page(here / "run" / "report").tables[0]
    names = [f"feature {k}" for k in (1, 3, 2)] if name in ("no header", "svmlight") else ["a", "b", "noise"]
    assert table[0] == ["line", "true class", "predicted", "probability", *names]
    assert len(table) > 10
    for place, _, _, _, *shown in table[1:]:
        written = values["test" if with_test else "train", int(place)]
        assert [float(value) for value in shown] == [float(value) for value in written]


def test_a_stopped_run_is_drawn_from_its_checkpoint_and_says_so(run):
    (run / "model.npz").rename(run / "checkpoint.npz")
    report_page.draw_report(run)
    assert "This is checkpoint.npz: the run was stopped, or goes on." in page(run / "report").text


def test_a_run_may_be_named_by_its_model(run, succeeds):
    assert succeeds(report, "run/model.npz").out.splitlines()[-1] == os.path.join("run", "report", "report.html")


def test_the_newer_of_model_and_checkpoint_is_drawn(run, digits):
    fastmlp.fit(digits, hidden=(3,), steps=1).model.save(run / "checkpoint.npz")
    model = (run / "model.npz").stat().st_mtime
    for age, network in ((-10, "784-70-10"), (10, "784-3-10")):
        os.utime(run / "checkpoint.npz", (model + age, model + age))
        report_page.draw_report(run)
        assert f"The network {network}" in page(run / "report").text


def test_a_perfect_model_has_no_gallery(run, digits):
    rows = np.setdiff1d(np.arange(500), answers(run, digits)[2])
    np.savez("easy.npz", X=digits.X, y=digits.y, X_test=digits.X_test[rows], y_test=digits.y_test[rows])
    names = [path.name for path in report_page.draw_report(run, data="easy.npz", out="elsewhere")]
    assert names == [name for name in [*PICTURES, "report.html"] if name != "confident-errors.png"]
    text = page(run.parent / "elsewhere").text
    assert text.count("Every test sample is classified correctly.") == 2
    assert "classifies 100 % of" in text or "classifies 100.0 % of" in text


def test_names_of_classes_may_be_any_text(run, digits, monkeypatch):
    P, predicted, wrong = answers(run, digits)
    worst = wrong[np.argsort(-P[wrong, predicted[wrong]], kind="stable")][:20]
    names = ["<b>&amp;", "$x$ $", "two\nlines", "漢字", "'\"", "%s {0}", "$\\frac$", "a" * 100, "_^", " "]
    load_data, load_model = evaluate.load_data, fastmlp.load_model

    def renamed(path):
        model = load_model(path)
        model.classes = tuple(names)
        return model

    def loaded(config, **others):
        data = load_data(config, **others)
        object.__setattr__(data, "classes", tuple(names))
        return data

    monkeypatch.setattr(report_page, "load_model", renamed)
    monkeypatch.setattr(evaluate, "load_data", loaded)
    report_page.draw_report(run)
    shown = [row[1:3] for row in page(run / "report").tables[0][1:]]
    assert shown == [[names[digits.y_test[row]], names[predicted[row]]] for row in worst]


BAD = {
    "no directory": (["nowhere"], lambda run: None, "nowhere: no such directory; it must be the --out directory"),
    "no model": (["run"], lambda run: (run / "model.npz").unlink(), "run: holds neither model.npz nor checkpoint.npz"),
    "not a model": (["run"], lambda run: (run / "model.npz").write_bytes(b"PK"), "model.npz: not a valid .npz file"),
    "no metrics": (["run"], lambda run: (run / "metrics.jsonl").unlink(), "metrics.jsonl: no such file"),
    "no config": (["run"], lambda run: (run / "config.toml").unlink(),
        "config.toml: no such file; without it --data must"),
    "not TOML": (["run"], lambda run: (run / "config.toml").write_text("data ="), "config.toml: not valid TOML"),
    "data gone": (["run"], lambda run: os.unlink("digits.npz"), "digits.npz: no such file or directory"),
    "data gone, the cure": (["run"], lambda run: os.unlink("digits.npz"), "; --data says where else the data is"),
    "other data gone": (["run", "--data", "x.npz"], lambda run: None, "x.npz: no such file or directory"),
    "other inputs": (["run", "--data", "narrow.npz"], lambda run: None,
        "model.npz: takes 784 features; narrow.npz has 3"),
    "other classes": (["run", "--data", "labels.npz"], lambda run: None, "labels.npz: has class '11'"),
    "out is a file": (["run", "--out", "narrow.npz"], lambda run: None, "--out narrow.npz: cannot be made a directory"),
    "no argument": ([], lambda run: None, "the following arguments are required: DIR"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_2(run, digits, name, command):
    np.savez("narrow.npz", X=np.zeros((40, 3), np.uint8), y=np.arange(40) % 4)
    few = {"X": digits.X[:4], "y": np.array([0, 1, 2, 11])}
    np.savez("labels.npz", **few, X_test=few["X"], y_test=few["y"])
    arguments, damage, message = BAD[name]
    damage(run)
    one_line(command(report, *arguments), 2, message)


def test_without_matplotlib_one_line_says_what_to_install(run, monkeypatch, command):
    for name in ("plots", "sections", "page"):
        monkeypatch.delitem(sys.modules, f"fastmlp.reporting.{name}")
        monkeypatch.delattr(fastmlp.reporting, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    one_line(command(report, "run"), 2, "report needs matplotlib; pip install -e '")


# -- metrics.jsonl -------------------------------------------------------------------------------------------------


def test_networks_stand_in_their_order_whichever_was_ready_first(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f'{{"network": {k}, "validation_losses": [{k}]}}\n' for k in (2, 3, 1)))
    assert [*read_network_losses(path).items()] == [(1, [1.0]), (2, [2.0]), (3, [3.0])]


def test_metrics_may_lack_anything_but_sense(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"train_loss": 1, "lr": null, "extra": [1]}\n\n{"epoch": 7.5, "test_loss": NaN}\n{}\n{"epoch": 9, "tr'
    )
    assert read_metrics(path) == [{"epoch": 1, "train_loss": 1.0}, {"epoch": 7.5}, {"epoch": 4}]
    path.write_text('{"epoch": 9}')
    assert read_metrics(path) == [{"epoch": 9.0}]
    path.write_text("")
    assert read_metrics(path) == []


DAMAGED = {
    "cut": (b'{"epoch": 1}\n{"epoch":\n{"epoch": 3}\n', "line 2 is damaged; it must be a JSON object"),
    "not an object": (b"3\n", "line 1 is damaged"),
    "not text": (b"\xff\xfe\xfa\n", "line 1 is damaged"),
    "deep": (b"[" * 100_000 + b"\n", "line 1 is damaged"),
    "text for a number": (b'{"train_loss": "low"}\n', "line 1: train_loss is 'low'; it must be a number or null"),
    "true for a number": (b'{"lr": true}\n', "line 1: lr is 'True'; it must be a number or null"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_line_is_named(tmp_path, name):
    content, message = DAMAGED[name]
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        read_metrics(path)
    assert str(error.value).startswith(str(path))


def test_numbers_of_any_size_are_drawn_or_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    values = ["0", "5e-324", "1e-12", "1", "-1", "1e29", "1e308", "1e999", "1" + "0" * 400]
    path.write_text("".join(f'{{"train_loss": {v}, "test_accuracy": {v}, "lr": {v}}}\n' for v in values))
    history = read_metrics(path)
    assert sum("train_loss" in row for row in history) == 6
    plots.write_png(plots.learning_curves(history), tmp_path / "curves.png")


# -- pictures ------------------------------------------------------------------------------------------------------


def test_curves_are_logarithmic_where_values_span_it():
    wide = [{"epoch": k, "train_loss": 10.0**-k, "test_accuracy": 1 - 0.5**k} for k in range(1, 6)]
    loss, error = plots.learning_curves(wide).axes
    assert (loss.get_yscale(), error.get_yscale()) == ("log", "log")
    np.testing.assert_allclose(error.lines[0].get_ydata(), [0.5**k for k in range(1, 6)])
    narrow = [{"epoch": k, "train_loss": 1 - 0.1 * k, "lr": 0.1} for k in range(1, 6)]
    loss, _, rate = plots.learning_curves(narrow).axes
    assert loss.get_yscale() == "linear"
    assert rate.get_ylim() == (0, 0.1)


def test_the_rate_is_drawn_from_every_step_with_its_peak(run):
    assert train.main(["--data", "digits.npz", "--epochs", "2", "--out", "trained", "-q"]) == 0
    history = read_metrics(run.parent / "trained" / "metrics.jsonl")
    config, _ = report_page._config(run.parent / "trained", None)
    epochs, rates = sections._rates(history, config)
    assert len(rates) == history[-1]["step"]
    assert max(row["lr"] for row in history) < 0.9 * config.peak_lr < rates.max()  # passed within the first epoch
    assert epochs[-1] == history[-1]["epoch"]
    (line,) = plots.learning_curves(history, (epochs, rates)).axes[2].lines
    np.testing.assert_array_equal(line.get_ydata(), rates)
    longer = [*history, {"epoch": 3.0, "step": history[-1]["step"] * 3 // 2, "lr": 0.1}]  # other options by now
    assert len(sections._rates(longer, config)[1]) == 3
    assert sections._rates([{"epoch": 1.0, "lr": 0.1}], config)[1].tolist() == [0.1]


def test_an_error_rate_of_zero_has_its_place_on_the_axis():
    history = [{"epoch": k, "test_accuracy": accuracy} for k, accuracy in enumerate((0.5, 0.9, 1.0), 1)]
    error = plots.learning_curves(history).axes[1]
    assert error.get_yscale() == "symlog"
    assert error.get_ylim()[0] == 0
    ticks = error.get_yticks().tolist()
    assert ticks == [0.0, 0.1, 0.2, 0.5]
    assert error.yaxis.get_major_formatter()(0.1, None) == "10\N{NARROW NO-BREAK SPACE}%"


def test_reports_without_a_test_do_not_break_its_line():
    history = [{"epoch": k, "train_loss": 1 / k} | ({"test_loss": 2 / k} if k % 5 == 0 else {}) for k in range(1, 41)]
    train_line, test_line = plots.learning_curves(history).axes[0].lines
    assert (len(train_line.get_xdata()), test_line.get_xdata().tolist()) == (40, [5, 10, 15, 20, 25, 30, 35, 40])


def test_the_confusion_matrix_colours_errors_only(rng):
    counts = rng.integers(0, 3, (10, 10)) + np.diag(rng.integers(900, 1100, 10))
    ax = plots.confusion_figure(counts, list("abcdefghij")).axes[0]
    shown = {(int(t.get_position()[1]), int(t.get_position()[0])): t.get_text() for t in ax.texts}
    assert shown == {(i, j): str(counts[i, j]) for i in range(10) for j in range(10) if counts[i, j]}
    colours = ax.images[0].get_array()
    assert colours.mask.tolist() == ((counts == 0) | np.eye(10, dtype=bool)).tolist()
    assert ax.images[0].get_clim() == (0, 2)
    assert [label.get_text() for label in ax.get_xticklabels()] == list("abcdefghij")


def test_a_confusion_matrix_of_many_classes_has_no_numbers_in_its_cells():
    K = plots.MOST_NUMBERED + 1
    figure = plots.confusion_figure(np.ones((K, K), int), [f"{k}" for k in range(K)])
    assert len(figure.axes[0].texts) == 0
    assert len(figure.axes) == 2  # with the scale
    assert len(plots.confusion_figure(np.ones((K - 1, K - 1), int), ["x"] * (K - 1)).axes[0].texts) == (K - 1) ** 2


def test_of_too_many_classes_those_with_the_most_errors_are_shown(digits):
    K, N = 200, 400
    y = np.arange(N) % K
    predicted = y.copy()
    wrong = np.flatnonzero((y % 5 == 0) & (np.arange(N) < K))
    predicted[wrong] = y[wrong] + 1
    section = sections._confusion(
        sections.Tested(digits, digits.X_test, y, predicted, wrong, {}, np.ones(N)), tuple(map(str, range(K)))
    )
    assert f"Shown are the {plots.MOST_CLASSES} of 200 classes with the most errors." in section.words
    drawn = section.figure.axes[0].images[0].get_array()
    assert drawn.shape == (plots.MOST_CLASSES, plots.MOST_CLASSES)
    assert int(drawn.sum()) == plots.MOST_CLASSES // 2  # pairs (0, 1), (5, 6), ... of the 40


def test_recall_bars_are_sorted_and_end_in_their_numbers():
    bars, numbers = plots.recall_bars(list("abc"), np.array([90, 300, 5]), np.array([100, 300, 10])).axes
    assert [label.get_text() for label in bars.get_yticklabels()] == ["c", "a", "b"]
    np.testing.assert_allclose([patch.get_width() for patch in bars.patches], [0.5, 0.1, 0])
    assert [bars.xaxis.get_major_formatter()(tick, None) for tick in bars.get_xticks()[:2]] == ["0\u202f%", "20\u202f%"]
    assert [label.get_text() for label in numbers.get_yticklabels()] == [
        "50\N{NARROW NO-BREAK SPACE}%   5 of 10 missed",
        "90\N{NARROW NO-BREAK SPACE}%   10 of 100 missed",
        "100.0\N{NARROW NO-BREAK SPACE}%   0 of 300 missed",
    ]


def test_weights_are_the_largest_units_on_one_scale_around_zero(rng):
    W = rng.normal(size=(12, 80)) * np.arange(1, 81)
    images = plots.weight_images(W, (4, 3)).axes[0].images
    assert len(images) == plots.MOST_UNITS
    largest = np.argsort(-np.linalg.norm(W, axis=0))
    for k in (0, 1, 63):
        np.testing.assert_array_equal(images[k].get_array(), W[:, largest[k]].reshape(4, 3))
    low, high = images[0].get_clim()
    assert low == -high < 0
    assert {image.get_clim() for image in images} == {(low, high)}
    middle = images[0].get_cmap()(0.5)
    assert min(middle[:3]) > 0.99  # white


def test_a_contact_sheet_has_every_image_in_its_place(tmp_path, rng):
    images = rng.integers(0, 256, (11, 6, 9)).astype(np.uint8)
    plain, titled = plots.contact_sheet(images), plots.contact_sheet(images, [f"{k}\nb" for k in range(11)])
    for figure, columns in ((plain, 8), (titled, 5)):
        tiles = figure.axes[0].images
        assert [np.array_equal(tile.get_array(), image) for tile, image in zip(tiles, images)] == [True] * 11
        lefts = [tile.get_extent()[0] for tile in tiles]
        assert lefts == sorted(lefts[:columns]) + lefts[columns:]
        assert lefts[columns] == 0
        left, right, bottom, top = tiles[0].get_extent()
        assert (bottom - top) / (right - left) == pytest.approx(6 / 9)
    assert [text.get_text() for text in titled.axes[0].texts] == [f"{k}\nb" for k in range(11)]
    assert plots.contact_sheet(images[:2]).get_figwidth() < 1.5
    plots.write_png(titled, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000


@pytest.mark.parametrize(("background", "colours"), [(0, "gray_r"), (90, "gray")])
def test_ink_is_drawn_on_white_paper(background, colours):
    images = np.full((3, 4, 4), background, np.uint8)
    images[:, 1, 1] = 255
    assert plots.contact_sheet(images).axes[0].images[0].get_cmap().name == colours


def test_the_range_test_marks_its_suggestion_and_cuts_off_divergence(tmp_path):
    rates = np.geomspace(1e-5, 10, 100)
    losses = 2.3 - 1.5 * np.exp(-((np.log10(rates) + 1) ** 2)) + np.where(rates > 1, 1e6 * rates, 0)
    ax = (figure := plots.lr_range_figure(rates, losses, 0.03)).axes[0]
    curve, mark = ax.lines
    assert ax.get_xscale() == "log"
    assert mark.get_xdata() == [0.03, 0.03]
    assert len(curve.get_xdata()) == 100
    low, high = ax.get_ylim()
    assert low < losses.min() < losses[0] < high < 3
    assert [text.get_text() for text in ax.texts] == ["suggested 0.03"]
    plots.write_png(figure, tmp_path / "lr.png")
    assert (tmp_path / "lr.png").stat().st_size > 1000


def test_svg_takes_the_colours_of_the_page():
    text = plots.svg(plots.learning_curves([{"epoch": 1.0, "train_loss": 1.0, "test_loss": 2.0}]))
    assert text.startswith("<svg width=")
    for colour, theme in ((plots._INK, "currentColor"), (plots._MUTED, "var(--muted)"), (plots._GRID, "var(--grid)")):
        assert colour not in text
        assert theme in text


def test_the_style_is_ours_whatever_matplotlib_is_told(tmp_path):
    import matplotlib

    counts = np.array([[5, 1], [2, 5]])
    plots.write_png(plots.confusion_figure(counts, ["$a", "b"]), tmp_path / "one.png")
    with matplotlib.rc_context({"font.size": 20, "image.cmap": "jet", "figure.dpi": 30, "savefig.dpi": 30}):
        plots.write_png(plots.confusion_figure(counts, ["$a", "b"]), tmp_path / "two.png")
        assert matplotlib.rcParams["font.size"] == 20
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(1, 3, "33"), (3, 3, "100"), (198, 199, "99"), (999, 1000, "99.9"), (4999, 5000, "99.98"), (9819, 10_000, "98.19"),
     (59_999, 60_000, ">99.99"), (4998, 4999, ">99.9"), (60_000, 60_000, "100.00")],
)  # fmt: skip
def test_a_share_has_as_many_decimals_as_its_samples_bear(part, whole, text):
    assert plots.percent(part, whole) == text + "\N{NARROW NO-BREAK SPACE}%"


@pytest.mark.parametrize(
    ("name", "text"), [("benign", "benign"), ("a b\n c", "a b c"), ("mean concave points 12", "mean co…s 12")]
)
def test_long_names_keep_both_ends(name, text):
    assert plots.short(name, 12) == text


@pytest.mark.parametrize("low", [1e-9, 0.003, 0.7, 20.0])
@pytest.mark.parametrize("span", [5, 10, 60, 300, 5000, 1e9])
def test_a_logarithmic_axis_has_two_to_eight_ticks(low, span):
    ticks = plots._ticks(low, low * span)
    assert 2 <= len(ticks) <= 8
    assert all(low <= tick <= low * span for tick in ticks)
