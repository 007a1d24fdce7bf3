#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs programs of many threads under the thread sanitizer, interpreter and extension alike. Argument: the build directory.
#
# The interpreter is CPython 3.13 without a GIL, built by clang with the sanitizer (some ten minutes, once); what it knows
# of itself, and leaves out, stands in its source (Tools/tsan) and in tests/tsan_python.supp. Nothing of ours is left out:
# each report is a failure. What was reported is in BUILD/tsan-python.
set -eu
build=$(mkdir -p "$1" && cd "$1" && pwd)
if ! printf 'int main(void) { return 0; }\n' | clang -fsanitize=thread -x c -o /dev/null - 2>/dev/null; then
    echo "tsan_python: no clang that links its thread sanitizer (Debian: clang, libclang-rt-NN-dev)" >&2
    exit 1
fi
interpreter=$(python tools/free_threaded.py 3.13 --thread-sanitizer --dir "$build/free-threaded" | tail -n 1)
reports=$build/tsan-python
programs=$PWD/tests/py/test_free_threading.py
rm -rf "$reports"
mkdir -p "$reports/site"
cat "$(dirname "$interpreter")/../../source/Tools/tsan/suppressions_free_threading.txt" tests/tsan_python.supp \
    >"$reports/suppressions"

printf "[binaries]\npython = '%s'\nc = 'clang'\n" "$interpreter" >"$reports/native.ini"
export TSAN_OPTIONS=report_bugs=0
[ -f "$build/tsan-extension/build.ninja" ] ||
    meson setup "$build/tsan-extension" --native-file "$reports/native.ini" -Dtests=false -Db_sanitize=thread \
        -Db_lundef=false -Doptimization=1 -Ddebug=true
meson compile -C "$build/tsan-extension"
cp -R mprofile "$reports/site"
cp "$build"/tsan-extension/src/cpython/_core*.so "$reports/site/mprofile"
# The sanitizer does not follow mremap (tests/c/sanitizer.h). Not built with it: its symboliser is preloaded with this, too.
clang -shared -fPIC -DMPROF_TESTS_MREMAP_ALWAYS -x c -o "$reports/mremap.so" tests/c/sanitizer.h

export PYTHONPATH="$reports/site:$PWD/tests"
failed=0
while read -r program argument; do
    name=$program${argument:+-$argument}
    export TSAN_OPTIONS="suppressions=$reports/suppressions log_path=$reports/$name exitcode=66"
    status=0
    # Outside the source tree, whose package has no extension module.
    (cd "$reports" && LD_PRELOAD=$reports/mremap.so "$interpreter" "$programs" "$program" $argument </dev/null) || status=$?
    found=$(cat "$reports/$name".* 2>/dev/null | grep -c '^WARNING: ThreadSanitizer' || true)
    printf '%-24s status %s, %s reports\n' "$name" "$status" "$found"
    [ "$status" -eq 0 ] || failed=$((failed + 1))
done <<PROGRAMS
exact_numbers
exact_resizing
sampled_numbers
recorded_numbers
everything_at_once 30
thread_churn
code_churn 0
code_churn 20
shared_snapshot
PROGRAMS
if [ "$failed" -ne 0 ]; then
    echo "tsan_python: $failed programs failed; what was reported is in $reports" >&2
    exit 1
fi
