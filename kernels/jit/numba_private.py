"""Every use of names that Numba does not promise to keep. ``pyproject.toml`` bounds Numba to the versions tried.

The tests of this module name what a new version of Numba has changed.
"""

from __future__ import annotations

import functools
import sys
from types import SimpleNamespace
from typing import Any

import numba
import numpy.ma  # noqa: F401 (Numba's first call imports it outside its lock: a child forked meanwhile never could)
from numba import types

try:
    from llvmlite import binding, ir
    from numba import extending
    from numba.core import callconv, cgutils, compiler, config, errors, funcdesc, sigutils, typing
    from numba.core.caching import _Cache
    from numba.core.codegen import JITCodeLibrary, get_host_cpu_features
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.environment import Environment
    from numba.core.errors import TypingError
    from numba.core.imputils import impl_ret_new_ref
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
    "AbstractTemplate", "AttributeTemplate", "Dispatcher", "PieceCompiler", "PythonDispatcher", "StoredDispatcher",
    "TypingError", "cgutils", "code_from", "code_to_keep", "config", "definition", "global_compiler_lock", "infer_global",
    "intrinsic", "load_registries", "outcome", "part_of", "place_of_typing", "propagate", "target",
    "tell_a_compilation_of_new_names", "with_part",
]  # fmt: skip


def target() -> tuple[str, str]:
    """The CPU that code is compiled for: LLVM's name of it, and its features, each with a + or -, between commas."""
    features = config.CPU_FEATURES
    return config.CPU_NAME or binding.get_host_cpu_name(), get_host_cpu_features() if features is None else features


class _Library(JITCodeLibrary):
    """Code that is optimised once, with all that is linked into it: first function by function took a tenth of the time."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def serialize_using_object_code(self) -> Any:
        """Without Numba's bitcode, for functions that link the code in, as none does; and to know which functions it has."""
        self._ensure_finalized()
        names = "".join(f'@"{function.name}" = global i8 0\n' for function in self.get_defined_functions())
        return self.name, "object", (self._get_compiled_object(), binding.parse_assembly(names).as_bitcode())


class _PieceLibrary(_Library):
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


