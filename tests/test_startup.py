"""What a start waits for: modules that a warm process does not import."""

import json
import logging

import numpy as np
import pytest

# What only compiling, downloading, a mistyped option, a run over several seeds, or a table needs.
_RARELY = (
    "scipy.linalg", "numba.np.linalg", "http.client", "urllib.request", "ssl", "difflib", "statistics",
    "fastmlp.tables.columns", "fastmlp.tables.ensemble", "fastmlp.tables.kinds", "fastmlp.tables.texts",
)  # fmt: skip

_IMPORTED = """
import sys
from fastmlp.{verb} import main
assert main(sys.argv[1:]) == 0
print([name for name in {names!r} if name in sys.modules], file=sys.stderr)
"""


@pytest.fixture(scope="module")
def run_of_images(tmp_path_factory):
    """(images.npz, the directory of a run on it); every kernel that the run calls is in the cache."""
    from fastmlp.train import main

    place = tmp_path_factory.mktemp("startup")
    rng = np.random.default_rng(0)
    data = {"X": rng.integers(0, 256, (300, 8, 8)).astype(np.uint8), "y": rng.integers(0, 3, 300)}
    np.savez(place / "images.npz", **data)
    assert main(["--data", str(place / "images.npz"), "--epochs", "1", "--out", str(place / "run"), "-q"]) == 0
    return place / "images.npz", place / "run"


def imported(python, verb, *arguments, names=_RARELY):
    """Those of ``names`` that the command has imported when it ends."""
    result = python("-c", _IMPORTED.format(verb=verb, names=names), *map(str, arguments))
    return result.stderr.splitlines()[-1]


def test_a_warm_run_imports_only_what_it_needs(python, run_of_images, tmp_path):
    data, _ = run_of_images
    arguments = ("--data", data, "--epochs", "1", "--out", tmp_path / "run", "-q")
    imported(python, "train", *arguments)  # its own cache may lack what the fixture's process had compiled already
    assert imported(python, "train", *arguments) == "[]"


def test_a_warm_evaluation_imports_only_what_it_needs(python, run_of_images):
    data, run = run_of_images
    imported(python, "evaluate", run / "model.npz", "--data", data)
    assert imported(python, "evaluate", run / "model.npz", "--data", data) == "[]"


@pytest.mark.parametrize("proba", [[], ["--proba"]])
def test_one_sample_is_predicted_without_numba(python, run_of_images, tmp_path, proba):
    data, run = run_of_images
    with np.load(data) as arrays:
        np.savez(tmp_path / "one.npz", X=arrays["X"][:1])
    arguments = (run / "model.npz", tmp_path / "one.npz", *proba)
    assert imported(python, "predict", *arguments, names=("numba", "scipy", "llvmlite", *_RARELY)) == "[]"


def test_a_command_ends_without_a_last_search_for_garbage(python):
    """In all that Numba has made it takes a fifth of a warm run."""
    code = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count() > 0))
from fastmlp.train import main
assert gc.get_freeze_count() == 0 and main(["--epochs", "none"]) == 2 and gc.get_freeze_count() == 0
"""
    assert python("-c", code).stdout == "True\n"


FEW = """
import sys
import fastmlp, numpy as np
model = fastmlp.load_model(sys.argv[1])
X = np.load(sys.argv[2])["X"].reshape(300, 64)
few = {method: [getattr(model, method)(X[rows]) for rows in (slice(1), slice(3))] \
for method in ("predict", "predict_proba")}
assert "numba" not in sys.modules
for one, three in few.values():
    assert (three[:1] == one).all()
for method, (_, three) in few.items():
    all = getattr(model, method)(X.repeat(50, 0))[::50]
    assert "numba" in sys.modules
    # The probabilities of a softmax differ by as much as twice its logits, each a sum of 8 terms of sums of 64.
    assert (abs(all[:3] - three) <= 2 * 75 * np.finfo(np.float32).eps * 8).all(), abs(all[:3] - three)
    assert (getattr(model, method)(X[:3]) == all[:3]).all()
