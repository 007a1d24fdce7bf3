# SPDX-License-Identifier: MIT
"""Which test suites of other projects run.py runs, and which of their tests cannot be the same beside a profiler.

A suite is a list of units. A unit is one process: one of CPython's test files, or one call of pytest. What is in SHORT
is run when nothing is named; `--all` runs CPython's whole suite.
"""

from __future__ import annotations

import fnmatch
from typing import Dict, List, NamedTuple, Optional, Tuple


class Unit(NamedTuple):
    name: str
    kind: str  # "regrtest": a file of CPython's suite; "pytest": what pytest is called with; "unittest": what python is
    words: Tuple[str, ...]
    timeout: float = 900.0


class Suite(NamedTuple):
    name: str
    requirements: Tuple[str, ...]
    units: Tuple[Unit, ...]


#: CPython's files most concerned with memory, threads, fork, garbage, frames, tracing, interpreters, the C API, signals
#: and processes; the quick ones first. A name that a version does not have is left out.
CPYTHON = """
test_gc test_weakref test_memoryview test_bytes test_dict test_list test_set test_deque test_buffer test_ctypes
test_frame test_generators test_coroutines test_asyncgen test_sys_settrace test_sys_setprofile test_monitoring
test_bdb test_trace test_profile test_cprofile test_code test_dis test_inspect test_traceback test_exceptions
test_tracemalloc test_sys test_site test_atexit test_finalization test_cmd_line test_cmd_line_script test_embed
test_repl test_capi test_call test_faulthandler test_signal test_threadsignals test_eintr
test_thread test_threading test_threading_local test_threadedtempfile test_context test_queue
test__xxsubinterpreters test_interpreters test__interpreters test_import test_importlib test_interpreters
test_fork1 test_wait3 test_wait4 test_os test_posix test_popen test_subprocess test_pty test_mmap
test_multiprocessing_main_handling test_concurrent_futures test_asyncio test_runpy test_warnings test_unicode test_str
test_zlib test_pickle test_re test_json test_io test_socket test_socketserver test_ssl test_sqlite test_sqlite3
test_regrtest test_venv test_decimal test_builtin test_descr test_functools test_itertools test_logging test_xml_etree_c
test_free_threading test_super test_type_cache test_opcache test_perf_profiler test_perfmaps test_gdb
test_multiprocessing_fork test_multiprocessing_forkserver test_multiprocessing_spawn
"""


def regrtest(name: str) -> Unit:
    return Unit(name, "regrtest", (name,))


def pytest(name: str, *words: str, timeout: float = 900.0) -> Unit:
    return Unit(name, "pytest", words, timeout)


def package(name: str, *words: str, timeout: float = 900.0) -> Unit:
    return pytest(name, "--pyargs", name, *words, timeout=timeout)


def cpython(names: List[str]) -> Suite:
    return Suite("cpython", (), tuple(regrtest(name) for name in names))


#: Projects whose tests are part of what pip installs.
PROJECTS: Tuple[Suite, ...] = (
    Suite("tornado", ("tornado",), (Unit("tornado.test", "unittest", ("-m", "tornado.test", "--verbose"), 600.0),)),
    Suite("greenlet", ("greenlet", "psutil", "objgraph"), (package("greenlet.tests"),)),
    Suite(
        "numpy",
        ("numpy>=2", "hypothesis"),
        (
            package("numpy._core.tests.test_multiarray"),
            package("numpy._core.tests.test_mem_policy"),
            package("numpy._core.tests.test_nditer"),
            package("numpy._core.tests.test_regression"),
            package("numpy._core.tests.test_ufunc"),
            package("numpy._core.tests.test_api"),
            package("numpy._core.tests.test_array_coercion"),
            package("numpy._core.tests.test_dtype"),
            package("numpy._core.tests.test_indexing"),
            package("numpy._core.tests.test_multithreading"),
            package("numpy.random"),
            package("numpy.linalg"),
            package("numpy.ma"),
            package("numpy.lib"),
        ),
    ),
    Suite(
        "pandas",
        ("pandas", "hypothesis"),
        (
            package("pandas.tests.indexing"),
            package("pandas.tests.groupby.test_groupby"),
            package("pandas.tests.libs"),
            package("pandas.tests.internals"),
        ),
    ),
    Suite(
        "gevent",
        ("gevent", "psutil", "objgraph", "requests", "setproctitle"),
        tuple(
            package("gevent.tests." + name, timeout=300.0)
            for name in (
                "test__greenlet",
                "test__pool",
                "test__queue",
                "test__threadpool",
                "test__hub",
                "test__local",
                "test__lock",
                "test__event",
                "test__os",
                "test__socket",
                "test__server",
                "test__subprocess",
                "test__refcount",
                "test__semaphore",
                "test__core_fork",
            )
        ),
    ),
)

PROJECT_NAMES = ("cpython",) + tuple(suite.name for suite in PROJECTS)


class Expected(NamedTuple):
    unit: str
    test: str  # a pattern of fnmatch
    reason: str


#: Tests that cannot have the same result beside any profiler of memory, or beside any imported package.
EXPECTED: Tuple[Expected, ...] = (
    Expected(
        "test_sys",
        "*.test_debugmallocstats",
        "sys._debugmallocstats() tells of pymalloc only where nothing is hooked in; with tracemalloc it fails alike",
    ),
    Expected(
        "test_cmd_line",
        "*.test_pythonmalloc",
        "a private function names the allocators only where nothing is hooked in; with tracemalloc it fails alike",
    ),
    Expected(
        "test_cmd_line",
        "*.test_xdev",
        "a private function names the allocators only where nothing is hooked in; with tracemalloc it fails alike",
    ),
)


def explanation(unit: str, test: str) -> Optional[str]:
    for expected in EXPECTED:
        if expected.unit == unit and fnmatch.fnmatchcase(test, expected.test):
            return expected.reason
    return None


def suites(names: List[str], cpython_files: List[str]) -> Dict[str, Suite]:
    found = {suite.name: suite for suite in (cpython(cpython_files), *PROJECTS)}
    return {name: found[name] for name in names}
