# SPDX-License-Identifier: MIT
"""Hazards 13 and 14: code made at run time. Its stacks must not pile up, and its address soon belongs to other code."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

import pytest
from harness import FREE_THREADED, blocks, isolated, recording

GROUPS, GROUP = 100, 1000
KEPT = 3000
# The tree is pruned when it has grown by 16384 nodes, or by as many as it had, whichever is more. A stack that is not
# alive is given back if it has not allocated in the last quarter of that. So 3 * 8192 and what is alive is a generous
# bound.
MOST_NODES = 3 * 8192 + KEPT


def generated(group: int, count: int) -> List[Callable[[], Any]]:
    """Functions of a file of their own. Groups share the names: names live for ever in some versions of Python."""
    scope: Dict[str, Any] = {}
    code = "".join("def made_{}():\n    return bytearray(5000)\n".format(i) for i in range(count))
    exec(compile(code, "<generated {}>".format(group), "exec"), scope)
    return [scope["made_{}".format(i)] for i in range(count)]


def collect_code(turn: int, each: int = 10) -> None:
    """Where there is no GIL only the collector frees code, whose references it counts by itself."""
    if FREE_THREADED and turn % each == 0:
        import gc

        gc.collect()


@pytest.mark.parametrize("rate", [0, 1000])
@isolated
def test_hazard_13_memory_stays_bounded(rate: int) -> None:
    """After 100,000 generated functions the profiler takes what it took after 50,000, however many blocks are alive."""
    from mprofile import _core

    after = []
    with recording(sample_rate=rate, seed=13):
        kept = []
        for group in range(GROUPS):
            functions = generated(group, GROUP)
            made = [function() for function in functions]
            if len(kept) < KEPT:
                kept += made
            del made
            functions[0].__globals__.clear()  # no garbage for the collector
            after.append(_core._info())
            del functions
            collect_code(group, each=1)  # functions that wait for the collector are alive, and so are their stacks
        assert after[-1]["prunes"] >= 5
        assert after[-1]["drops"] == 0
        assert max(info["nodes"] for info in after) <= MOST_NODES
        memory = [info["memory"] for info in after]
        assert max(memory[50:]) <= 1.05 * max(memory[:50])
        if rate == 0:
            assert len(blocks(5001)) == KEPT


@isolated
def test_hazard_13_what_is_alive_survives_pruning() -> None:
    """Blocks of functions that are long gone keep their stacks, and stacks in use keep counting."""
    from mprofile import _core

    def steady() -> bytearray:
        return bytearray(7000)

    with recording():
        kept = [function() for function in generated(999, 50)]
        steady_kept = []
        for group in range(40):
            for function in generated(group, GROUP):
                function()
            steady_kept.append(steady())
        assert _core._info()["prunes"] >= 2
        assert sorted(block.names[0] for block in blocks(5001)) == sorted("made_{}".format(i) for i in range(50))
        assert {block.frames[0][0] for block in blocks(5001)} == {"<generated 999>"}
        assert [block.names[0] for block in blocks(7001)] == ["steady"] * 40
        del kept, steady_kept


@isolated
def test_hazard_13_reloaded_module() -> None:
    """A module that is edited and reloaded again and again: each block names the line where it was made."""
    import importlib
    import os
    import sys
    import tempfile

    from mprofile import _core

    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory() as directory:
        sys.path.insert(0, directory)
        path = os.path.join(directory, "reloaded.py")
        kept = []
        with recording():
            for i in range(100):
                with open(path, "w") as file:
                    file.write("\n" * i + "def make():\n    return bytearray(5002)\n")
                os.utime(path, (i + 1, i + 1))
                importlib.invalidate_caches()
                module = importlib.reload(module) if i else importlib.import_module("reloaded")  # noqa: F821
                kept.append(module.make())
            found = blocks(5003)
            assert sorted(block.frames[0][1] for block in found) == [i + 2 for i in range(100)]
            assert {block.names[0] for block in found} == {"make"}
            assert _core._info()["drops"] == 0


@pytest.mark.parametrize("rate", [0, 2])
@isolated
def test_hazard_14_address_of_a_code_object_used_again(rate: int) -> None:
    """Function after function at the same address, with everything equal but the name."""
    kept = []
    addresses = set()
    with recording(sample_rate=rate):
        for i in range(1000):
            scope: Dict[str, Any] = {}
            exec("def made_{:04d}():\n    return bytearray(5002)".format(i), scope)
            function = scope.pop("made_{:04d}".format(i))
            addresses.add(id(function.__code__))
            kept.append(function())
            del scope, function
            collect_code(i)
        assert len(addresses) < 500  # they were used again
        assert sorted(block.names[0] for block in blocks(5003)) == ["made_{:04d}".format(i) for i in range(1000)]


@pytest.mark.parametrize("rate", [0, 2])
@isolated
def test_hazard_14_same_names_another_line(rate: int) -> None:
    """The new code at the old address differs by its line table alone, and by where its file is said to begin."""
    kept = []
    addresses = set()
    filename, name = "<same>", "same"
    with recording(sample_rate=rate):
        for i in range(500):
            scope: Dict[str, Any] = {}
            padding = "\n" * (i % 50)
            exec(compile("def {}():{}\n    return bytearray(5002)".format(name, padding), filename, "exec"), scope)
            function = scope.pop(name)
            addresses.add(id(function.__code__))
            kept.append(function())
            del scope, function
            collect_code(i)
        assert len(addresses) < 250
        lines = sorted(block.frames[0][1] for block in blocks(5003))
        assert lines == sorted(i % 50 + 2 for i in range(500))


@pytest.mark.parametrize("rate", [0, 2])
@isolated
def test_hazard_14_code_freed_while_the_profiler_was_off(rate: int) -> None:
    """Nobody saw the old code die: the session in between recorded nothing."""
    kept = []
    for i in range(200):
        scope: Dict[str, Any] = {}
        with recording(sample_rate=rate):
            exec("def made_{:04d}():\n    return bytearray(5002)".format(i), scope)
            kept.append(scope["made_{:04d}".format(i)]())
            assert [block.names[0] for block in blocks(5003)] == ["made_{:04d}".format(i)]
        del scope
