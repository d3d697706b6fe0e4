"""The compile policy and its cache: never stale, never a traceback, at most one warning line."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from numba.core.errors import NumbaError

from kernels import jit
from kernels.jit import kernel
from kernels.team import share

ROOT = Path(__file__).resolve().parent.parent

# One small kernel through the cache; prints the result, the seconds compiled, and the warnings.
PROBE = """
import warnings
import numpy as np
arguments = np.ones(2), np.ones(2, np.int64)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from kernels import jit
    from kernels.losses import totals
    print(totals(*arguments, 2), jit.compile_seconds > 0, len(caught))
for warning in caught:
    print(warning.message)
"""
COLD, WARM = "(2.0, 2) True 0\n", "(2.0, 2) False 0\n"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def probe(python, cache):
    def run(**env):
        result = python(PROBE, env={"FASTMLP_CACHE": str(cache), **env})
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


KERNEL, ENTRY = "losses.totals", "losses.call"  # and what Python calls it through


def compiled(cache, name=KERNEL):
    return list(cache.glob(f"kernels/*/{name}-*.kernel"))


def test_the_second_process_loads_what_the_first_compiled(probe, cache):
    assert probe() == COLD
    assert len(compiled(cache)) == len(compiled(cache, ENTRY)) == 1
    assert len(compiled(cache, "*")) == 2
    assert probe() == WARM


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content[:100] + bytes([content[100] ^ 128]) + content[101:],
        lambda content: os.urandom(len(content)),
    ],
    ids=["empty", "truncated", "last bit", "one bit", "foreign"],
)
@pytest.mark.parametrize("name", [KERNEL, ENTRY])
def test_a_damaged_file_is_replaced_with_one_warning(probe, cache, damage, name):
    probe()
    (file,) = compiled(cache, name)
    file.write_bytes(damage(file.read_bytes()))
    first, *warning = probe().splitlines()
    assert first == "(2.0, 2) True 1"
    assert len(warning) == 1
    assert "damaged file" in warning[0]
    assert probe() == WARM


def test_a_file_of_another_kernel_is_not_taken_for_this_one(probe, cache):
    probe()
    (file,) = compiled(cache)
    other = PROBE.replace("np.ones(2)", "np.ones(2, np.float32)")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "FASTMLP_CACHE": str(cache)}
    subprocess.run([sys.executable, "-c", other], env=env, check=True, capture_output=True)
    (foreign,) = set(compiled(cache)) - {file}
    shutil.copy(foreign, file)
    assert probe().startswith("(2.0, 2) True 1\n")


@pytest.mark.parametrize("kind", ["file in its place", "below a file"])
def test_an_unusable_cache_directory_costs_one_warning(probe, cache, kind, tmp_path):
    cache.write_text("not a directory")
    first, *warning = probe(FASTMLP_CACHE=str(cache if kind == "file in its place" else cache / "deeper")).splitlines()
    assert first == "(2.0, 2) True 1"
    assert len(warning) == 1
    assert "no usable cache directory" in warning[0]


def test_directories_in_the_place_of_files_cost_one_warning(probe, cache):
    probe()
    for file in (*compiled(cache, "*"), *cache.glob("kernels/*/lock")):
        file.unlink()
        file.mkdir()
    first, *warning = probe().splitlines()
    assert first == "(2.0, 2) True 1"
    assert len(warning) == 1
    assert "cannot be read (" in warning[0]


@pytest.mark.skipif(os.name == "nt", reason="this system has no such permissions")
@pytest.mark.parametrize("how", ["anybody may write", "the group may write", "another owner"])
def test_machine_code_is_not_taken_from_where_others_can_write(empty_cache, monkeypatch, how):
    """To load it is to unpickle it, which can run anything."""
    directory = jit._Store().directory
    if how == "another owner":
        if os.geteuid():
            pytest.skip("only root can give a directory away")
        os.chown(directory, 12345, -1)
    else:
        directory.chmod(0o707 if how == "anybody may write" else 0o770)
    monkeypatch.setattr(jit, "_warned", False)
    with pytest.warns(RuntimeWarning, match=f"others can write to {directory}, and what is in it would be run"):
        assert jit._Store().directory is None
    directory.chmod(0o700)
    os.chown(directory, os.geteuid(), -1)
    assert jit._Store().directory == directory


@contextlib.contextmanager
def read_only(directory):
    """Nobody can write there; for root that takes a mount."""
    if os.geteuid():
        directory.chmod(0o500)
        yield
        directory.chmod(0o700)
        return
    bind = ["mount", "--bind", str(directory), str(directory)]
    if shutil.which("mount") is None or subprocess.run(bind, capture_output=True).returncode:
        pytest.skip("root could write all the same, and may not mount")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(directory)], check=True)
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@pytest.mark.skipif(os.name == "nt", reason="this system has no such permissions")
def test_a_cache_that_can_only_be_read_is_read(probe, cache):
    probe()
    (directory,) = cache.glob("kernels/*")
    with read_only(directory):
        assert probe() == WARM


NO_SPACE = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
import numpy as np
from kernels import jit
from kernels.losses import totals
for dtype in (np.float32, np.float64):
    before = jit.compile_seconds
    print(totals(np.ones(2, dtype), np.ones(2, np.int64), 2), jit.compile_seconds > before)
"""


