"""All that a kernel's machine code depends on, as text that is the same in every process: the basis of its cache key.

The key of a kernel on disk is a digest of this text and of the environment (``cache.environment``). A key that omits
something would silently run stale code. So the text comes from the loaded objects, whether they came from a file, a zip
archive, bytecode alone or a frozen application; and a kernel that refers to an object of any other kind than these is
refused, or, if it is a user's, not kept:

- kernels, pieces and overloads: the code of their functions, and what these refer to in turn;
- numbers, strings, dtypes, arrays and tuples of them, which Numba freezes into the code: their values;
- named tuples and their classes: their fields, in order, and what compiled code may read from the class;
- functions compiled by Numba's own ``njit``, which users' kernels may call: their code and their options;
- objects of NumPy, Numba and Python: their names, since the versions are in the environment;
- objects of *vocabulary* modules (intrinsics, vector types, the compile policy), which affect kernels that do not name
  them: their names, since the code of all these modules is in the environment.

Docstrings, comments, file names and line numbers are left out: no machine code depends on them.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from importlib import import_module
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba import extending, types

_PACKAGE = __name__.rpartition(".jit.")[0]
_OF_SOURCE = {"__doc__", "__firstlineno__"}  # names that a class or module body sets from its source text
_STORE, _LOAD = dis.opmap["STORE_NAME"], dis.opmap["LOAD_CONST"]
_VERSIONED = {*sys.stdlib_module_names, "numpy", "numba", "llvmlite"}  # packages whose versions are in the environment
_VALUES = (bool, int, float, complex, str, bytes, type(None))

options_text: Callable[[Any], str] = repr
"""What ``njit`` was told about a function. ``numba_private``, which imports this module, puts its own function here."""

_vocabulary: dict[str, CodeType] = {}
class_attributes: list[str] = []
"""The attributes that compiled code may read from a named tuple's class: see ``bundles.class_attribute``."""
_overloads: dict[Any, list[FunctionType]] = {}


def vocabulary() -> None:
    """Declare, at a module's top, that all kernels depend on the module's code."""
    frame = sys._getframe(1)
    _vocabulary[frame.f_globals["__name__"]] = frame.f_code


def vocabulary_now() -> dict[str, CodeType]:
    """The code of all vocabulary modules, which are imported if they have not been yet."""
    for module in ("bundles", "intrinsics", "simd.amx", "simd.mathematics", "simd.tiles"):
        import_module(f"{_PACKAGE}.{module}")
    return dict(_vocabulary)


def vocabulary_text() -> str:
    return repr([(name, _code(code)) for name, code in sorted(vocabulary_now().items())])


def overload(function: Callable[..., Any], **options: Any) -> Callable[[Any], Any]:
    """Numba's ``overload``, with the implementation recorded as a dependency of kernels that call ``function``."""

    def decorate(implementation: Any) -> Any:
        _overloads.setdefault(function, []).append(implementation)
        return extending.overload(function, **options)(implementation)

    return decorate


def by_types(implementation: Any, **options: Any) -> Any:
    """Decorator: a function for compiled code only, for which ``implementation`` returns its code by argument types."""

    @wraps(implementation)
    def function(*args: Any, **named: Any) -> Any:
        raise RuntimeError(f"{implementation.__name__} works in compiled code only")

    overload(function, **options)(implementation)
    return function


_kept: dict[FunctionType, tuple[str, list[FunctionType]]] | None = None


@contextmanager
def texts_kept() -> Iterator[None]:
    """Keep the texts of functions during the block: kernels that are compiled together call many of the same."""
    global _kept
    before = _kept
    _kept = {} if before is None else before
    try:
        yield
    finally:
        _kept = before


def kernel_text(function: FunctionType) -> str:
    """All that the machine code of ``function`` depends on, except argument types, vocabulary and environment."""
    found, texts, kept = [function], [], {} if _kept is None else _kept
    for reached in found:  # which grows
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
    for name, module in modules:  # which grows
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
                f"kernel {function.__qualname__} refers to {name}, {value!r}; it may refer to numbers, strings, "
                "dtypes, arrays, tuples of them, named tuples, kernels, functions with a jit.overload, and names of "
                "NumPy, Numba and the modules of the vocabulary"
            ) from None
    return repr((function.__module__, function.__qualname__, _code(function.__code__), texts)), callees


def _is_looked_into(value: Any) -> bool:
    """Whether it is a module of which only the attributes that code names count."""
    return isinstance(value, ModuleType) and not _is_versioned(value.__name__) and value.__name__ not in _vocabulary


