"""The compile policy: the only place where the project sets Numba's options.

Compiled code is either a ``@kernel``, which has machine code of its own for each combination of argument types, kept on
disk, or a ``@piece``, which is compiled into the kernels that call it. Python calls kernels through an ``entry``. All
code is nopython and releases the GIL. ``fastmath={"contract"}`` lets the compiler form FMAs and nothing else:
reassociation would tie the bits to the vector width, and ``nnan``/``ninf`` delete NaN checks.

Other modules: ``cache``, the store on disk; ``dependencies``, what goes into a cache key; ``workers``, the processes
that compile; ``control``, the control word and exceptions; ``linked``, Numba's own caches; ``numba_private``.
"""

from __future__ import annotations

import contextlib
import dis
import hashlib
import inspect
import itertools
import logging
import pickle
import re
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache as memoized
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any, cast

from numba import types

from .. import _fork_waits_for
from . import dependencies, numba_private, workers
from .cache import store
from .control import CONTROL, attempt, exchange_control, settle
from .dependencies import by_types, is_of_the_package, kernel_text, overload, texts_kept, vocabulary
from .linked import is_piece
from .numba_private import PythonDispatcher, StoredDispatcher, global_compiler_lock

vocabulary()

__all__ = [
    "Kernel", "by_types", "compile_for", "entry", "from_python", "from_source", "kernel", "overload", "piece",
    "store",
]  # fmt: skip

compile_seconds = 0.0
"""Wall time this process has spent compiling kernels, or having them compiled (not loading them from the cache)."""

_LOGGER = logging.getLogger("fastmlp")
_PATIENCE_SECONDS = 1.0

# Else a child forked while another thread compiles would wait for ever: the lock's holder does not exist there.
_fork_waits_for.insert(0, global_compiler_lock)

# Without Numba's runtime (``_nrt``), which counts references to arrays, atomically and at each slice: contention for
# the counters took 5 % of a step on two threads, and a call on one sample took 8.0 us with it, 6.7 us without. Kernels
# own no arrays: Numba refuses to compile one that makes an array, and ``StoredDispatcher`` one that returns any.
_OPTIONS: dict[str, Any] = {
    "nopython": True, "nogil": True, "fastmath": {"contract"}, "error_model": "numpy", "boundscheck": None,
    "_nrt": False, "no_cfunc_wrapper": True,
}  # fmt: skip
_FOR_COMPILED_CODE = {**_OPTIONS, "no_cpython_wrapper": True}

_symbols: dict[str, tuple[str, tuple[Any, ...]]] = {}  # (name, argument types) of all loaded machine code, by symbol
_not_kept: set[str] = set()  # the reasons that have been told
_compiling_since: float | None = None
_told = False


def _name(function: Callable[..., Any]) -> str:
    """A unique name, the same in every process: functions of one factory differ in their closed-over values."""
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return f"{function.__qualname__}({', '.join(map(_describe, cells))})" if cells else function.__qualname__


def _describe(value: Any) -> str:
    """A closed-over value as text that is the same in every process."""
    if isinstance(value, (bool, int, float, str)):
        return repr(value)
    if (function := getattr(value, "py_func", None)) is not None:
        return str(function.__qualname__)
    raise TypeError(f"a kernel may close over numbers, strings and kernels, not over {value!r}")


def piece(function: Callable[..., Any]) -> Any:
    """Compile ``function`` into each kernel that calls it: for code too small for a call, or meant to be inlined.

    Python may call it, too, where it calls nothing but pieces.
    """
    # The symbol contains the name, and of two weak symbols with one name the linker takes either.
    function.__qualname__ = _name(function)
    is_piece(cast(FunctionType, function))
    return numba_private.Piece(function, {}, _FOR_COMPILED_CODE)


