"""The commands as a user meets them: exit codes, one-line errors, what goes to which stream."""

import contextlib
import gc
import gzip
import importlib
import io
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from lines import one_line

import fastmlp
from fastmlp import cli, completion, evaluate, predict, train
from fastmlp.__main__ import VERBS
from fastmlp.__main__ import main as dispatch
from fastmlp.config import TrainConfig
from fastmlp.models.tensor_file import write_tensors
from fastmlp.paths import alone_in
from fastmlp.screen import Screen

ROOT = Path(__file__).resolve().parent.parent

JSON_KEYS = {
    "test_accuracy", "test_loss", "train_loss", "epochs", "steps", "samples", "train_seconds", "ms_per_step",
    "samples_per_second", "compile_seconds", "load_seconds", "gflops", "peak_gflops", "input", "density", "threads",
    "seed", "backend", "dtype", "precision", "weights_sha256", "validation_accuracy", "validation_loss", "best_epoch",
    "ranks",
}  # fmt: skip


def test_train_evaluate_and_predict_agree(dataset, digits, succeeds, as_json):
    out, err = succeeds(train, "--data", dataset, "--epochs", "3", "--json")
    result = json.loads(out)
    assert set(result) == JSON_KEYS
    assert result["input"] == "sparse"
    assert result["peak_gflops"] > 1
    assert "digits: 1,500 training and 500 test samples; network 784-256-10" in err
    assert f"test accuracy {result['test_accuracy']:.2%} after " in err
    assert max(map(len, err.splitlines())) < 80
    assert err.count("epoch ") == 3
    assert "\r" not in err  # not a terminal
    evaluated = as_json(evaluate, "runs/digits/model.npz", "--data", dataset)
    assert (evaluated["test_accuracy"], evaluated["test_loss"]) == (result["test_accuracy"], result["test_loss"])
    assert evaluated["samples"] == 500
    np.savez("new.npz", X=digits.X_test)
    predicted = np.array(succeeds(predict, "runs/digits/model.npz", "new.npz").out.split(), int)
    assert (predicted == digits.y_test).mean() == result["test_accuracy"]
    header, *rows = succeeds(predict, "runs/digits/model.npz", "new.npz", "--proba").out.splitlines()
    assert header == "class,0,1,2,3,4,5,6,7,8,9"
    np.testing.assert_array_equal([int(row.split(",")[0]) for row in rows], predicted)
    assert sum(map(float, rows[0].split(",")[1:])) == pytest.approx(1, abs=1e-4)


