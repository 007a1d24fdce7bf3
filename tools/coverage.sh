#!/bin/sh
# SPDX-License-Identifier: MIT
# Line and branch coverage of src/ by the C tests and the Python tests together. Arguments: the build directory; the least
# percentage of branches. PYTEST_ARGS in the environment chooses Python tests.
#
# Optimization 1: without it a branch on a constant counts, of which the hooks, made by one macro for each domain, have
# hundreds that no test can take. Lines of mprof_assert do not count: they are compiled out of what users get.
set -eu
build=$PWD/$1
least=$2
options="-Db_coverage=true -Db_ndebug=true -Doptimization=1 -Ddebug=true -Dc_args=-fprofile-update=atomic"

mkdir -p "$build"
find "$build/coverage-c" "$build/coverage-package" -name '*.gcda' -delete 2>/dev/null || true

# Forked children of C tests end by _exit, which leaves their counts unwritten: for them it is wrapped.
${CC:-cc} -O1 -Wall -Wextra -c -o "$build/coverage_exit.o" tests/c/coverage_exit.c
[ -f "$build/coverage-c/build.ninja" ] ||
    meson setup "$build/coverage-c" -Dpython=false $options \
        "-Dc_link_args=--coverage -Wl,--wrap=_exit $build/coverage_exit.o"
failed=
echo "== C tests"
meson test -C "$build/coverage-c" --suite c --print-errorlogs --timeout-multiplier 10 || failed="$failed C"

echo "== Python tests"
# libgcov says on stderr that another user may not write its files.
user=tests/integration/test_disk.py::test_directory_without_permission
hosts=
for host in disk forking_server greenlet kill numpy threads; do
    hosts="$hosts tests/integration/test_$host.py"
done
setup=
for option in $options; do
    setup="$setup -Csetup-args=$option"
done
rm -rf "$build/coverage-site"
python -m pip install -q --no-build-isolation --no-deps --target "$build/coverage-site" \
    -Cbuild-dir="$build/coverage-package" $setup .
PYTHONPATH="$build/coverage-site" pytest --deselect "$user" ${PYTEST_ARGS:-tests/py tests/cpython $hosts} ||
    failed="$failed Python"

# Counts derived from others (gcov's way to instrument less) may come out negative in a process that was forked.
for metric in line branch; do
    echo "== coverage by $metric"
    gcovr --root . --filter src/ --txt-metric "$metric" --exclude-lines-by-pattern '.*mprof_assert\(.*' \
        --gcov-ignore-errors=no_working_dir_found --gcov-suspicious-hits-threshold 0 \
        --gcov-ignore-parse-errors=negative_hits.warn_once_per_file \
        --fail-under-branch "$least" "$build/coverage-c" "$build/coverage-package" || failed="$failed $metric"
done
[ -z "$failed" ] || echo "coverage: not as it should be:$failed" >&2
[ -z "$failed" ]
