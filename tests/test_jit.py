"""The compile policy and its cache: never stale, never a traceback, at most one warning line."""

import contextlib
import copy
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from numba import njit
from numba.core.errors import NumbaError

from kernels import raw, simd
from kernels.jit import cache as cache_module
from kernels.jit import kernel, piece
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
# A kernel that calls another; prints what is left of ones.
DROPOUT = """
import logging
import numpy as np
logging.disable(logging.WARNING)  # that kernels are compiled
import kernels
print(kernels.dropout(np.ones((8, 8)), 0.5, seed=1).max())
"""
COLD, WARM = "(2.0, 2) True 0\n", "(2.0, 2) False 0\n"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def probe(python, cache):
    def run(**env):
        result = python(PROBE, env={"FASTMLP_CACHE": str(cache), **env})
        return result.stdout

    return run


@pytest.fixture(scope="session")
def compiled_once(tmp_path_factory):
    """A cache in which the first process has compiled the probe's kernel."""
    cache = tmp_path_factory.mktemp("compiled")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "FASTMLP_CACHE": str(cache)}
    assert subprocess.run([sys.executable, "-c", PROBE], env=env, capture_output=True, text=True).stdout == COLD
    return cache


@pytest.fixture
def warm(compiled_once, cache):
    """The probe's cache with that kernel in it."""
    shutil.copytree(compiled_once, cache)


def require_one_warning(printed, text):
    """The probe compiled its kernel and warned once."""
    first, *warning = printed.splitlines()
    assert (first, len(warning)) == ("(2.0, 2) True 1", 1)
    assert text in warning[0]


KERNEL, ENTRY = "losses.totals", "losses.call"  # and what Python calls it through


def compiled(cache, name=KERNEL):
    return list(cache.glob(f"kernels/*/{name}-*.kernel"))


def test_the_second_process_loads_what_the_first_compiled(probe, cache, warm):
    assert len(compiled(cache)) == len(compiled(cache, ENTRY)) == 1
    assert len(compiled(cache, "*")) == 2
    assert probe() == WARM


