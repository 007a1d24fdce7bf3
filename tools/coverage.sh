#!/bin/sh
# SPDX-License-Identifier: MIT
# Line and branch coverage of src/ by the C tests and the Python tests together. Arguments: the build directory; the least
# percentage of branches. In the environment: PYTEST_ARGS chooses Python tests; OTHERS are interpreters for the code that
# is written for other versions of Python than this one (by default those on this machine, one of each version).
#
# Optimization 1: without it a branch on a constant counts. Nothing is inlined, so that a branch counts once, and not again
# for each place where its function is used. Lines of mprof_assert do not count: they are compiled out of what users get.
set -eu
mkdir -p "$1"
build=$(cd "$1" && pwd)
least=$2
flags="-fprofile-update=atomic -fno-inline -Dalways_inline=unused"
failed=

find "$build" -path "$build/coverage-*" -name '*.gcda' -delete

# Processes that end early write their counts, too: see there.
${CC:-cc} -O1 -fPIC -Wall -Wextra -c -o "$build/coverage_exit.o" tests/c/coverage_exit.c
${CC:-cc} -O1 -fPIC -Wall -Wextra -shared -o "$build/coverage_preload.so" tests/py/ext/coverage_preload.c
cat >"$build/coverage.ini" <<EOF
[built-in options]
b_coverage = true
b_ndebug = 'true'
optimization = '1'
debug = true
c_args = [$(printf "'%s', " $flags)]
c_link_args = ['--coverage', '-Wl,--wrap=_exit,--wrap=kill', '$build/coverage_exit.o']
EOF

echo "== C tests"
[ -f "$build/coverage-c/build.ninja" ] ||
    meson setup "$build/coverage-c" -Dpython=false --native-file "$build/coverage.ini"
meson test -C "$build/coverage-c" --suite c --print-errorlogs --timeout-multiplier 10 || failed="$failed C"

# Arguments: the directory of a Python's programs, the build directory of a package for it, what pytest is told.
python_tests() {
    programs=$1
    package=$2
    shift 2
    rm -rf "$package-site" "$package-probe"
    mkdir -p "$package-probe"
    "$programs/python" -m pip install -q --no-build-isolation --no-deps --target "$package-site" \
        -Cbuild-dir="$package" "-Csetup-args=--native-file=$build/coverage.ini" . || return 1
    # Some tests compile a part of src/ by themselves, with these flags.
    PYTHONPATH=$package-site LD_PRELOAD=$build/coverage_preload.so TESTS_PATIENCE=10 TESTS_PROBE=$package-probe \
        TESTS_PROBE_FLAGS="--coverage -O1 -DNDEBUG $flags" "$programs/pytest" -p no:cacheprovider "$@"
}

echo "== Python tests"
# Not those of the command and its reports, which are written in Python. Nor that of pruning after 100,000 functions, which
# lasts many minutes here, and whose branches C tests take. libgcov says on stderr that another user may not write its files.
slow=tests/py/hazards/test_hazard_13_code_that_comes_and_goes.py::test_hazard_13_memory_stays_bounded
user=tests/integration/test_disk.py::test_directory_without_permission
tests="tests/py/hazards tests/cpython"
for name in api code_objects core_arguments faults_import faults_limits faults_mappings faults_publishing faults_python \
    frames free_threading merge read_pprof recording recording_processes selftest snapshot snapshot_memory; do
    tests="$tests tests/py/test_$name.py"
done
for name in disk kill threads; do
    tests="$tests tests/integration/test_$name.py"
done
python_tests "$(dirname "$(command -v python)")" "$build/coverage-package" --deselect "$slow" --deselect "$user" \
    ${PYTEST_ARGS:-$tests} || failed="$failed Python"

versions=
others() {
    python - <<EOF
import sys
sys.path.insert(0, "tools")
from interpreters import discover, unusable

def kind(interpreter):
    return interpreter.order[:2], "t" in interpreter.tag

here = (sys.version_info[:2], "t" in getattr(sys, "abiflags", ""))
found = {kind(interpreter): interpreter.path for interpreter in discover() if not unusable(interpreter)}
print(*[path for other, path in found.items() if other != here])
EOF
}

# What reads the interpreter's structures is written anew for most versions: there the tests of that part.
for other in ${OTHERS-$(others)}; do
    version=$("$other" -c 'import sys; print("%d.%d" % sys.version_info[:2] + sys.abiflags)')
    venv=$build/coverage-venv-$version
    versions="$versions $version"
    echo "== Python tests with $other"
    [ -f "$venv/ready" ] || {
        "$other" -m venv "$venv"
        "$venv/bin/python" -m pip install -q -U pip
        "$venv/bin/python" -m pip install -q -r tools/requirements.txt 'pytest>=7,<10'
        touch "$venv/ready"
    }
    PATH="$venv/bin:$PATH" python_tests "$venv/bin" "$build/coverage-$version" \
        tests/py/test_api.py tests/py/test_code_objects.py tests/py/test_frames.py || failed="$failed $version"
done

# Counts derived from others (gcov's way to instrument less) may come out negative in a process that was forked. Of the other
# versions counts what they have a part of their own in: in the rest it is the macros of their Python.h that differ.
read_counts() {
    result=$1
    filter=$2
    shift 2
    gcovr --root . --filter "$filter" --exclude-lines-by-pattern '.*mprof_assert\(.*' \
        --gcov-ignore-errors=no_working_dir_found --gcov-suspicious-hits-threshold 0 \
        --gcov-ignore-parse-errors=negative_hits.warn_once_per_file --merge-mode-functions merge-use-line-min \
        --json "$result" "$@"
}

read_counts "$build/coverage-here.json" src/ "$build/coverage-c" "$build/coverage-package" "$build/coverage-package-probe"
traces="--add-tracefile $build/coverage-here.json"
for version in $versions; do
    read_counts "$build/coverage-$version.json" 'src/cpython/(capture|compat|frames|lines|names|objects)' \
        "$build/coverage-$version" "$build/coverage-$version-probe"
    traces="$traces --add-tracefile $build/coverage-$version.json"
done
gcovr --root . --merge-mode-functions merge-use-line-min $traces --json "$build/coverage.json"
for metric in line branch; do
    echo "== coverage by $metric"
    gcovr --root . --txt-metric "$metric" --add-tracefile "$build/coverage.json" --fail-under-branch "$least" ||
        failed="$failed $metric"
done
python - "$build/coverage.json" <<EOF
import collections, json, os, sys

folders = collections.defaultdict(lambda: [0, 0, 0, 0])
for file in json.load(open(sys.argv[1]))["files"]:
    for line in file["lines"]:
        if not line.get("gcovr/excluded"):
            counts = [line["count"]], [branch["count"] for branch in line["branches"]]
            figures = [len(counts[0]), sum(map(bool, counts[0])), len(counts[1]), sum(map(bool, counts[1]))]
            for folder in (os.path.dirname(file["file"]), "together"):
                folders[folder] = [a + b for a, b in zip(folders[folder], figures)]
for folder, (lines, seen, branches, taken) in sorted(folders.items()):
    print(f"{folder:12}  lines {100 * seen / lines:5.1f} % ({seen} of {lines})"
          f"  branches {100 * taken / branches:5.1f} % ({taken} of {branches})")
EOF
[ -z "$failed" ] || echo "coverage: not as it should be:$failed" >&2
[ -z "$failed" ]