"""


def test_few_rows_are_predicted_in_numpy_by_a_process_that_has_not_loaded_the_kernels(python, run_of_images):
    data, run = run_of_images
    python("-c", FEW, str(run / "model.npz"), str(data))


OFTEN = """
import sys
import fastmlp, numpy as np
model = fastmlp.load_model(sys.argv[1])
x = np.zeros((1, 64), np.uint8)
for _ in range(2**23 // model.network.params.size):
    model.predict(x)
assert "numba" not in sys.modules
model.predict(x)
assert "numba" in sys.modules
"""


def test_a_process_that_predicts_row_after_row_loads_the_kernels(python, run_of_images):
    _, run = run_of_images
    python("-W", "ignore", "-c", OFTEN, str(run / "model.npz"))


def test_the_names_of_kernels_are_all_there_whatever_was_imported_first(python):
    code = """
import sys, kernels
kernels.Network((2, 3)), kernels.reference.mlp_forward, kernels.get_num_threads()
assert not {"numba", "llvmlite"} & set(sys.modules)
assert dir(kernels) == sorted([*kernels.__all__, "__version__"])
import kernels.csr_matrix, kernels.losses
assert callable(kernels.csr) and {kind.output for kind in kernels.LOSSES.values()} == set(kernels.network.OUTPUTS)
assert max(make().slots for make in kernels.RULES.values()) == kernels.network._MOST_SLOTS
from kernels import *
from kernels.simd import *
from kernels import simd
assert tile_zeros is simd.tile_zeros and "tile_zeros" in dir(simd) and set(simd.__all__) <= set(dir(simd))
for module in kernels, simd:
    for name in module.__all__:
        assert getattr(module, name) is globals()[name]
    try:
        module.unheard_of
    except AttributeError as error:
        assert "unheard_of" in str(error)
    else:
        raise AssertionError
"""
    python(code)


WAITED = """
from kernels import jit

@jit.kernel
def double(x):
    return 2 * x

jit._PATIENCE_SECONDS = -1
assert double(2) == 4 and double(2.0) == 4
"""


SAID = "compiling kernels for this kind of network and data, usually for 3 to 15 s; they are {}"


def test_who_waits_long_for_compilation_is_told_once(python, tmp_path):
    """Two kinds of arguments are compiled for."""
    env = {"FASTMLP_CACHE": str(tmp_path / "cache")}
    result = python("-W", "ignore", "-c", WAITED, env=env, all_lines=True)
    assert result.stderr == SAID.format("kept for the next time") + "\n"


@pytest.mark.filterwarnings("ignore:fastmlp kernels. kernels are compiled anew in each process:RuntimeWarning")
@pytest.mark.parametrize(
    ("patience", "level", "cache", "said"),
    [
        (1e9, logging.NOTSET, "cache", []),
        (-1, logging.NOTSET, "cache", [SAID.format("kept for the next time")]),
        (-1, logging.NOTSET, "file", [SAID.format("not kept")]),
        (-1, logging.ERROR, "cache", []),
    ],
)
def test_an_application_that_configures_logging_is_told_there(
    empty_cache, monkeypatch, tmp_path, caplog, capfd, patience, level, cache, said
):
    """Pytest is one; its handlers are the root logger's."""
    from kernels import jit

    (tmp_path / "file").touch()
    monkeypatch.setenv("FASTMLP_CACHE", str(tmp_path / cache))
    monkeypatch.setattr(jit, "_PATIENCE_SECONDS", patience)
    monkeypatch.setattr(jit, "_told", False)
    caplog.set_level(level, "fastmlp")

    @jit.kernel
    def double(x):
        return 2 * x

    assert (double(2), double(2.0)) == (4, 4)
    assert caplog.record_tuples == [("fastmlp", logging.WARNING, line) for line in said]
    assert capfd.readouterr().err == ""


# Nobody goes on before the message is there.
WAITING = """
import threading
from kernels import jit
jit._PATIENCE_SECONDS = 0.2
said, tell, save = threading.Event(), jit._tell, jit._Kept.save

def note():
    tell()
    said.set()

def wait(*args):
    assert said.wait(60)
    save(*args)

jit._tell, jit._Kept.save = note, wait

@jit.kernel
def double(x):
    return 2 * x
"""
LOCKED = """
import fcntl
lock = open(jit.store().directory / "lock", "wb")
fcntl.flock(lock, fcntl.LOCK_EX)
threading.Thread(target=lambda: (said.wait(60), lock.close())).start()
"""


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        (
            "",
            "compiling kernels for this kind of network and data, usually for 3 to 15 s; "
            "they are kept for the next time",
        ),
        (LOCKED, "another process is compiling kernels; this one waits for them, usually for 3 to 15 s"),
    ],
    ids=["one long kernel", "another process"],
)
def test_who_waits_is_told_while_waiting(python, tmp_path, lock, said):
    code = WAITING + lock + "assert double(2) == 4"
    result = python("-W", "ignore", "-c", code, env={"FASTMLP_CACHE": str(tmp_path / "cache")}, all_lines=True)
    assert result.stderr == f"{said}\n"


def test_kernels_for_another_cpu_are_told_from_those_of_other_versions(python, tmp_path, monkeypatch):
    """As where a container's image was made on another machine."""
    from kernels.jit.cache import Store

    env = {"FASTMLP_CACHE": str(tmp_path / "cache")}
    monkeypatch.setenv("FASTMLP_CACHE", env["FASTMLP_CACHE"])
    here = Store().directory
    software, cpu = here.name[:12], here.name.partition("-")[2]
    there = python("-c", WAITED, env=env | {"NUMBA_CPU_NAME": "core2"}, all_lines=True)
    assert there.stderr.endswith(f"; those in the cache are for another CPU, {cpu}\n")
    assert {path.name[:12] for path in here.parent.iterdir()} == {software}
    (other,) = set(here.parent.iterdir()) - {here}
    for file in list(other.glob("*.kernel"))[1:]:  # one is left, as where machines of two kinds share a home directory
        file.unlink()
    again = python("-c", WAITED, env=env | {"NUMBA_CPU_NAME": "core2"}, all_lines=True)
    assert again.stderr.endswith("; they are kept for the next time\n")
    doctor = python("-m", "fastmlp.doctor", "--json", code=None, env=env)
    findings = json.loads(doctor.stdout)["findings"]
    (lost,) = (each for each in findings if "another CPU" in each["text"])
    assert (lost["topic"], lost["values"]["cpu"]) == ("cache", "core2")
    (stale,) = (each for each in findings if each["topic"] == "stale")
    assert stale["level"] == "ok"


@pytest.mark.parametrize("quiet", [True, False])
def test_a_quiet_run_does_not_say_that_it_compiles(quiet):
    from fastmlp.screen import hushed

    with hushed(quiet):
        assert logging.getLogger("fastmlp").isEnabledFor(logging.WARNING) is not quiet
