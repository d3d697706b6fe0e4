"""Kills and full disks at every instant: a checkpoint is always whole, and the run goes on from it to the same bits."""

import builtins
import contextlib
import io
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp import paths, train
from fastmlp.paths import CHECKPOINT, atomic_write
from fastmlp.train import CONFIG, MODEL, REPORTS
from fastmlp.training import loop
from fastmlp.training.metrics import read_metrics

PREVIOUS = "checkpoint-previous.npz"
OPTIONS = ["--data", "data.npz", "--hidden", "3", "--batch-size", "20", "--optimizer", "adam", "--dropout", "0.2"]
RUN = [*OPTIONS, "--steps", "3", "--checkpoint-seconds", "0", "--threads", "1"]  # a checkpoint after each step

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture(autouse=True)
def place(here, monkeypatch, rng):
    """A directory with a little data, where every step is a chunk of its own, and no time is spent on the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(loop, "_CHUNK_SECONDS", 1e-9)
    X, y = rng.integers(0, 256, (60, 6)).astype(np.uint8), np.arange(60) % 3
    np.savez("data.npz", X=X[:40], y=y[:40], X_test=X[40:], y_test=y[40:])
    return here


def command(capsys, *arguments):
    """(exit code, the lines of stderr) of a train command."""
    code = train.main(["-q", *arguments])
    return code, capsys.readouterr().err.splitlines()


def outcome(directory):
    """All of a finished run that must not depend on its stops; nothing temporary may be left."""
    directory = Path(directory)
    left = {CONFIG, REPORTS, MODEL, CHECKPOINT, PREVIOUS}
    assert {path.name for path in directory.iterdir()} <= left
    lines = (directory / REPORTS).read_text().splitlines()
    reports = [{**json.loads(line), "seconds": 0, "samples_per_second": 0} for line in lines]
    weights = [fastmlp.load_model(directory / name).weights_sha256() for name in (MODEL, CHECKPOINT)]
    return weights, reports


class Instants:
    """The distinct states of a directory while something writes there: what a process killed at each leaves behind.

    As a kill takes nothing back that the kernel was told, they are the files after every system call, and after half of
    each write. Also holds the writer to what a power failure demands: data on disk before the name, then the name.
    """

    def __init__(self, directory, patch):
        self.directory, self.states = Path(directory), []
        self.unflushed, self.renamed = set(), 0
        self._see()
        wrapped = self._open(open)
        for module in (builtins, io):  # pathlib's is the latter
            patch.setattr(module, "open", wrapped)
        patch.setattr(os, "fsync", self._fsync(os.fsync))
        patch.setattr(os, "replace", self._replace(os.replace))
        for name in ("unlink", "rename", "truncate", "link"):
            patch.setattr(os, name, self._then_see(getattr(os, name)))

    def _see(self):
        state = {path.name: path.read_bytes() for path in sorted(self.directory.glob("*")) if path.is_file()}
        if not self.states or state != self.states[-1]:
            self.states.append(state)

    def _then_see(self, call):
        def wrapped(*arguments, **options):
            result = call(*arguments, **options)
            self._see()
            return result

        return wrapped

    def _open(self, original):
        instants = self

        class Raw(io.FileIO):
            def write(self, data):
                half = len(data) // 2
                for part in (data[:half], data[half:]):
                    assert super().write(part) == len(part)
                    instants.unflushed.add(os.fspath(self.name))
                    instants._see()
                return len(data)

        def wrapped(file, mode="r", buffering=-1, encoding=None, *arguments, **options):
            if not set(mode) & set("wxa") or isinstance(file, int) or Path(file).parent != self.directory:
                return original(file, mode, buffering, encoding, *arguments, **options)
            stream = io.BufferedWriter(Raw(file, mode.replace("b", "")))
            self._see()
            return stream if "b" in mode else io.TextIOWrapper(stream, encoding=encoding)

        return wrapped

    def _fsync(self, original):
        def wrapped(descriptor):
            original(descriptor)
            name = os.readlink(f"/proc/self/fd/{descriptor}")
            self.unflushed = {path for path in self.unflushed if os.path.abspath(path) != name}
            if os.path.isdir(name):
                self.renamed = 0

        return wrapped

    def _replace(self, original):
        see = self._then_see(original)

        def wrapped(source, target):
            assert os.fspath(source) not in self.unflushed
            self.renamed += 1
            return see(source, target)

        return wrapped


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system has no /proc/self/fd")


def instants_of(patch, directory, *arguments):
    """The states that the command goes through."""
    Path(directory).mkdir(exist_ok=True)
    with patch.context() as during:
        instants = Instants(directory, during)
        assert train.main(["-q", *arguments]) == 0
    assert instants.renamed == 0
    return instants.states


def told_apart(states):
    """Of states that differ in a half-written file alone four: without it, empty, in its midst, and whole."""

    def finished(state):
        return {name: content for name, content in state.items() if not name.endswith(".tmp")}

    groups = [list(group) for _, group in itertools.groupby(states, finished)]
    return [group[k] for group in groups for k in sorted({0, 1, len(group) // 2, len(group) - 1}) if k < len(group)]


def restored(state, directory):
    Path(directory).mkdir()
    for name, content in state.items():
        Path(directory, name).write_bytes(content)
    return directory


@needs_proc
@pytest.mark.slow
def test_a_run_goes_on_from_every_instant(capsys, monkeypatch):
    """Or, where its options were not yet on disk, is not there at all."""
    states = instants_of(monkeypatch, "run", *RUN, "--out", "run")
    expected, begun, seen = outcome("run"), False, set()
    assert len(states) > 100
    for k, state in enumerate(told_apart(states)):
        place = restored(state, f"killed-{k}")
        seen |= {name.rpartition("-")[0] if name.endswith(".tmp") else name for name in state}
        begun |= CONFIG in state
        assert (CONFIG in state) == begun
        for name in state.keys() & {CHECKPOINT, PREVIOUS, MODEL}:
            fastmlp.load_model(f"{place}/{name}")
        if REPORTS in state:
            read_metrics(Path(place, REPORTS))
        resumed = command(capsys, "--resume", place)
        if begun:
            assert resumed == (0, [])
        else:
            assert resumed == (2, [f"fastmlp train: --resume {place}: no run to go on with (it has no config.toml)"])
            assert command(capsys, *RUN, "--out", place) == (0, [])
        assert outcome(place) == expected
    written = {CONFIG, REPORTS, MODEL, CHECKPOINT}
    assert seen == written | {PREVIOUS} | {f".{name}" for name in written}


@needs_proc
def test_a_run_in_the_place_of_another_is_never_a_mixture_of_both(capsys, monkeypatch):
    other = [*RUN, "--lr", "0.5"]
    assert command(capsys, *other, "--out", "run") == (0, [])
    former = outcome("run")
    states = instants_of(monkeypatch, "run", *RUN, "--out", "run")
    latter, found = outcome("run"), []
    begun = next(k for k, state in enumerate(states) if state.get(CONFIG, former) not in (former, states[0][CONFIG]))
    for k, state in enumerate(states[: begun + 2]):
        place = restored(state, f"killed-{k}")
        code, _ = command(capsys, "--resume", place)
        found.append(outcome(place) if code == 0 else None)
    assert [former, None, latter] == [one for k, one in enumerate(found) if k == 0 or one != found[k - 1]]


@needs_proc
def test_a_damaged_checkpoint_never_takes_the_place_of_the_whole_one_before(capsys, monkeypatch):
    """Damage first, and then a kill while the run that went on saves."""
    assert command(capsys, *RUN, "--out", "whole") == (0, [])
    states = instants_of(monkeypatch, "run", *RUN, "--out", "run")
    state = [state for state in states if MODEL not in state and {CHECKPOINT, PREVIOUS} <= state.keys()][-1]
    restored(state | {CHECKPOINT: state[CHECKPOINT][:-100]}, "damaged")
    states = instants_of(monkeypatch, "damaged", "--resume", "damaged")
    until = next(k for k, state in enumerate(states) if k and {CHECKPOINT, PREVIOUS} <= state.keys())
    assert until > 10
    capsys.readouterr()
    expected = outcome("whole")
    for k, state in enumerate(told_apart(states[: until + 1])):
        code, lines = command(capsys, "--resume", restored(state, f"killed-{k}"))
        assert (code, len(lines)) == (0, k == 0)
        assert outcome(f"killed-{k}") == expected


def forked(action, log):
    """The id of a child that runs ``action`` and exits with its result; what it says is in ``log``."""
    child = os.fork()
    if child == 0:
        try:
            sys.stdout = sys.stderr = open(log, "w", buffering=1)  # noqa: SIM115
            os._exit(action())
        except BaseException:
            traceback.print_exc()
            os._exit(99)
    return child


def exit_code(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    "kills", [pytest.param(6, marks=pytest.mark.slow), pytest.param(300, marks=pytest.mark.nightly)]
)
def test_kills_at_random_instants_leave_no_trace(kills, capsys):
    """Again and again in one run until it is done, then in the next; however fast the machine, as many kills."""
    options = [*RUN, "--steps", "200"]
    assert command(capsys, *options, "--out", "whole") == (0, [])
    expected, draw, runs = outcome("whole"), random.Random(3), 0
    while kills:
        out = f"run-{runs}"
        arguments = ["--resume", out] if Path(out, CONFIG).exists() else [*options, "--out", out]
        child = forked(lambda arguments=arguments: train.main(["-q", *arguments]), "log")
        time.sleep(draw.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        code = exit_code(child)
        assert code in (0, -signal.SIGKILL), Path("log").read_text()
        if code == 0:
            assert outcome(out) == expected
            runs += 1
        else:
            kills -= 1
    if Path(out, CONFIG).exists():
        assert command(capsys, "--resume", out) == (0, [])
        assert outcome(out) == expected


# -- a full disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(monkeypatch):
    """A run that was killed when it had two checkpoints."""
    states = instants_of(monkeypatch, "whole", *RUN, "--out", "whole")
    return restored(next(state for state in states if {CHECKPOINT, PREVIOUS} <= state.keys()), "run")


def with_file_size(limit, *arguments):
    """(exit code, the lines of its output) of a train command that can write files of ``limit`` bytes at most."""
    resource = pytest.importorskip("resource")

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        return train.main(["-q", *arguments])

    read, write = os.pipe()  # which has no limit
    os.set_inheritable(write, True)
    child = forked(limited, f"/proc/self/fd/{write}")
    os.close(write)
    with open(read) as output:
        lines = output.read().splitlines()
    return exit_code(child), lines


@needs_fork
@needs_proc
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("part", [0, 0.01, 0.5, 0.999])
def test_a_disk_that_is_full_is_one_line_and_the_run_goes_on_when_there_is_space(stopped, part, capsys):
    whole = Path(stopped, CHECKPOINT).stat().st_size
    before = {name: Path(stopped, name).read_bytes() for name in (CONFIG, CHECKPOINT, PREVIOUS)}
    code, lines = with_file_size(int(part * whole), "--resume", stopped)
    assert (code, len(lines)) == (1, 1), lines
    name = REPORTS if part < 0.1 else CHECKPOINT
    assert lines[0] == (
        f"fastmlp train: {stopped}/{name}: cannot be written (File too large); "
        f"the last finite state is in {stopped}/{CHECKPOINT}"
    )
    assert {path.name for path in Path(stopped).iterdir()} == {*before, REPORTS}
    assert {name: Path(stopped, name).read_bytes() for name in before} == before
    assert command(capsys, "--resume", stopped) == (0, [])
    assert outcome(stopped) == outcome("whole")


@needs_fork
@needs_proc
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_run_that_cannot_write_its_options_does_not_begin():
    code, lines = with_file_size(100, *RUN, "--out", "run")
    assert (code, lines) == (1, ["fastmlp train: run/config.toml: cannot be written (File too large)"])
    assert not list(Path("run").iterdir())


@contextlib.contextmanager
def file_system(directory, pages):
    """A file system of so many pages in ``directory``, and a function that gives it more."""
    Path(directory).mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={4096 * pages}", "tmpfs", str(directory)]
    try:
        made = subprocess.run(mount, capture_output=True)
    except OSError as error:
        pytest.skip(f"no mount ({error})")
    if made.returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield lambda pages: subprocess.run(["mount", "-o", f"remount,size={4096 * pages}", str(directory)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@pytest.mark.parametrize("pages", range(5, 13))
def test_a_file_system_that_fills_up(pages, capsys, tmp_path):
    """At its first page of a checkpoint, in the midst of one, at the metrics ..."""
    options = [*RUN, "--hidden", "200"]  # a checkpoint is five pages
    assert command(capsys, *options, "--out", "whole") == (0, [])
    size = Path("whole", CHECKPOINT).stat().st_size
    with file_system(tmp_path / "disk", pages) as resize:
        code, lines = command(capsys, *options, "--out", "disk")
        assert (code, len(lines)) == (1, 1)
        assert "(No space left on device)" in lines[0], size
        assert not list(Path("disk").glob(".*"))
        resize(100)
        assert command(capsys, "--resume", "disk") == (0, [])
        assert outcome("disk") == outcome("whole")


# -- files written whole or not at all -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.npz", "model[1]*.npz"])
def test_what_a_killed_process_left_is_deleted_by_the_next_write_and_what_is_being_written_is_not(tmp_path, name):
    path = tmp_path / name
    other = tmp_path / f".another-{name}-0123abcd.tmp"
    for leftover in (tmp_path / f".{name}-0123abcd.tmp", other):
        leftover.write_bytes(b"half")
    with atomic_write(path) as first:
        first.write(b"first")
        with atomic_write(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert sorted(tmp_path.glob(".*")) == [other]


def test_files_get_the_permissions_that_the_user_asked_for_and_other_threads_files_too(tmp_path, monkeypatch):
    """The umask is the process's: changed for an instant it is changed for whatever other threads create."""
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", None)
        with atomic_write(tmp_path / "file"):
            pass
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("error", [FileNotFoundError, BlockingIOError])
def test_a_file_that_another_process_takes_for_a_leftover_is_begun_anew(tmp_path, monkeypatch, error):
    """In the instant before it is locked: the other has deleted it, or is about to."""
    locked, taken = paths._locked, []

    def lock(path):
        if not taken:
            taken.append(path)
            path.unlink()
            raise error
        return locked(path)

    monkeypatch.setattr(paths, "_locked", lock)
    folder = tmp_path / "folder"
    folder.mkdir()
    with atomic_write(folder / "file") as file:
        file.write(b"whole")
    assert (folder / "file").read_bytes() == b"whole"
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert taken
