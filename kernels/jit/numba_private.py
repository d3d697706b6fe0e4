"""Every use of Numba's private names. ``pyproject.toml`` limits Numba to the versions that were tested.

The tests of this module name what a new version of Numba has changed.
"""

from __future__ import annotations

import functools
import sys
from types import SimpleNamespace
from typing import Any

import numba
import numpy.ma  # which Numba's first call would import outside its lock: a child forked meanwhile never could
from numba import types

try:
    from llvmlite import binding, ir
    from numba import extending
    from numba.core import callconv, cgutils, compiler, config, errors, funcdesc, sigutils, typing
    from numba.core.codegen import JITCodeLibrary, get_host_cpu_features
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.environment import Environment
    from numba.core.errors import NumbaError, TypingError
    from numba.core.imputils import impl_ret_new_ref, lower_constant
    from numba.core.registry import CPUDispatcher, cpu_target
    from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_global
except ImportError as error:
    raise ImportError(
        f"kernels cannot use Numba {numba.__version__}: {error}; install a version that fastmlp's requirements allow"
    ) from error

from . import dependencies
from .dependencies import vocabulary
from .linked import VOCABULARY, Linked

vocabulary()

__all__ = [
    "ARM", "X86", "AbstractTemplate", "AttributeTemplate", "NumbaError", "Piece", "PythonDispatcher",
    "StoredDispatcher", "TypingError", "cgutils", "code_from", "code_to_keep", "config",
    "definition", "global_compiler_lock", "infer_global", "intrinsic", "load_registries", "lower_constant", "outcome",
    "part_of", "passed_only", "place_of_typing", "propagate", "refuse_in_compiled_code", "target",
    "tell_a_compilation_of_new_names", "with_part",
]  # fmt: skip


# The architecture of this process's code; platform.machine() may be that of a machine that runs code of others, too.
X86, ARM = (binding.get_process_triple().startswith(names) for names in ("x86_64", ("aarch64", "arm64")))


def target() -> tuple[str, str]:
    """The CPU that code is compiled for: LLVM's name, and the features, each with + or -, separated by commas."""
    features = config.CPU_FEATURES
    return config.CPU_NAME or binding.get_host_cpu_name(), get_host_cpu_features() if features is None else features


class _Library(JITCodeLibrary):
    """Code that is optimised once, after linking: optimising each function before took a tenth of the time."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def serialize_using_object_code(self) -> Any:
        """Keep only functions' names in place of the bitcode, which serves callers that link the code in: none does."""
        self._ensure_finalized()
        names = "".join(f'@"{function.name}" = global i8 0\n' for function in self.get_defined_functions())
        return self.name, "object", (self._get_compiled_object(), binding.parse_assembly(names).as_bitcode())


class _PieceLibrary(_Library):
    """Code only linked into kernels, and optimised there: doing that here, too, took a sixth of the compile time."""

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


