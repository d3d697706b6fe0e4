"""The compile policy: the only njit options in the project, and the on-disk cache of compiled code.

Compiled code is either a ``@kernel``, which has machine code of its own, made for the argument types of its first
call and kept on disk, or a ``@piece``, which becomes part of the kernels that call it. Python comes in by an ``entry``.
All is nopython and without the GIL. ``fastmath={"contract"}`` lets the compiler form FMAs and nothing else:
reassociation would tie the bits to the vector width, and ``nnan``/``ninf`` delete NaN checks.

Numba's own cache keys on one source file and keeps one index file per function. It therefore misses an edit in a
kernel that the function calls, and two processes can claim one slot. Here the directory's name is a digest of
everything that the machine code depends on, and each (function, signature) has its own file, written atomically
and verified by checksum before it is unpickled. Unpickling can run anything, and a checksum is no signature: a directory
that others can write to is not used.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import inspect
import os
import pickle
import platform
import shutil
import stat
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any

import llvmlite
import numba
import numpy as np
from numba import types
from numba.core import cgutils, compiler, config, sigutils
from numba.core.caching import _Cache
from numba.core.codegen import CPUCodeLibrary, get_host_cpu_features
from numba.core.compiler_lock import global_compiler_lock
from numba.core.imputils import impl_ret_new_ref

try:  # Windows has no fcntl; there processes may compile the same kernel twice, which only costs time.
    import fcntl
except ImportError:  # pragma: no cover
    fcntl = None  # type: ignore[assignment]

_SUFFIX = ".kernel"
_DIGEST_BYTES = 32
_LOCK_PATIENCE_SECONDS = 60.0
_STALE_SECONDS = 30 * 24 * 3600.0

compile_seconds = 0.0
"""Wall time this process has spent compiling kernels (not loading them from the cache)."""

on_compile: Callable[[], None] | None = None
"""Called once, before the first kernel that is not in the cache is compiled. Set by whoever shows progress."""


def cache_root() -> Path:
    """``$FASTMLP_CACHE``, else the user's cache directory with ``fastmlp`` appended."""
    if explicit := os.environ.get("FASTMLP_CACHE"):
        return Path(os.path.expanduser(explicit))
    if os.name == "nt":  # pragma: no cover
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "fastmlp"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "fastmlp"