def kernel(function: Callable[..., Any]) -> Any:
    """Decorator: compile ``function`` with Numba, separately from its callers, and keep the machine code on disk.

    It is compiled for each call's argument types, in nopython mode, without the GIL, with fused multiply-adds and no
    other liberty with floating point; subnormal numbers are zeros. It may take numbers, arrays and tuples of them,
    raise, and return numbers; it owns no memory: Numba refuses code that makes an array. Parameters have no defaults.

    It is compiled again after any change of the function, of kernels and ``@njit`` functions that it calls, in any
    module, of numbers, strings, dtypes, arrays and tuples that it refers to, of ``kernels``, NumPy, Numba or the CPU.
    One that refers to anything else is compiled anew in each process, and a warning says so. Only your own ``overload``
    of a function of NumPy or Python goes unnoticed.

    Other kernels and ``@njit`` code call it by its symbol or address. Raises TypeError unless it is a plain function.
    """
    # By default Numba links a function into every caller and optimises it there again: most of the compile time.
    _check(function)
    try:
        function.__qualname__ = _name(function)
    except (TypeError, ValueError):
        if is_of_the_package(function.__module__):
            raise
        # The key of a user's kernel contains the values that it closes over, or it is not kept.
    return Kernel(function, {}, _FOR_COMPILED_CODE)


def _check(function: Any) -> None:
    if not inspect.isfunction(function) or inspect.isgeneratorfunction(function):
        raise TypeError(
            f"a kernel is made of a function, not of {function!r}; it is compiled for the types of its first call"
        )
    ours = is_of_the_package(function.__module__)  # these may have defaults: compiled callers use those of ``raw``
    for parameter in inspect.signature(function).parameters.values():
        plain = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        if not plain or not (ours or parameter.default is parameter.empty):
            raise TypeError(
                f"kernel {function.__qualname__} has the parameter {parameter}; parameters must be plain, as x"
            )


@memoized
def from_python(function: Any) -> Any:
    """The entry through which Python calls a kernel. Calling the kernel itself does the same, more slowly."""
    return entry(from_python, "call", "", "_attempt(_function, ({arguments}))", function, _attempt=attempt)


_ENTRY = """
def {name}({first}{arguments}):
    _before = _exchange_control(_CONTROL)
    _result = {work}
    _exchange_control(_before)
    return _settle(_result)
"""


def entry(maker: Any, name: str, first: str, work: str, function: Any, skip: int = 0, **names: Any) -> Any:
    """A function that Python calls, ``name(first, arguments)``; its source is ``work``, on ``_function`` and ``names``.

    In ``work`` {arguments} stands for the kernel's arguments without the first ``skip``. They are separate parameters,
    as Numba would type a tuple anew at each call: a parameter of our kernels that is annotated with a named tuple
    becomes its fields, and what a ``partial`` of it fixes is omitted. Only entries have code that unpacks Python's
    objects, which in every kernel took a fifth of the compile time. An entry sets the floating-point control word for
    all that it calls, and restores the caller's before it raises a kernel's exception: so ``work`` must catch that, as
    ``attempt`` does. In another process ``maker(function)`` makes the same entry.
    """
    source, constants = (maker, function), {}
    if isinstance(function, partial):
        function, constants = function.func, dict(function.keywords)
    arguments, bundled, bound = "", "", "".join(f", {each}={value!r}" for each, value in constants.items())
    for parameter in list(inspect.signature(function.py_func).parameters.values())[skip:]:
        given = made = f"{parameter.name}, "
        if parameter.default is not parameter.empty:
            given = f"{parameter.name}={parameter.default!r}, "
        if parameter.name in constants:
            given = ""
        elif isinstance(parameter.annotation, str) and is_of_the_package(function.py_func.__module__):
            constants[parameter.annotation] = kind = function.py_func.__globals__[parameter.annotation]
            given = "".join(f"{parameter.name}_{field}, " for field in kind._fields)
            made = f"{parameter.annotation}({given}), "
        arguments, bundled = arguments + given, bundled + made
    text = _ENTRY.format(name=name, first=first, arguments=arguments, work=work.format(arguments=bundled))
    scope = {"_exchange_control": exchange_control, "_CONTROL": CONTROL, "_settle": settle, **names, **constants}
    call = from_source(text, name, function, **scope)
    call.__qualname__ = f"{call.__name__}({function.py_func.__qualname__}{bound})"
    made = _Entry(call, {}, _OPTIONS)
    made.source = source
    made.to = None if is_of_the_package(function.py_func.__module__) else (function, skip)
    return made


