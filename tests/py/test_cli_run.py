# SPDX-License-Identifier: MIT
"""`mprofile run`: the program finds everything as under `python`, and its profile is there afterwards."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from typing import Any, Dict, List, Optional, Sequence

import pytest
from processes import MPROFILE

from mprofile.profile import Profile

# Prints what a program can see of how it was started.
PROBE = """
import json, os, pickle, sys

class Local:
    pass

main = sys.modules["__main__"]
def shown(value):
    return value if isinstance(value, (str, int, type(None))) else type(value).__name__
names = sorted(name for name in vars(main) if name.startswith("__"))
print(json.dumps({
    "argv": sys.argv,
    "path": sys.path,
    "path_importer_cache": sorted(key for key in sys.path_importer_cache if "bootstrap" in key),
    "names": names,
    "attributes": {name: shown(getattr(main, name)) for name in names},
    "loader": getattr(main.__loader__, "__name__", type(main.__loader__).__name__),
    "spec": getattr(main.__spec__, "name", None),
    "pickled": type(pickle.loads(pickle.dumps(Local()))) is Local,
    "flags": list(sys.flags),
    "warnoptions": sys.warnoptions,
    "xoptions": sys._xoptions,
    "hooks": [sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__],
    "environment": sorted((k, v) for k, v in os.environ.items() if k not in ("_", "PWD", "OLDPWD", "SHLVL")
                          and not k.startswith("MPROFILE_RECORD")),
    "sitecustomize": getattr(sys.modules.get("sitecustomize"), "__file__", None),
    "stdin": sys.stdin.read(),
    "cwd": os.getcwd(),
    "frames": sys._getframe().f_back is None,
}))
"""


def command(*words: str) -> List[str]:
    """The words that start `mprofile`."""
    return [MPROFILE, *words]


def execute(words: Sequence[str], cwd: pathlib.Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    options.setdefault("input", "")
    return subprocess.run(
        words,
        cwd=str(cwd),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
        **options,
    )


def run(
    cwd: pathlib.Path, *words: str, output: Optional[str] = "out.pb.gz", **options: Any
) -> "subprocess.CompletedProcess[str]":
    own = ["-o", output] if output else []
    return execute(command("run", "--sample-rate", "4K", *own, *words), cwd, **options)


def write(directory: pathlib.Path, name: str, text: str) -> str:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return name


def both(cwd: pathlib.Path, *words: str, **options: Any) -> Dict[str, Any]:
    """Run PROBE by `python` and by `mprofile run`; return what both printed, after checking that it is the same."""
    plain = execute([sys.executable, *words], cwd, **options)
    profiled = run(cwd, *words, **options)
    assert profiled.returncode == plain.returncode == 0, profiled.stderr
    expected = json.loads(plain.stdout)
    assert json.loads(profiled.stdout) == expected
    assert (cwd / "out.pb.gz").exists()
    result: Dict[str, Any] = expected
    return result


# ---- the program's surroundings ----


def test_script(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "folder/probe.py", PROBE)
    seen = both(tmp_path, "folder/probe.py", "-m", "--sample-rate", "x y", "-o", input="from stdin")
    assert seen["argv"] == ["folder/probe.py", "-m", "--sample-rate", "x y", "-o"]
    assert seen["stdin"] == "from stdin"
    assert seen["frames"] is True


def test_script_by_symlink(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "folder/probe.py", PROBE)
    (tmp_path / "link.py").symlink_to("folder/probe.py")
    assert both(tmp_path, "link.py")["path"][0] == str(tmp_path.resolve() / "folder")


def test_module(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "package/__init__.py", "")
    write(tmp_path, "package/probe.py", PROBE)
    write(tmp_path, "package/__main__.py", PROBE)
    seen = both(tmp_path, "-m", "package.probe", "one", "-m", "two")
    assert seen["spec"] == "package.probe"
    assert seen["argv"][1:] == ["one", "-m", "two"]
    assert both(tmp_path, "-m", "package")["spec"] == "package.__main__"


def test_code(tmp_path: pathlib.Path) -> None:
    code = PROBE.replace("pickle.loads(pickle.dumps(Local()))", "Local()")
    assert both(tmp_path, "-c", code, "argument")["argv"] == ["-c", "argument"]
    assert both(tmp_path, "-c" + code)["argv"] == ["-c"]


def test_directory_and_archive(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "folder/__main__.py", PROBE)
    with zipfile.ZipFile(str(tmp_path / "archive.zip"), "w") as archive:
        archive.writestr("__main__.py", PROBE)
    both(tmp_path, "folder", "argument")
    both(tmp_path, "archive.zip", "argument")


def test_compiled_file(tmp_path: pathlib.Path) -> None:
    import py_compile

    write(tmp_path, "probe.py", PROBE)
    py_compile.compile(str(tmp_path / "probe.py"), cfile=str(tmp_path / "compiled.pyc"))
    both(tmp_path, "compiled.pyc")


def test_existing_pythonpath_and_sitecustomize(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "probe.py", PROBE)
    write(tmp_path, "site/sitecustomize.py", "import os\nos.environ['CUSTOMIZED'] = 'yes'")
    seen = both(tmp_path, "probe.py", env=dict(os.environ, PYTHONPATH=str(tmp_path / "site")))
    assert seen["sitecustomize"] == str(tmp_path / "site" / "sitecustomize.py")
    assert ["CUSTOMIZED", "yes"] in seen["environment"]


def test_interpreter_options_are_kept(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "probe.py", PROBE)
    options = ["-O", "-B", "-W", "error::UserWarning", "-X", "faulthandler"]
    plain = execute([sys.executable, *options, "probe.py"], tmp_path)
    profiled = execute(
        [sys.executable, *options, "-m", "mprofile", "run", "-o", "out.pb.gz", "probe.py"], tmp_path
    )
    assert profiled.returncode == 0, profiled.stderr
    assert json.loads(profiled.stdout) == json.loads(plain.stdout)


def test_multiprocessing_spawn(tmp_path: pathlib.Path) -> None:
    write(
        tmp_path,
        "program.py",
        """
        import multiprocessing, sys

        class Item:
            def __init__(self, value):
                self.value = value

        def double(item):
            return Item(item.value * 2)

        if __name__ == "__main__":
            multiprocessing.set_start_method(sys.argv[1])
            with multiprocessing.Pool(2) as pool:
                print([item.value for item in pool.map(double, [Item(1), Item(2), Item(3)])])
        """,
    )
    for method in ("spawn", "fork"):
        done = run(tmp_path, "program.py", method)
        assert (done.returncode, done.stdout) == (0, "[2, 4, 6]\n"), done.stderr
        assert done.stderr.count("mprofile: wrote") == 1
        assert "mprofile: wrote out.pb.gz\n" in done.stderr


# ---- how the program ends ----


@pytest.mark.parametrize(
    "ending, status",
    [
        ("pass", 0),
        ("sys.exit()", 0),
        ("sys.exit(7)", 7),
        ("sys.exit('last words')", 1),
        ("raise SystemExit(300)", 300 % 256),
        ("raise ValueError('wrong')", 1),
        ("raise KeyboardInterrupt", None),
        ("def f(:", 1),
    ],
)
def test_status_and_traceback(tmp_path: pathlib.Path, ending: str, status: Optional[int]) -> None:
    write(tmp_path, "program.py", "import sys\n" + ending)
    plain = execute([sys.executable, "program.py"], tmp_path)
    profiled = run(tmp_path, "program.py")
    assert profiled.returncode == plain.returncode
    assert status is None or profiled.returncode == status
    assert profiled.stderr.startswith(plain.stderr)
    assert "mprofile: wrote out.pb.gz\n" in profiled.stderr[len(plain.stderr) :]
    assert Profile.read(str(tmp_path / "out.pb.gz")).meta["sample_rate"] == 4096


def test_order_at_the_end(tmp_path: pathlib.Path) -> None:
    write(
        tmp_path,
        "program.py",
        """
        import atexit, os, threading, time
        atexit.register(lambda: print("atexit", os.path.exists("out.pb.gz")))
        def later():
            time.sleep(0.3)
            global kept
            kept = bytearray(3 << 20)
            print("thread")
        threading.Thread(target=later).start()
        print("main")
        """,
    )
    done = run(tmp_path, "program.py")
    assert done.stdout.splitlines() == ["main", "thread", "atexit True"]
    assert Profile.read(str(tmp_path / "out.pb.gz")).totals().inuse.bytes > 3 << 20


def start(tmp_path: pathlib.Path, text: str) -> "subprocess.Popen[str]":
    """Start a program under `mprofile run` and wait for its line `ready`."""
    write(tmp_path, "program.py", text)
    process = subprocess.Popen(
        command("run", "--sample-rate", "4K", "-o", "out.pb.gz", "program.py"),
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process: "subprocess.Popen[str]", number: int) -> str:
    """Send a signal; stderr of the process, which ends by it. A signal between the interpreter's last look for signals
    and a system call that sleeps is seen only after the sleep, as in any Python program: the sleeps are short ones."""
    process.send_signal(number)
    try:
        return process.communicate(timeout=120)[1]
    finally:
        process.kill()


def test_sigterm_writes_the_profile_and_kills(tmp_path: pathlib.Path) -> None:
    process = start(
        tmp_path,
        """
        import time
        kept = [bytearray(1000) for _ in range(1000)]
        print("ready", flush=True)
        for _ in range(12000):
            time.sleep(0.01)
        """,
    )
    errors = finish(process, signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM
    assert "mprofile: wrote out.pb.gz\n" in errors
    assert Profile.read(str(tmp_path / "out.pb.gz")).totals().inuse.bytes > 500_000


def test_anonymous_files_name_no_command_and_no_directory(tmp_path: pathlib.Path) -> None:
    code = """
        import os, subprocess, sys
        kept = [bytearray(1000) for _ in range(1000)]
        subprocess.run([sys.executable, "-c", "kept = [bytearray(1000) for _ in range(1000)]", "secret-of-the-child"])
        """
    (tmp_path / "program.py").write_text(textwrap.dedent(code))
    for options, files in ([], 2), (["--anonymous"], 2):
        done = execute(command("run", *options, "-o", "out.pb.gz", "program.py", "secret-word"), tmp_path)
        assert done.returncode == 0, done.stderr
        found = sorted(tmp_path.glob("out*.pb.gz"))
        assert len(found) == files
        told = ["\n".join(Profile.read(str(path)).comments) for path in found]
        assert all(("secret" in text) == (not options) for text in told), told
        assert all(("mprofile: directory=" in text) == (not options) for text in told), told
        assert all("mprofile: interpreter=CPython " in text for text in told), told
        for path in found:
            path.unlink()


def test_sigterm_while_python_cannot_run_a_handler(tmp_path: pathlib.Path) -> None:
    """A C function that looks at no signal. Without the profiler the process would be gone at once."""
    process = start(
        tmp_path,
        """
        kept = [bytearray(1000) for _ in range(1000)]
        print("ready", flush=True)
        sum(range(10**14))
        """,
    )
    begin = time.monotonic()
    finish(process, signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM
    assert time.monotonic() - begin < 30  # a second, and what a busy machine adds
    profile = Profile.read(str(tmp_path / "out.pb.gz"))
    assert profile.totals().inuse.bytes > 500_000
    assert "mprofile: state=final" in profile.comments


def test_a_slow_handler_of_the_program_is_not_hurried(tmp_path: pathlib.Path) -> None:
    process = start(
        tmp_path,
        """
        import atexit, time
        atexit.register(print, "said at the end", flush=True)
        def slowly(end):
            while time.monotonic() < end:
                pass
        import signal, sys
        signal.signal(signal.SIGTERM, lambda *_: [slowly(time.monotonic() + 3), sys.exit(5)])
        print("ready", flush=True)
        for _ in range(12000):
            time.sleep(0.01)
        """,
    )
    finish(process, signal.SIGTERM)
    assert process.returncode == 5


def test_the_first_process_of_a_container_stays_as_the_kernel_leaves_it(tmp_path: pathlib.Path) -> None:
    isolate = ["unshare", "--pid", "--fork", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*isolate, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs unshare and the right to make a process namespace")
    code = "import os, signal; os.kill(os.getpid(), signal.SIGTERM); print(os.getpid(), 'lives on')"
    done = subprocess.run(
        [*isolate, *command("run", "-o", "out.pb.gz", "-c", code)],
        cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "1 lives on\n"), done.stderr
    assert "mprofile: wrote out.pb.gz\n" in done.stderr


def test_a_handler_of_the_program_wins(tmp_path: pathlib.Path) -> None:
    process = start(
        tmp_path,
        """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
        print("ready", flush=True)
        for _ in range(12000):
            time.sleep(0.01)
        """,
    )
    errors = finish(process, signal.SIGTERM)
    assert process.returncode == 5
    assert errors.count("mprofile: wrote out.pb.gz\n") == 1


def test_ignored_sigterm_stays_ignored(tmp_path: pathlib.Path) -> None:
    code = "import signal; print(signal.getsignal(signal.SIGTERM) == signal.SIG_IGN)"

    def ignore() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    assert run(tmp_path, "-c", code, preexec_fn=ignore).stdout == "True\n"


def test_interrupt_from_the_terminal(tmp_path: pathlib.Path) -> None:
    process = start(tmp_path, "import time\nprint('ready', flush=True)\nfor _ in range(12000): time.sleep(0.01)\n")
    errors = finish(process, signal.SIGINT)
    assert process.returncode in ((-signal.SIGINT,) if sys.version_info >= (3, 8) else (1, -signal.SIGINT))
    assert "KeyboardInterrupt" in errors
    assert "mprofile: wrote out.pb.gz\n" in errors


# ---- other processes ----


def test_forked_children_leave_the_file_alone(tmp_path: pathlib.Path) -> None:
    """They write files of their own, but not if they end at once by a signal."""
    write(
        tmp_path,
        "program.py",
        """
        import os, signal, sys, time
        print(os.getpid(), flush=True)
        child = os.fork()
        if child == 0:
            sys.exit(3)
        print(child, flush=True)
        print(os.wait()[1] >> 8, flush=True)
        killed = []
        for _ in range(50):
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(1)
            os.kill(child, signal.SIGTERM)
            killed.append(os.wait()[1])
        print(set(killed) == {signal.SIGTERM}, flush=True)
        """,
    )
    done = run(tmp_path, "--every", "3600", "program.py", output=None)
    pid, child, status, killed = done.stdout.splitlines()
    assert (status, killed) == ("3", "True")
    own, childs = "mprofile.{}.pb.gz".format(pid), "mprofile.{}.{}.pb.gz".format(pid, child)
    assert sorted(path.name for path in tmp_path.glob("*.pb.gz*")) == sorted([own, childs])
    assert done.stderr.count("mprofile: wrote") == 1
    assert "mprofile: process {} wrote {}\nmprofile: wrote {}\n".format(child, childs, own) in done.stderr


def test_executed_children_record_themselves(tmp_path: pathlib.Path) -> None:
    write(
        tmp_path,
        "program.py",
        """
        import mprofile, os, subprocess, sys
        print(mprofile.is_tracing(), mprofile.get_sample_rate(), "MPROFILE_RUN" in os.environ, os.getpid(), flush=True)
        if len(sys.argv) == 1:
            subprocess.check_call([sys.executable, "program.py", "child"])
        """,
    )
    done = run(tmp_path, "program.py")
    parent, child = [line.split() for line in done.stdout.splitlines()]
    assert parent[:3] == child[:3] == ["True", "4096", "False"]
    assert "mprofile: process {0} wrote out.{0}.pb.gz\n".format(child[3]) in done.stderr
    comments = Profile.read(str(tmp_path / "out.{}.pb.gz".format(child[3]))).comments
    assert "mprofile: pid={}".format(child[3]) in comments
    assert "mprofile: state=final" in comments


# ---- the file ----


def test_default_name_and_changed_directory(tmp_path: pathlib.Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    done = run(tmp_path, "-c", "import os; os.chdir('elsewhere'); print(os.getpid())", output=None)
    name = "mprofile.{}.pb.gz".format(done.stdout.strip())
    assert (tmp_path / name).exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert done.stderr.endswith("mprofile: wrote {0}\nmprofile: next, type: mprofile report {0}\n".format(name))


def test_table_and_comments(tmp_path: pathlib.Path) -> None:
    write(
        tmp_path,
        "program.py",
        """
        def hoard():
            return [bytearray(1000) for _ in range(5000)]
        kept = hoard()
        """,
    )
    done = run(tmp_path, "program.py", "an argument")
    assert done.stdout == ""
    assert "hoard" in done.stderr
    profile = Profile.read(str(tmp_path / "out.pb.gz"))
    comments = dict(
        comment[len("mprofile: ") :].split("=", 1)
        for comment in profile.comments
        if comment.startswith("mprofile: ")
    )
    assert comments["command"] == "program.py 'an argument'"
    assert comments["pid"].isdigit()
    assert comments["interpreter"].startswith("CPython 3.")
    assert re.match(r"\d+\.\d s$", comments["duration"])


def test_exact_mode(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "program.py", "kept = [bytearray(1000) for _ in range(100)]\n")
    done = execute(command("run", "--sample-rate", "0", "-o", "out.pb.gz", "program.py"), tmp_path)
    assert done.returncode == 0, done.stderr
    rows = Profile.read(str(tmp_path / "out.pb.gz")).rows(by="line")
    assert max(row.flat.inuse.blocks for row in rows if row.filename.endswith("program.py")) >= 200


def test_directory_that_vanishes(tmp_path: pathlib.Path) -> None:
    (tmp_path / "gone").mkdir()
    code = """if True:
        import os, shutil, sys
        while os.path.isdir("gone"):  # there may be a write on
            shutil.rmtree("gone", ignore_errors=True)
        sys.exit(4)
        """
    done = run(tmp_path, "-c", code, output="gone/out.pb.gz")
    assert done.returncode == 4
    assert "mprofile: no profile written to 'gone/out.pb.gz': " in done.stderr


def test_program_that_stops_the_profiler(tmp_path: pathlib.Path) -> None:
    done = run(tmp_path, "-c", "import mprofile; mprofile.stop()")
    assert done.returncode == 0
    assert "mprofile: the program stopped the profiler before it ended; the profile is of that moment\n" in done.stderr
    assert "mprofile: state=final" in Profile.read(str(tmp_path / "out.pb.gz")).comments


def test_closed_stderr(tmp_path: pathlib.Path) -> None:
    done = run(tmp_path, "-c", "import os; os.close(2)")
    assert done.returncode == 0
    assert (tmp_path / "out.pb.gz").exists()


# ---- bad input ----


@pytest.mark.parametrize(
    "words, parts",
    [
        ([], ["nothing to run", "SCRIPT", "-m MODULE", "-c CODE"]),
        (["-m"], ["nothing to run"]),
        (["missing.py"], ["'missing.py'", "No such file"]),
        (["empty"], ["'empty'", "__main__.py"]),
        (["--sample-rate", "fast", "x.py"], ["--sample-rate", "'fast'"]),
        (["--sample-rate", "-1", "x.py"], ["--sample-rate", "-1"]),
        (["--max-frames", "0", "x.py"], ["--max-frames", "'0'", "1 to 65535"]),
        (["--max-frames", "many", "x.py"], ["--max-frames", "'many'", "1 to 65535"]),
        (["--unknown", "x.py"], ["--unknown"]),
        (["--every", "0", "x.py"], ["--every", "'0'", "0.01 to 86400"]),
        (["--every", "often", "x.py"], ["--every", "'often'", "0.01 to 86400"]),
        (["--history", "x.py", "x.py"], ["'x.py'", "directory"]),
        (["-o", "missing/out.pb.gz", "x.py"], ["'missing'", "no directory"]),
        (["-o", "empty", "x.py"], ["'empty'", "a directory"]),
    ],
)
def test_bad_input(tmp_path: pathlib.Path, words: List[str], parts: List[str]) -> None:
    write(tmp_path, "x.py", "print('ran')")
    (tmp_path / "empty").mkdir()
    done = execute(command("run", *words), tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("mprofile run: error: ")
    assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr


def test_interpreter_that_ignores_its_environment(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "x.py", "print('ran')")
    done = execute([sys.executable, "-I", "-m", "mprofile", "run", "x.py"], tmp_path)
    assert done.returncode == 2
    assert "-I" in done.stderr.splitlines()[-1]


def test_top_level(tmp_path: pathlib.Path) -> None:
    version = execute(command("--version"), tmp_path)
    assert re.match(r"mprofile \d+\.\d+\.\d+\S* \(CPython 3\.", version.stdout)
    for words in (["--help"], ["run", "--help"], ["report", "--help"], []):
        done = execute(command(*words), tmp_path)
        assert done.returncode == 0
        assert "examples:" in done.stdout
    unknown = execute(command("rnu", "x.py"), tmp_path)
    assert unknown.returncode == 2
    assert "'rnu'" in unknown.stderr.splitlines()[-1]
    assert "run, report" in unknown.stderr.splitlines()[-1]