def _stamp() -> str:
    """Digest of all that compiled code depends on: sources, versions, flags, CPU."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    flags = {name: repr(getattr(config, name)) for name in sorted(vars(config)) if name.isupper()}
    for irrelevant in ("CACHE_DIR", "NUM_THREADS", "NUMBA_NUM_THREADS", "NUMBA_DEFAULT_NUM_THREADS", "THREADING_LAYER"):
        flags.pop(irrelevant, None)
    facts = (
        sys.version,
        platform.machine(),
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        config.CPU_NAME or llvmlite.binding.get_host_cpu_name(),
        config.CPU_FEATURES or get_host_cpu_features(),
        flags,
    )
    digest.update(repr(facts).encode())
    return digest.hexdigest()[:24]


class _Store:
    """One directory of compiled kernels that all share one stamp; unusable directories switch it off.

    One that can be read only, or is on a full disk, is still read.
    """

    def __init__(self) -> None:
        self._depth = threading.local()
        self._locking = self.keeping = True
        self.directory: Path | None = None
        try:
            self.stamp = _stamp()
            directory = cache_root() / "kernels" / self.stamp
            if not directory.is_dir():
                directory.mkdir(parents=True, mode=0o700, exist_ok=True)  # another process may be first
                _remove_stale(directory)
            if not os.access(directory, os.R_OK | os.X_OK):
                raise PermissionError(f"{directory} is not readable")
            if os.name != "nt" and _others_can_write(directory.stat()):
                raise PermissionError(f"others can write to {directory}, and what is in it would be run")
            self.directory = directory
        except (OSError, RuntimeError) as error:  # RuntimeError: no home directory
            _warn(f"kernels are compiled anew in each process: no usable cache directory ({error})")

    def path(self, name: str, signature: str) -> Path | None:
        if self.directory is None:
            return None
        key = hashlib.sha256(signature.encode()).hexdigest()[:16]
        return self.directory / f"{name}-{key}{_SUFFIX}"

    def _checksum(self, path: Path, payload: bytes) -> bytes:
        return hashlib.sha256(b"\0".join((self.stamp.encode(), path.name.encode(), payload))).digest()

    def read(self, path: Path) -> bytes | None:
        """The payload, or None when there is none that can be trusted; a damaged file is removed."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _warn(f"a file in the kernel cache cannot be read ({error}); compiling anew")
            return None
        payload = content[_DIGEST_BYTES:]
        if content[:_DIGEST_BYTES] == self._checksum(path, payload):
            return payload
        _warn(f"damaged file in the kernel cache removed: {path}; compiling anew")
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def write(self, path: Path, payload: bytes) -> None:
        if not self.keeping:
            return
        temporary = None
        try:
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
                temporary = file.name
                file.write(self._checksum(path, payload) + payload)
            os.replace(temporary, path)
        except OSError as error:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
            self.keeping = False
            _warn(f"compiled kernels are not kept: cannot write the cache ({error})")

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the directory's lock, so that of many processes that start cold one compiles and the rest load.

        A kernel that calls kernels compiles them inside; only the outermost hold locks. Only a courtesy, as files are
        written atomically: where the lock cannot be had in time, the process does without for good.
        """
        depth = getattr(self._depth, "value", 0)
        self._depth.value = depth + 1
        handle = None
        try:
            if depth == 0 and self._locking and self.directory is not None and fcntl is not None:
                handle = self._locked_file(self.directory / "lock")
            yield
        finally:
            self._depth.value = depth
            if handle is not None:
                handle.close()

    def _locked_file(self, path: Path) -> IO[bytes] | None:
        deadline = time.monotonic() + _LOCK_PATIENCE_SECONDS
        try:
            handle = open(path, "wb")  # noqa: SIM115 (open as long as it is locked)
        except OSError:
            self._locking = False
            return None
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return handle
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
            except OSError:  # a file system without locks
                pass
            handle.close()
            self._locking = False
            return None


def _others_can_write(status: os.stat_result) -> bool:
    """Whether anybody but this user, or root, can."""
    return status.st_uid not in (0, os.geteuid()) or bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _remove_stale(directory: Path) -> None:
    """Drop the compiled kernels of versions that nobody has built for a month."""
    for sibling in directory.parent.iterdir():
        with contextlib.suppress(OSError):
            if sibling != directory and time.time() - sibling.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(sibling)


_warned = False


def _warn(message: str) -> None:
    """At most one warning line a process: what is wrong with one file is wrong with many."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(f"fastmlp kernels: {message}", RuntimeWarning, stacklevel=3)


if hasattr(os, "register_at_fork"):
    # Else a child that is forked while another thread compiles waits for ever, for a lock whose holder it does not have.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )

_store: _Store | None = None


def store() -> _Store:
    global _store
    if _store is None:
        _store = _Store()
    return _store


# -- kernels and pieces ----------------------------------------------------------------------------------------------

# Without Numba's runtime (``_nrt``), which counts references to arrays, atomically and at each slice: two threads fought over
# the counters for 5 % of a step, and a call on one sample took 6.7 us, not 8.0. Kernels own no arrays: their callers do.
# Numba refuses to compile one that would make an array, and what is here one that would return any.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy", "_nrt": False}
_kernels: dict[str, Any] = {}  # every kernel's dispatcher by its name
_symbols: dict[str, tuple[str, tuple[Any, ...]]] = {}  # (name, argument types) of all machine code there is

_OBJECTS_A_SEARCH = 5_000  # instead of 700: 10.5 s of compiling, not 11.4; with more it stays at that

_compiling = False
_depth = 0  # of kernels whose compilation compiles kernels; under Numba's lock


def _name(function: Callable[..., Any]) -> str:
    """The same text in every process, and for no two functions: those of one factory differ in what they close over."""
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return f"{function.__qualname__}({', '.join(map(_describe, cells))})" if cells else function.__qualname__


def _describe(value: Any) -> str:
    """A closed-over value as text that is the same in every process."""
    if isinstance(value, (bool, int, float, str)):
        return repr(value)
    if (function := getattr(value, "py_func", None)) is not None:
        return str(function.__qualname__)
    raise TypeError(f"a kernel may close over numbers, strings and kernels, not over {value!r}")


