"""A process that compiles kernels for another one: see ``ahead``."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import sys
import threading

from .. import ops, peak  # noqa: F401 (all kernels)
from . import ahead, compile_alone
from .cache import store
from .numba_private import load_registries

_IDLE_SECONDS = 10.0


def serve(stamp: str) -> None:
    """Compile what the standard input asks for, until its end or until nothing has been asked for a while.

    ``stamp`` is that of the other process's store: where this one has another, it can be of no use.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the process that it works for
    gc.disable()  # a tenth of the time
    ahead.working, ahead.answers = True, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    load_registries()
    if store().stamp != stamp:
        return
    store().locking = False  # the process that it works for has locked the directory
    while True:
        rest = threading.Timer(_IDLE_SECONDS, os._exit, (0,))
        rest.daemon = True
        rest.start()
        try:
            task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        rest.cancel()
        with contextlib.suppress(Exception):  # which the process that asked meets, too
            compile_alone(*task)
        ahead.say(None)
