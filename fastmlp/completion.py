"""``fastmlp completion SHELL``: what a shell needs to complete commands, options and their values.

The script calls no Python, which would take a tenth of a second at each Tab. Bash and Zsh run the same function; Fish has a
line for each option.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module

from .cli import Parser, run_command

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
        "Print what a shell needs to complete fastmlp's commands and options. Bash and Zsh: put the example into ~/.bashrc\n"
        "or ~/.zshrc. Fish: write it to ~/.config/fish/completions/fastmlp.fish.",
        'eval "$(fastmlp completion bash)"',
    )
    made.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=", ".join(_SHELLS))
    return made


def _options(verb: str) -> list[argparse.Action]:
    """The options of a command."""
    return [action for action in import_module(f".{verb}", __package__).parser()._actions if action.option_strings]


def bash(verbs: Sequence[str], *, zsh: bool = False) -> str:
    values, flags = [], []
    for verb in verbs:
        options = _options(verb)
        for option in options:
            if option.choices:
                pattern = "|".join(f'"{verb} {flag}"' for flag in option.option_strings)
                words = " ".join(map(str, option.choices))
                values.append(f'        {pattern}) COMPREPLY=($(compgen -W "{words}" -- "$word")); return ;;')
        if verb == "completion":
            values.append(
                f'        "{verb} {verb}") COMPREPLY=($(compgen -W "{" ".join(_SHELLS)}" -- "$word")); return ;;'
            )
        names = " ".join(flag for option in options for flag in option.option_strings)
        flags.append(f'            {verb}) COMPREPLY=($(compgen -W "{names}" -- "$word")) ;;')
    script = _BASH.format(verbs=" ".join(verbs), values="\n".join(values), flags="\n".join(flags))
    return f"autoload -U +X bashcompinit && bashcompinit\n{script}" if zsh else script


def fish(verbs: Sequence[str], descriptions: Sequence[str]) -> str:
    lines = ["complete -c fastmlp -f -n __fish_use_subcommand"]
    for verb, what in zip(verbs, descriptions):
        lines.append(f"complete -c fastmlp -f -n __fish_use_subcommand -a {verb} -d {shlex.quote(what)}")
    lines.append(f"complete -c fastmlp -f -n '__fish_seen_subcommand_from completion' -a '{' '.join(_SHELLS)}'")
    for verb in verbs:
        lines += [f"complete -c fastmlp -n '__fish_seen_subcommand_from {verb}' {each}" for each in _fish(verb)]
    return "\n".join(lines) + "\n"


def _fish(verb: str) -> Iterator[str]:
    for option in _options(verb):
        names = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.option_strings]
        values = f" -x -a {shlex.quote(' '.join(map(str, option.choices)))}" if option.choices else ""
        taken = "" if option.nargs == 0 or option.choices else " -r"
        sentence = shlex.quote((option.help or "").replace("%%", "%"))
        yield f"{' '.join(names)}{taken}{values} -d {sentence}"


def _command(argv: Sequence[str] | None) -> int:
    from .__main__ import VERBS

    shell = parser().parse_args(argv).shell
    script = fish([*VERBS], [*VERBS.values()]) if shell == "fish" else bash([*VERBS], zsh=shell == "zsh")
    print(script, end="")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 2 bad input."""
    return run_command("completion", _command, argv)


if __name__ == "__main__":
    sys.exit(main())