class _KernelCompiler(compiler.Compiler):
    """Numba's compiler without passes for what no kernel uses: closures, array expressions, ``with``, ``literally``."""

    library = _Library
    needless = (
        "DumpParforDiagnostics", "FindLiterallyCalls", "InlineClosureLikes", "InlineInlinables",
        "LiteralPropagationSubPipelinePass", "LiteralUnroll", "MakeFunctionToJitFunction", "NopythonRewrites",
        "RewriteDynamicRaises", "WithLifting",
    )  # fmt: skip

    dispatcher: Any = None  # the dispatcher whose compilation begins; changed under Numba's lock

    def define_pipelines(self) -> Any:
        dispatcher, identity = self.dispatcher, self.state.func_id
        if dispatcher is not None and identity.func is dispatcher.py_func:
            number = dispatcher.number(self.state.args)
            if number is not None:
                identity.modname = dispatcher.py_func.__module__  # a spawned process calls __main__ __mp_main__
                identity.unique_id, identity.unique_name = number, f"{identity.func_qualname}${number}"
        self.state.library = library = self.library(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        library.enable_object_caching()
        (pipeline,) = super().define_pipelines()
        pipeline.passes = [(each, name) for each, name in pipeline.passes if each.__name__ not in self.needless]
        return [pipeline]


class _PieceCompiler(_KernelCompiler):
    library = _PieceLibrary


def _keep_with(library: Any, environment: Any, linked: Linked) -> None:
    """Have Numba keep ``linked`` with a function, and with all functions that it is linked into.

    Newer versions of Numba pass on the functions to be called after loading; in older ones ``linked`` goes among the
    constants of the function's environment, which parallel loops do not pass on.
    """
    if hasattr(library, "_reload_init"):
        library._reload_init.add(linked)
    elif linked not in environment.consts:
        environment.consts.append(linked)


class Dispatcher(CPUDispatcher):
    """A function that only compiled code calls: Python calls ``for_python()``. ``check`` may refuse argument types."""

    check: Any = None
    pipeline: type = _KernelCompiler

    def __init__(self, function: Any, locals: Any = None, options: Any = None) -> None:
        super().__init__(function, locals, options, self.pipeline)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        self._require_arguments(args, kws)
        if not self.py_func.__defaults__:
            return super().get_call_template(args, kws)
        # A default value gets the type of a given one: else each default would be compiled as another function.
        _, args = self._compiler.fold_argument_types(args, kws)
        given = (numba.typeof(kind.value) if isinstance(kind, types.Omitted) else kind for kind in args)
        return super().get_call_template(tuple(given), {})

    def _require_arguments(self, args: Any, kws: Any) -> None:
        """TypeError for too few or too many, in one line: Numba's has all types in it."""
        signature = self._compiler.pysig
        try:
            signature.bind(*args, **kws)
        except TypeError as error:
            plain = (each.replace(annotation=each.empty) for each in signature.parameters.values())
            module = str(self.py_func.__module__).rpartition(".")[2]
            listed = ", ".join(map(str, plain))
            raise TypeError(f"{place_of_typing()}{module}.{self.py_func.__name__}({listed}): {error}") from None

    def compile(self, sig: Any) -> Any:
        # Without literals f(0) and f(n) are one function, not two.
        args = tuple(map(types.unliteral, sigutils.normalize_signature(sig)[0]))
        if (known := self.overloads.get(args)) is not None:
            return known.entry_point
        if config.DISABLE_JIT:
            raise RuntimeError(
                f"NUMBA_DISABLE_JIT is set, and {self.py_func.__qualname__} exists only compiled; unset it, or use "
                "kernels.reference"
            )
        if self.check is not None:
            self.check(args)
        # Numba's lock is always taken first: user code that calls a kernel already holds it here.
        with global_compiler_lock:
            return self.compile_once(args)

    def compile_once(self, args: tuple[Any, ...]) -> Any:
        """Compile for ``args``, for the first time, under Numba's lock."""
        return super().compile(args)

    def _insert(self, *args: Any, **options: Any) -> None:
        """Register nothing for calls from Python."""

    def _compile_for_args(self, *args: Any, **options: Any) -> Any:
        return self.for_python()

    def __reduce__(self) -> Any:
        """Pickle it by name where possible: by its code it would be compiled in each process that unpickles it.

        Other processes, such as joblib's, have another __main__.
        """
        function, module = self.py_func, self.py_func.__module__
        if module != "__main__" and getattr(sys.modules.get(module), function.__name__, None) is self:
            return str(function.__name__)
        return super().__reduce__()


class Piece(Dispatcher):
    """A function that is compiled into its callers; in Python it runs as it is written, unless it is of vectors."""

    pipeline = _PieceCompiler

    def __call__(self, *args: Any, **named: Any) -> Any:
        if self.check is not None:
            raise RuntimeError(f"{self.py_func.__name__} works in compiled code only")
        return self.py_func(*args, **named)

    def compile_once(self, args: tuple[Any, ...]) -> Any:
        entry_point, compiled = super().compile_once(args), self.overloads[args]
        _keep_with(compiled.library, compiled.environment, Linked(self.py_func))
        return entry_point


class StoredDispatcher(Dispatcher):
    """A dispatcher whose machine code is kept: ``load(args)`` returns it or None, ``save(args, compiled)`` keeps it.

    ``number(args)`` is a number, the same in all processes, that makes the symbol unique; None if the code is not kept.
    """

    depth = 0  # of nested compilations; changed under Numba's lock

    def declare(self, args: tuple[Any, ...], address: int) -> str:
        """Let compiled code call this, which returns nothing, before it is compiled: by its symbol, which is returned.

        In this process, which does not run such code, the symbol stands for ``address``.
        """
        flags = compiler.Flags()
        self.targetdescr.options.parse_as_flags(flags, self.targetoptions)
        function = self.py_func
        described = funcdesc.FunctionDescriptor(
            True, function.__module__, function.__qualname__, "", "", {}, types.none, {},
            [f"arg{k}" for k in range(len(args))], {}, self.targetctx.mangler, args,
            abi_tags=[flags.get_mangle_string()], uid=self.number(args),
        )  # fmt: skip
        declared = SimpleNamespace(
            signature=typing.signature(types.none, *args),
            entry_point=object(),
            fndesc=described,
            library=None,
            objectmode=False,
        )
        self.overloads[args] = declared
        self._call_in_place(args)
        binding.add_symbol(described.mangled_name, address)
        return str(described.mangled_name)

    def compile_once(self, args: tuple[Any, ...]) -> Any:
        StoredDispatcher.depth += 1
        before, _KernelCompiler.dispatcher = _KernelCompiler.dispatcher, self
        try:
            # Numba's own compile would install its timers of LLVM again for each nested kernel.
            if (kept := self.load(args)) is not None:
                self.add_overload(kept)
            else:
                entry_point = super().compile_once(args)
                self.save(args, self.overloads[args])
                self.targetctx.remove_user_function(entry_point)
        finally:
            StoredDispatcher.depth -= 1
            _KernelCompiler.dispatcher = before
        self._call_in_place(args)
        return self.overloads[args].entry_point

    def _call_in_place(self, args: tuple[Any, ...]) -> None:
        """Make callers call this compiled kernel instead of linking its code in."""
        compiled = self.overloads[args]
        fndesc, library = compiled.fndesc, compiled.library
        if "array(" in str(fndesc.restype):  # the caller would release a reference that was never counted
            del self.overloads[args]
            raise TypeError(
                f"kernel {self.py_func.__qualname__} returns {fndesc.restype}; it must return numbers or nothing"
            )

        def call(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            if context.aot_mode:
                raise TypingError(
                    f"{self.py_func.__qualname__} of fastmlp's kernels cannot be compiled ahead of time: its machine "
                    "code is made for the CPU that runs it and called by its address; use @njit"
                )
            function = context.declare_function(builder.module, fndesc)
            if StoredDispatcher.depth == 0:
                # A user's function calls by address: Numba then refuses to cache it, as it must, for the symbol would
                # be unknown in the next process.
                address = library.get_pointer_to_function(fndesc.mangled_name)
                address = context.add_dynamic_addr(builder, address, info=fndesc.qualname)
                function = builder.bitcast(address, function.type)
            status, value = context.call_conv.call_function(builder, function, fndesc.restype, fndesc.argtypes, values)
            with cgutils.if_unlikely(builder, status.is_error):
                context.call_conv.return_status_propagate(builder, status)
            return impl_ret_new_ref(context, builder, fndesc.restype, value)

        implementation: Any = call
        implementation.signature, implementation.libs = fndesc.argtypes, ()
        self.targetctx._defns[compiled.entry_point].append(implementation, fndesc.argtypes)


class PythonDispatcher(StoredDispatcher):
    """A dispatcher that Python can call."""

    _insert = CPUDispatcher._insert

    def _compile_for_args(self, *args: Any, **options: Any) -> Any:
        for name, value in zip(self._compiler.pysig.parameters, args):
            if self.typeof_pyval(value) == types.pyobject:
                given = (
                    f"an array of {value.dtype}" if isinstance(value, numpy.ndarray) else f"a {type(value).__name__}"
                )
                usual = "numbers, arrays of numbers in the machine's byte order, and tuples of these"
                raise TypeError(
                    f"{name} is {given}; compiled code takes {getattr(type(value), 'in_compiled_code', usual)}"
                )
        return CPUDispatcher._compile_for_args(self, *args, **options)


def code_to_keep(compiled: Any) -> tuple[Any, list[str]] | None:
    """(the compiled code in a form to be pickled, the symbols that it calls); None for code with addresses in it."""
    if compiled.library.has_dynamic_globals:
        return None
    called = [function.name for function in compiled.library._final_module.functions if function.is_declaration]
    compiled.reload_init.clear()
    return tuple(map(_without_linked, compiled._reduce())), called


class _Reduced:
    """An object that unpickles as another one."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def _without_linked(part: Any) -> Any:
    """An environment, or a tuple with some, without ``Linked`` marks: our keys cover the pieces."""
    if isinstance(part, tuple):
        return tuple(map(_without_linked, part))
    if not isinstance(part, Environment) or not any(isinstance(const, Linked) for const in part.consts):
        return part
    rebuild, (module, consts, name) = part.__reduce__()
    return _Reduced(rebuild, (module, [None if isinstance(const, Linked) else const for const in consts], name))


def code_from(kept: Any, dispatcher: CPUDispatcher) -> Any:
    """The compiled code that ``code_to_keep`` made picklable.

    Numba's own cache would first load all that a compilation may need, SciPy's linear algebra included, which takes
    several times as long as loading the code. Machine code needs none of it, nor Numba's runtime (``_nrt``).
    """
    return compiler.CompileResult._rebuild(dispatcher.targetctx, *kept)


def load_registries() -> None:
    """Import the modules for compilation, which takes a quarter of a second, before the first kernel needs them."""
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()


def tell_a_compilation_of_new_names() -> None:
    """Make the running compilation see intrinsics of a module that was imported after it began."""
    # There are no registries yet if all kernels so far came from the store.
    if global_compiler_lock.is_locked() and cpu_target.typing_context._registries:
        load_registries()


def part_of(context: Any, builder: Any, kind: Any, array: Any, name: str) -> Any:
    """A part of an array of this type: ``data``, ``nitems``, ``shape``, ...

    Numba's own accessor stores all seven parts and loads one: that was a fifth of the code that LLVM had to compile.
    """
    return builder.extract_value(array, context.data_model_manager[kind].get_field_position(name))


def with_part(context: Any, builder: Any, kind: Any, array: Any, name: str, value: Any) -> Any:
    """The array with one part replaced by ``value``."""
    return builder.insert_value(array, value, context.data_model_manager[kind].get_field_position(name))


_WORD = ir.IntType(64)


def outcome(builder: Any, status: Any) -> tuple[Any, Any]:
    """A call's status as two integers, which another function or thread can pass to ``propagate``."""
    return builder.sext(status.code, _WORD), builder.ptrtoint(status.excinfoptr, _WORD)


def propagate(context: Any, builder: Any, code: Any, info: Any) -> None:
    """Raise here the exception of the call with this ``outcome``, if it raised one."""
    info = builder.inttoptr(info, callconv.excinfo_ptr_t)
    status = context.call_conv._get_return_status(builder, builder.trunc(code, callconv.errcode_t), info)
    with cgutils.if_unlikely(builder, status.is_error):
        context.call_conv.return_status_propagate(builder, status)


def options_text(dispatcher: Any) -> str:
    """The arguments of a function's ``njit``: options, types of variables and signatures."""
    options = {name: sorted(map(str, value)) if isinstance(value, (set, frozenset)) else repr(value) for name, value in
               dispatcher.targetoptions.items()}  # fmt: skip
    signatures = () if dispatcher._can_compile else dispatcher.signatures
    return repr((sorted(options.items()), sorted(map(repr, dispatcher.locals.items())), signatures))


dependencies.options_text = options_text


def intrinsic(function: Any, constants: bool = False) -> Any:
    """Numba's ``intrinsic``, of a function that returns a signature and ``emit(context, builder, *values)``.

    Users' cached functions that contain it become invalid when the package changes: see ``linked``. With ``constants``
    a number in the code has its literal type.
    """

    @functools.wraps(function)
    def typed(typingctx: Any, *args: Any, **named: Any) -> Any:
        signature, emit = function(typingctx, *args, **named)

        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            _keep_with(context.active_code_library, context.environment, VOCABULARY)
            made = emit(context, builder, *values)
            return context.get_dummy_value() if signature.return_type == types.void else made

        return signature, codegen

    return extending.intrinsic(prefer_literal=constants)(typed)


def definition(intrinsic: Any) -> Any:
    """The function of (typing context, *argument types) that returns an intrinsic's signature and code."""
    return intrinsic._defn


def refuse_in_compiled_code(function: Any, instead: str) -> None:
    """Refuse calls of a function in compiled code, in one line that says what to call instead."""

    class Template(AbstractTemplate):
        key = function

        def generic(self, args: Any, kws: Any) -> Any:
            raise TypeError(
                f"{place_of_typing()}kernels.{function.__name__} is for Python; in compiled code call {instead}"
            )

    infer_global(function, types.Function(Template))


def passed_only(kind: Any) -> Any:
    """Class decorator: named tuples of this class are arguments of compiled functions, and never constants in them.

    Numba freezes a constant's arrays, in memory that cannot be written to, and yet types those in a tuple as writable.
    """

    def typed(value: Any, context: Any) -> Any:
        if context.purpose.name == "constant":
            raise TypeError(
                f"{place_of_typing()}a {kind.__name__} is a constant of a compiled function, with a copy of its arrays "
                "that cannot be written to; pass it as an argument"
            )
        return extending.typeof_impl.dispatch(tuple)(value, context)

    extending.typeof_impl.register(kind)(typed)
    return kind


def place_of_typing() -> str:
    """The place in the user's code of the call that Numba is typing, to begin a message with."""
    place = getattr(errors, "loc_info", {}).get("loc")
    return f"{place.filename}, line {place.line}: " if place and not place.filename.startswith("<") else ""