class _PieceLibrary(CPUCodeLibrary):
    """Code that is only ever linked into that of kernels and optimised there.

    To optimise it alone, too, and make it executable took a sixth of the compile time.
    """

    def _optimize_final_module(self) -> None: ...

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    @property
    def codegen(self) -> Any:
        return self

    def set_env(self, name: str, env: Any) -> None: ...


class _PieceCompiler(compiler.Compiler):
    def define_pipelines(self) -> Any:
        self.state.library = _PieceLibrary(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        return super().define_pipelines()


def piece(function: Callable[..., Any]) -> Any:
    """Compile ``function`` into each kernel that calls it: what is too small for a call, or made to be inlined."""
    if config.DISABLE_JIT:
        return function
    # The name is in the symbol, and of two weak symbols with one name the linker takes either.
    function.__qualname__ = _name(function)
    dispatcher = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=_PieceCompiler, **_OPTIONS)(
        function
    )
    dispatcher._insert = lambda *args, **options: None  # nothing that Python could call
    dispatcher._compile_for_args = _refuse_python
    compile_signature = dispatcher.compile
    dispatcher.compile = lambda sig: compile_signature(_without_literals(sig))
    return dispatcher


def _without_literals(sig: Any) -> tuple[Any, ...]:
    """Argument types for which f(0) and f(n) are one function, not two."""
    return tuple(map(types.unliteral, sigutils.normalize_signature(sig)[0]))


def _refuse_python(*args: Any, **options: Any) -> Any:
    raise TypeError("a piece of a kernel is called in compiled code only")


def kernel(function: Callable[..., Any]) -> Any:
    """Compile ``function`` on its own, in nopython mode under the project's one policy, and keep it on disk.

    Other kernels, and the user's ``@njit`` code, call it by its symbol or address: linked in, as Numba does by default,
    it would be optimised again in every caller, which took most of the compile time. Python calls it ``from_python``.
    """
    if config.DISABLE_JIT:
        return function
    dispatcher = _dispatcher(function, no_cpython_wrapper=True)
    dispatcher._insert = lambda *args, **options: None
    dispatcher._compile_for_args = lambda *args, **options: from_python(dispatcher)
    return dispatcher


@cache
def from_python(function: Any) -> Any:
    """The entry to a kernel. To call the kernel itself does the same more slowly."""
    return entry("def call({arguments}):\n    return function({arguments})", function)


def entry(source: str, function: Any, skip: int = 0, **names: Any) -> Any:
    """A kernel that Python can call, from its source, where the kernel ``function`` is known, and ``names``.

    {arguments} stands for the arguments of ``function`` without the first ``skip``. As ``*args`` they would come in a tuple,
    whose type Numba finds out anew at each call. Only entries have the code that takes Python's objects apart: in every
    kernel it took a fifth of the compile time.
    """
    arguments = "".join(f"{name}, " for name in list(inspect.signature(function.py_func).parameters)[skip:])
    code = compile(source.format(arguments=arguments), f"<entry to {function.py_func.__qualname__}>", "exec")
    scope = {"__name__": function.py_func.__module__, "function": function, **names}
    exec(code, scope)
    call = scope[code.co_names[0]]
    call.__qualname__ = f"{call.__name__}({function.py_func.__qualname__})"
    return _dispatcher(call)


def _dispatcher(function: Callable[..., Any], **options: Any) -> Any:
    function.__qualname__ = _name(function)
    dispatcher = numba.njit(no_cfunc_wrapper=True, **options, **_OPTIONS)(function)
    dispatcher._cache = _KernelCache(function)
    _kernels[dispatcher._cache.name] = dispatcher
    compile_signature = dispatcher.compile

    def compile_once(sig: Any) -> Any:
        global compile_seconds, _compiling, _depth
        args = _without_literals(sig)
        if (known := dispatcher.overloads.get(args)) is not None:
            return known.entry_point
        # Numba's lock first, always: user code that calls a kernel holds it already when it gets here.
        with global_compiler_lock:
            start = time.perf_counter()
            _depth += 1
            try:
                kept = dispatcher._cache.is_kept(args, dispatcher.targetctx)
                with contextlib.nullcontext() if kept else _compilation():
                    entry_point = compile_signature(args)
                _call_by_symbol(dispatcher, args)
                return entry_point
            finally:
                _depth -= 1
                if _depth == 0 and _compiling:
                    _compiling = False
                    compile_seconds += time.perf_counter() - start

    dispatcher.compile = compile_once
    return dispatcher


