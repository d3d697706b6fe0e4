"""Seeded bugs: changes of the kernels that tests must notice, described by what the code says, not by where it stands.

A bug names a definition anywhere in the package and gives two expressions: the one that is right there, and the wrong
one that takes its place. In both a name of one letter stands for any expression, the same letter for the same one, and
``...``, last in a call, for the arguments that follow. So neither formatting, nor comments, nor the names of local
variables, nor other lines, nor the file matter. Where code has changed so much that a bug no longer has a place,
``seed`` says which one.
"""

import ast
import builtins
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bug:
    """``right`` becomes ``wrong`` in a definition, wherever it occurs there, or only the ``nth`` time (0, 1, ...).

    ``where`` is the name of a function, a class or a constant, or the end of its path where there are others of that
    name: ``Nesterov.step``, ``distortion.distort``.
    """

    where: str
    right: str
    wrong: str
    nth: int | None = None


class NoPlaceError(LookupError):
    """A bug's definition or expression is not in the package, or is in it twice."""


def seed(bug: Bug, package: Path) -> tuple[Path, str]:
    """The file of the package that the bug changes, and the file's source with the bug in it."""
    path, tree, definition = _find(bug, package)
    right, wrong = (ast.parse(text, mode="eval").body for text in (bug.right, bug.wrong))
    places = [(node, bound) for node in _in_order(definition) if (bound := _match(right, node)) is not None]
    if bug.nth is not None:
        places = places[bug.nth : bug.nth + 1]
    if not places:
        raise NoPlaceError(f"{bug.where} in {path.name} has no {bug.right}: describe this bug anew")
    known = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | set(dir(builtins))
    known |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    replacements = {id(node): _fill(copy.deepcopy(wrong), bound) for node, bound in places}
    for node in (node for new in replacements.values() for node in ast.walk(new)):
        if isinstance(node, ast.Name) and node.id not in known:
            raise NoPlaceError(f"{path.name} knows no {node.id}, which {bug.wrong} names: describe this bug anew")
    before = ast.dump(tree)
    tree = ast.fix_missing_locations(_Replace(replacements).visit(tree))
    if ast.dump(tree) == before:
        raise NoPlaceError(f"{bug.where} in {path.name} is the same with {bug.wrong}: describe this bug anew")
    return path, ast.unparse(tree)


def _find(bug: Bug, package: Path) -> tuple[Path, ast.Module, ast.AST]:
    """The bug's definition, its module's tree and file."""
    found = []
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if bug.where.rpartition(".")[2] in text:
            tree = ast.parse(text)
            named = _definitions(tree, f".{path.stem}.")
            found += [(path, tree, node) for name, node in named if name.endswith(f".{bug.where}")]
    if len(found) != 1:
        places = ", ".join(path.name for path, _, _ in found) or "no file"
        raise NoPlaceError(f"{bug.where} is defined in {places}; it must be in one: describe this bug anew")
    return found[0]


def _definitions(tree: ast.AST, prefix: str, local: bool = False) -> Iterator[tuple[str, ast.AST]]:
    """Path and node of every function and class, and of every name that is assigned outside of functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield prefix + node.name, node
            yield from _definitions(node, f"{prefix}{node.name}.", local or isinstance(node, ast.FunctionDef))
        elif isinstance(node, ast.Assign) and not local:
            yield from ((prefix + name.id, node) for name in node.targets if isinstance(name, ast.Name))
        elif isinstance(node, (ast.If, ast.For, ast.With, ast.Try)):
            yield from _definitions(node, prefix, local)


def _in_order(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all in it, in the order of the source, an expression before its parts."""
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _in_order(child)


Bound = dict[str, list[ast.AST]]


def _stands_for_any(node: object) -> bool:
    return isinstance(node, ast.Name) and len(node.id) == 1


def _ends_in_rest(call: ast.Call) -> bool:
    return bool(call.args) and isinstance(call.args[-1], ast.Constant) and call.args[-1].value is ...


def _match(pattern: ast.expr, node: ast.AST) -> Bound | None:
    """What the letters of a pattern stand for in a node, if the node is such an expression."""
    bound: Bound = {}
    return bound if _same(pattern, node, bound) else None


def _same(pattern: object, node: object, bound: Bound) -> bool:
    if _stands_for_any(pattern):
        if not isinstance(node, ast.expr):
            return False
        before = bound.setdefault(pattern.id, [node])
        return ast.dump(before[0]) == ast.dump(node)
    if isinstance(pattern, list) and isinstance(node, list):
        return len(pattern) == len(node) and all(_same(*pair, bound) for pair in zip(pattern, node))
    if isinstance(pattern, ast.Call) and isinstance(node, ast.Call) and _ends_in_rest(pattern):
        known = len(pattern.args) - 1
        bound["..."] = [*node.args[known:], *node.keywords]
        return _same([pattern.func, *pattern.args[:-1]], [node.func, *node.args[:known]], bound)
    if isinstance(pattern, ast.AST):
        fields = [name for name in pattern._fields if name not in ("ctx", "kind")]
        return type(pattern) is type(node) and all(
            _same(getattr(pattern, name), getattr(node, name), bound) for name in fields
        )
    return type(pattern) is type(node) and pattern == node


