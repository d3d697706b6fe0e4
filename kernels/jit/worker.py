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
    """Compile the tasks that come on the standard input, until its end or until none has come for a while.

    ``stamp`` is that of the requesting process's store: a worker with another stamp is of no use and ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker ends with the process that it works for
    gc.disable()  # a tenth of the time
    ahead.working, ahead.answers = True, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    load_registries()
    if store().stamp != stamp:
        return
    store().locking = False  # the requesting process holds the lock
    while True:
        rest = threading.Timer(_IDLE_SECONDS, os._exit, (0,))
        rest.daemon = True
        rest.start()
        try:
            task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        rest.cancel()
        with contextlib.suppress(Exception):  # the requesting process will raise it, too
            compile_alone(*task)
        ahead.say(None)
