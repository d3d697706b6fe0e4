"""Kernels of the user's own: compiled under the policy, kept, never stale, run on the team."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
from numba import njit, types
from numba.core.errors import TypingError
from numba.core.serialize import dumps

import kernels
from kernels import jit, raw
from kernels.intrinsics import atomic_add, atomic_load, yield_core
from kernels.jit.dependencies import kernel_text
from kernels.team import _claiming

ROOT = Path(__file__).resolve().parent.parent


@kernels.kernel
def scaled(part, parts, X, result):
    """result = 3 X, by blocks, and how many blocks have been; refuses NaN."""
    for i in range(part * X.size // parts, (part + 1) * X.size // parts):
        if np.isnan(X[i]):
            raise ValueError("X has a NaN")
        result[i] = 3 * X[i]


@kernels.kernel
def doubled(x):
    return 2 * x


@pytest.fixture
def X(rng):
    return rng.standard_normal(101)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("parts", [1, 2, 7, 200])
def test_every_part_runs_once_with_the_number_of_parts_that_was_asked_for(X, parts, threads):
    result = np.full(X.size, np.nan)
    with kernels.threads(threads):
        kernels.parallel(scaled, parts, X, result)
    np.testing.assert_array_equal(result, 3 * X)


def test_the_team_has_as_many_threads_as_were_set():
    """Parts that wait for each other for a while: as many are at it at once as there are threads."""

    @kernels.kernel
    def meet(part, parts, running, most):
        at_once = atomic_add(running, 0, 1) + 1
        for _ in range(1000):
            at_once = max(at_once, atomic_load(running, 0))
            yield_core()  # to others, where there are fewer cores
        most[part] = at_once
        atomic_add(running, 0, -1)

    for threads in (3, 1, 2):
        most = np.zeros(12, np.int64)
        with kernels.threads(threads):
            kernels.parallel(meet, 12, np.zeros(1, np.int64), most)
        assert most.min() >= 1
        assert most.max() <= threads


def test_several_threads_and_calls_inside_calls_each_get_all_their_parts(X):
    def work(_=None):
        result = np.empty(X.size)
        for _ in range(200):
            result[:] = np.nan
            kernels.parallel(scaled, 9, X, result)
            assert (result == 3 * X).all()

    kernels.parallel(scaled, 2, X, np.empty(X.size))
    with kernels.threads(2), ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    team = kernels.team._team
    team.callers[0] = object()  # somebody else has the team, as while a call is inside a call
    try:
        work()
    finally:
        del team.callers[0]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("place", [0, 60, 100])
def test_what_a_part_raises_comes_through_and_the_caller_keeps_its_subnormals(X, threads, place):
    wrong = X.copy()
    wrong[place] = np.nan
    result = np.empty(X.size)
    tiny = np.full(1, 1e-310)
    for _ in range(3):
        with kernels.threads(threads), pytest.raises(ValueError, match="^X has a NaN$"):
            kernels.parallel(scaled, 7, wrong, result)
        assert (tiny / 2)[0] > 0  # else kernels' own control word is still in force
        with pytest.raises(ValueError, match="^X has a NaN$"):
            scaled(0, 1, wrong, result)
        assert (tiny / 2)[0] > 0
        kernels.parallel(scaled, 7, X, result)
        np.testing.assert_array_equal(result, 3 * X)


NO_FUNCTION = "a kernel is made of a function"


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: kernels.parallel(scaled, 0, 1, 2), ValueError, "parts is 0; it must be a positive integer"),
        (lambda: kernels.parallel(scaled, True, 1, 2), ValueError, "parts is True"),
        (lambda: kernels.parallel(scaled, 2.0, 1, 2), ValueError, "parts is 2.0"),
        (lambda: kernels.parallel(scaled, 2, 1), TypeError, "scaled takes 2 arguments after part and parts, not 1"),
        (lambda: kernels.parallel(len, 2, 1), TypeError, "must be a function under @kernels.kernel"),
        (lambda: kernels.parallel(doubled, 2), TypeError, "doubled must take part and parts first"),
        (lambda: kernels.kernel("f8(f8)"), TypeError, NO_FUNCTION),
        (lambda: kernels.kernel(scaled), TypeError, NO_FUNCTION),
        (lambda: kernels.kernel(lambda *x: 0), TypeError, r"has the parameter \*x; parameters must be plain"),
        (lambda: kernels.kernel(lambda x=1: 0), TypeError, "has the parameter x=1"),
        (lambda: kernels.kernel(lambda *, x: 0), TypeError, "has the parameter x"),
        (lambda: kernels.kernel(lambda n: (yield n)), TypeError, NO_FUNCTION),
        (lambda: kernels.kernel(lambda n: np.zeros(n)[0])(2), TypeError,
            "makes an array, .*; a kernel owns no memory"),
        (lambda: kernels.kernel(lambda x: len([x, x]))(1), TypeError, "uses a list, .*; a kernel owns no memory"),
        (lambda: kernels.parallel(kernels.kernel(lambda part, parts, x: x.max()), 1, np.ones(2)), TypeError,
            r"^kernel .* max\(\) or min\(\) of an array; [^\n]*$"),
        (lambda: doubled({}), TypeError, "x is a dict; compiled code takes numbers, arrays"),
        (lambda: doubled(np.ones(2, ">f8")), TypeError, "x is an array of >f8; .* the machine's byte order"),
        (lambda: kernels.kernel(lambda x: x)(np.zeros(2)), TypeError, "returns array.*; it must return numbers"),
        (lambda: kernels.kernel(lambda x: x.foo)(1.0), TypingError, "^Failed.*\nUnknown attribute 'foo'"),
    ],
)  # fmt: skip
def test_what_makes_no_kernel_or_no_parts_is_refused_in_a_line(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_functions_that_exec_made_outside_of_any_module_make_a_kernel():
    scope = {}
    exec("def double(x):\n    return 2 * x\ndef fill(part, parts, X):\n    X[part] = double(X[part])\n", scope)
    assert scope["fill"].__module__ is None
    scope["double"] = njit(scope["double"])
    X = np.ones(3)
    kernels.parallel(kernels.kernel(scope["fill"]), 2, X)
    assert X.tolist() == [2, 2, 1]


def test_a_kernel_that_refers_to_what_its_key_cannot_tell_is_compiled_and_not_kept():
    from numba import vectorize

    @vectorize
    def square(x):
        return x * x

    @kernels.kernel
    def squared(X):
        return square(X[0]) + X[0]

    with pytest.warns(
        RuntimeWarning, match="kernel .*squared refers to square, .*: it is compiled anew in each process"
    ):
        assert squared(np.full(1, 3.0)) == 12
    assert not list(jit.store().directory.glob("test_own_kernels.squared-*"))


# -- what is kept follows every change -----------------------------------------------------------------------------

OWN = {
    "own/__init__.py": "",
    "own/parts.py": """
