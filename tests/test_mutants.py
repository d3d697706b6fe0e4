"""The tests have power: each of these bugs, put into a copy of the kernels, makes them fail.

python -m pytest tests/test_mutants.py --nightly
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# name: (file, the right text, the wrong text)
MUTANTS = {
    "last columns dropped": ("gemm.py", "for j in range(full, N, lanes):  # in one panel", "for j in range(full, N - 1, lanes):  # in one panel"),
    "last rows of a packed product dropped": ("gemm.py", "for i in range(0, M, TILE_ROWS):", "for i in range(0, M - 7, TILE_ROWS):"),
    "last row dropped": ("gemm.py", "if M - i >= 1:\n        _wide1", "if M - i >= 2:\n        _wide1"),
    "wrong stride": ("gemm.py", "acc = simd.tile_fma(acc, A.values, a, A.row,", "acc = simd.tile_fma(acc, A.values, a, A.column,"),
    "last term dropped": ("gemm.py", "for _ in range(K):\n            if full", "for _ in range(K - 1 if K > 700 else K):\n            if full"),
    "terms of the rows before lost": ("gemm.py", "rest, more = min(depth, K - k), resume or k > 0", "rest, more = min(depth, K - k), resume"),
    "rows that overlap another tile of the strip stored": ("gemm.py", "sums, k > 0, i + r - row)", "sums, k > 0, 0)"),
    "the strip begun anew with each block of terms": ("gemm.py", "sums, k > 0,", "sums, False,"),
    "subnormal numbers kept": ("jit/control.py", "CONTROL = 0x1F80 | 1 << 15 | 1 << 6 if", "CONTROL = 0x1F80 if"),
    "subnormal operands kept": ("jit/control.py", "CONTROL = 0x1F80 | 1 << 15 | 1 << 6 if", "CONTROL = 0x1F80 | 1 << 15 if"),
    "the kernels' control word left behind": ("jit/__init__.py", "    exchange_control(before)\n", ""),
    "bias missing": ("gemm.py", "x = simd.fma(x, factor, simd.load_masked(b, j, n))", "x = x * factor"),
    "mask missing": ("gemm.py", "off = simd.load_masked(Y.values, y + j, rest) <= zero", "off = zero > simd.load_masked(Y.values, y + j, rest)"),
    "NaN stopped by ReLU": ("simd/vectors.py", "builder.select(builder.fcmp_unordered(comparison, x, y), x, y)", "builder.select(builder.fcmp_ordered(comparison, x, y), x, y)"),
    "last rows of few columns dropped": ("narrow.py", "n, samples, out = min(wide, m - i)", "n, samples, out = min(wide, m - i - 1)"),
    "terms before a block of few columns lost": ("narrow.py", "resume or k > 0", "resume"),
    "integers converted from another row": ("gemm.py", "np.uintp((i + r) * X.row)", "np.uintp(r * X.row)"),
    "parts overlap": ("team.py", "return part * n // parts, (part + 1) * n // parts", "return part * n // parts, min(n, (part + 1) * n // parts + 1)"),
    "a part forgotten": ("team.py", "return part * n // parts, (part + 1) * n // parts", "return part * (n // parts), (part + 1) * (n // parts)"),
    "no barrier before the update": ("step.py", "barrier(arrivals, 2 * step + 1, parts)", "barrier(arrivals, 2 * step, parts)"),
    "gradient buffer shared by parts": ("gemm.py", "gradient = part * (scratch.gradient_buffer.size // parts)", "gradient = 0"),
    "blocks of columns taken for whole rows": ("gemm.py", "(1, rows * n) if n == N else (rows, n)", "(1, rows * n)"),
    "a block of columns at another's place": ("gemm.py", "after(layer.W, k * N + left), after_each(layer.W_state, k * N + left)", "after(layer.W, k * N), after_each(layer.W_state, k * N)"),
    "narrow panels forgotten in the state": ("step.py", "views(after(packed, size), size, rule.slots)", "views(after(packed, size), -(-O // 64) * 64 * I, rule.slots)"),
    "two values taken for one": ("csr.py", "while slots[at] < free and different[slots[at]] != bits[k]:", "while slots[at] < free and False:"),
    "maximum not subtracted": ("losses.py", "shift = simd.broadcast(Z, largest)", "shift = simd.zeros(Z)"),
    "gradient not scaled": ("step.py", "scale, O = 1.0 / n if objective.mean else 1.0,", "scale, O = 1.0,"),
    "gradient not scaled by dropout": ("step.py", "mask(rows, I, Y, dZ, 1 / kept)", "mask(rows, I, Y, dZ, 1.0)"),
    "one dropout mask for all steps": ("dropout_mask.py", "hash32(u(hash32(u(seed)) + u(t)))", "hash32(u(hash32(u(seed)) + u(1)))"),
    "smoothing forgets the other classes": ("losses.py", "others = real(loss.smoothing / O)", "others = real(0)"),
    "weight of another sample": ("losses.py", "weight = targets.weights[targets.rows[i]] if targets.weights.size else 1.0\n        factor, row", "weight = targets.weights[i] if targets.weights.size else 1.0\n        factor, row"),
    "sparse layer without its activation": ("step.py", "        if l > 0:\n            Z =", "        if l > first:\n            Z ="),
    "slope of the shrunk output": ("activations.py", "activation.slope(undropped * simd.load_masked(Y, i, rest))", "activation.slope(simd.load_masked(Y, i, rest))"),
    "bias decayed": ("update.py", "rule.coefficients(rule, 0.0, lr, t))", "rule.coefficients(rule, rule.weight_decay, lr, t))"),
    "another image's distortion": ("distortion.py", "key = hash32(u(stream + u(row)))", "key = hash32(u(stream + u(i)))"),
    "Nesterov without look-ahead": ("update.py", "fma(beta, m, d), (m,)", "m, (m,)"),
    "first moment not corrected": ("update.py", "1 / (1 - rule.beta1**t), 1 / (1", "1.0, 1 / (1"),
    "entries of the other parts dropped": ("sparse.py", "for u in range(columns.starts.shape[0]):\n                for k", "for u in range(1):\n                for k"),
    "values of entries that share a number with their rows dropped": ("sparse.py", "<< np.uintp(8) | np.uintp(value)", "<< np.uintp(8) | np.uintp(1)"),
    "last entry of a row dropped": ("sparse.py", "k, end = np.uintp(ends[i]), np.uintp(X.indptr[rows[i] + 1])", "k, end = np.uintp(ends[i]), np.uintp(X.indptr[rows[i] + 1] - 1)"),
    "a column past the blocks of 64 dropped": ("csr.py", "for j in range(64 * blocks, I):", "for j in range(64 * blocks + 1, I):"),
    "bias of a sparse layer missing": ("sparse.py", "acc = acc + simd.tile_load(b, 0, 0, 1, vectors, panel.n)", "acc = acc + simd.tile_zeros(W, 1, vectors)"),
    "sums of the column blocks before lost": ("sparse.py", "if first > 0:\n                    acc", "if first > X.block:\n                    acc"),
    "a step that was put off lost": ("sparse.py", "for s in range(put_off.steps_done[j], last):", "for s in range(put_off.steps_done[j] + 1, last):"),
    "no meeting before the sparse update": ("step.py", "arrived = _meet(arrivals, arrived, parts, True)\n        if part == 0", "arrived = _meet(arrivals, arrived, parts, False)\n        if part == 0"),
    "parts that share a panel do not meet": ("step.py", "arrived = _meet(arrivals, arrived, parts, not alone)  # others", "arrived = _meet(arrivals, arrived, parts, False)  # others"),
    "forward before the rows have caught up": ("step.py", "            arrived = _meet(arrivals, arrived, parts, not alone)\n        _forward_panels", "            arrived = _meet(arrivals, arrived, parts, False)\n        _forward_panels"),
    "a split's last columns dropped": ("sparse.py", "if blocks % splits == split:", "if blocks % splits == 0:"),
    "a label not checked": ("checks.py", "if low < 0 or high >= limit:", "if high >= limit:"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_a_seeded_bug_has_its_place(name):
    file, right, wrong = MUTANTS[name]
    assert (ROOT / "kernels" / file).read_text().count(right) >= 1
    assert right != wrong


@pytest.mark.nightly
@pytest.mark.parametrize("name", MUTANTS)
def test_a_seeded_bug_is_caught(name, tmp_path):
    file, right, wrong = MUTANTS[name]
    for folder in ("kernels", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "kernels" / file
    text = path.read_text()
    path.write_text(text.replace(right, wrong))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "FASTMLP_CACHE": str(tmp_path / "cache")}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "tests/test_numbers.py",
        "tests/test_ops.py",
        "tests/test_gate.py",
        "tests/test_sparse.py",
        "tests/test_subnormal.py",
    ]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    # Code that does not compile catches nothing: an assertion failed, or the process was killed where it read or wrote.
    asserted = re.search(r"^E +(AssertionError|assert |Failed: DID NOT RAISE)", result.stdout, re.MULTILINE)
    assert (result.returncode == 1 and asserted) or result.returncode < 0, result.stdout[-2000:]
