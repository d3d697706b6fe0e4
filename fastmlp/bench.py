"""``python -m fastmlp.bench``: measure the README's claims on this machine."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from .cli import Parser, command, say
from .errors import InputError
from .extras import optional, to_install
from .paths import as_path

FAMILIES = ("torch", "jax", "sklearn", "tensorflow", "keras", "onnxruntime", "litert")
_BENCH = Path(__file__).resolve().parent.parent / "bench"  # not in the wheel: peers and pictures are no user's code


def parser() -> Parser:
    made = Parser(
        "bench",
        "Measure the README's claims on this machine, in five minutes: training steps, time to accuracy, prediction "
        "and whole\nprocesses, against NumPy and the libraries that are installed, in turns. In a clone of the "
        "repository only.",
        "python -m fastmlp.bench --against torch,jax --json > mine.json",
    )
    made.add_argument(
        "--against",
        metavar="NAME[,NAME...]",
        default=",".join(FAMILIES),
        help=f"libraries to compare with, of {', '.join(FAMILIES)} (default: all that are installed)",
    )
    made.add_argument("--quick", action="store_true", help="fewer rounds and seeds: two minutes, and less certain")
    made.add_argument("--cold", action="store_true", help="also the first process, which compiles the kernels")
    made.add_json()
    made.add_argument("--plot", metavar="PNG", help="also draw the result, with Matplotlib")
    return made


@command("bench")
def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    against = [name for name in options.against.split(",") if name]
    if unknown := [name for name in against if name not in FAMILIES]:
        raise InputError(f"--against {unknown[0]}: must be of {', '.join(FAMILIES)}")
    if not (_BENCH / "claims.py").is_file():
        raise InputError(
            "runs in a clone of the repository only, whose bench/ directory it measures with; clone it, and there "
            "`pip install --editable .`"
        )
    if options.plot:
        optional("matplotlib", f"--plot needs Matplotlib; {to_install('plot')}")
        if not as_path(options.plot).resolve().parent.is_dir():
            raise InputError(f"--plot {options.plot}: there is no such directory")
    sys.path.insert(0, str(_BENCH))
    claims = import_module("claims")
    session = claims.Session(
        (*claims.ALWAYS, *against), claims.QUICK if options.quick else claims.FULL, options.cold, say
    )
    words = sys.argv[1:] if argv is None else argv
    result = claims.measure(session, shlex.join(["fastmlp", "bench", *words]))
    if options.plot:
        import_module("pictures").save(result, str(as_path(options.plot)))
    if options.json:
        print(json.dumps(result, allow_nan=False))
    else:
        print(*claims.table(result), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
