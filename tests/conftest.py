"""Fixtures of all tests."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent

# A shell's background job ignores Ctrl-C, and so would the processes that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--nightly", action="store_true", help="also run the tests that take minutes")
    parser.addoption(
        "--rest",
        action="store_true",
        help="leave out what passed in the last run without --rest, and missed no package",
    )


_missed, _done = [], set()  # packages that were looked for in vain, and tests that passed without any
# The last of the importers, which finds nothing.
sys.meta_path.append(
    SimpleNamespace(find_spec=lambda *_: _missed.append(_), find_distributions=lambda _: _missed.append(_) or ())
)


def pytest_runtest_logstart():
    _missed.clear()


def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed and not _missed:
        _done.add(report.nodeid)


def pytest_sessionfinish(session):
    if _done and hasattr(session.config, "cache") and not session.config.getoption("--rest"):
        session.config.cache.set("fastmlp/done", sorted(_done))


def pytest_collection_modifyitems(config, items):
    if config.getoption("--rest"):
        done = set(config.cache.get("fastmlp/done", []))
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in done])
        items[:] = [item for item in items if item.nodeid not in done]
    if not config.getoption("--nightly"):
        skip = pytest.mark.skip(reason="takes minutes; run with --nightly")
        for item in items:
            if "nightly" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def compiled_at_once(request):
    """Compile what the chosen tests will call, if they are marked ``compiles``, at once and on all cores.

    One kernel after another, as tests come to them, would leave all cores but one idle; file after file, workers would
    start anew, for 1.4 CPU seconds each.
    """
    calls = {}
    for item in request.session.items:
        mark = item.get_closest_marker("compiles")
        if mark and not item.get_closest_marker("skip"):
            with suppress(Exception):
                parameters = item.callspec.params if hasattr(item, "callspec") else {}
                calls |= dict.fromkeys(mark.kwargs["calls"](**parameters))  # several tests make some of them

    def attempt(call):
        with suppress(Exception):  # what fails here fails in the test that calls it, too, and in no other
            call()

    if calls:
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"\ncompiling the kernels of {len(calls):,} calls, unless they are in the cache", flush=True)
        import kernels
        from kernels.jit import compile_for, texts_kept, workers

        with pytest.MonkeyPatch.context() as patch, kernels.threads(1), texts_kept():
            patch.setattr(workers, "_LARGE", 0)
            compile_for([partial(attempt, call) for call in calls])


@pytest.fixture(autouse=True)
def whole_teams(monkeypatch):
    """Who asks for threads gets them, however busy the machine is: see ``kernels.team``."""
    if "kernels.team" in sys.modules:
        monkeypatch.setattr("kernels.team._MEASURABLE", math.inf)
    if "kernels.tuning" in sys.modules:
        monkeypatch.setattr("kernels.tuning.PACED_FLOP", 0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def mnist_dir():
    """A directory with the real MNIST: $FASTMLP_DATA, or shared/data/mnist beside the checkout."""
    for place in (os.environ.get("FASTMLP_DATA"), ROOT.parent / "shared" / "data" / "mnist"):
        if place and (Path(place) / "train-images-idx3-ubyte.gz").exists():
            return Path(place)
    pytest.skip("the real MNIST is not on this machine (set FASTMLP_DATA)")


@pytest.fixture(scope="session")
def mnist(mnist_dir):
    from fastmlp.data import load

    return load(str(mnist_dir))


@pytest.fixture(scope="session")
def digits():
    """1,500 synthetic digits to train on and 500 to test."""
    from fastmlp.data.synthetic import load_synthetic

    return load_synthetic(seed=1, n=1500, n_test=500)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def dataset(here, digits):
    """A small .npz to train on, in a working directory of its own."""
    np.savez("digits.npz", X=digits.X, y=digits.y, X_test=digits.X_test, y_test=digits.y_test)
    return "digits.npz"


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """The cache, of data too, is a directory that is not there yet, and no other has MNIST."""
    monkeypatch.setenv("FASTMLP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FASTMLP_DATA", raising=False)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """Kernels that this process has not loaded yet are compiled: no run before this one has kept any."""
    from kernels.jit import cache

    monkeypatch.setenv("FASTMLP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_store", None)
    monkeypatch.setattr(cache, "_warned", False)


@pytest.fixture
def python(tmp_path):
    """Run code, or a module with arguments, in a fresh interpreter, which must end with ``code``, unless that is None.

    Returns the finished process. Its stderr is without the line that kernels are compiled, which depends on the cache;
    ``all_lines`` keeps it.
    """

    def run(*args, code=0, env=None, timeout=240, cwd=None, all_lines=False):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        command = [sys.executable, *(["-c", *args] if len(args) == 1 else args)]
        _missed.extend(word for word in command if "fastmlp" in word)  # what it misses is not seen from here
        result = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=timeout, cwd=cwd or tmp_path
        )
        if not all_lines:
            result.stderr = re.sub(r"^compiling kernels .*\n", "", result.stderr, flags=re.MULTILINE)
        assert code in (None, result.returncode), result.stderr
        return result

    return run


@pytest.fixture
def at_once():
    """What ``function``, which waits for a process, returns of each item, two at a time."""

    def run(function, items):
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(function, items))

    return run


@pytest.fixture
def busy_cores():
    """As many other processes as cores, none of which rests."""
    from kernels.cores import available_cores

    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(available_cores())]
    yield
    for other in others:
        other.kill()
        other.wait()


@pytest.fixture
def command(capsys):
    """Run a command in this process; returns (exit code, stdout, stderr)."""

    def run(verb, *arguments):
        capsys.readouterr()
        code = verb.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def succeeds(capsys):
    """Run a command in this process that must succeed; returns what it printed, ``out`` and ``err``."""

    def run(verb, *arguments):
        capsys.readouterr()
        code = verb.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert code == 0, said
        return said

    return run


@pytest.fixture
def as_json(succeeds):
    """Run a command in this process that must succeed; returns the object that it prints with --json."""
    return lambda verb, *arguments: json.loads(succeeds(verb, *arguments, "--json").out)


@pytest.fixture
def allow_threads(monkeypatch):
    """``allow_threads(n)``: from now on n more threads can be started, as under a limit of processes."""

    def allow(left):
        start, begun = threading.Thread.start, []

        def limited(thread):
            if len(begun) >= left:
                raise RuntimeError("can't start new thread")
            begun.append(thread)
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", limited)

    return allow
