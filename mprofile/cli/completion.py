# SPDX-License-Identifier: MIT
"""`mprofile completion`: prints a script that lets a shell complete commands, options and their values.

The script is made from the commands' own parsers, and holds all there is to know: nothing runs when a key is pressed.
"""

from __future__ import annotations

import argparse
import importlib
import re
from typing import List, NamedTuple, Sequence, Tuple

from mprofile.cli.common import write_text
from mprofile.cli.parser import Parser

__all__ = ["Command", "Option", "commands", "main", "make_parser"]

USAGE = "mprofile completion bash|zsh|fish"

DESCRIPTION = """\
Print a script for a shell to complete mprofile's commands, options, their values, and names of files.
"""

EPILOG = """\
examples:
  mprofile completion bash > ~/.local/share/bash-completion/completions/mprofile
  mprofile completion zsh > ~/.zfunc/_mprofile         # a directory that is in $fpath
  mprofile completion fish > ~/.config/fish/completions/mprofile.fish
"""

SHELLS = ("bash", "zsh", "fish")

#: Placeholders of values that are names of files or directories.
_FILES = re.compile(r"(?:FILE|OUT|OLD|NEW|DIR|PATH|SCRIPT)\b")


class Option(NamedTuple):
    """names: all of one option, empty for a positional argument. choices: its values, if they are few. files: whether a
    value is the name of a file. value: whether it takes one."""

    names: Tuple[str, ...]
    help: str
    value: str
    choices: Tuple[str, ...]
    files: bool


class Command(NamedTuple):
    name: str
    help: str
    options: List[Option]
    positional: List[Option]


def make_parser() -> Parser:
    parser = Parser("mprofile completion", USAGE, DESCRIPTION, EPILOG)
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="one of: {}".format(", ".join(SHELLS)))
    return parser


def commands() -> List[Command]:
    """What the parsers of all commands know."""
    from mprofile.cli import COMMANDS

    found = []
    for name, text in COMMANDS.items():
        parser: argparse.ArgumentParser = importlib.import_module("mprofile.cli." + name).make_parser()
        actions = [_option(action) for action in parser._actions if action.nargs != argparse.REMAINDER]
        options = [one for one in actions if one.names]
        found.append(Command(name, text, options, [one for one in actions if not one.names]))
    return found


def _option(action: argparse.Action) -> Option:
    takes = action.nargs != 0
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    choices = tuple(str(choice) for choice in action.choices or ())
    text = "" if action.help in (None, argparse.SUPPRESS) else str(action.help)
    # Of the help the first part will do; what stands in brackets is for those who read all of it.
    text = re.sub(r"\s*\(.*", "", text, flags=re.DOTALL).replace("%%", "%")
    files = takes and not choices and (_FILES.match(metavar) is not None)
    return Option(tuple(action.option_strings), text, metavar if takes else "", choices, files)


def single_quoted(text: str) -> str:
    """`text` as one word of bash, zsh or fish. What the shells do not quote alike is left out of it."""
    return "'{}'".format(text.replace("\\", "/").replace("'", "\u2019"))


# ---- bash ----

_BASH = """\
# Completion of mprofile for bash.
_mprofile() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} command=${{COMP_WORDS[1]}} values=
    COMPREPLY=()
    # --option=value comes as three words.
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W {commands} -- "$cur")
        return
    fi
    case "$command $prev" in
{values}
    esac
    if [[ $cur == -* ]]; then
        case $command in
{options}
        esac
    else
        case $command in
{positional}
        esac
    fi
    if [[ -n $values ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$values" -- "$cur")
    elif [[ $cur != -* ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}}
complete -o filenames -F _mprofile mprofile
"""


def bash(found: Sequence[Command]) -> str:
    values = []
    options = []
    positional = []
    for command in found:
        for option in command.options:
            if not option.value:
                continue
            case = "|".join('"{} {}"'.format(command.name, name) for name in option.names)
            if option.choices:
                action = 'mapfile -t COMPREPLY < <(compgen -W "{}" -- "$cur")'.format(" ".join(option.choices))
            elif option.files:
                action = 'mapfile -t COMPREPLY < <(compgen -f -- "$cur")'
            else:
                action = ":"
            values.append("        {}) {}; return ;;".format(case, action))
        names = " ".join(name for option in command.options for name in option.names)
        options.append("            {}) values={} ;;".format(command.name, single_quoted(names)))
        choices = " ".join(choice for option in command.positional for choice in option.choices)
        if choices:
            positional.append("            {}) values={} ;;".format(command.name, single_quoted(choices)))
    return _BASH.format(
        commands=single_quoted(" ".join([command.name for command in found] + ["--help", "--version"])),
        values="\n".join(values),
        options="\n".join(options),
        positional="\n".join(positional),
    )


# ---- zsh ----

_ZSH = """\
#compdef mprofile
# Completion of mprofile for zsh.
_mprofile() {{
    local -a commands
    commands=(
{commands}
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
{cases}
    esac
}}
if [[ $funcstack[1] == _mprofile ]]; then
    _mprofile "$@"
else
    compdef _mprofile mprofile
fi
"""


def _zsh_text(text: str) -> str:
    """Brackets and colons mean something in the descriptions of zsh."""
    return text.replace("[", "(").replace("]", ")").replace(":", ",")


def zsh(found: Sequence[Command]) -> str:
    listed = ["        " + single_quoted("{}:{}".format(command.name, _zsh_text(command.help))) for command in found]
    cases = []
    for command in found:
        words = []
        for option in command.options:
            for name in option.names:
                word = "{}[{}]".format(name, _zsh_text(option.help))
                words.append(single_quoted(word + _zsh_value(option) if option.value else word))
        choices = [option for option in command.positional if option.choices]
        words.append(single_quoted("*" + _zsh_value(choices[0]) if choices else "*:file:_files"))
        cases.append(
            "        {})\n            _arguments {}\n            ;;".format(
                command.name, " \\\n                ".join(words)
            )
        )
    return _ZSH.format(commands="\n".join(listed), cases="\n".join(cases))


def _zsh_value(option: Option) -> str:
    action = "({})".format(" ".join(option.choices)) if option.choices else "_files" if option.files else " "
    return ":{}:{}".format(option.value, action)


# ---- fish ----


def fish(found: Sequence[Command]) -> str:
    lines = ["# Completion of mprofile for fish.", "complete -c mprofile -f"]
    for command in found:
        lines.append(
            "complete -c mprofile -n __fish_use_subcommand -a {} -d {}".format(
                command.name, single_quoted(command.help)
            )
        )
    for command in found:
        start = "complete -c mprofile -n '__fish_seen_subcommand_from {}'".format(command.name)
        for option in command.options:
            words = [start]
            words += ["-l " + name[2:] if name.startswith("--") else "-s " + name[1:] for name in option.names]
            if option.choices:
                words.append("-x -a {}".format(single_quoted(" ".join(option.choices))))
            elif option.value:
                words.append("-r -F" if option.files else "-x")
            words.append("-d {}".format(single_quoted(option.help)))
            lines.append(" ".join(words))
        choices = [choice for option in command.positional for choice in option.choices]
        lines.append(start + (" -a {}".format(single_quoted(" ".join(choices))) if choices else " -F"))
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    options = make_parser().parse_args(arguments)
    script = {"bash": bash, "zsh": zsh, "fish": fish}[options.shell]
    return write_text(script(commands()))
