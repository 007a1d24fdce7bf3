# SPDX-License-Identifier: MIT
"""`mprofile completion`: the shells themselves complete with the scripts."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
from typing import List

import pytest
from processes import run_mprofile

from mprofile.cli import COMMANDS
from mprofile.cli.completion import commands

BY = ["line", "function", "file", "module", "package", "thread", "stack"]


def script(shell: str) -> str:
    done = run_mprofile("completion", shell, universal_newlines=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode("utf-8")


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A directory with the three scripts and some files to complete."""
    directory = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "zsh", "fish"):
        (directory / shell).write_text(script(shell), encoding="utf-8")
    (directory / "heap one.pb.gz").write_text("")
    (directory / "heap2.pb.gz").write_text("")
    return directory


def run(directory: pathlib.Path, *words: str) -> str:
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=str(directory), timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode("utf-8")


# ---- bash ----

BASH = """\
source ./bash
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_mprofile
((${#COMPREPLY[@]})) && printf '%s\\n' "${COMPREPLY[@]}" || true
"""

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def in_bash(directory: pathlib.Path, *words: str) -> List[str]:
    """What bash offers for the last of the words. As at the prompt, an = is a word of its own."""
    return run(directory, "bash", "--norc", "-c", BASH, "bash", "mprofile", *words).splitlines()


@needs_bash
def test_bash_commands(scripts: pathlib.Path) -> None:
    assert in_bash(scripts, "") == [*COMMANDS, "--help", "--version"]
    assert in_bash(scripts, "rep") == ["report"]


@needs_bash
def test_bash_options_and_values(scripts: pathlib.Path) -> None:
    assert {"--by", "--tree", "--json", "--help"} <= set(in_bash(scripts, "report", "--"))
    assert in_bash(scripts, "report", "--tr") == ["--tree"]
    assert in_bash(scripts, "report", "--by", "") == BY
    assert in_bash(scripts, "report", "--by", "=", "f") == ["function", "file"]
    assert in_bash(scripts, "report", "--by", "=") == in_bash(scripts, "report", "--by", "")
    assert in_bash(scripts, "convert", "heap2.pb.gz", "--to", "s") == ["speedscope"]
    assert in_bash(scripts, "report", "--limit", "") == [], "a number"
    assert in_bash(scripts, "completion", "") == ["bash", "zsh", "fish"]


@needs_bash
def test_bash_files(scripts: pathlib.Path) -> None:
    assert sorted(in_bash(scripts, "report", "he")) == ["heap one.pb.gz", "heap2.pb.gz"]
    assert in_bash(scripts, "diff", "heap2.pb.gz", "heap2") == ["heap2.pb.gz"]
    assert in_bash(scripts, "convert", "-o", "heap2") == ["heap2.pb.gz"]


@needs_bash
def test_bash_knows_every_option(scripts: pathlib.Path) -> None:
    for command in commands():
        offered = set(in_bash(scripts, command.name, "-"))
        assert offered == {name for option in command.options for name in option.names}
        for option in command.options:
            if option.choices:
                assert in_bash(scripts, command.name, option.names[0], "") == list(option.choices)


@needs_bash
def test_bash_has_registered_it(scripts: pathlib.Path) -> None:
    assert "-F _mprofile mprofile" in run(scripts, "bash", "--norc", "-c", "source ./bash; complete -p mprofile")


# ---- zsh and fish ----


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh(scripts: pathlib.Path) -> None:
    run(scripts, "zsh", "-f", "-n", "./zsh")
    setup = "autoload -Uz compinit; compinit -D; source ./zsh; print -r -- $_comps[mprofile]"
    assert run(scripts, "zsh", "-f", "-c", setup) == "_mprofile\n"
    # _arguments is given what it is given at the prompt; what it makes of it, only a prompt shows.
    stub = (
        '_arguments() {{ print -rl -- "$@" }}; compdef() {{ }}; source ./zsh;'
        "words=(mprofile {} ''); CURRENT=3; _mprofile"
    )
    given = run(scripts, "zsh", "-f", "-c", stub.format("report")).splitlines()
    assert "*:file:_files" in given
    assert [word for word in given if word.startswith("--by[") and word.endswith("file module package thread stack)")]
    shells = run(scripts, "zsh", "-f", "-c", stub.format("completion")).splitlines()
    assert shells[-1] == "*:SHELL:(bash zsh fish)"


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish(scripts: pathlib.Path) -> None:
    def complete(line: str) -> List[str]:
        text = run(scripts, "fish", "--no-config", "-c", "source ./fish; complete -C '{}'".format(line))
        return [one.split("\t")[0] for one in text.splitlines()]

    assert set(complete("mprofile ")) == set(COMMANDS)
    assert set(complete("mprofile report --by ")) == set(BY)
    assert "--tree" in complete("mprofile report --")
    assert set(complete("mprofile completion ")) == {"bash", "zsh", "fish"}
    assert "heap2.pb.gz" in complete("mprofile diff heap2")


# ---- what the scripts are made from ----


def test_every_command_is_there() -> None:
    found = {command.name: command for command in commands()}
    assert list(found) == list(COMMANDS)
    rate = next(option for option in found["run"].options if "--sample-rate" in option.names)
    assert (rate.value, rate.choices, rate.files) == ("SIZE", (), False)
    output = next(option for option in found["run"].options if "-o" in option.names)
    assert (output.names, output.files) == (("-o", "--output"), True)


@pytest.mark.parametrize("words, part", [([], "SHELL"), (["tcsh"], "'tcsh'")])
def test_bad_input(words: List[str], part: str) -> None:
    done = run_mprofile("completion", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert part in done.stderr