@cache
def _names(code: CodeType) -> set[str]:
    """The names of globals and attributes in a function and in the functions inside it."""
    return set(code.co_names).union(*(_names(const) for const in code.co_consts if isinstance(const, CodeType)))


def _text(value: Any, callees: list[FunctionType]) -> str:
    """``value`` as text; the function of a kernel is also appended to ``callees``."""
    if isinstance(value, _VALUES):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, (np.generic, np.dtype)):
        return f"{type(value)} {value!r}"
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"array {value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, types.Type):
        return type_text(value)
    if isinstance(value, tuple):
        return f"{_class_text(type(value), callees)}({[_text(part, callees) for part in value]})"
    if isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields"):
        return _class_text(value, callees)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", type(value).__module__)
    if name is None:
        raise TypeError
    if _is_versioned(module) or module in _vocabulary:
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


def _is_versioned(module: str | None) -> bool:
    return str(module).partition(".")[0] in _VERSIONED


def is_of_the_package(module: str | None) -> bool:
    """Whether a function of this ``__module__``, None of one that ``exec`` made without a name for it, is ours."""
    return f"{module}.".startswith(f"{_PACKAGE}.")


def made_by_the_package(kind: types.Type) -> bool:
    """Whether workers know the type: a user's class in it, such as a loss, exists in this process only."""
    return all(each is tuple or is_of_the_package(each.__module__) for each in _classes(kind))


def found_by_name(kind: types.Type) -> bool:
    """Whether another process can import the classes of the type by their names; those are users' named tuples."""
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
    """Numba's name of a type, with what it lacks for a named tuple: the fields, by which code finds the values.

    And the class attributes that compiled code may read: numbers, and the code of pieces.
    """
    if isinstance(kind, types.BaseTuple):
        parts = [type_text(part) for part in kind]
        return f"{kind}({parts}){_whole_class_text(getattr(kind, 'instance_class', tuple))}"
    return str(kind)


@cache
def _whole_class_text(kind: type) -> str:
    callees: list[FunctionType] = []
    return "".join((_class_text(kind, callees), *map(kernel_text, callees)))


def _class_text(kind: type, callees: list[FunctionType]) -> str:
    """A tuple's fields, and what compiled code may read from its class; the functions are also added to ``callees``."""
    fields, texts = getattr(kind, "_fields", ()), []
    for name in class_attributes:
        if name not in fields and (value := getattr(kind, name, None)) is not None:
            function = getattr(value, "py_func", value)
            if isinstance(function, FunctionType):
                callees.append(function)
                value = function.__qualname__
            texts.append((name, value))
    return f"{kind.__qualname__}{fields}{texts}"


@cache
def _code(code: CodeType) -> tuple[Any, ...]:
    """The code of a function, class or module and of all inside it, without docstrings and places in the source."""
    steps, omitted = code.co_code, {0} if _has_docstring(code) else set()
    if not code.co_flags & inspect.CO_OPTIMIZED:  # the body of a class or module
        steps, omitted = _body(code)
    return (
        code.co_name, steps, [_constant(const) for k, const in enumerate(code.co_consts) if k not in omitted],
        code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_argcount, code.co_posonlyargcount,
        code.co_kwonlyargcount, code.co_flags, code.co_exceptiontable,
    )  # fmt: skip


def _body(code: CodeType) -> tuple[bytes, set[int]]:
    """(the steps of a body without the loads of what its source sets, the constants that only these load)."""
    steps = bytearray(code.co_code)
    stores = (k for k in range(2, len(steps), 2) if steps[k] == _STORE and steps[k - 2] != dis.EXTENDED_ARG)
    sets = [k for k in stores if code.co_names[steps[k + 1]] in _OF_SOURCE]
    loads = {k - 2 for k in sets if steps[k - 2] == _LOAD}
    others = {steps[k + 1] for k in range(0, len(steps), 2) if steps[k] == _LOAD and k not in loads}
    omitted = {steps[k + 1] for k in loads} - others
    for k in sets:
        steps[k - 2 : k] = b"\0\0"
    return bytes(steps), omitted


def _has_docstring(code: CodeType) -> bool:
    if hasattr(inspect, "CO_HAS_DOCSTRING"):  # since Python 3.14
        return bool(code.co_flags & inspect.CO_HAS_DOCSTRING)
    # Lambdas and comprehensions, whose names are in brackets, have no docstring.
    return not code.co_name.startswith("<") and bool(code.co_consts) and isinstance(code.co_consts[0], str)


def _constant(const: Any) -> Any:
    if isinstance(const, CodeType):
        return _code(const)
    return sorted(map(repr, const)) if isinstance(const, frozenset) else (type(const).__name__, repr(const))