DAMAGE = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "last bit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "one bit": lambda content: content[:100] + bytes([content[100] ^ 128]) + content[101:],
    "foreign": lambda content: os.urandom(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_removed_and_not_read(private, damage):
    store = cache_module.Store()
    file = store.path("kernel", "all that it depends on")
    store.write(file, bytes(range(200)))
    file.write_bytes(DAMAGE[damage](file.read_bytes()))
    with pytest.warns(RuntimeWarning, match="damaged file"):
        assert store.read(file) is None
    assert not file.exists()


@pytest.mark.parametrize("name", [KERNEL, ENTRY])
def test_a_damaged_file_is_replaced_with_one_warning(probe, cache, name, warm, monkeypatch):
    (file,) = compiled(cache, name)
    file.write_bytes(DAMAGE["last bit"](file.read_bytes()))
    require_one_warning(probe(), "damaged file")
    monkeypatch.setenv("FASTMLP_CACHE", str(cache))
    assert cache_module.Store().read(file)  # which a damaged one is not


def test_a_file_of_another_kernel_is_not_taken_for_this_one(private):
    store = cache_module.Store()
    file, foreign = (store.path("kernel", f"what {which} depends on") for which in ("this one", "another"))
    store.write(foreign, b"payload")
    shutil.copy(foreign, file)
    with pytest.warns(RuntimeWarning, match="damaged file"):
        assert store.read(file) is None
    assert store.read(foreign) == b"payload"


def test_kernels_that_a_wheel_brings_are_used_where_they_fit_and_left_as_they_are(python, cache, tmp_path):
    level = next(filter(cache_module._fits, cache_module.LEVELS), None)
    if level is None:
        pytest.skip("wheels bring no kernels for this CPU")
    brought = tmp_path / "brought"
    code = f"from kernels.jit import cache\ncache.PREBUILT = cache.Path({str(brought / 'kernels')!r})\n{PROBE}"

    def run(cache, **env):
        result = python(code, env={"FASTMLP_CACHE": str(cache), **env})
        return result.stdout

    assert run(brought, NUMBA_CPU_NAME=level, NUMBA_CPU_FEATURES=cache_module.LEVELS[level]) == COLD
    assert run(cache) == WARM
    assert compiled(cache, "*") == []
    (entry,) = compiled(brought, ENTRY)
    entry.write_bytes(damaged := entry.read_bytes()[:-1])
    require_one_warning(run(cache), f"fastmlp kernels: damaged file in the fastmlp package: {entry}; compiling anew")
    assert len(compiled(cache, "*")) == len(compiled(cache, ENTRY)) == 1
    assert entry.read_bytes() == damaged
    assert run(cache) == WARM
    assert run(cache, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == COLD


@pytest.mark.parametrize("place", ["cache", "cache/deeper"], ids=["file in its place", "below a file"])
def test_an_unusable_cache_directory_costs_one_warning(private, place, monkeypatch):
    private.write_text("not a directory")
    monkeypatch.setenv("FASTMLP_CACHE", str(private.parent / place))
    with pytest.warns(RuntimeWarning, match="no usable cache directory") as said:
        directories = [cache_module.Store().directory for _ in range(2)]
    assert (directories, len(said)) == ([None, None], 1)


def test_directories_in_the_place_of_files_cost_one_warning(private):
    store = cache_module.Store()
    file = store.path("kernel", "all that it depends on")
    file.mkdir()
    (store.directory / "lock").mkdir()

    def compile_anew():
        with store.exclusive():
            assert store.read(file) is None
            store.write(file, b"payload")

    with pytest.warns(RuntimeWarning, match=r"cannot be read \(") as said:
        compile_anew()
    assert len(said) == 1


@pytest.mark.skipif(os.name == "nt", reason="this system has no such permissions")
@pytest.mark.parametrize("how", ["anybody may write", "the group may write", "another owner"])
def test_machine_code_is_not_taken_from_where_others_can_write(empty_cache, how):
    """To load it is to unpickle it, which can run anything."""
    directory = cache_module.Store().directory
    if how == "another owner":
        if os.geteuid():
            pytest.skip("only root can give a directory away")
        os.chown(directory, 12345, -1)
    else:
        directory.chmod(0o707 if how == "anybody may write" else 0o770)
    assert refused(directory)
    directory.chmod(0o700)
    os.chown(directory, os.geteuid(), -1)
    assert cache_module.Store().directory == directory


@pytest.fixture
def private(tmp_path, monkeypatch):
    """A directory that only this user can reach, and the cache inside a directory of it, not yet made."""
    place = tmp_path / "own" / "cache"
    place.parent.mkdir(mode=0o700)
    monkeypatch.setenv("FASTMLP_CACHE", str(place))
    monkeypatch.setattr(cache_module, "_warned", False)
    return place


def refused(place):
    cache_module._warned = False
    said = f"others can write to {re.escape(str(place))}, and what is in it would be run"
    with pytest.warns(RuntimeWarning, match=said):
        return cache_module.Store().directory is None


@pytest.mark.skipif(os.name == "nt", reason="this system has no such permissions")
def test_nor_from_below_a_directory_that_others_can_write_to(private):
    """They could put another directory in the place of the one on the way."""
    parent = private.parent
    for mode in (0o777, 0o770, 0o702):
        parent.chmod(mode)
        assert refused(parent)
    for mode in (0o1777, 0o755):  # in a sticky directory, as /tmp, others replace only what is theirs
        parent.chmod(mode)
        assert cache_module.Store().directory.is_relative_to(private)
    parent.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(parent, 12345, -1)
        assert refused(parent)


@pytest.mark.skipif(os.name == "nt", reason="this system has no such permissions")
def test_links_on_the_way_to_the_cache_are_followed_and_checked(private, tmp_path):
    real, open_to_all = tmp_path / "real", tmp_path / "open to all"
    real.mkdir(mode=0o700)
    private.symlink_to(real)
    assert cache_module.Store().directory.resolve().is_relative_to(real)
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    private.unlink()
    private.symlink_to(open_to_all / "link")
    (open_to_all / "link").symlink_to(real)
    assert refused(open_to_all)


@pytest.mark.skipif(os.name == "nt", reason="this system has no such permissions")
def test_a_group_of_one_can_write_on_the_way(private, monkeypatch):
    """Where each user has a group of their own, home directories are often writable for it; for root's group never."""
    import grp
    import pwd

    status, uid = private.parent.stat(), os.geteuid()
    group = SimpleNamespace(gr_gid=status.st_gid, gr_name="me", gr_mem=[])
    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_gid=status.st_gid, pw_name="me"))
    monkeypatch.setattr(grp, "getgrgid", lambda _: group)
    user = os.stat_result((0o40770, 0, 0, 1, 4711, *status[5:]))
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert cache_module._only_my_group_can_write(user)
    group.gr_mem = ["me", "another"]
    assert not cache_module._only_my_group_can_write(user)
    group.gr_mem = []
    assert not cache_module._only_my_group_can_write(os.stat_result((0o40772, *user[1:])))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert not cache_module._only_my_group_can_write(user)
    assert uid == status.st_uid