class _KernelCompiler(compiler.Compiler):
    """Numba's, without its passes on what is not in kernels: closures, array expressions, ``with``, ``literally``, ..."""

    library = _Library
    needless = (
        "DumpParforDiagnostics", "FindLiterallyCalls", "InlineClosureLikes", "InlineInlinables",
        "LiteralPropagationSubPipelinePass", "LiteralUnroll", "MakeFunctionToJitFunction", "NopythonRewrites",
        "RewriteDynamicRaises", "WithLifting",
    )  # fmt: skip

    dispatcher: Any = None  # whose compilation begins; under Numba's lock

    def define_pipelines(self) -> Any:
        dispatcher, identity = self.dispatcher, self.state.func_id
        if dispatcher is not None and identity.func is dispatcher.py_func:
            number = dispatcher.number(self.state.args)
            if number is not None:
                identity.unique_id, identity.unique_name = number, f"{identity.func_qualname}${number}"
        self.state.library = library = self.library(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        library.enable_object_caching()
        (pipeline,) = super().define_pipelines()
        pipeline.passes = [(each, name) for each, name in pipeline.passes if each.__name__ not in self.needless]
        return [pipeline]


class PieceCompiler(_KernelCompiler):
    library = _PieceLibrary


def _keep_with(library: Any, environment: Any, linked: Linked) -> None:
    """Have Numba keep this with a function, and with all that have the function linked in.

    Through what it calls after loading, which only newer versions hand on; or among the constants of its environment, which do
    not come out of parallel loops.
    """
    if hasattr(library, "_reload_init"):
        library._reload_init.add(linked)
    elif linked not in environment.consts:
        environment.consts.append(linked)


class Dispatcher(CPUDispatcher):
    """A function that is compiled for the compiled code that calls it, for argument types that ``check`` does not refuse."""

    check: Any = None

    def __init__(
        self, function: Any, locals: Any = None, options: Any = None, pipeline: type = _KernelCompiler
    ) -> None:
        super().__init__(function, locals, options, pipeline)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        if not self.py_func.__defaults__:
            return super().get_call_template(args, kws)
        # A default value has the type that it would have if it were given: else each is another function.
        _, args = self._compiler.fold_argument_types(args, kws)
        given = (numba.typeof(kind.value) if isinstance(kind, types.Omitted) else kind for kind in args)
        return super().get_call_template(tuple(given), {})

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
        # Numba's lock first, always: user code that calls a kernel holds it already when it gets here.
        with global_compiler_lock:
            return self.compile_once(args)

    def compile_once(self, args: tuple[Any, ...]) -> Any:
        """Compile for ``args``, alone, for the first time."""
        entry_point = super().compile(args)
        if self._compiler.pipeline_class is PieceCompiler:
            compiled = self.overloads[args]
            _keep_with(compiled.library, compiled.environment, Linked(self.py_func))
        return entry_point

    def for_python(self) -> Any:
        """What Python calls in the place of this."""
        raise TypeError("a piece of a kernel is called in compiled code only")

    def _insert(self, *args: Any, **options: Any) -> None:
        """Nothing that Python could call."""

    def _compile_for_args(self, *args: Any, **options: Any) -> Any:
        return self.for_python()

    def __reduce__(self) -> Any:
        """By its name where it has one: by its code it would be compiled anew in each process that it is sent to."""
        function = self.py_func
        if getattr(sys.modules.get(function.__module__), function.__name__, None) is self:
            return str(function.__name__)
        return super().__reduce__()


class StoredDispatcher(Dispatcher):
    """One whose machine code is kept: ``load`` gives it or None, ``save`` takes it."""

    depth = 0  # of compilations inside each other; under Numba's lock

    def __init__(self, function: Any, locals: Any = None, options: Any = None) -> None:
        super().__init__(function, locals, options, _KernelCompiler)
        self._cache = _StoredCode(self)

    def number(self, args: tuple[Any, ...]) -> int | None:
        """What tells the symbol from others' of the same name: the same in all processes, or None of code not kept."""
        raise NotImplementedError

    def declare(self, args: tuple[Any, ...], address: int) -> str:
        """Let compiled code call this, which returns nothing, before it is compiled: only by its symbol, which is returned.

        The symbol stands for ``address`` in this process, which does not run such code.
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

    def load(self, args: Any) -> Any:
        raise NotImplementedError

    def save(self, args: Any, compiled: Any) -> None:
        raise NotImplementedError

    def compile_once(self, args: tuple[Any, ...]) -> Any:
        StoredDispatcher.depth += 1
        before, _KernelCompiler.dispatcher = _KernelCompiler.dispatcher, self
        try:
            # Not by Numba's compile, which times each call of LLVM once more for each kernel that another one calls.
            if (kept := self.load(args)) is not None:
                self.add_overload(kept)
            else:
                self.targetctx.remove_user_function(super().compile_once(args))
        finally:
            StoredDispatcher.depth -= 1
            _KernelCompiler.dispatcher = before
        self._call_in_place(args)
        return self.overloads[args].entry_point

    def _call_in_place(self, args: tuple[Any, ...]) -> None:
        """Have callers of this compiled kernel call it where it is."""
        compiled = self.overloads[args]
        fndesc, library = compiled.fndesc, compiled.library
        if "array(" in str(fndesc.restype):  # its caller would count a reference down that nobody had counted
            del self.overloads[args]
            raise TypeError(f"kernel {self.py_func.__qualname__} returns {fndesc.restype}; it may return numbers")

        def call(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            if context.aot_mode:
                raise TypingError(
                    f"{self.py_func.__qualname__} of fastmlp's kernels cannot be compiled ahead of time: its machine code "
                    "is made for the CPU that runs it and called by its address; use @njit"
                )
            function = context.declare_function(builder.module, fndesc)
            if StoredDispatcher.depth == 0:
                # In the user's function. An address makes Numba refuse to keep that on disk, where the symbol would
                # name nothing in the next process.
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
    """One that Python can call."""

    _insert = CPUDispatcher._insert
    _compile_for_args = CPUDispatcher._compile_for_args


class _StoredCode(_Cache):
    """Numba's interface to a cache, for one dispatcher."""

    def __init__(self, dispatcher: StoredDispatcher) -> None:
        self._dispatcher = dispatcher

    @property
    def cache_path(self) -> str:
        return ""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Nothing: it has been looked for."""

    def save_overload(self, sig: Any, data: Any) -> None:
        self._dispatcher.save(sig, data)

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...


def code_to_keep(compiled: Any) -> tuple[Any, list[str]] | None:
    """What can be pickled of compiled code, and the symbols that it calls; None of code that holds addresses."""
    if compiled.library.has_dynamic_globals:
        return None
    called = [function.name for function in compiled.library._final_module.functions if function.is_declaration]
    compiled.reload_init.clear()
    return tuple(map(_without_linked, compiled._reduce())), called


class _Reduced:
    """What pickles as another object."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def _without_linked(part: Any) -> Any:
    """An environment, or several, without what only functions that Numba keeps need: a key of ours covers the pieces."""
    if isinstance(part, tuple):
        return tuple(map(_without_linked, part))
    if not isinstance(part, Environment) or not any(isinstance(const, Linked) for const in part.consts):
        return part
    rebuild, (module, consts, name) = part.__reduce__()
    return _Reduced(rebuild, (module, [None if isinstance(const, Linked) else const for const in consts], name))


def code_from(kept: Any, dispatcher: CPUDispatcher) -> Any:
    """The compiled code that ``code_to_keep`` gave the first part of.

    Numba's own cache first has the target context load all that a compilation may ask for, SciPy's linear algebra among it,
    which takes several times as long as the code. Machine code asks for none of it, nor for Numba's runtime (``_nrt``); and
    whatever is compiled later loads it then.
    """
    return compiler.CompileResult._rebuild(dispatcher.targetctx, *kept)


def load_registries() -> None:
    """Import what compiling asks for, which takes a quarter of a second: else the first kernel does."""
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()


def tell_a_compilation_of_new_names() -> None:
    """What was registered since the running compilation began, as a module was loaded by its first use in compiled code."""
    # There are no registries yet where all that was called has come from the store.
    if global_compiler_lock.is_locked() and cpu_target.typing_context._registries:
        load_registries()


def part_of(context: Any, builder: Any, kind: Any, array: Any, name: str) -> Any:
    """``data``, ``nitems``, ``shape``, ... of an array of that type.

    Numba's own way to a part stores the whole array, seven parts, and loads the one: a fifth of the code that LLVM was given.
    """
    return builder.extract_value(array, context.data_model_manager[kind].get_field_position(name))


def with_part(context: Any, builder: Any, kind: Any, array: Any, name: str, value: Any) -> Any:
    """The array with another value of a part."""
    return builder.insert_value(array, value, context.data_model_manager[kind].get_field_position(name))


_WORD = ir.IntType(64)


def outcome(builder: Any, status: Any) -> tuple[Any, Any]:
    """What a call came to, as two integers that may go to another function or thread: see ``propagate``."""
    return builder.sext(status.code, _WORD), builder.ptrtoint(status.excinfoptr, _WORD)


def propagate(context: Any, builder: Any, code: Any, info: Any) -> None:
    """Raise here what the call of this ``outcome`` has raised, if it has."""
    info = builder.inttoptr(info, callconv.excinfo_ptr_t)
    status = context.call_conv._get_return_status(builder, builder.trunc(code, callconv.errcode_t), info)
    with cgutils.if_unlikely(builder, status.is_error):
        context.call_conv.return_status_propagate(builder, status)


def options_text(dispatcher: Any) -> str:
    """What ``njit`` was told about a function: options, types of variables and, where it was given any, signatures."""
    options = {name: sorted(map(str, value)) if isinstance(value, (set, frozenset)) else repr(value) for name, value in
               dispatcher.targetoptions.items()}  # fmt: skip
    signatures = () if dispatcher._can_compile else dispatcher.signatures
    return repr((sorted(options.items()), sorted(map(repr, dispatcher.locals.items())), signatures))


dependencies.options_text = options_text


def intrinsic(function: Any, constants: bool = False) -> Any:
    """Numba's, of a function that returns a signature and ``emit(context, builder, *values)``, which writes the code.

    What others compile with it knows when ours has changed: see ``linked``. With ``constants`` a number in the code comes as
    its literal type.
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
    """The function of (typing context, *argument types) that gives an intrinsic's signature and code."""
    return intrinsic._defn


def place_of_typing() -> str:
    """Where in the user's code the call is whose types Numba finds out now, to begin a message with."""
    place = getattr(errors, "loc_info", {}).get("loc")
    return f"{place.filename}, line {place.line}: " if place and not place.filename.startswith("<") else ""