def test_a_full_disk_costs_one_warning_and_what_is_in_the_cache_is_still_read(probe, python, cache):
    pytest.importorskip("resource")
    probe()
    result = python(NO_SPACE, env={"FASTMLP_CACHE": str(cache)})
    assert (result.returncode, result.stdout) == (0, "(2.0, 2) True\n(2.0, 2) False\n")
    warning, *source = result.stderr.splitlines()
    assert "compiled kernels are not kept: cannot write the cache ([Errno 27] File too large)" in warning
    assert len(source) <= 1  # the line that Python shows
    assert len(compiled(cache)) == 1
    assert not list(cache.glob("kernels/*/*.tmp"))


def test_without_a_home_directory_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(jit, "_warned", False)
    for name in ("FASTMLP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def homeless(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    with pytest.warns(RuntimeWarning, match="no usable cache directory .Could not determine home"):
        assert jit._Store().directory is None


@pytest.mark.skipif(not Path("/proc").exists(), reason="this system has no /proc, where not even root can make a file")
def test_a_home_that_cannot_be_written_to_costs_one_warning(probe):
    first, *warning = probe(FASTMLP_CACHE="", XDG_CACHE_HOME="", HOME="/proc").splitlines()
    assert first == "(2.0, 2) True 1"
    assert len(warning) == 1
    assert "no usable cache directory" in warning[0]


def test_every_change_of_any_source_has_a_directory_of_its_own(tmp_path, monkeypatch):
    """A random character of each, a file more, a file less, and a file by another name."""
    shutil.copytree(ROOT / "kernels", tmp_path / "kernels")
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "kernels" / "jit.py"))
    draw, sources = random.Random(0), sorted(tmp_path.glob("kernels/*.py"))
    stamps = [jit._stamp()]
    assert stamps == [jit._stamp()]
    for source in sources:
        content = source.read_bytes()
        place = draw.randrange(len(content))
        source.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        stamps.append(jit._stamp())
        source.write_bytes(content)
    (tmp_path / "kernels" / "more.py").touch()
    stamps.append(jit._stamp())
    (tmp_path / "kernels" / "more.py").rename(tmp_path / "kernels" / "other.py")
    stamps.append(jit._stamp())
    sources[0].unlink()
    stamps.append(jit._stamp())
    assert len(sources) > 20
    assert len(set(stamps)) == len(stamps)


