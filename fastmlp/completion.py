"""``fastmlp completion SHELL``: what a shell needs to complete commands, options and their values.

The script calls no Python, which would take a tenth of a second at each Tab. Bash and Zsh run the same function; Fish
has a line for each option.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module

from .cli import Parser, command

_BASH = """\
_fastmlp() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W "{verbs}" -- "$word"))
        return
    fi
    case "${{COMP_WORDS[1]}} $before" in
{values}
    esac
    if [[ $word == -* ]]; then
        case "${{COMP_WORDS[1]}}" in
{flags}
        esac
    fi
}}
complete -o default -F _fastmlp fastmlp
"""
_SHELLS = ("bash", "zsh", "fish")


def parser() -> Parser:
    made = Parser(
        "completion",
        "Print what a shell needs to complete fastmlp's commands and options. Bash and Zsh: put the example into "
        "~/.bashrc\nor ~/.zshrc. Fish: write it to ~/.config/fish/completions/fastmlp.fish.",
        'eval "$(fastmlp completion bash)"',
    )
    made.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=", ".join(_SHELLS))
    return made


def _actions(verb: str) -> list[argparse.Action]:
    """The options and arguments of a command."""
    found: Parser = import_module(f".{verb}", __package__).parser()
    return found._actions


def bash(verbs: Sequence[str], *, zsh: bool = False) -> str:
    values, flags = [], []
    for verb in verbs:
        actions = _actions(verb)
        for action in actions:
            if action.choices:
                before = action.option_strings or [verb]  # the word that the value stands behind
                pattern = "|".join(f'"{verb} {word}"' for word in before)
                words = " ".join(map(str, action.choices))
                values.append(f'        {pattern}) COMPREPLY=($(compgen -W "{words}" -- "$word")); return ;;')
        names = " ".join(flag for action in actions for flag in action.option_strings)
        flags.append(f'            {verb}) COMPREPLY=($(compgen -W "{names}" -- "$word")) ;;')
    script = _BASH.format(verbs=" ".join(verbs), values="\n".join(values), flags="\n".join(flags))
    return f"autoload -U +X bashcompinit && bashcompinit\n{script}" if zsh else script


def fish(verbs: Sequence[str], descriptions: Sequence[str]) -> str:
    lines = ["complete -c fastmlp -f -n __fish_use_subcommand"]
    for verb, what in zip(verbs, descriptions):
        lines.append(f"complete -c fastmlp -f -n __fish_use_subcommand -a {verb} -d {shlex.quote(what)}")
    for verb in verbs:
        lines += [f"complete -c fastmlp -n '__fish_seen_subcommand_from {verb}' {each}" for each in _fish(verb)]
    return "\n".join(lines) + "\n"


def _fish(verb: str) -> Iterator[str]:
    for action in _actions(verb):
        names = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in action.option_strings]
        values = f"-a {shlex.quote(' '.join(map(str, action.choices)))}" if action.choices else ""
        if not names:
            if values:
                yield f"-f {values}"
            continue
        taken = f"-x {values} " if values else "" if action.nargs == 0 else "-r "
        yield f"{' '.join(names)} {taken}-d {shlex.quote(str(action.help).replace('%%', '%'))}"


@command("completion")
def main(argv: Sequence[str] | None = None) -> int:
    from .__main__ import VERBS

    shell = parser().parse_args(argv).shell
    script = fish([*VERBS], [*VERBS.values()]) if shell == "fish" else bash([*VERBS], zsh=shell == "zsh")
    print(script, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
