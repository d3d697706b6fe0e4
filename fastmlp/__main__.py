"""``fastmlp <verb>``: the commands under one name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from . import __version__

VERBS = {
    "train": "train a network",
    "evaluate": "test a saved model",
    "predict": "classes and probabilities of new samples",
    "export": "a model for ONNX Runtime or PyTorch",
    "report": "pictures of a training run",
    "doctor": "examine this machine and installation",
    "warmup": "compile all kernels ahead",
    "bench": "measure against other libraries",
    "completion": "commands and options for the Tab key of a shell",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatch to the command's own ``main``; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in VERBS:
        code: int = import_module(f".{words[0]}", __package__).main(words[1:])
        return code
    listing = "\n".join(f"  {verb:12s}{what}" for verb, what in VERBS.items())
    usage = f"usage: fastmlp VERB [options]\n\n{listing}\n\n`fastmlp VERB --help` explains each."
    if words and words[0] in ("-h", "--help"):
        print(usage)
        return 0
    if words and words[0] == "--version":
        print(f"fastmlp {__version__}")
        return 0
    from .errors import similar

    given = f"unknown verb {words[0]!r}; {similar(words[0], VERBS)}" if words else "no verb given; "
    print(f"fastmlp: {given}the verbs are {', '.join(VERBS)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