def test_editing_any_kernel_source_makes_a_fresh_cache(tmp_path, cache):
    """The edited function is called by the one that runs: Numba's own cache would not see it."""
    shutil.copytree(ROOT / "kernels", tmp_path / "kernels")
    code = """
import numpy as np, kernels
print(kernels.linear_forward(np.ones((1, 2)), np.ones((2, 1)))[0, 0])
"""
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "FASTMLP_CACHE": str(cache)}

    def run():
        result = subprocess.run(
            [sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return float(result.stdout)

    assert run() == 2.0
    source = tmp_path / "kernels" / "gemm.py"
    text = source.read_text()
    edited = text.replace("simd.broadcast(Y, scale)", "simd.broadcast(Y, 100 * scale)")
    edited = edited.replace("scale != 1", "True")
    assert edited != text
    source.write_text(edited)
    assert run() == 200.0


def test_a_lock_that_another_process_holds_does_not_stop_a_warm_start(probe, cache):
    fcntl = pytest.importorskip("fcntl")
    probe()
    (lock,) = cache.glob("kernels/*/lock")
    with open(lock, "wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert probe() == WARM


def test_flags_of_numba_have_caches_of_their_own(probe, cache):
    assert probe() == COLD
    assert probe(NUMBA_BOUNDSCHECK="1") == COLD
    assert probe(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == COLD
    assert probe() == WARM


@pytest.mark.parametrize("count", [6, pytest.param(16, marks=pytest.mark.nightly)])
def test_processes_that_start_cold_together_agree(cache, count):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "FASTMLP_CACHE": str(cache)}
    processes = [
        subprocess.Popen([sys.executable, "-c", PROBE], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    outputs = sorted(process.communicate(timeout=200)[0] for process in processes)
    assert outputs == [WARM] * (count - 1) + [COLD]


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTMLP_CACHE", str(tmp_path))
    monkeypatch.setattr(jit, "_store", None)


def test_one_specialisation_for_literals_and_variables(empty_cache):
    @kernel
    def double(x):
        return 2 * x

    @kernel
    def calls_with_both(x):
        return double(x) + double(1)

    assert calls_with_both(5) == 12
    assert len(double.overloads) == 1


def test_machine_code_that_calls_a_kernel_by_another_symbol_is_made_anew(probe, cache, python):
    """The callee's file is lost and compiled again under another name than its caller in the cache knows."""
    code = "import numpy as np, kernels; print(kernels.linear_forward(np.ones((1, 2)), np.ones((2, 1)))[0, 0])"
    decoy = "import kernels.jit; kernels.jit.kernel(lambda: 1)(); " + code  # shifts the numbers in the symbols

    def run(code):
        result = python(code, env={"FASTMLP_CACHE": str(cache)})
        assert (result.returncode, result.stdout, result.stderr) == (0, "2.0\n", "")

    run(code)
    for file in cache.glob("kernels/*/gemm.gemm-*.kernel"):
        file.unlink()
    run(decoy)
    run(code)


def test_user_code_that_calls_a_kernel_is_not_kept_by_numba(python, tmp_path):
    """Its call would lead nowhere in the next process; Numba says so and compiles it there again."""
    module = tmp_path / "user.py"
    module.write_text(
        "import numpy as np\nfrom numba import njit\nfrom kernels import raw\n"
        "@njit(cache=True)\ndef inner(P):\n    raw.softmax(0, 1, P, P)\n"
        "@njit(cache=True)\ndef outer(P):\n    inner(P)\n    return P.sum()\n"
        "print(outer(np.ones((2, 2))))\n"
    )
    for _ in range(2):
        result = python(f"exec(compile(open({str(module)!r}).read(), {str(module)!r}, 'exec'))")
        assert (result.returncode, result.stdout) == (0, "2.0\n"), result.stderr
        assert "dynamic globals" in result.stderr


def test_a_piece_of_a_kernel_refuses_to_be_called_from_python():
    with pytest.raises(TypeError, match="in compiled code only"):
        share(0, 1, 10)
    assert kernel(lambda n: share(0, 1, n))(10) == (0, 10)
    with pytest.raises(TypeError, match="in compiled code only"):
        share(0, 1, 10)


def _add(n):
    @kernel
    def add(x):
        return x + n

    return add


def test_kernels_of_one_factory_do_not_share_a_file(empty_cache):
    assert [_add(n)(1) for n in (1, 2, 3)] == [2, 3, 4]


def test_kernels_count_no_references_and_own_no_arrays(empty_cache):
    @kernel
    def second_half(A):
        half = A[A.size // 2 :]
        half[0] = 1

    @kernel
    def view(A):
        return A[1:]

    @kernel
    def new(A):
        return np.zeros(A.size).sum()

    @kernel
    def same(A):
        return A

    @kernel
    def pair(A):
        return 1, A

    @njit
    def user(A):
        return same(A).sum()

    A = np.zeros(4)
    second_half(A)
    assert A.tolist() == [0, 0, 1, 0]
    (signature,) = second_half.overloads
    code = second_half.inspect_llvm(signature)
    assert "second_half" in code
    assert "NRT" not in code
    for refused in (view, new):
        with pytest.raises(NumbaError):
            refused(A)
    for refused in (same, pair, user):  # references that their callers would count down
        for _ in range(2):
            with pytest.raises((TypeError, NumbaError), match="may return numbers"):
                refused(A)


def test_a_kernel_may_not_close_over_what_has_no_stable_text():
    with pytest.raises(TypeError, match="close over numbers, strings and kernels"):
        _add([1])


def test_importing_kernels_compiles_nothing_and_needs_no_cache(python, cache):
    cache.write_text("not a directory")
    result = python("import kernels; print(kernels.jit.compile_seconds)", env={"FASTMLP_CACHE": str(cache)})
    assert (result.stdout, result.stderr) == ("0.0\n", "")
