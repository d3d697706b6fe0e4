"""Messages of the library when no command is running, by the logger ``fastmlp`` of ``logging``.

Its warnings (guesses, doubts, compilation) are on stderr unless the application has them elsewhere; epochs are of level INFO.
"""

from __future__ import annotations

from .errors import as_parameters


def warn(line: str) -> None:
    import logging  # not for --help

    logging.getLogger("fastmlp").warning("%s", as_parameters(line))


def inform(line: str) -> None:
    import logging

    logging.getLogger("fastmlp").info("%s", line)