@pytest.mark.skipif(os.name == "nt", reason="this system has no such permissions")
@pytest.mark.parametrize(
    "how", ["anybody may write", "the group may write", "another owner", "a pipe", "a link to another's"]
)
def test_a_file_that_others_can_write_to_is_not_unpickled(private, how):
    store = cache_module.Store()
    file = store.path("kernel", "all that it depends on")
    store.write(file, b"payload")
    assert store.read(file) == b"payload"
    if how in ("another owner", "a link to another's"):
        if os.geteuid():
            pytest.skip("only root can give a file away")
        os.chown(file, 12345, -1)
        if how == "a link to another's":
            file.symlink_to(file.rename(private / "elsewhere"))
    elif how == "a pipe":
        file.unlink()
        os.mkfifo(file, 0o600)
    else:
        file.chmod(0o602 if how == "anybody may write" else 0o620)
    with pytest.warns(RuntimeWarning, match="is not a file|others can write to .*, and what is in it would be run"):
        assert store.read(file) is None


def test_the_directories_on_the_way_are_made_for_this_user_alone(private):
    directory = cache_module.Store().directory
    while directory != private.parent:
        assert directory.stat().st_mode & 0o077 == 0
        directory = directory.parent


def test_what_has_not_been_read_for_a_month_is_removed_and_nothing_else(private):
    """Reading marks a file as used, once a day; also those of another version that is in use."""
    day, now = 24 * 3600, time.time()
    store = cache_module.Store()
    other = store.directory.parent / ("0" * 24)
    other.mkdir()
    files = {days: store.path("kernel", str(days)) for days in (0, 2, 29, 31, 400)}
    for days, file in files.items():
        store.write(file, b"payload")
        os.utime(file, (now - days * day,) * 2)
        os.utime(shutil.copy(file, other / file.name), (now - days * day,) * 2)
    assert store.read(files[31]) == b"payload"
    assert files[31].stat().st_mtime > now - day
    abandoned = store.directory.parent / ("1" * 24)
    abandoned.mkdir()
    (abandoned / "lock").touch()
    for old in (abandoned / "lock", abandoned, other):
        os.utime(old, (now - 31 * day,) * 2)
    another = cache_module.Store()
    another.write(another.path("kernel", "new"), b"payload")
    assert not abandoned.exists()
    assert {file.name for file in other.iterdir()} == {files[days].name for days in (0, 2, 29)}
    assert files[31].exists()
    assert not files[400].exists()


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
def test_a_cache_that_can_only_be_read_is_read(probe, cache, warm):
    (directory,) = cache.glob("kernels/*")
    with read_only(directory):
        assert probe() == WARM


def test_a_file_that_another_process_reads_and_windows_does_not_replace_is_kept(monkeypatch, cache):
    monkeypatch.setenv("FASTMLP_CACHE", str(cache))
    store = cache_module.Store()
    path = store.path("f", "its text")
    store.write(path, b"code")

    def refuse(*paths):
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(os, "replace", refuse)
    store.write(path, b"code")
    assert store.keeping
    assert store.read(path) == b"code"
    assert not [*path.parent.glob("*.tmp")]