@contextlib.contextmanager
def _compilation() -> Iterator[None]:
    """Alone with the cache, and with rare searches for garbage among what Numba keeps: they took a tenth of the time."""
    often = gc.get_threshold()
    gc.set_threshold(often[0] and _OBJECTS_A_SEARCH, *often[1:])
    try:
        with store().exclusive():
            yield
    finally:
        gc.set_threshold(*often)


def _call_by_symbol(dispatcher: Any, args: tuple[Any, ...]) -> None:
    """Have callers of this compiled kernel call it where it is."""
    compiled = dispatcher.overloads[args]
    if "array(" in str(compiled.fndesc.restype):  # its caller would count a reference down that nobody had counted
        del dispatcher.overloads[args]
        raise TypeError(
            f"kernel {dispatcher.py_func.__qualname__} returns {compiled.fndesc.restype}; it may return numbers"
        )
    fndesc, entry_point, library = compiled.fndesc, compiled.entry_point, compiled.library
    _symbols[fndesc.mangled_name] = dispatcher._cache.name, args

    def call(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        function = context.declare_function(builder.module, fndesc)
        if _depth == 0:
            # In the user's function. An address makes Numba refuse to keep that on disk, where the symbol would
            # name nothing in the next process.
            address = library.get_pointer_to_function(fndesc.mangled_name)
            function = builder.bitcast(context.add_dynamic_addr(builder, address, info=fndesc.qualname), function.type)
        status, value = context.call_conv.call_function(builder, function, fndesc.restype, fndesc.argtypes, values)
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return impl_ret_new_ref(context, builder, fndesc.restype, value)

    implementation: Any = call
    implementation.signature, implementation.libs = fndesc.argtypes, ()
    target = dispatcher.targetctx
    target.remove_user_function(entry_point)
    target._defns[entry_point].append(implementation, fndesc.argtypes)


class _KernelCache(_Cache):
    """Numba's cache interface on the store. A file holds the kernels that this one calls, by name, and its own code."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._file = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        self.name = f"{function.__module__}.{function.__qualname__}"
        # Others' functions are compiled in each process: that their source has changed, the stamp would not tell.
        self._kept = function.__module__.startswith(f"{__package__}.")

    @property
    def cache_path(self) -> str:
        return str(store().directory)

    def _path(self, sig: Any, target_context: Any) -> Path | None:
        if not self._kept:
            return None
        return store().path(self._file, repr((self.name, sig, target_context.codegen().magic_tuple())))

    def is_kept(self, sig: Any, target_context: Any) -> bool:
        path = self._path(sig, target_context)
        return path is not None and path.exists()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        path = self._path(sig, target_context)
        payload = None if path is None else store().read(path)
        if payload is not None:
            calls, code = pickle.loads(payload)
            if all(_has_symbol(*call) for call in calls):
                target_context.refresh()
                return compiler.CompileResult._rebuild(target_context, *code)
        _announce_compilation()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        path = self._path(sig, data.target_context)
        if path is not None and not data.library.has_dynamic_globals:
            called = [
                fn.name for fn in data.library._final_module.functions if fn.is_declaration and fn.name in _symbols
            ]
            calls = [(*_symbols[symbol], symbol) for symbol in called]
            store().write(path, pickle.dumps((calls, data._reduce()), protocol=pickle.HIGHEST_PROTOCOL))

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...


def _has_symbol(name: str, args: tuple[Any, ...], symbol: str) -> bool:
    """Load or compile a kernel that machine code from the cache calls; whether it goes by ``symbol`` there too."""
    dispatcher = _kernels.get(name)
    if dispatcher is None:
        return False
    dispatcher.compile(args)
    return bool(dispatcher.overloads[args].fndesc.mangled_name == symbol)


def _announce_compilation() -> None:
    global _compiling, on_compile
    _compiling = True
    if on_compile is not None:
        announce, on_compile = on_compile, None
        announce()