def test_the_metrics_file_has_a_line_an_epoch(dataset, succeeds):
    out, err = succeeds(train, "--data", dataset, "--epochs", "2", "--out", "deep/er", "-q")
    assert err == ""
    assert out.startswith("test accuracy ")
    lines = [json.loads(line) for line in Path("deep/er/metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]


def test_the_reference_backend_trains_through_the_same_command(dataset, as_json):
    slow = as_json(train, "--data", dataset, "--steps", "20", "--backend", "reference", "-q")
    fast = as_json(train, "--data", dataset, "--steps", "20", "-q")
    assert slow["peak_gflops"] is None
    assert slow["train_loss"] == pytest.approx(fast["train_loss"], rel=1e-4)


def test_the_notebooks_preset(dataset, succeeds):
    out, err = succeeds(train, "--data", dataset, "--preset", "seed", "--steps", "50", "--json")
    result = json.loads(out)
    assert (result["dtype"], result["steps"], result["samples"]) == ("float64", 50, 50 * 128)
    assert err.count("epoch ") == 1


def test_csv_files_for_training_testing_and_predicting(tmp_path, monkeypatch, digits, succeeds):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTMLP_CACHE", os.environ.get("FASTMLP_CACHE", str(tmp_path / "cache")))
    for name, X, y in (("train.csv", digits.X[:300], digits.y[:300]), ("test.csv", digits.X_test, digits.y_test)):
        table = np.column_stack([y, X])
        np.savetxt(name, table, fmt="%d", delimiter=",", header="label," + "p," * 783 + "p", comments="")
    assert train.main(["--data", "train.csv", "--test", "test.csv", "--epochs", "2", "-q"]) == 0
    assert len(succeeds(predict, "runs/train/model.npz", "test.csv").out.splitlines()) == 500


BAD = {
    "missing data set": (["--data", "mnst"], "mnst: no such file or directory (did you mean mnist? data sets"),
    "missing file": (
        ["--data", "nowhere.csv"], "nowhere.csv: no such file or directory (data sets by name: mnist, synthetic)"
    ),
    "unknown flag": (["--dat", "x"], "unrecognized arguments: --dat x (did you mean --data? --help lists the options)"),
    "no data set": (["--data", ""], "a path is empty; a variable of the shell may not be set"),
    "an address": (
        ["--data", "https://a.b/c.csv"], "https://a.b/c.csv: is an address; download it, and give the file's path"
    ),
    "a dash of a word processor": (["\u2014data", "x"], "(did you mean --data? --help lists the options)"),
    "capitals": (["--activation", "ReLU"], "--activation is 'ReLU'; did you mean relu? it must be one of"),
    "another library's loss": (["--loss", "mse"], "--loss is 'mse'; did you mean squared_error? it must be one of"),
    "a file without its flag": (["a.csv"], "arguments: a.csv (did you mean --data a.csv? --help lists the options)"),
    "another library's flag": (["--max-iter", "3"], "--max-iter 3 (did you mean --epochs? --help lists the options)"),
    "unknown choice": (["--optimizer", "lbfgs"], "--optimizer is 'lbfgs'; it must be one of sgd, momentum"),
    "text for a number": (["--epochs", "many"], "--epochs is 'many'; it must be an integer"),
    "text for a decimal": (["--lr", "fast"], "--lr is 'fast'; it must be a number"),
    "impossible number": (["--batch-size", "0"], "--batch-size is 0; it must be an integer of at least 1"),
    "impossible rate": (["--lr", "nan"], "--lr is nan; it must be positive and finite"),
    "widths": (["--hidden", "256,,3"], "'256,,3' is not a list of widths such as 256 or 256,128"),
    "a wrong value in a file": (["--config", "wrong.toml"], "train: wrong.toml: --lr is 'fast'; it must be a number"),
    "a wrong value beside a file": (["--config", "wrong.toml", "--lr", "nan"], "train: --lr is nan; it must be"),
    "negative width": (["--hidden=-5"], "--hidden is (-5,); every width must be at least 1"),
    "too many threads": (["--threads", "99999"], "--threads is 99999; it must be an integer from 1 to 1024"),
    "both ends": (["--epochs", "1", "--steps", "1"], "--epochs and --steps exclude each other"),
    "unwritable output": (["--out", "/dev/null/runs"], "--out /dev/null/runs: not a directory that can be written to"),
    "output is a file": (["--out", "digits.npz"], "--out digits.npz: not a directory that can be written to"),
    "test of another width": (["--test", "narrow.npz"], "the test set has 3 features, the training set 784"),
    "distorted beyond all": (["--augment-strength", "1e300"], "--augment-strength is 1e+300; it must be from 0 to 100"),
    "damaged data": (["--data", "damaged.csv.gz"], "damaged.csv.gz: the gzip stream ends early; the file is truncated"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_2(dataset, name, command):
    np.savez("narrow.npz", X=np.zeros((4, 3), np.uint8), y=np.zeros(4, int))
    Path("damaged.csv.gz").write_bytes(gzip.compress(b"1,2\n" * 1000)[:-10])
    Path("wrong.toml").write_text("lr = 'fast'\n")
    arguments, message = BAD[name]
    if "--data" not in arguments:
        arguments = ["--data", dataset, *arguments]
    one_line(command(train, *arguments), 2, message)


def test_bad_models_and_inputs_are_one_line(dataset, digits, command):
    assert train.main(["--data", dataset, "--steps", "1", "-q"]) == 0
    np.savez("narrow.npz", X=np.zeros((40, 3), np.uint8), y=np.arange(40) % 4)
    np.savez(
        "labels.npz", X=digits.X[:4], y=np.array([0, 1, 2, 11]), X_test=digits.X[:4], y_test=np.array([0, 1, 2, 11])
    )
    arrays = dict(np.load("runs/digits/model.npz"))

    def rewritten(path, meta=None, **changed):
        """The model with other tensors, and the checksums that go with them."""
        tensors = {name: array for name, array in {**arrays, **changed}.items() if name != "meta" and array is not None}
        header = {key: value for key, value in json.loads(arrays["meta"].tobytes()).items() if key != "sha256"}
        write_tensors(Path(path), header | (meta or {}), tensors)

    rewritten("lost.npz", b1=None)
    rewritten("shape.npz", W1=arrays["W1"][:, :9])
    rewritten("nan.npz", W0=arrays["W0"] * np.nan)
    rewritten("version.npz", {"version": 4})
    rewritten("scale.npz", {"scale": -1.0})
    rewritten("columns.npz", {"columns": ["a", "b"]})
    rewritten("std.npz", mean=np.zeros(784), std=np.zeros(784))
    np.savez("damaged.npz", **{**arrays, "b0": arrays["b0"] + 1})
    np.savez("sparse.npz", indptr=[0, 1], indices=[0], data=[1.0], shape=[1, 784], format=b"csr")
    np.savez("moved.npz", **arrays)
    model = "runs/digits/model.npz"
    for verb, arguments, message in [
        (evaluate, ["nowhere.npz"], "nowhere.npz: no such file"),
        (evaluate, ["moved.npz"], "moved.npz: lies in no run's directory; --data says what to test it on"),
        (evaluate, [dataset, "--data", dataset], "not a fastmlp model"),
        (evaluate, ["lost.npz", "--data", dataset], "b1 is missing or not of 10 finite float32 numbers"),
        (evaluate, ["scale.npz", "--data", dataset], "the input scale is -1.0; it must be positive"),
        (evaluate, ["columns.npz", "--data", dataset], "columns of 2 features for a network of 784 inputs"),
        (evaluate, ["std.npz", "--data", dataset], "std is not positive everywhere"),
        (evaluate, ["damaged.npz", "--data", dataset], "tensor 'b0' does not match its SHA-256"),
        (evaluate, ["shape.npz", "--data", dataset], "do not lead to 10 classes"),
        (evaluate, ["nan.npz", "--data", dataset], "the weights are not all finite"),
        (evaluate, ["version.npz", "--data", dataset], "model format 4; this version reads 2 and 3"),
        (evaluate, [model, "--data", "narrow.npz"], "takes 784 features; narrow.npz has 3"),
        (evaluate, [model, "--data", "labels.npz"], "labels.npz: has class '11', which is none of the 10"),
        (predict, [model, "narrow.npz"], "has 3 features"),
        (
            predict, [model, dataset, "--show", "seen.png"],
            "--show writes what the network sees of images; there is none",
        ),
        (predict, [model, "nowhere.npz"], "nowhere.npz: no such file"),
        (predict, [model, model], "it must hold X or X_test"),
        (
            predict, [model, "sparse.npz"],
            "sparse.npz: is a sparse matrix of SciPy; sklearn.datasets.dump_svmlight_file",
        ),
        (predict, [model, "-"], "-: cannot be read (it is closed)"),
        (predict, [model], "the following arguments are required: FILE"),
    ]:  # fmt: skip
        one_line(command(verb, *arguments), 2, message)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="this system does not call open files /dev/fd")
def test_what_comes_through_a_pipe_is_read_as_the_file_would_be(
    dataset, digits, command, succeeds, as_json, monkeypatch
):
    def piped(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    content = gzip.compress(b"".join(b",".join(b"%d" % value for value in row) + b"\n" for row in digits.X_test[:20]))
    Path("new.csv").write_bytes(content)
    trained = as_json(train, "--data", dataset, "--epochs", "1", "--out", "run", "-q")
    piped(Path(dataset).read_bytes())
    assert as_json(train, "--data", "-", "--epochs", "1", "-q")["weights_sha256"] == trained["weights_sha256"]
    assert Path("runs/stdin/model.npz").exists()
    expected = succeeds(predict, "run", "new.csv").out
    piped(content)
    assert succeeds(predict, "run", "-").out == expected
    piped(content)
    both = succeeds(predict, "run", "-", "new.csv").out.splitlines()
    assert both == [f"{name}\t{label}" for name in ("-", "new.csv") for label in expected.split()]
    piped(b"1,2,3\n")
    one_line(command(predict, "run", "-"), 2, "fastmlp predict: stdin: has 3 ")
    piped(Path(dataset).read_bytes())
    assert as_json(evaluate, "run", "--data", "-")["test_accuracy"] == trained["test_accuracy"]
    piped(b"a,b,label\n" + b"".join(b"%d,%d,%s\n" % (k, k % 7, b"xy"[k % 2 :][:1]) for k in range(60)))
    said = succeeds(train, "--data", "-", "--epochs", "1", "--out", "rows").err
    assert "stdin: column 1, 'a': its numbers count the rows" in said.splitlines()[0]
    assert "fastmlp-" not in said
    reading, writing = os.pipe()
    with open(writing, "wb") as pipe:
        pipe.write(content)  # as much as a pipe holds
    assert succeeds(predict, "run", f"/dev/fd/{reading}").out == expected
    os.close(reading)


def test_a_second_data_set_takes_the_place_of_the_first_and_that_is_said(capsys):
    assert train.main(["--data", "a.csv", "--data", "b.csv"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "--data is given twice; the last counts: b.csv (a directory holds several files)"
    assert "b.csv: no such file" in second


def test_a_diverging_run_exits_with_1(dataset, command):
    one_line(command(train, "--data", dataset, "--lr", "1e30", "-q"), 1, "diverged at step")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_one_line(dataset, tmp_path):
    command = [sys.executable, "-m", "fastmlp.train", "--data", dataset, "--steps", "1", "-q"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "No space left on device" in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_training_goes_on_where_what_it_says_cannot_be_written(dataset, tmp_path):
    command = [sys.executable, "-m", "fastmlp.train", "--data", dataset, "--epochs", "2", "--out", "run"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, text=True, cwd=tmp_path, env=environment)
    assert (result.returncode, result.stdout[:14]) == (0, "test accuracy ")
    assert (tmp_path / "run" / "model.npz").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text on this system")
def test_files_of_any_name_are_found_again(dataset, command, succeeds):
    data = "new\nline \udcff\x1b[2J.npz"  # its bytes are not UTF-8
    shutil.copy(dataset, data)
    told = succeeds(train, "--data", data, "--epochs", "1", "--out", "a run").err
    assert told.startswith(r"new\nline \udcff\x1b[2J: 1,500 training")
    assert "python -m fastmlp.predict 'a run' FILE" in told
    assert r"test samples of new\nline \udcff\x1b[2J" in succeeds(evaluate, "a run").out
    assert command(train, "--config", "a run/config.toml", "--out", "again")[0] == 0


def test_a_dumb_terminal_gets_no_progress_line(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert Screen(0).live
    monkeypatch.setenv("TERM", "dumb")
    assert not Screen(0).live


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("FASTMLP_NUM_THREADS", "abc", "FASTMLP_NUM_THREADS must be an integer from 1 to 1024, not 'abc'"),
        ("NUMBA_DISABLE_JIT", "1", "NUMBA_DISABLE_JIT is set"),
    ],
)
def test_a_wrong_environment_is_one_line(dataset, python, variable, value, message):
    result = python("-m", "fastmlp.train", "--data", dataset, "--steps", "1", code=2, env={variable: value})
    one_line((result.returncode, result.stdout, result.stderr), 2, message)


def test_every_flag_that_has_a_default_shows_it():
    """Of the options but switches, and but those whose default goes by the others."""
    parts, seen = [" ".join(part.split()) for part in train.parser().format_help().split("\n  --")], 0
    for option in fields(TrainConfig):
        flag, default = f"{option.name.replace('_', '-')} ", option.default
        if default is not None and not isinstance(default, bool) and any(part.startswith(flag) for part in parts):
            text = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
            assert any(part.startswith(flag) and f"(default {text})" in part for part in parts), flag
            seen += 1
    assert seen > 15


def test_the_verbs_under_one_name(capsys):
    assert dispatch([]) == 2
    assert dispatch(["fly"]) == 2
    assert "unknown verb 'fly'; the verbs are train, evaluate, predict" in capsys.readouterr().err
    assert dispatch(["trian"]) == 2
    assert "unknown verb 'trian'; did you mean train? the verbs are" in capsys.readouterr().err
    assert dispatch(["evaluate", "nowhere.npz"]) == 2
    capsys.readouterr()
    assert dispatch(["--version"]) == 0
    assert capsys.readouterr().out == f"fastmlp {fastmlp.__version__}\n"
    assert dispatch(["--help"]) == 0
    listing = capsys.readouterr().out
    assert all(f"\n  {verb} " in listing for verb in VERBS)


def test_a_program_that_calls_a_command_keeps_its_way_of_showing_warnings():
    before = warnings.showwarning
    assert dispatch(["evaluate", "nowhere.npz"]) == 2
    assert warnings.showwarning is before


def test_ctrl_c_saves_a_checkpoint_and_exits_with_130(dataset, tmp_path):
    command = [sys.executable, "-m", "fastmlp.train", "--data", dataset, "--epochs", "100000", "--out", "run"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        for line in process.stderr:
            if line.startswith("epoch"):
                break
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert time.monotonic() - start < 5  # 0.1 s on an idle machine
    assert process.returncode == 130
    assert "interrupted; the run so far is in run/checkpoint.npz, and --resume run goes on" in rest
    assert "Traceback" not in rest
    assert fastmlp.load_model(tmp_path / "run" / "checkpoint.npz").network.sizes == (784, 256, 10)


def test_ctrl_c_waits_for_the_end_of_an_import(tmp_path, monkeypatch, capsys):
    """Amid one it left the lock of imports held, for which other threads waited for ever; or NumPy had a traceback."""
    (tmp_path / "interrupted.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nwhole = True\n")
    monkeypatch.syspath_prepend(tmp_path)

    @cli.command("wait")
    def wait(argv):
        importlib.import_module("interrupted")
        time.sleep(60)

    start = time.monotonic()
    assert wait([]) == 130
    assert time.monotonic() - start < 30
    assert sys.modules["interrupted"].whole
    assert capsys.readouterr().err == "fastmlp wait: interrupted\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class Cycle:
    def __init__(self):
        self.itself = self


def test_a_program_that_trains_keeps_its_level_of_messages_and_its_garbage_can_be_freed(dataset):
    logger, cycle = logging.getLogger("fastmlp"), Cycle()
    level, found = logger.level, weakref.ref(cycle)
    assert train.main(["--data", dataset, "--steps", "1", "-q"]) == 0
    del cycle
    gc.collect()
    assert (logger.level, found()) == (level, None)


class FullStream(io.StringIO):
    def write(self, text):
        raise OSError("no space left")


def test_a_program_may_call_a_command_in_any_thread_and_with_a_stderr_that_fails(dataset, monkeypatch):
    closed = io.StringIO()
    closed.close()
    for stream in (closed, FullStream()):
        monkeypatch.setattr(sys, "stderr", stream)
        with ThreadPoolExecutor() as pool:
            assert pool.submit(train.main, ["--data", dataset, "--steps", "1", "--out", "run"]).result() == 0


def test_an_error_that_is_none_of_stdout_leaves_a_program_its_stdout(python):
    code = (
        "from fastmlp import cli\n"
        "def fails(argv): raise OSError('elsewhere')\n"
        "assert cli.command('fail')(fails)([]) == 1\n"
        "print('here')"
    )
    assert python(code).stdout == "here\n"


@pytest.mark.parametrize(("columns", "encoding"), [(40, "utf-8"), (80, "utf-8"), (200, "ascii")])
def test_lines_on_a_terminal_fit_its_width_and_encoding(dataset, tmp_path, columns, encoding):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    parent, child = pty.openpty()
    termios.tcsetwinsize(child, (24, columns))
    command = [sys.executable, "-m", "fastmlp.train", "--data", dataset, "--epochs", "40", "--patience", "40"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(command, stderr=child, stdout=subprocess.PIPE, cwd=tmp_path, env=environment)
    os.close(child)
    shown = b""
    with contextlib.suppress(OSError):  # Linux's way to say that the other side has closed
        while piece := os.read(parent, 4096):
            shown += piece
    out, _ = process.communicate(timeout=60)
    os.close(parent)
    assert process.returncode == 0
    moving = [line for line in re.split(r"\r\x1b\[K|\r\n", shown.decode(encoding)) if "left" in line]
    epochs = [line for line in re.split(r"\r\x1b\[K|\r\n", shown.decode(encoding)) if line.startswith("epoch")]
    assert moving
    assert len(epochs) == 40
    assert max(map(len, moving + epochs)) < columns
    assert all("step" in line and line[0] in ("#-" if encoding == "ascii" else "━╌") for line in moving)
    assert all("test" in line and "validation" in line for line in epochs) or columns == 40
    assert out.startswith(b"test accuracy")


def test_a_directory_has_one_run_at_a_time(dataset, command, succeeds):
    run = ["--data", dataset, "--epochs", "2", "--out", "run"]
    Path("run").mkdir()
    with alone_in(Path("run")):
        one_line(command(train, *run), 2, "run: another run is writing there; wait for its end, or give --out another")
        assert not any(Path("run").iterdir())
    succeeds(train, *run)
    succeeds(train, "--resume", "run")


def test_a_run_that_is_replaced_finished_or_made_longer_says_so(dataset, capsys, succeeds, as_json):
    run = ["--data", dataset, "--epochs", "2", "--schedule", "constant", "--out", "run"]
    assert "replaced" not in succeeds(train, *run).err
    assert "the run that was in run is replaced" in succeeds(train, *run).err
    before = {path.name: path.read_bytes() for path in Path("run").iterdir()}
    assert train.main([*run, "--hidden", "3", "--init-from", "run"]) == 2  # which is found out when all is prepared
    assert "replaced" not in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in Path("run").iterdir()} == before
    finished = "the run is finished, after step 24; more --epochs or --steps train longer"
    assert finished in succeeds(train, "--resume", "run").err
    longer = as_json(train, "--resume", "run", "--epochs", "3")
    assert as_json(train, *run[:2], "--epochs", "3", *run[4:-1], "other")["weights_sha256"] == longer["weights_sha256"]
    assert as_json(train, "--resume", "run")["epochs"] == 3  # its config.toml says 3 epochs now


TYPED = {
    "tr": "train",
    "train --optimizer adam": "adam adamw",
    "train --optim": "--optimizer",
    "evaluate runs/mnist --da": "--data",
    "completion f": "fish",
}


@pytest.mark.parametrize("typed", TYPED)
@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_a_shell_completes_commands_options_and_values(shell, typed, tmp_path, capsys):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert completion.main([shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    words = f"COMP_WORDS=(fastmlp {typed}); COMP_CWORD={len(typed.split())}"
    asking = {
        "bash": f'source {script}; {words}; _fastmlp; echo "${{COMPREPLY[*]}}"',
        "fish": f"source {script}; complete -C 'fastmlp {typed}'",
    }[shell]
    result = subprocess.run(
        [shell, "-c", asking], capture_output=True, text=True, env=os.environ | {"HOME": str(tmp_path)}
    )
    assert result.stderr == ""
    answers = [line.split("\t")[0] for line in result.stdout.splitlines()]
    assert " ".join(answers) == TYPED[typed]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_takes_the_completion_script(tmp_path, capsys):
    assert completion.main(["zsh"]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    asking = f"autoload -Uz compinit; compinit -u -d {tmp_path}/dump; source {script}; print $_comps[fastmlp]"
    result = subprocess.run(
        ["zsh", "-fc", asking], capture_output=True, text=True, env=os.environ | {"HOME": str(tmp_path)}
    )
    assert (result.stderr, "_fastmlp" in result.stdout) == ("", True)


# A system with what Windows has of what the packages ask for; libraries keep what they found when they were imported.
LESS = """
import concurrent.futures, multiprocessing, os, random, subprocess, sys, tempfile
import numba
for name in ("fork", "register_at_fork", "sched_getaffinity", "preadv", "sysconf", "O_NONBLOCK", "O_DIRECTORY"):
    if hasattr(os, name):
        delattr(os, name)
sys.modules.update(dict.fromkeys(("fcntl", "termios", "resource"), None))
from fastmlp import predict, train
sys.exit(train.main(sys.argv[1:]) or predict.main(["run", "new.npz"]))
"""


def test_a_network_is_trained_and_used_where_a_system_has_less_than_linux(python, dataset, tmp_path):
    np.savez(tmp_path / "new.npz", X=np.zeros((2, 784), np.uint8))
    (tmp_path / "less.py").write_text(LESS)
    result = python(str(tmp_path / "less.py"), "-q", "--data", dataset, "--steps", "3", "--out", "run")
    assert len(result.stdout.splitlines()) == 3