import numpy as np
from numba import njit

FACTOR = 2.0
TABLE = np.array([10.0, 20.0])

@njit
def inner(x):
    return FACTOR * x + TABLE[1]
""",
    "own/main.py": """
import kernels
from . import parts

@kernels.kernel
def outer(x):
    return parts.inner(x) + 1

if __name__ == "__main__":
    import logging
    logging.disable(logging.WARNING)
    value = outer(1.0)
    print(value, kernels.jit.compile_seconds > 0)
""",
}


@pytest.fixture
def place(tmp_path):
    for name, text in OWN.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def edit(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def fresh(place, *command, path=ROOT):
    """What a new process in ``place`` prints, without a word on its stderr."""
    env = os.environ | {
        "PYTHONPATH": str(path), "FASTMLP_CACHE": str(place / "cache"), "NUMBA_CACHE_DIR": str(place / "numba"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    result = subprocess.run(
        [sys.executable, *command], env=env, cwd=place, capture_output=True, text=True, timeout=200, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.strip()


def test_a_kernel_of_the_users_is_kept_and_follows_what_it_calls_in_other_modules(place):
    def run():
        return fresh(place, "-m", "own.main")

    assert (run(), run()) == ("23.0 True", "23.0 False")
    edit(place / "own" / "parts.py", "FACTOR = 2.0", "FACTOR = 4.0")
    assert run() == "25.0 True"


@njit
def _called(x):
    return x


def test_options_and_signatures_of_a_users_function_are_in_the_keys_of_kernels_that_call_it():
    def calling(x):
        return called(x)  # noqa: F821

    def key(made):
        scope = {"__name__": "somebodys.module", "called": made}
        return kernel_text(FunctionType(calling.__code__, scope))

    made = [
        njit(_called.py_func, **options) for options in ({}, {"fastmath": True}, {"locals": {"x": types.float32}})
    ] + [njit("f4(f4)")(_called.py_func)]
    assert len({key(each) for each in made}) == len(made)
    called_already = njit(_called.py_func)
    called_already(1)
    assert key(called_already) == key(njit(_called.py_func)) == key(made[0])


# -- Numba's own cache, in the user's functions on top of ours -------------------------------------------------------

ON_TOP = """
import logging, sys
logging.disable(logging.WARNING)
import numpy as np
from numba import njit, prange
from kernels import simd

