#!/bin/sh
# SPDX-License-Identifier: MIT
# Fuzzes the pprof decoder with clang's libFuzzer. Arguments: the build directory, the seconds to spend. Starts from the
# inputs in tests/fuzz/corpus; what it finds on the way goes to the build directory.
set -eu
build=$1
seconds=$2
if ! command -v clang >/dev/null; then
    echo "fuzz: clang is missing" >&2
    exit 1
fi
[ -f "$build/fuzz/build.ninja" ] ||
    CC=clang meson setup "$build/fuzz" -Dpython=false -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false \
        -Ddebug=true
meson compile -C "$build/fuzz"
mkdir -p "$build/fuzz/corpus" tests/fuzz/corpus/decode
UBSAN_OPTIONS=halt_on_error=1 "$build/fuzz/tests/fuzz_decode" -max_total_time="$seconds" -timeout=10 -verbosity=0 -print_final_stats=1 \
    -artifact_prefix="$build/fuzz/" "$build/fuzz/corpus" tests/fuzz/corpus/decode
