"""What a kernel's machine code is made from, as text that is the same in every process.

The key of a kernel on disk is a digest of this text and of the environment (``cache.environment``). A key that leaves
something out runs stale code without a word, so the text is taken from the objects that are really loaded, whichever
way they were (a file, a zip archive, bytecode alone, a frozen application), and a kernel that refers to a kind of thing
not listed here is refused, or not kept where it is not ours:

- kernels, pieces and overloads: the code of their functions, and what these refer to in turn;
- numbers, strings, dtypes, arrays and tuples of them, which Numba freezes into the code: their values;
- named tuples: their fields, in order;
- functions compiled by Numba's own ``njit``, which kernels of others may call: their code, too, and their options;
- what NumPy, Numba and Python bring: its name, since their versions are in the environment;
- what a module of the *vocabulary* defines (intrinsics, vector types, the compile policy), which acts on kernels by more than
  being named: its name, since the code of all these modules is in the environment.

Docstrings, comments, file names and line numbers are left out: no machine code depends on them.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba import extending, types

_PACKAGE = __name__.rpartition(".jit.")[0]
_HAS_DOCSTRING = 0x4000000  # since Python 3.13
_TOLD = {"__doc__", "__firstlineno__"}  # what a class or module is told about its source
_JUMPS = {*dis.hasjrel, *dis.hasjabs}
_BROUGHT = {*sys.stdlib_module_names, "numpy", "numba", "llvmlite"}  # in versions that are in the environment
_VALUES = (bool, int, float, complex, str, bytes, type(None))

options_text: Callable[[Any], str] = repr
"""What ``njit`` was told about a function. ``numba_private``, which imports this module, puts its own function here."""

_vocabulary: dict[str, CodeType] = {}
class_attributes: list[str] = []
"""What compiled code may read from a named tuple's class: see ``bundles.class_attribute``."""
_overloads: dict[Any, list[FunctionType]] = {}


def vocabulary() -> None:
    """Make the code of the calling module part of what all kernels depend on. Said at its top."""
    frame = sys._getframe(1)
    _vocabulary[frame.f_globals["__name__"]] = frame.f_code


def vocabulary_now() -> dict[str, CodeType]:
    """All of it, whichever modules the process has needed so far."""
    for module in ("bundles", "intrinsics", "simd.names"):
        import_module(f"{_PACKAGE}.{module}")
    return dict(_vocabulary)


def vocabulary_text() -> str:
    return repr([(name, _code(code)) for name, code in sorted(vocabulary_now().items())])


def overload(function: Callable[..., Any], **options: Any) -> Callable[[Any], Any]:
    """Numba's ``overload``, of which kernels know."""

    def decorate(implementation: Any) -> Any:
        _overloads.setdefault(function, []).append(implementation)
        return extending.overload(function, **options)(implementation)

    return decorate


_kept: dict[FunctionType, tuple[str, list[FunctionType]]] | None = None


@contextmanager
def texts_kept() -> Iterator[None]:
    """Make the text of each function once meanwhile: kernels that are looked for together call many of the same."""
    global _kept
    before = _kept
    _kept = {} if before is None else before
    try:
        yield
    finally:
        _kept = before


def kernel_text(function: FunctionType) -> str:
    """All that the machine code of ``function`` depends on but argument types, vocabulary and environment."""
    found, texts, kept = [function], [], {} if _kept is None else _kept
    for reached in found:  # it grows meanwhile
        if reached not in kept:
            kept[reached] = _own_text_and_callees(reached)
        text, callees = kept[reached]
        texts.append(text)
        found += [callee for callee in callees if callee not in found]
    return "".join(texts)


def _own_text_and_callees(function: FunctionType) -> tuple[str, list[FunctionType]]:
    callees: list[FunctionType] = []
    names = sorted(_names(function.__code__))
    refers_to = {name: function.__globals__[name] for name in names if name in function.__globals__}
    modules = [(name, value) for name, value in refers_to.items() if _is_looked_into(value)]
    for name, module in modules:  # it grows meanwhile
        parts = {f"{name}.{part}": getattr(module, part) for part in names if hasattr(module, part)}
        known = [each for _, each in modules]
        modules += [(part, value) for part, value in parts.items() if _is_looked_into(value) and value not in known]
        refers_to |= parts
    refers_to = {name: value for name, value in refers_to.items() if not _is_looked_into(value)}
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or ()))
    refers_to |= {name: cell.cell_contents for name, cell in cells.items()}
    texts = []
    for name, value in (*refers_to.items(), ("its defaults", function.__defaults__)):
        try:
            texts.append((name, _text(value, callees)))
        except TypeError:
            raise TypeError(
                f"kernel {function.__qualname__} refers to {name}, {value!r}; it may refer to numbers, strings, dtypes, "
                "arrays, tuples of them, named tuples, kernels, functions with a jit.overload, and to what NumPy, Numba and "
                "the modules of the vocabulary define"
            ) from None
    return repr((function.__module__, function.__qualname__, _code(function.__code__), texts)), callees


