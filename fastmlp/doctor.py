"""``python -m fastmlp.doctor``: examines the machine and the installation, and says what to mend."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from . import __version__
from .cli import Parser, command
from .errors import InputError
from .extras import to_install

# The optional dependencies of pyproject.toml that commands use.
EXTRAS = {
    "sklearn": ("scikit-learn",),
    "tables": ("scikit-learn", "narwhals"),
    "parquet": ("pyarrow",),
    "plot": ("matplotlib",),
    "images": ("pillow",),
    "export": ("onnx", "safetensors"),
    "mpi": ("mpi4py",),
}
_VARIABLES = ("FASTMLP_CACHE", "FASTMLP_COMPILE_WORKERS", "FASTMLP_DATA", "FASTMLP_NUM_THREADS")
_OTHER_THREADS = ("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_LIMITS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
_FEATURES = ("sse4.2", "avx", "avx2", "fma", "avx512f", "neon", "sve")
_STAMP = re.compile(r"[0-9a-f]{24}(-.*)?")  # the name that kernels.jit gives a version's directory


@dataclass(frozen=True)
class Finding:
    """A line of the report. ``level`` is ok, note or problem; ``values`` are the numbers in ``text``, for --json."""

    level: str
    topic: str
    text: str
    remedy: str | None = None
    values: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.level:8s}{self.topic:9s}{self.text}" + (f"; {self.remedy}" if self.remedy else "")


Findings = Iterator[Finding]


def _ok_or_note(fine: bool, topic: str, text: str, remedy: str, values: dict[str, Any] | None = None) -> Finding:
    """An ok, or a note with its remedy."""
    return Finding("ok" if fine else "note", topic, text, None if fine else remedy, values or {})


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _versions() -> Findings:
    yield Finding("ok", "fastmlp", f"{__version__} at {Path(__file__).parent}", values={"version": __version__})
    yield Finding("ok", "python", f"{platform.python_version()} at {sys.executable}")
    for package in ("numpy", "numba", "llvmlite"):
        version = _version(package)
        remedy = None if version else f"{sys.executable} -m pip install {package}"
        values = {"version": version} if version else {}
        yield Finding("ok" if version else "problem", package, version or "missing", remedy, values)
    for extra, packages in EXTRAS.items():
        found = {package: _version(package) for package in packages}
        text = ", ".join(f"{package} {version or 'missing'}" for package, version in found.items())
        yield _ok_or_note(None not in found.values(), "extra", f"{extra}: {text}", to_install(extra), found)


def _environment() -> Findings:
    for name in sorted(os.environ):
        text = f"{name}={os.environ[name]}"
        if name in _OTHER_THREADS:
            yield Finding("note", "variable", f"{text} does not concern the kernels", "theirs is FASTMLP_NUM_THREADS")
        elif name in _LIMITS:
            limits = not os.environ.get("FASTMLP_NUM_THREADS")
            what = "limits the kernels' threads" if limits else "is overruled by FASTMLP_NUM_THREADS"
            yield Finding("note", "variable", f"{text} {what}")
        elif name in _VARIABLES:
            yield Finding("ok", "variable", text)
        elif name.startswith("FASTMLP_"):
            yield Finding("note", "variable", f"{text} is not known", f"known are {', '.join(_VARIABLES)}")
        elif name.startswith("NUMBA_"):
            yield Finding("note", "variable", f"{text} may change the compiled code", "unset it unless it is meant")


def _import_kernels() -> tuple[Any, Finding]:
    """(the package, or None if it cannot be used; a finding)."""
    try:
        from .backend import kernels

        where = str(Path(kernels.jit.__file__).parent.parent)  # with Numba
    except InputError as error:
        text, _, remedy = str(error).partition("; ")
        return None, Finding("problem", "kernels", text, remedy or None)
    except Exception as error:  # a broken installation, or another package of this name, may raise anything
        remedy = f"{sys.executable} -m pip install --upgrade --force-reinstall numpy numba, then fastmlp"
        return None, Finding("problem", "kernels", f"cannot be imported ({type(error).__name__}: {error})", remedy)
    if (other := _version("kernels")) is not None:
        text = f"{where}, but the distribution `kernels` {other} puts its files in the same place"
        return kernels, Finding("note", "kernels", text, f"{sys.executable} -m pip uninstall kernels, and reinstall")
    return kernels, Finding("ok", "kernels", where)


def _cpu_name() -> str:
    with contextlib.suppress(OSError, StopIteration), open("/proc/cpuinfo") as file:
        return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    return platform.processor() or platform.machine()


def _cpu(kernels: Any) -> Findings:
    simd = kernels.simd
    features = [name for name in _FEATURES if f"+{name}" in simd.FEATURES]
    features += ["amx-bf16"] * kernels.bfloat16.is_available()  # to this process
    target = import_module("llvmlite.binding").get_host_cpu_name()
    values = {"features": features, "llvm": target, "register_bytes": simd.REGISTER_BYTES, "registers": simd.REGISTERS}
    yield Finding(
        "ok", "cpu", ": ".join(filter(None, (f"{_cpu_name()} ({target})", ", ".join(features)))), values=values
    )
    text = f"{simd.REGISTERS} registers of {simd.REGISTER_BYTES} bytes, {simd.REGISTER_BYTES // 4} float32 each"
    remedy = "a newer CPU, or a virtual machine that passes its host's on, computes several times as fast"
    yield _ok_or_note(simd.HAS_FMA, "simd", f"{text}, {'' if simd.HAS_FMA else 'no '}fused multiply-add", remedy)


def _threads(kernels: Any) -> Findings:
    available = import_module(".cores", kernels.__name__).available_cores()
    present, count = os.cpu_count() or 1, kernels.get_num_threads()
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else present
    values = {"present": present, "affinity": allowed, "available": available, "threads": count}
    text = f"{present}, all for this process"
    if available < present:
        limit = "its control group's quota" if available < allowed else "its affinity mask"
        text = f"{available} of {present} for this process, by {limit}"
    remedy = "taskset, the container's --cpus or the job's limits set it"
    yield _ok_or_note(available == present, "cores", text, remedy, values)
    given = [name for name in ("FASTMLP_NUM_THREADS", *_LIMITS) if os.environ.get(name)]
    set_by = given[0] if given and (count != available or given[0] not in _LIMITS) else "the cores"
    text = f"{count}, set by {set_by}; a team of fastmlp's own, neither OpenMP nor TBB"
    text += "; more than the cores there are" if count > available else ""
    yield _ok_or_note(count <= available, "threads", text, f"set FASTMLP_NUM_THREADS to {available} or unset it")


def _peak(kernels: Any) -> Findings:
    count = kernels.get_num_threads()
    peaks: dict[str, dict[str, float]] = {}
    for dtype in ("float32", "float64"):
        peaks[dtype] = {}
        for n in dict.fromkeys((1, count)):
            with kernels.threads(n):
                peaks[dtype][str(n)] = round(kernels.peak_gflops(dtype), 1)
    text = ", ".join(f"{dtype} " + " and ".join(f"{peak:.0f}" for peak in by.values()) for dtype, by in peaks.items())
    text += f" GFLOP/s on 1 {f'and {count} threads' if count > 1 else 'thread'}"
    gain = peaks["float32"][str(count)] / peaks["float32"]["1"]
    if gain < 0.6 * count:
        text += f"; {count} threads do {gain:.1f} times the work of one"
    remedy = f"end what else uses the cores, or try FASTMLP_NUM_THREADS={max(1, count // 2)}"
    yield _ok_or_note(gain >= 0.6 * count, "peak", text, remedy, peaks)


def _size(files: Iterable[Path]) -> int:
    """The bytes of all files; those that vanish meanwhile count 0."""
    total = 0
    for file in files:
        with contextlib.suppress(OSError):
            total += file.stat().st_size
    return total


def _compiled(directory: Path) -> tuple[str, dict[str, Any]]:
    """(count and size of the compiled functions in a directory of the cache, as text; the same as values)."""
    entries = list(directory.glob("*.kernel"))
    size = _size(entries)
    values = {"directory": str(directory), "entries": len(entries), "bytes": size}
    return f"{len(entries)} compiled functions, {size / 1e6:.1f} MB", values


def _wheel(kernels: Any) -> Findings:
    """The compiled kernels that came with the wheel, if any."""
    store = kernels.jit.store()
    places = sorted(import_module(".jit.cache", kernels.__name__).PREBUILT.glob("*-*"))
    names = ", ".join(path.name.partition("-")[2] for path in places)
    if store.prebuilt is not None:
        text, values = _compiled(store.prebuilt)
        level = store.prebuilt.name.partition("-")[2]
        yield Finding("ok", "wheel", f"{text}, came with fastmlp for {level} and are used", values=values)
    elif places:
        of_cpu = any(path.name.startswith(store.software) for path in places)
        reason = "this CPU" if of_cpu else "these versions and settings of Python, NumPy, Numba and llvmlite"
        text = f"the compiled functions that came with fastmlp, for {names}, are not for {reason}"
        yield Finding("note", "wheel", text, "fastmlp warmup compiles them here")


def _cache(kernels: Any, clean: bool) -> Findings:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        directory = kernels.jit.store().directory
    remedy = "set FASTMLP_CACHE to a directory that can be written to, else every run compiles for a while"
    if directory is None:
        reason = str(caught[0].message) if caught else "compiled kernels are not kept"
        yield Finding("problem", "cache", reason.removeprefix("fastmlp kernels: "), remedy)
        return
    try:
        with tempfile.TemporaryFile(dir=directory) as probe:
            probe.write(bytes(1 << 20))  # as large as a compiled kernel, to see if there is room
    except OSError as error:
        yield Finding("problem", "cache", f"{directory} cannot be written to ({error.strerror})", remedy)
        return
    store, (text, values) = kernels.jit.store(), _compiled(directory)
    fine = bool(values["entries"] or store.prebuilt)
    yield _ok_or_note(fine, "cache", f"{directory}: writable, {text}", "fastmlp warmup compiles them ahead", values)
    others = store.of_other_cpus()
    for path, cpu in others.items():  # of the same versions, as in a container's image that was made elsewhere
        text, values = _compiled(path)
        remedy = (
            "run fastmlp warmup here; or give NUMBA_CPU_NAME and NUMBA_CPU_FEATURES the same values, "
            "of the lesser CPU, where they are compiled and where they run"
        )
        text += f", are for another CPU, {cpu}, and lost to this one"
        yield Finding("note", "cache", text, remedy, values=values | {"cpu": cpu})
    yield from _stale(directory, {directory, *others}, clean)


def _stale(directory: Path, kept: set[Path], clean: bool) -> Findings:
    """The compiled kernels of other versions and flags."""
    others = [path for path in directory.parent.iterdir() if path not in kept and _STAMP.fullmatch(path.name)]
    size = _size(file for path in others for file in path.iterdir())
    values = {"directories": len(others), "bytes": size}
    text = f"{len(others)} directories of other versions, {size / 1e6:.1f} MB"
    if not others:
        yield Finding("ok", "stale", "no directories of other versions", values=values)
    elif not clean:
        yield Finding("note", "stale", text, "fastmlp doctor --clean deletes them", values=values)
    else:
        for path in others:
            shutil.rmtree(path, ignore_errors=True)
        left = [str(path) for path in others if path.exists()]
        if left:
            yield Finding("problem", "stale", f"{left[0]} cannot be deleted", "delete it by hand", values=values)
        else:
            yield Finding("ok", "stale", f"deleted {text}", values=values)


def _mnist() -> Findings:
    from .data.mnist import local_mnist

    try:
        data = local_mnist()
    except InputError as error:
        yield Finding(
            "problem", "mnist", str(error), "delete the damaged file, or set FASTMLP_DATA to another directory"
        )
    else:
        if data is None:
            remedy = "fastmlp train downloads it; or set FASTMLP_DATA to the directory of its four files"
            yield Finding("note", "mnist", "is not on this machine", remedy)
        else:
            yield Finding("ok", "mnist", f"{len(data.X):,} and {len(data.X_test):,} images at {data.source}")


def _examine(clean: bool) -> Findings:
    """All findings; a check that fails is a finding, too."""
    kernels, found = _import_kernels()
    checks: list[tuple[str, Callable[[], Findings]]] = [
        ("versions", _versions),
        ("kernels", lambda: iter([found])),
        ("variable", _environment),
    ]
    if kernels is not None:
        checks += [
            ("cpu", lambda: _cpu(kernels)),
            ("threads", lambda: _threads(kernels)),
            ("cache", lambda: _cache(kernels, clean)),
            ("wheel", lambda: _wheel(kernels)),
            ("peak", lambda: _peak(kernels)),
            ("mnist", _mnist),
        ]
    for topic, check in checks:
        try:
            yield from check()
        except Exception as error:  # anything may happen on a broken machine
            yield Finding("problem", topic, f"the check failed ({type(error).__name__}: {error})", "report this")


def parser() -> Parser:
    made = Parser(
        "doctor",
        "Examine this machine and installation. Each line is ok, a note, or a problem, with its remedy; exit code 1 "
        "when\nthere is a problem.",
        "python -m fastmlp.doctor --clean",
    )
    made.add_argument(
        "--clean",
        action="store_true",
        help="delete compiled kernels of other versions, which are made again when needed",
    )
    made.add_json()
    return made


@command("doctor")
def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    findings = []
    for finding in _examine(options.clean):
        findings.append(finding)
        if not options.json:
            print(" ".join(str(finding).split("\n")), flush=True)
    problems = sum(finding.level == "problem" for finding in findings)
    if options.json:
        print(json.dumps({"problems": problems, "findings": [asdict(finding) for finding in findings]}))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
