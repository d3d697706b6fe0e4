"""What the kernels use of Numba that it does not promise to keep: all in one module, and each name still there."""

import ast
import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numba
import pytest
from numba import njit
from numba.core import callconv, compiler
from numba.core.compiler import CompileResult
from numba.extending import intrinsic

from kernels.jit import numba_private

ROOT = Path(__file__).resolve().parent.parent
PRIVATE = ROOT / "kernels" / "jit" / "numba_private.py"
PUBLIC = {"numba", "numba.extending"}  # what Numba documents for those who extend it


def imported(path):
    """(module, name) of what a file imports from Numba."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module.split(".")[0] == "numba":
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "__name__") for alias in node.names if alias.name.split(".")[0] == "numba")


@pytest.mark.parametrize(("module", "name"), sorted(imported(PRIVATE)))
def test_numba_has_the_name(module, name):
    found = hasattr(import_module(module), name)
    assert found, f"Numba {numba.__version__} has no {module}.{name}, which kernels/jit/numba_private.py uses"


@intrinsic
def nothing(typingctx):
    return numba.types.void(), lambda context, builder, signature, args: context.get_dummy_value()


@pytest.fixture(scope="module")
def things():
    """One of each kind whose private attributes are used."""
    function = njit(lambda x: x + 1)
    function(1)
    (compiled,) = function.overloads.values()
    return {
        "callconv": callconv,
        "call_conv": function.targetctx.call_conv,
        "lock": numba_private.global_compiler_lock,
        "dispatcher": function,
        "context": function.targetctx,
        "compiled": compiled,
        "library": compiled.library,
        "codegen": compiled.library.codegen,
        "fndesc": compiled.fndesc,
        "intrinsic": nothing,
        "CompileResult": CompileResult,
        "config": numba_private.config,
    }


ATTRIBUTES = {
    "callconv": "errcode_t excinfo_ptr_t",
    "call_conv": "_get_return_status return_status_propagate",
    "lock": "is_locked",
    "dispatcher": "_can_compile locals signatures targetoptions "
    "_insert _compile_for_args _cache add_overload overloads targetctx py_func compile __reduce__",
    "context": "active_code_library environment "
    "_defns add_dynamic_addr aot_mode call_conv codegen data_model_manager declare_function refresh "
    "remove_user_function",
    "compiled": "environment _reduce entry_point fndesc library reload_init",
    "library": "_ensure_finalized _get_compiled_object get_defined_functions serialize_using_object_code "
    "_final_module _finalize_dynamic_globals _finalize_final_module _finalized _optimize_final_module "
    "_optimize_functions enable_object_caching get_pointer_to_function has_dynamic_globals codegen",
    "codegen": "_data_layout set_env",
    "fndesc": "argtypes mangled_name qualname restype",
    "intrinsic": "_defn",
    "CompileResult": "_rebuild",
    "config": "CPU_FEATURES CPU_NAME DISABLE_JIT",
}


@pytest.mark.parametrize(
    ("thing", "name"), [(thing, name) for thing in ATTRIBUTES for name in ATTRIBUTES[thing].split()]
)
def test_numbas_objects_have_the_attribute(things, thing, name):
    kind = type(things[thing])
    assert hasattr(kind, name) or hasattr(things[thing], name), (
        f"Numba {numba.__version__}: {thing} has no {name}, which kernels.jit uses"
    )


def test_numba_has_the_passes_that_kernels_leave_out():
    state = SimpleNamespace(func_ir=None, flags=compiler.Flags(), func_id=SimpleNamespace(func_qualname="f"))
    pipeline = compiler.DefaultPassBuilder.define_nopython_pipeline(state)
    assert {each.__name__ for each, _ in pipeline.passes} > set(numba_private._KernelCompiler.needless)


def test_no_other_module_uses_names_that_numba_does_not_promise():
    sources = [path for path in (ROOT / "kernels").rglob("*.py") if path != PRIVATE]
    assert {module for path in sources for module, _ in imported(path)} <= PUBLIC
    # Numba's own ``overload`` only where every key has all code: others would run stale (see kernels.jit.dependencies).
    overloading = {path.parent.name for path in sources if ("numba.extending", "overload") in imported(path)}
    assert not overloading
    # Nor its ``intrinsic``: what users have compiled with one, and kept, would run stale (see kernels.jit.linked).
    assert not [path.name for path in sources if ("numba.extending", "intrinsic") in imported(path)]
    nodes = [node for path in sources for node in ast.walk(ast.parse(path.read_text()))]
    # The second are documented all the same, by Numba or Python.
    used, own = set(), {"_asdict", "_exit", "_getframe", "_replace", "_fields"}
    for node in nodes:
        if isinstance(node, ast.Attribute):
            assert not (isinstance(node.value, ast.Name) and node.value.id == "numba" and node.attr == "core")
            (own if isinstance(node.ctx, ast.Store) else used).add(node.attr)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
    assert {name for name in used if name.startswith("_") and not name.startswith("__")} <= own


def test_the_requirement_ends_with_the_newest_version_tested():
    low, high = re.search(r'"numba>=(\d+\.\d+),<(\d+\.\d+)"', (ROOT / "pyproject.toml").read_text()).groups()
    version = tuple(map(int, numba.__version__.split(".")[:2]))
    assert tuple(map(int, low.split("."))) <= version < tuple(map(int, high.split(".")))