NO_SPACE = """
import logging; logging.disable(logging.WARNING)  # that kernels are compiled
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


def test_a_full_disk_costs_one_warning_and_what_is_in_the_cache_is_still_read(python, cache, warm):
    pytest.importorskip("resource")
    result = python(NO_SPACE, env={"FASTMLP_CACHE": str(cache)})
    assert result.stdout == "(2.0, 2) True\n(2.0, 2) False\n"
    warning, *source = result.stderr.splitlines()
    assert "compiled kernels are not kept: cannot write the cache ([Errno 27] File too large)" in warning
    assert len(source) <= 1  # the line that Python shows
    assert len(compiled(cache)) == 1
    assert not list(cache.glob("kernels/*/*.tmp"))


def test_without_a_home_directory_the_cache_is_in_that_for_temporary_files(monkeypatch, tmp_path):
    for name in ("FASTMLP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def homeless(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert tmp_path in cache_module.Store().directory.parents


@pytest.mark.skipif(not Path("/proc").exists(), reason="this system has no /proc, where not even root can make a file")
def test_a_home_that_cannot_be_written_to_costs_one_warning(private, monkeypatch):
    for name, value in {"FASTMLP_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/proc"}.items():
        monkeypatch.setenv(name, value)
    with pytest.warns(RuntimeWarning, match="no usable cache directory") as said:
        directories = [cache_module.Store().directory for _ in range(2)]
    assert (directories, len(said)) == ([None, None], 1)


def test_a_lock_that_another_process_holds_does_not_stop_a_warm_start(probe, cache, warm):
    fcntl = pytest.importorskip("fcntl")
    (lock,) = cache.glob("kernels/*/lock")
    with open(lock, "wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert probe() == WARM


def test_flags_of_numba_have_caches_of_their_own(probe, warm, at_once):
    harmless = (
        "COLOR_SCHEME FULL_TRACEBACKS DEVELOPER_MODE HIGHLIGHT_DUMPS CUDA_LOG_LEVEL THREADING_LAYER ENABLE_PROFILING"
    )
    values = {"COLOR_SCHEME": "dark_bg", "CUDA_LOG_LEVEL": "", "THREADING_LAYER": "workqueue", "ENABLE_PROFILING": "0"}
    flags = (
        {"NUMBA_BOUNDSCHECK": "1"},
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
        {f"NUMBA_{name}": values.get(name, "1") for name in harmless.split()},
    )
    assert at_once(lambda each: probe(**each), flags) == [COLD, COLD, WARM]


def test_every_setting_of_numba_that_is_not_known_to_be_harmless_counts(monkeypatch):
    before = cache_module.environment()
    for name, changes in {
        "COLOR_SCHEME": False,
        "_HAVE_YAML": False,
        "DEBUG_CACHE": False,
        "OPT": True,
        "NEW_IN_NUMBA_9": True,
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(cache_module.config, name, "something else", raising=False)
            assert (cache_module.environment() != before) == changes, name


def test_without_compilation_a_kernel_says_so_in_one_line(python):
    code = """
import numpy as np, kernels
P = np.zeros((1, 2))
print(kernels.reference.softmax(P))
for call in (lambda: kernels.softmax(P), lambda: kernels.raw.softmax(0, 1, P, P)):
    try:
        call()
    except RuntimeError as error:
        print(error)
"""
    first, *lines = python(code, env={"NUMBA_DISABLE_JIT": "1"}).stdout.splitlines()
    assert (first, len(lines)) == ("[[0.5 0.5]]", 2)
    for line in lines:
        assert line.startswith("NUMBA_DISABLE_JIT is set, and ")
        assert line.endswith("softmax) exists only compiled; unset it, or use kernels.reference")


# Compiled by this CPU, for ARM; it cannot run.
ARM = """
import llvmlite.binding as llvm
import numpy as np
from numba import float32, types
llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
llvm.get_process_triple = lambda: "aarch64-unknown-linux-gnu"
llvm.get_host_cpu_name = lambda: "generic"
llvm.get_host_cpu_features = llvm.FeatureMap
llvm.Target.from_default_triple = lambda: llvm.Target.from_triple(llvm.get_process_triple())
from kernels import jit, kernel, simd
@kernel
def f(x, bits, n):
    y = simd.fma(simd.load(x, 0), simd.load_masked(x, 0, n), simd.from_float16(simd.load_as(np.int32, bits, 0)))
    simd.store_masked(x, 0, simd.exp(y), n)
entry = jit.from_python(f)
entry.compile((float32[::1], types.uint16[::1], types.intp))
text = "".join(code.library.get_asm_str() for each in (f, entry) for code in each.overloads.values())
print(simd.REGISTERS, simd.REGISTER_BYTES, *(name in text for name in ("fmla", "fcvtl", "FPCR")))
"""


def test_kernels_are_compiled_for_arm(python, cache):
    compiled = python(ARM, env={"FASTMLP_CACHE": str(cache), "NUMBA_CPU_NAME": "", "NUMBA_CPU_FEATURES": ""})
    assert compiled.stdout == "32 16 True True True\n"


AHEAD = """
import warnings
warnings.simplefilter("ignore")
import numpy as np
from numba.pycc import CC
from kernels import raw
cc = CC("ahead")
@cc.export("softmax", "f8(f8[:,::1])")
def softmax(P):
    raw.softmax(0, 1, P, P)
    return P[0, 0]
