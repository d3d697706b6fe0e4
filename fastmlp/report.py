"""``python -m fastmlp.report``: pictures of a training run, and one HTML page with all of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from .cli import Parser, command
from .extras import optional, to_install


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
    page = optional("fastmlp.reporting.page", f"report needs matplotlib; {to_install('plot')}")
    files = page.draw_report(options.run, data=options.data, out=options.out)
    print(json.dumps({"files": [*map(str, files)]}) if options.json else "\n".join(map(str, files)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