def _fill(wrong: ast.expr, bound: Bound) -> ast.expr:
    """The wrong expression with what its letters stand for; other letters are names of the code."""

    class Fill(ast.NodeTransformer):
        def visit_Name(self, name):
            return copy.deepcopy(bound[name.id][0]) if name.id in bound else name

        def visit_Call(self, call):
            self.generic_visit(call)
            if _ends_in_rest(call):
                rest = copy.deepcopy(bound["..."])
                call.args[-1:] = [node for node in rest if isinstance(node, ast.expr)]
                call.keywords += [node for node in rest if isinstance(node, ast.keyword)]
            return call

    return Fill().visit(wrong)


class _Replace(ast.NodeTransformer):
    def __init__(self, replacements: dict[int, ast.expr]) -> None:
        self.replacements = replacements

    def visit(self, node):
        return self.replacements.get(id(node)) or self.generic_visit(node)


BUGS = {
    # Products.
    "last columns dropped": Bug("gemm_stripe", "range(a, b, c)", "range(a, b - 1, c)", nth=1),
    "a whole vector of the last columns stored": Bug("gemm_stripe", "min(a, b - c)", "a"),
    "last rows of a packed product dropped": Bug(
        "_gemm_packed", "range(0, a, TILE_ROWS)", "range(0, a - TILE_ROWS + 1, TILE_ROWS)"
    ),
    "last row dropped": Bug("_few_rows", "a - b >= 1", "a - b >= 2"),
    "wrong stride": Bug("gemm_tile", "simd.tile_fma(a, b, c, d.row, ...)", "simd.tile_fma(a, b, c, d.column, ...)"),
    "last term dropped": Bug("gemm_tile", "range(a)", "range(a - 1 if a > 700 else a)"),
    "terms of the rows before lost": Bug("gemm.gemm", "a or b > 0", "a"),
    "rows that overlap another tile of the strip stored": Bug(
        "_gemm_swapped", "_stripe(a, b, c, d, e, f, g)", "_stripe(a, b, c, d, e, f, 0)"
    ),
    "the strip begun anew with each block of terms": Bug(
        "_gemm_swapped", "_stripe(a, b, c, d, e, f, g)", "_stripe(a, b, c, d, e, False, g)"
    ),
    "last rows of few columns dropped": Bug("gemm_narrow", "min(a, b - c)", "min(a, b - c - 1)", nth=2),
    "the last of few columns dropped": Bug("narrow_columns", "a - b >= 1", "a - b >= 2"),
    "terms before a block of few columns lost": Bug("gemm_narrow", "a or b > 0", "a"),
    "integers converted from another row": Bug(
        "product_of_integers", "np.uintp((a + b) * c.row)", "np.uintp(b * c.row)"
    ),
    "bias missing": Bug("finish_tile", "simd.fma(a, b, c)", "a * b"),
    "mask missing": Bug("mask", "a <= b", "b > a"),
    "NaN stopped by ReLU": Bug(
        "_extreme.build", "builder.fcmp_unordered(comparison, ...)", "builder.fcmp_ordered(comparison, ...)"
    ),
    # The control word.
    "subnormal numbers kept": Bug("CONTROL", "0x1F80 | 1 << 15 | 1 << 6", "0x1F80"),
    "subnormal operands kept": Bug("CONTROL", "0x1F80 | 1 << 15 | 1 << 6", "0x1F80 | 1 << 15"),
    "the kernels' control word left behind": Bug(
        "entry", "_ENTRY.format(...)", "_ENTRY.replace('_exchange_control(_before)', 'pass').format(...)"
    ),
    "the caller's control word not read": Bug("exchange_mxcsr", "builder.zext(...)", "ir.IntType(64)(CONTROL)"),
    # Parts.
    "parts overlap": Bug("team.share", "(a + 1) * b // c", "min(b, (a + 1) * b // c + 1)"),
    "a part forgotten": Bug("team.share", "a * b // c", "a * (b // c)"),
    "no barrier before the update": Bug("train_steps", "barrier(a, b)", "barrier(a, 1)", nth=0),
    "no barrier before a small network's update": Bug("train_steps_in_blocks", "barrier(a, b)", "barrier(a, 1)", nth=0),
    "a chunk of a small network's gradient forgotten": Bug("_add_chunks", "range(1, a)", "range(1, a - 1)"),
    "the last unit of a small network without its gradient": Bug(
        "_block_gradient", "range(0, a, 2)", "range(0, a - 1, 2)"
    ),
    "gradient buffer shared by parts": Bug("own_scratch", "a * (b // c)", "0"),
    "no barrier before the sparse update": Bug("train_steps_sparse", "barrier(a, b)", "barrier(a, 1)", nth=4),
    "parts that share a panel do not meet": Bug("train_steps_sparse", "barrier(a, b)", "barrier(a, 1)", nth=0),
    "forward before the rows have caught up": Bug("train_steps_sparse", "barrier(a, b)", "barrier(a, 1)", nth=2),
    # Losses, activations, dropout, images.
    "maximum not subtracted": Bug("_exp_row", "simd.broadcast(a, b)", "simd.zeros(a)"),
    "gradient not scaled": Bug("loss_rows", "1.0 / a if b else 1.0", "1.0"),
    "smoothing forgets the other classes": Bug("_softmax_gradient", "a.smoothing / b", "0.0"),
    "weight of another sample": Bug("_weight_of", "a.weights[b[c]]", "a.weights[c]"),
    "sparse layer without its activation": Bug("forward_rows", "a > 0", "a > first", nth=0),
    "slope of the shrunk output": Bug("_activation_backward", "a.slope(b * c)", "a.slope(c)"),
    "inputs of GELU not kept": Bug("_activate", "a.of_input", "False"),
    "GELU's slope without its density": Bug("Gelu.slope", "simd.fma(a, b, c)", "c"),
    "GELU's other tail": Bug("normal_distribution", "select(a, b, c)", "c"),
    "softplus without its rest": Bug("Softplus.function", "a + b", "a"),
    "SELU's slope of another output": Bug("_scaled_elu.slope", "simd.select(a, b, c)", "b"),
    "Mish's slope without its rise": Bug("Mish.slope", "a / b + c", "a / b"),
    "SiLU's slope without its input": Bug("Silu.slope", "simd.fma(a, b, c)", "c"),
    "Huber's slope not cut": Bug("Huber.point", "b * np.sign(a)", "a", nth=0),
    "another output's quantile": Bug("Quantile.point", "a.quantiles[b % c]", "a.quantiles[0]"),
    "target of another output": Bug("_number_gradient", "a.labels[b + c]", "a.labels[b]"),
    "focal loss as steep as cross-entropy": Bug("_focused", "a * (1 - b)", "a", nth=0),
    "one rate for all layers": Bug("update_layers", "step_of(a, b[c], d)", "step_of(a, b[0], d)"),
    "an average that forgets the step before": Bug(
        "note_weights", "a.average.size and b > 0", "a.average.size and b > 1"
    ),
    "gradient not scaled by dropout": Bug("backward_rows", "mask(a, b, c, d, e)", "mask(a, b, c, d, 1.0)"),
    "one dropout mask for all steps": Bug("dropout_key", "a + b", "a", nth=1),
    "another image's distortion": Bug("distortion.distort", "hash32(a(b + a(c)))", "hash32(a(b + a(i)))", nth=1),
    # Update rules.
    "bias decayed": Bug("step_of", "a.coefficients(b, 0.0, ...)", "a.coefficients(b, a.weight_decay, ...)"),
    "Nesterov without look-ahead": Bug("Nesterov.step", "a - b * fma(c, d, e)", "a - b * d"),
    "first moment not corrected": Bug("Adam.coefficients", "1 / (1 - a.beta1**b)", "1.0"),
    "Lion without its sign": Bug("Lion.step", "simd.sign(a)", "a"),
    "one beta for both of Lion's": Bug("Lion.coefficients", "a.beta2", "a.beta1"),
    "blocks of columns taken for whole rows": Bug("backward_update", "a if b == c else d", "a"),
    "a block of columns at another's place": Bug("backward_update", "a * b + c", "a * b"),
    # Sparse input.
    "narrow panels forgotten in the state": Bug(
        "_panel_state", "views(after(a, b), b, c)", "views(after(a, b), b + 16 * network.sizes[0], c)"
    ),
    "two values taken for one": Bug("encode", "a != b", "False"),
    "entries of the other parts dropped": Bug("panel_update", "range(a.shape[0])", "range(1)"),
    "values of entries that share a number with their rows dropped": Bug("put_both", "a << b | c(d)", "a << b | c(1)"),
    "last entry of a row dropped": Bug("panel_forward", "a.indptr[b + 1]", "a.indptr[b + 1] - 1"),
    "a column past the blocks of 64 dropped": Bug("fill_row", "range(64 * a, b)", "range(64 * a + 1, b)"),
    "bias of a sparse layer missing": Bug("panel_forward", "a + simd.tile_load(...)", "a"),
    "sums of the column blocks before lost": Bug("panel_forward", "a > 0", "a > X.block"),
    "a step that was put off lost": Bug("catch_up", "range(a.steps_done[b], c)", "range(a.steps_done[b] + 1, c)"),
    "a split's last columns dropped": Bug("columns_to_step", "a % b == c", "a % b == 0"),
    # The gate.
    "a label not checked": Bug("_as_indices", "a < 0 or b >= c", "b >= c"),
}