cc.compile()
"""


def test_ahead_of_time_compilation_is_refused(python):
    pytest.importorskip("setuptools")  # which numba.pycc imports
    pytest.importorskip("numba.pycc", reason="this Numba compiles nothing ahead of time")
    result = python(AHEAD, code=1)
    assert "kernels cannot be compiled ahead of time: its machine code is made for the CPU" in result.stderr


def test_kernels_of_a_script_are_pickled_by_their_code(monkeypatch):
    """A process of joblib's has another __main__, where their names are not."""

    def function(n):
        return n + 1

    function.__module__ = "__main__"
    made = kernel(function)
    monkeypatch.setattr("__main__.function", made, raising=False)
    data = pickle.dumps(made)
    monkeypatch.undo()
    assert pickle.loads(data)(1) == 2


def test_a_recursive_kernel_of_a_script_runs_in_a_spawned_process(monkeypatch):
    """There the script is called __mp_main__: the call was of a symbol that nothing has, and was kept in the cache."""
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__mp_main__"))

    def factorial(n):
        return 1 if n < 2 else n * factorial(n - 1)

    factorial.__module__ = "__main__"
    factorial = kernel(factorial)
    assert factorial(5) == 120


def test_kernels_and_pieces_are_pickled_by_name():
    for function in (raw.linear_forward, raw.softmax, share):
        data = pickle.dumps(function)
        assert len(data) < 100
        assert pickle.loads(data) is function
        assert copy.deepcopy(function) is function
    cloudpickle = pytest.importorskip("cloudpickle")

    def closure(P):
        raw.softmax(0, 1, P, P)

    data = cloudpickle.dumps((njit(closure), raw.update))
    assert pickle.loads(data)[1] is raw.update
    nameless = pickle.loads(cloudpickle.dumps(kernel(lambda n: n + 1)))
    assert nameless(1) == 2


@pytest.mark.parametrize("count", [6, pytest.param(16, marks=pytest.mark.nightly)])
def test_processes_that_start_cold_together_agree(cache, count):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "FASTMLP_CACHE": str(cache)}
    processes = [
        subprocess.Popen([sys.executable, "-c", PROBE], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    outputs = sorted(process.communicate(timeout=200)[0] for process in processes)
    assert outputs == [WARM] * (count - 1) + [COLD]


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
    decoy = f"import kernels.jit; kernels.jit.kernel(lambda: 1)()\n{DROPOUT}"  # shifts the numbers in the symbols

    def run(code):
        result = python(code, env={"FASTMLP_CACHE": str(cache)})
        assert (result.stdout, result.stderr) == ("2.0\n", "")

    run(DROPOUT)
    (file,) = cache.glob("kernels/*/dropout_mask.dropout_rows-*.kernel")
    file.unlink()
    run(decoy)
    run(DROPOUT)


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
        assert result.stdout == "2.0\n"
        assert "dynamic globals" in result.stderr


def test_python_runs_a_piece_of_a_kernel_as_it_is_written():
    assert share(0, 2, 10**30) == (0, 10**30 // 2)
    assert kernel(lambda n: share(0, 2, n))(10) == (0, 5)
    assert share(0, 2, 10**30) == (0, 10**30 // 2)
    assert raw.scratch_size(inputs=784, outputs=256) == kernel(lambda: raw.scratch_size(784, outputs=256))()
    for function in (simd.exp, simd.tanh):
        with pytest.raises(RuntimeError, match=f"{function.__name__} works in compiled code only"):
            function(1.0)


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
        with pytest.raises(TypeError, match="a kernel owns no memory"):
            refused(A)
    for refused in (same, pair, user):  # references that their callers would count down
        for _ in range(2):
            with pytest.raises((TypeError, NumbaError), match="must return numbers"):
                refused(A)


def test_pieces_and_kernels_of_ours_may_not_close_over_what_has_no_stable_text():
    """It would not be in their names; of a user's kernel it is in the key, or the kernel is not kept."""
    numbers = [1]

    def first(x):
        return x + numbers[0]

    with pytest.raises(TypeError, match="close over numbers, strings and kernels"):
        piece(first)
    first.__module__ = "kernels.made_up"
    with pytest.raises(TypeError, match="close over numbers, strings and kernels"):
        kernel(first)


def test_importing_kernels_compiles_nothing_and_needs_no_cache(python, cache):
    cache.write_text("not a directory")
    result = python("import kernels; print(kernels.jit.compile_seconds)", env={"FASTMLP_CACHE": str(cache)})
    assert (result.stdout, result.stderr) == ("0.0\n", "")