def from_source(source: str, name: str, function: Any, **scope: Any) -> Any:
    """The function ``name`` defined by generated source, in which ``_function`` is the kernel; it joins its module."""
    scope |= {"__name__": function.py_func.__module__, "_function": function}
    exec(compile(source, f"<{name} of {function.py_func.__qualname__}>", "exec"), scope)
    return scope[name]


class _Kept(StoredDispatcher):
    """A dispatcher with machine code in the store: a file holds the code and the names of the kernels that it calls."""

    def __init__(self, function: Any, locals: Any, options: Any) -> None:
        super().__init__(function, locals, options)
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.source: Any = self.name
        self._paths: dict[tuple[Any, ...], Path | None] = {}
        workers.dispatchers[self.name] = self

    @texts_kept()
    def compile_once(self, args: tuple[Any, ...]) -> Any:
        outermost = self.depth == 0
        path = self._paths[args] = self._path(args)
        if workers.working and not outermost and self._leave_to_another(args):
            del self._paths[args]
            return self.overloads[args].entry_point
        try:
            if path is not None and path.exists():
                entry_point = super().compile_once(args)
            else:
                _begin_waiting()
                with store().exclusive():
                    if path is not None and not path.exists():
                        self._compile_ahead(args)
                    entry_point = super().compile_once(args)
            _symbols[self.overloads[args].fndesc.mangled_name] = self.name, args
            return entry_point
        finally:
            del self._paths[args]
            if outermost:
                _end_compiling()

    def _path(self, args: tuple[Any, ...]) -> Path | None:
        function = self.py_func
        # A user's loss is of a class that each process makes anew, and what ``exec`` made may belong to no module.
        if function.__module__ is None or not all(map(dependencies.found_by_name, args)):
            return None
        try:
            text = "\n".join((self.name, *map(dependencies.type_text, args), kernel_text(function)))
        except TypeError as error:
            if is_of_the_package(function.__module__):
                raise
            if str(error) not in _not_kept:
                _not_kept.add(str(error))
                warnings.warn(f"{error}: it is compiled anew in each process", RuntimeWarning, stacklevel=2)
            return None
        return store().path(f"{function.__module__.rpartition('.')[2]}.{function.__name__}", text)

    def number(self, args: tuple[Any, ...]) -> int | None:
        path = self._paths.get(args) or self._path(args)
        if path is None:
            return None
        return int(hashlib.sha256(f"{store().software}/{path.name}".encode()).hexdigest()[:15], 16)

    def _leave_to_another(self, args: tuple[Any, ...]) -> bool:
        return False

    def _compile_ahead(self, args: tuple[Any, ...]) -> None:
        known = is_of_the_package(self.py_func.__module__) and all(map(dependencies.made_by_the_package, args))
        if known and not workers.working and workers.is_large(kernel_text(self.py_func)):
            _begin_compiling()
            workers.compile_ahead((self.source, args))

    def load(self, args: tuple[Any, ...]) -> Any:
        path = self._paths[args]
        payload = None if path is None else store().read(path)
        if payload is not None:
            with contextlib.suppress(AttributeError, ImportError):  # a user's class that has moved
                calls, code = pickle.loads(payload)
                if all(_has_symbol(*call) for call in calls):
                    return numba_private.code_from(code, self)
        _begin_compiling()
        return None

    def save(self, args: tuple[Any, ...], compiled: Any) -> None:
        path, kept = self._paths[args], numba_private.code_to_keep(compiled)
        if path is not None and kept is not None:
            code, called = kept
            calls = [(*_symbols[symbol], symbol) for symbol in called if symbol in _symbols]
            store().write(path, pickle.dumps((calls, code), protocol=pickle.HIGHEST_PROTOCOL))


# Numba's words, without its runtime, for a function that returns its own array, and for lists, sets, dictionaries.
_OWNS_MEMORY = re.compile("Only accept returning of array passed into the function as argument|NRT required")