@njit
def squares(X, i):
    v = simd.load(X, i)
    return simd.reduce_add(simd.fma(v, v, simd.zeros(X)))

@njit(cache=True)
def direct(X):
    return simd.reduce_add(simd.load(X, 0))

@njit(cache=True)
def through_another(X):
    return squares(X, 0)

@njit(cache=True)
def in_a_piece(X):
    return simd.reduce_add(simd.tanh(simd.load(X, 0)))

@njit(cache=True, parallel=True)
def on_threads(X, Y):
    for i in prange(2):
        Y[i] = simd.reduce_add(simd.load(X, 0))

@njit(cache=True)
def without(X):
    return X.sum()

X, Y = np.full(64, 0.5), np.zeros(2)
on_threads(X, Y)
lanes = X.size * 0 + simd.REGISTER_BYTES // 8
print(*(round(f(X) / lanes, 3) for f in (direct, through_another, in_a_piece)), Y[1] / lanes)
functions = direct, through_another, in_a_piece, on_threads, without
without(X)
print([sum(f.stats.cache_hits.values()) for f in functions])
"""


def test_functions_that_numba_keeps_are_compiled_anew_when_what_is_ours_in_them_changes(tmp_path):
    """Numba's stamp is of the user's file alone; what has nothing of ours stays."""
    shutil.copytree(ROOT / "kernels", tmp_path / "kernels")
    (tmp_path / "on_top.py").write_text(ON_TOP)

    def run():
        return fresh(tmp_path, "on_top.py", path=tmp_path).splitlines()

    values = f"0.5 0.25 {np.tanh(0.5):.3f} 0.5"
    assert run() == [values, "[0, 0, 0, 0, 0]"]
    assert run() == [values, "[1, 1, 1, 1, 1]"]
    vectors = tmp_path / "kernels" / "simd" / "vectors.py"
    vectors.write_text(vectors.read_text() + "\n_edited = 1\n")
    _called(1)
    (compiled,) = _called.overloads.values()
    parallel_loops = int(not hasattr(compiled.library, "_reload_init"))  # of Numba 0.61: see kernels.jit.numba_private
    assert run() == [values, f"[0, 0, 0, {parallel_loops}, 1]"]


def test_a_size_that_numba_keeps_is_told_when_it_changes():
    """Else a scratch of an older version's size would be too small, and memory corrupted."""
    from kernels.jit import linked

    size = njit(lambda inputs, outputs: raw.scratch_size(inputs, outputs))
    assert size(3, 4) == raw.scratch_size(3, 4)
    (compiled,) = size.overloads.values()
    assert linked._digest("kernels.raw", "scratch_size").encode() in dumps(compiled._reduce())


def test_what_others_keep_of_a_piece_goes_with_that_pieces_own_text(monkeypatch):
    import pickle

    from kernels.jit import linked
    from kernels.team import share

    kept = pickle.dumps(linked.Linked(share.py_func))
    assert pickle.loads(kept) == linked.Linked(share.py_func)
    linked._digest.cache_clear()
    monkeypatch.setattr(linked, "kernel_text", lambda function: "another")
    with pytest.raises(OSError, match="share has changed"):
        pickle.loads(kept)
    linked._digest.cache_clear()


def test_a_kernel_for_parts_is_made_once():
    assert _claiming(scaled) is _claiming(scaled)
