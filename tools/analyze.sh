#!/bin/sh
# SPDX-License-Identifier: MIT
# Static analysis of src/: gcc's -fanalyzer, and clang-tidy with the clang static analyzer (.clang-tidy). Every finding is
# an error. Argument: the build directory.
set -eu
build=$1

missing() {
    echo "analyze: $1 is missing; not checked with it" >&2
    [ -z "${CI:-}" ] || exit 1
}

if command -v gcc >/dev/null; then
    echo "== gcc -fanalyzer"
    [ -f "$build/analyze-gcc/build.ninja" ] ||
        CC=gcc meson setup "$build/analyze-gcc" -Dtests=false -Dwerror=true -Dc_args=-fanalyzer
    meson compile -C "$build/analyze-gcc"
else
    missing gcc
fi

# Its options come from a build that clang would do. One process a file: the analyzer of clang 14 loses va_start in the
# second file of a process.
if command -v clang-tidy >/dev/null && command -v clang >/dev/null; then
    echo "== clang-tidy"
    [ -f "$build/analyze-clang/build.ninja" ] || CC=clang meson setup "$build/analyze-clang" -Dtests=false
    find src -name '*.c' -print0 | sort -z | xargs -0 -n 1 -P "$(nproc)" clang-tidy --quiet -p "$build/analyze-clang"
else
    missing "clang or clang-tidy"
fi
