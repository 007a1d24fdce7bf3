# SPDX-License-Identifier: MIT
"""Which test suites of other projects run.py runs, and which of their tests cannot be the same beside a profiler.

A suite is a list of units. A unit is one process: one of CPython's test files, or one call of pytest. Where a project
does not install its tests they come from the source release of the version that is installed. `--all` runs CPython's
whole suite, and of the projects also what takes longer than some minutes.
"""

from __future__ import annotations

import fnmatch
from typing import Dict, List, NamedTuple, Optional, Tuple


class Unit(NamedTuple):
    name: str
    #: "regrtest": a file of CPython's suite; "pytest": what pytest is called with; "unittest": what Python is called
    #: with; "doctest": likewise, but it cannot run some of its tests alone.
    kind: str
    words: Tuple[str, ...]
    timeout: float = 900.0
    source: str = ""  # the project whose source release it is run in, a copy of its own for each run
    part: str = ""  # of that only this directory
    left_out: str = ""  # of that not this directory: what is installed takes its place
    flags: Tuple[str, ...] = ()  # Python's


class Suite(NamedTuple):
    name: str
    requirements: Tuple[str, ...]
    units: Tuple[Unit, ...]
    longer: Tuple[Unit, ...] = ()  # with --all


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


def from_source(source: str, files: str) -> Tuple[Unit, ...]:
    """A unit for each of the files."""
    return tuple(Unit(source + "/" + file, "pytest", (file,), source=source) for file in files.split())


def django(labels: str) -> Unit:
    words = ("runtests.py", "--parallel=1", "-v2", *labels.split())
    return Unit("django/" + (labels.replace(" ", "+") or "all"), "unittest", words, source="django", part="tests")


def sqlalchemy(file: str, *words: str) -> Unit:
    # Without -s its tests would import the sources beside them, which have no compiled modules.
    name = "/".join(("sqlalchemy", file, *words[1:]))
    return Unit(name, "pytest", (file, *words), source="sqlalchemy", flags=("-s",))


def aiohttp(file: str) -> Unit:
    # Instead of its own options, which measure coverage and start a process for each processor.
    words = (file, "-o", "addopts=", "-m", "not dev_mode and not autobahn and not internal")
    return Unit("aiohttp/" + file, "pytest", words, source="aiohttp", left_out="aiohttp")


def lxml(file: str) -> Unit:
    # What pytest takes for tests: classes that others are made from, and what gathers tests for unittest.
    words = (file, "--deselect", file + "::_", "--deselect", file + "::test_suite")
    return Unit("lxml/" + file, "pytest", words, source="lxml", part="src/lxml/tests")


def cython(*patterns: str) -> Unit:
    words = ("runtests.py", "-vv", "--backends=c", "--no-unit", "--no-code-style", "--no-examples", "--no-annotate")
    name = "cython/" + "+".join(pattern.strip("$").replace("\\", "") for pattern in patterns)
    return Unit(name, "doctest", words + patterns, source="cython", left_out="Cython")


def package(name: str, *words: str, timeout: float = 900.0) -> Unit:
    return pytest(name, "--pyargs", name, *words, timeout=timeout)


#: The parts of pandas' tests, the quick ones first.
PANDAS = """
api base computation config construction dtypes generic interchange plotting reductions tools util
test_aggregation test_algos test_col test_common test_cpu test_downstream test_errors test_expressions test_flags
test_multilevel test_nanops test_optional_dependency test_register_accessor test_sorting test_take
scalar tslibs tseries apply copy_view strings reshape series resample indexing groupby indexes window arithmetic
arrays frame extension io
"""


#: The parts of numpy's tests that are not below, and all of its core's.
NUMPY = "_pyinstaller fft matrixlib polynomial testing tests typing f2py _core"


def cpython(names: List[str]) -> Suite:
    return Suite("cpython", (), tuple(regrtest(name) for name in names))


