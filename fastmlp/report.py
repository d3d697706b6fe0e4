"""``python -m fastmlp.report``: pictures of a training run, and one HTML page with all of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .cli import Parser, command
from .extras import optional, to_install
from .paths import as_path


def draw_report(directory: str | Path, *, data: str | None = None, out: str | Path | None = None) -> list[Path]:
    """Draw the run in ``directory``, or that of a model's file, tested on its own data or ``data``, into ``out`` (default:
    report in it).

    Of a directory of several runs, which ``train --seeds`` leaves, each is drawn, and a page that leads to them. Returns the
    paths written: the pictures of each run, then its report.html. InputError for what cannot be read or does not fit; RunError
    for what cannot be written.
    """
    page = optional("fastmlp.reporting.page", f"report needs matplotlib; {to_install('plot')}")
    files: list[Path] = page.draw(as_path(directory), data, out)
    return files


def parser() -> Parser:
    made = Parser(
        "report",
        "Draw a training run, finished or not: PNG pictures and one HTML page, report.html. Prints their paths.",
        "python -m fastmlp.report runs/mnist",
    )
    made.add_argument(
        "run", metavar="DIR", help="the --out directory of fastmlp train, with or without --seeds, or the model in it"
    )
    made.add_argument("--data", metavar="SPEC", help="data to test on (default: the run's own)")
    made.add_argument("--out", metavar="DIR2", help="where to write (default DIR/report)")
    made.add_json()
    return made


@command("report")
def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    files = draw_report(options.run, data=options.data, out=options.out)
    print(json.dumps({"files": [*map(str, files)]}) if options.json else "\n".join(map(str, files)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
