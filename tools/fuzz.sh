#!/bin/sh
# SPDX-License-Identifier: MIT
# Fuzzes the core with clang's libFuzzer. Arguments: the build directory, the seconds that all fuzzers share, and which
# of them to run (all of tests/fuzz, if none is named). Each starts from its inputs in tests/fuzz/corpus, and from what
# it found in earlier runs, which is in the build directory. An input that fails stays in BUILD/fuzz/failed.
# With --check alone, it tells whether clang can build fuzzers here.
set -eu
if ! command -v clang >/dev/null; then
    echo "fuzz: clang is missing" >&2
    exit 1
fi
if ! printf 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }\n' |
    clang -fsanitize=fuzzer,address,undefined -x c -o /dev/null - 2>/dev/null; then
    echo "fuzz: clang links no libFuzzer and sanitizers: its runtime is missing" \
        "(Debian: libclang-rt-$(clang -dumpversion | cut -d . -f 1)-dev)" >&2
    exit 1
fi
[ "$1" != --check ] || exit 0
build=$1
seconds=$2
shift 2
if [ $# -eq 0 ]; then
    for source in tests/fuzz/fuzz_*.c; do
        name=${source#tests/fuzz/fuzz_}
        set -- "$@" "${name%.c}"
    done
fi
[ -f "$build/fuzz/build.ninja" ] ||
    CC=clang meson setup "$build/fuzz" -Dpython=false -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false \
        -Ddebug=true
meson compile -C "$build/fuzz" fuzzers
mkdir -p "$build/fuzz/failed"
share=$((seconds / $#))
[ "$share" -gt 0 ] || share=1

echo "fuzz: $# fuzzers, $share s each"
echo "fuzzer       executions  seconds   edges   new inputs"
failures=0
for name in "$@"; do
    seeds=tests/fuzz/corpus/$name
    found=$build/fuzz/corpus/$name
    log=$build/fuzz/$name.log
    mkdir -p "$found"
    [ -d "$seeds" ] || seeds=
    before=$(date +%s)
    status=0
    # $seeds is a path of ours or nothing.
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 "$build/fuzz/tests/fuzz_$name" -max_total_time="$share" -timeout=10 \
        -use_value_profile=1 -print_final_stats=1 -artifact_prefix="$build/fuzz/failed/$name-" "$found" $seeds \
        >"$log" 2>&1 || status=$?
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    new=$(sed -n 's/^stat::new_units_added: *//p' "$log")
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    printf '%-12s %10s %8s %7s %12s\n' "$name" "${executions:-?}" $(($(date +%s) - before)) "${edges:-?}" "${new:-?}"
    if [ "$status" -ne 0 ]; then
        failures=$((failures + 1))
        tail -n 60 "$log"
        echo "fuzz: $name FAILED (status $status); all of its output is in $log"
        sed -n "s/.*Test unit written to \(.*\)/fuzz: the input that fails: \1/p" "$log"
        echo "fuzz: again: $build/fuzz/tests/fuzz_$name INPUT"
    fi
done
if [ "$failures" -ne 0 ]; then
    echo "fuzz: $failures of $# fuzzers failed" >&2
    exit 1
fi