def _is_looked_into(value: Any) -> bool:
    """Whether it is a module of which only what code names counts."""
    return isinstance(value, ModuleType) and not _is_brought(value.__name__) and value.__name__ not in _vocabulary


@cache
def _names(code: CodeType) -> set[str]:
    """Those of globals and attributes in a function and the functions inside."""
    return set(code.co_names).union(*(_names(const) for const in code.co_consts if isinstance(const, CodeType)))


def _text(value: Any, callees: list[FunctionType]) -> str:
    """``value`` as text; if it is a kernel its function is appended to ``callees``."""
    if isinstance(value, _VALUES):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, (np.generic, np.dtype)):
        return f"{type(value)} {value!r}"
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"array {value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, types.Type):
        return type_text(value)
    if isinstance(value, tuple):
        kind = type(value)
        return f"{kind.__name__}{getattr(kind, '_fields', '')}({[_text(part, callees) for part in value]})"
    if isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields"):
        return f"{value.__qualname__}{value._fields}"
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", type(value).__module__)
    if name is None:
        raise TypeError
    if _is_brought(module) or module in _vocabulary:
        return f"{module}.{name}"
    if isinstance(function := getattr(value, "py_func", None), FunctionType):
        callees.append(function)
        if not is_of_the_package(module):
            return f"{name} {options_text(value)}"
    elif value in _overloads:
        callees += _overloads[value]
    else:
        raise TypeError
    return str(name)


def _is_brought(module: str) -> bool:
    return module.partition(".")[0] in _BROUGHT


def is_of_the_package(module: str) -> bool:
    return module == _PACKAGE or module.startswith(f"{_PACKAGE}.")


def made_by_the_package(kind: types.Type) -> bool:
    """Whether workers know the type: it has no class of somebody else's, as a loss of the user's is."""
    return all(each is tuple or is_of_the_package(each.__module__) for each in _classes(kind))


def found_by_name(kind: types.Type) -> bool:
    """Whether another process finds the classes of the type, named tuples of the user's, by their names."""
    return all(
        each is tuple
        or is_of_the_package(each.__module__)
        or getattr(sys.modules.get(each.__module__), each.__qualname__, None) is each
        for each in _classes(kind)
    )


def _classes(kind: types.Type) -> set[type]:
    if not isinstance(kind, types.BaseTuple):
        return set()
    return {getattr(kind, "instance_class", tuple)}.union(*map(_classes, kind))


def type_text(kind: types.Type) -> str:
    """Numba's name of a type, and of named tuples the fields, which the name lacks and code finds its values by.

    Also what compiled code may read from a named tuple's class: its numbers, and the code of its pieces.
    """
    if isinstance(kind, types.BaseTuple):
        parts = [type_text(part) for part in kind]
        return f"{kind}{getattr(kind, 'fields', '')}({parts}){_class_text(getattr(kind, 'instance_class', tuple))}"
    return str(kind)


@cache
def _class_text(kind: type) -> str:
    texts = []
    for name in class_attributes:
        if name not in getattr(kind, "_fields", ()) and (value := getattr(kind, name, None)) is not None:
            function = getattr(value, "py_func", value)
            texts.append((name, kernel_text(function) if isinstance(function, FunctionType) else repr(value)))
    return repr(texts)


@cache
def _code(code: CodeType) -> tuple[Any, ...]:
    """A function's, class's or module's code, and that of all inside, without what comes from its place and its docstring."""
    if not code.co_flags & inspect.CO_OPTIMIZED:  # the body of a class or module
        steps = [(i.opname, i.argval if i.opcode not in _JUMPS else i.arg) for i in dis.get_instructions(code)]
        told = {k - 1 for k, (_, name) in enumerate(steps) if name in _TOLD}
        return tuple((name, _constant(value)) for k, (name, value) in enumerate(steps) if k not in told)
    return (
        code.co_name, code.co_code, [_constant(const) for const in code.co_consts[_has_docstring(code) :]], code.co_names,
        code.co_varnames, code.co_freevars, code.co_cellvars, code.co_argcount, code.co_posonlyargcount,
        code.co_kwonlyargcount, code.co_flags, code.co_exceptiontable,
    )  # fmt: skip


def _has_docstring(code: CodeType) -> bool:
    if sys.version_info >= (3, 13):
        return bool(code.co_flags & _HAS_DOCSTRING)
    # A lambda's first constant is None; a comprehension, whose name is in brackets as well, has no docstring.
    return not code.co_name.startswith("<") and bool(code.co_consts) and isinstance(code.co_consts[0], str)


def _constant(const: Any) -> Any:
    if isinstance(const, CodeType):
        return _code(const)
    return sorted(map(repr, const)) if isinstance(const, frozenset) else (type(const).__name__, repr(const))
