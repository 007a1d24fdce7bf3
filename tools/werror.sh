#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds everything with warnings as errors, by each of gcc and clang that is here. Argument: the build directory.
set -eu
build=$1
found=
for compiler in gcc clang; do
    if ! command -v "$compiler" >/dev/null; then
        if [ -n "${CI:-}" ]; then
            echo "lint: $compiler is missing" >&2
            exit 1
        fi
        echo "lint: no $compiler here; not checked with it"
        continue
    fi
    found=yes
    directory=$build/werror-$compiler
    [ -f "$directory/build.ninja" ] || CC=$compiler meson setup "$directory" -Dwerror=true
    meson compile -C "$directory"
done
if [ -z "$found" ]; then
    echo "lint: neither gcc nor clang is here" >&2
    exit 1
fi