#: Projects whose tests are part of what pip installs.
PROJECTS: Tuple[Suite, ...] = (
    Suite("tornado", ("tornado",), (Unit("tornado.test", "unittest", ("-m", "tornado.test", "--verbose"), 600.0),)),
    Suite(
        "greenlet",
        ("greenlet", "psutil", "objgraph"),
        (package("greenlet.tests", "-k", "not test_leaks"),),
        (package("greenlet.tests.test_leaks"),),
    ),
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
        tuple(package("numpy." + part, timeout=7200.0) for part in NUMPY.split()),
    ),
    Suite(
        "pandas",
        ("pandas", "hypothesis"),
        (
            package("pandas.tests.libs"),
            package("pandas.tests.internals"),
            package("pandas.tests.groupby.test_groupby"),
            package("pandas.tests.io.parser.test_c_parser_only"),
        ),
        tuple(package("pandas.tests." + part, timeout=7200.0) for part in PANDAS.split()),
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
    Suite(
        "django",
        ("django", "jinja2", "tblib"),
        (
            django("asgi async dispatch signals servers wsgi handlers"),
            django("cache db_utils backends transactions"),
            django("serializers template_tests.syntax_tests sessions_tests"),
        ),
        (django("")._replace(timeout=7200.0),),
    ),
    Suite(
        "sqlalchemy",
        ("sqlalchemy[aiosqlite]",),
        (
            sqlalchemy("test/engine/test_pool.py"),
            sqlalchemy("test/base/test_concurrency.py"),
            sqlalchemy("test/base/test_result.py"),
            sqlalchemy("test/engine/test_processors.py"),
            sqlalchemy("test/ext/asyncio", "--db", "aiosqlite"),
            sqlalchemy("test/orm/test_session.py"),
        ),
        tuple(
            sqlalchemy("test/" + part)._replace(timeout=7200.0)
            for part in ("base", "engine", "ext", "sql", "dialect", "typing", "orm", "aaa_profiling/test_memusage.py")
        ),
    ),
    Suite(
        "pytest",
        ("attrs", "hypothesis", "pexpect", "pygments", "xmlschema"),
        from_source(
            "pytest",
            """
            testing/test_threadexception.py testing/test_unraisableexception.py testing/test_recwarn.py
            testing/test_faulthandler.py testing/test_monkeypatch.py testing/code
            """,
        ),
        from_source("pytest", "testing"),
    ),
    Suite(
        "aiohttp",
        (
            "aiohttp",
            "blockbuster",
            "isal",
            "trustme",
            "zlib_ng",
            "freezegun",
            "pytest-cov",
            "pytest-mock",
            "pytest-timeout",
        ),
        tuple(
            aiohttp(file)
            for file in (
                "tests/test_leaks.py",
                "tests/test_http_parser.py",
                "tests/test_http_writer.py",
                "tests/test_streams.py",
                "tests/test_websocket_parser.py",
                "tests/test_websocket_writer.py",
                "tests/test_compression_utils.py",
                "tests/test_web_websocket_functional.py",
                "tests/test_multipart.py",
                "tests/test_web_functional.py",
            )
        ),
        (aiohttp("tests")._replace(timeout=7200.0),),
    ),
    Suite(
        "lxml",
        ("lxml", "cssselect", "html5lib", "beautifulsoup4"),
        tuple(
            lxml(file)
            for file in (
                "test_threading.py",
                "test_etree.py",
                "test_elementtree.py",
                "test_objectify.py",
                "test_xslt.py",
                "test_sax.py",
                "test_io.py",
                "test_nsclasses.py",
                "test_errors.py",
                "test_htmlparser.py",
                "test_incremental_xmlfile.py",
            )
        ),
    ),
    Suite(
        "cffi",
        ("cffi", "setuptools>=77"),
        from_source(
            "cffi",
            """
            src/c/test_c.py testing/cffi0/test_ffi_backend.py testing/cffi0/test_function.py
            testing/cffi1/test_ffi_obj.py testing/cffi1/test_new_ffi_1.py testing/embedding/test_basic.py
            testing/embedding/test_thread.py testing/embedding/test_tlocal.py
            """,
        ),
        from_source("cffi", "testing"),
    ),
    Suite(
        "cython",
        ("cython", "setuptools>=77"),
        (
            cython(r"run\.exttype_freelist$", r"run\.pep442_tp_finalize$", r"run\.generators_in_refcycles$"),
            cython(r"run\.with_gil$", r"run\.exttype_dealloc$", r"memoryview\.transpose_refcount$"),
        ),
        (
            cython(r"run\.trashcan$", r"run\.parallel_with_gil$", r"run\.sequential_parallel$"),
            cython(r"memoryview\.", r"buffers\.")._replace(timeout=7200.0),
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


def suites(names: List[str], cpython_files: List[str], longer: bool) -> Dict[str, Suite]:
    found = {suite.name: suite for suite in (cpython(cpython_files), *PROJECTS)}
    chosen = (found[name] for name in names)
    return {suite.name: suite._replace(units=suite.units + suite.longer) if longer else suite for suite in chosen}
