"""Messages of the library when no command is running, by the logger ``fastmlp`` of ``logging``.

Its warnings (guesses, doubts, compilation) are on stderr unless the application has them elsewhere; epochs are of level
INFO. What is said of a call of a model or an estimator is a warning of Python's, as scikit-learn's are.
"""

from __future__ import annotations

from collections.abc import Callable

from .errors import as_parameters

Say = Callable[[str], None]  # what takes a line for the user


def warn(line: str) -> None:
    import logging  # not for --help

    logging.getLogger("fastmlp").warning("%s", as_parameters(line))


def warn_caller(line: str, category: type[Warning] = UserWarning) -> None:
    """Python's warning, at the line that called fastmlp, directly or through scikit-learn."""
    import sys
    import warnings

    level, frame = 2, sys._getframe(1)  # from Python 3.12 on skip_file_prefixes does so, too
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("fastmlp", "sklearn", "joblib"):
        level, frame = level + 1, frame.f_back
    warnings.warn(line, category, stacklevel=level)


def inform(line: str) -> None:
    import logging

    logging.getLogger("fastmlp").info("%s", line)