class Kernel(_Kept):
    def compile_once(self, args: tuple[Any, ...]) -> Any:
        try:
            return super().compile_once(args)
        except numba_private.NumbaError as error:
            if not _OWNS_MEMORY.search(str(error)):
                raise
            what = "makes an array, or uses a list, set or dictionary, or the max() or min() of an array"
            remedy = "a kernel owns no memory: pass it arrays to fill, and loop over their numbers"
            raise TypeError(f"kernel {self.py_func.__qualname__} {what}; {remedy}") from error

    def for_python(self) -> Any:
        return from_python(self)

    def _leave_to_another(self, args: tuple[Any, ...]) -> bool:
        """In a worker: request this kernel and only declare it, unless its caller needs to know its return type."""
        path = self._paths[args]
        if path is None or path.exists() or not _returns_nothing(self.py_func):
            return False
        _symbols[self.declare(args, workers.NOWHERE)] = self.name, args
        workers.answer((self.name, args))
        return True


def compile_for(calls: Sequence[Callable[[], Any]]) -> None:
    """Make the calls, with the kernels that they need compiled by workers, for all calls together.

    This takes rounds, since a call ends at the first large kernel that is missing. Kernels that workers do not compile
    are compiled here. Calls may be nested: a call of this function is compiled for together with the others.
    """
    asked: set[workers.Task] = set()
    while calls:
        tasks, calls = workers.large_kernels(calls)
        if asked.issuperset(tasks):
            break
        asked.update(tasks)
        _begin_compiling()
        try:
            with store().exclusive():
                workers.compile_all(tasks)
        finally:
            _end_compiling()
    for call in calls:
        call()


def _returns_nothing(function: Any) -> bool:
    steps = list(dis.get_instructions(function))
    for before, step in itertools.pairwise(steps):
        if step.opname == "RETURN_CONST" and step.argval is not None:
            return False
        if step.opname == "RETURN_VALUE" and (
            step.is_jump_target or before.opname != "LOAD_CONST" or before.argval is not None
        ):
            return False
    return True


class _Entry(_Kept, PythonDispatcher):
    to: tuple[Any, int] | None = None  # a user's kernel, and how many arguments it has before those of the entry

    def compile_once(self, args: tuple[Any, ...]) -> Any:
        if self.to is not None:  # first, so that Numba reports an error in it as one of the kernel
            kernel, own = self.to
            kernel.compile((types.intp,) * own + args[own:])
        return super().compile_once(args)


def _has_symbol(name: str, args: tuple[Any, ...], symbol: str) -> bool:
    """Load or compile a kernel that cached code calls; returns whether it has the ``symbol`` that the code calls."""
    dispatcher = workers.dispatchers.get(name)
    if dispatcher is None:
        return False
    dispatcher.compile(args)
    return bool(dispatcher.overloads[args].fndesc.mangled_name == symbol)


_patience: threading.Timer | None = None


def _begin_compiling() -> None:
    """Count the time as compilation until the end of the outermost call."""
    global _compiling_since
    if _compiling_since is None:
        _compiling_since = time.perf_counter()
        _begin_waiting()


def _begin_waiting() -> None:
    """Tell the user after a second of waiting: for compilation here, or in another process."""
    global _patience
    left = _PATIENCE_SECONDS - compile_seconds
    if left <= 0:
        _tell()
    elif _patience is None and not (_told or workers.working):
        _patience = threading.Timer(left, _tell)
        _patience.daemon = True
        with contextlib.suppress(RuntimeError):  # no more threads are allowed
            _patience.start()


def _end_compiling() -> None:
    global compile_seconds, _compiling_since, _patience
    if _compiling_since is not None:
        compile_seconds += time.perf_counter() - _compiling_since
        _compiling_since = None
    if _patience is not None:
        _patience.cancel()
        _patience = None


def _tell() -> None:
    """Say once why the user waits, after a second of compilation in this call and those before.

    It is a warning of the logger ``fastmlp``, which goes to stderr unless the application configures it otherwise.
    """
    global _told
    if _told:
        return
    _told = True
    if store().waiting:
        _LOGGER.warning("another process is compiling kernels; this one waits for them, usually for 3 to 15 s")
        return
    kept = "kept for the next time" if store().keeping and store().directory is not None else "not kept"
    others = sorted(store().of_other_cpus().values()) if store().began_empty else []
    reason = f"; those in the cache are for another CPU, {others[0]}" if others else ""
    _LOGGER.warning(
        "compiling kernels for this kind of network and data, usually for 3 to 15 s; they are %s%s", kept, reason
    )
