#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the tests under the sanitizers and valgrind. Arguments: the build directory, and which of these (all, if none is
# named); they may run side by side.
#
#   address   C tests and Python tests with ASan and UBSan; the extension is loaded into an ordinary interpreter, so
#             libasan is preloaded, and leaks are not looked for, for the interpreter leaves some at its end.
#             PYTEST_ARGS in the environment chooses tests
#   thread    C tests that have threads with TSan
#   memcheck  C tests under valgrind
#   memcheck_python
#             Python tests of the API and of reading frames under valgrind, with the C library's malloc below, so that it
#             sees each block
#   helgrind  C tests with threads under valgrind's helgrind, which is told of atomic instructions
#             (tests/c/helgrind_atomics.h)
set -eu
build=$1
shift
[ $# -gt 0 ] || set -- address thread memcheck memcheck_python helgrind

missing() {
    echo "sanitize: $1 is missing; not checked with it" >&2
    [ -z "${CI:-}" ] || exit 1
}

can_link() {
    printf 'int main(void) { return 0; }\n' | ${CC:-cc} "-fsanitize=$1" -x c -o "$build/probe-$1" - 2>/dev/null
}

# The package, with assertions. Arguments: where to, the build directory, and what else pip passes on.
install_to() {
    to=$1
    package=$2
    shift 2
    rm -rf "$to"
    python -m pip install -q --no-build-isolation --no-deps --target "$to" -Cbuild-dir="$package" \
        -Csetup-args=-Doptimization=1 -Csetup-args=-Ddebug=true -Csetup-args=-Db_ndebug=false "$@" .
}

address() {
    echo "== C tests, ASan and UBSan"
    [ -f "$build/asan/build.ninja" ] ||
        meson setup "$build/asan" -Dpython=false -Db_sanitize=address,undefined -Doptimization=1 -Ddebug=true
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
        meson test -C "$build/asan" --print-errorlogs --timeout-multiplier 5

    echo "== Python tests, ASan and UBSan, with assertions (each walk of a stack is compared with a whole one)"
    # Its program has a limit on its address space, of which ASan alone takes terabytes.
    limited=tests/py/hazards/test_hazard_02_failing_requests.py::test_hazard_04_program_without_memory
    # Other threads allocate while they fork, and ASan's own allocator is not made ready for that: the child may find its
    # lock taken, for ever.
    forks=tests/py/hazards/test_hazard_08_fork.py
    forked="--deselect $forks::test_hazard_08_multiprocessing_pool_beside_threads"
    forked="$forked --deselect $forks::test_hazard_08_fork_while_other_threads_record"
    # What the preloaded library of these tests makes fail is what our module calls itself: libasan's functions call instead.
    shimmed="--deselect tests/py/test_faults_publishing.py"
    hosts=
    for host in forking_server greenlet numpy threads; do
        hosts="$hosts tests/integration/test_$host.py"
    done
    install_to "$build/asan-site" "$build/asan-package" -Csetup-args=-Db_sanitize=address,undefined \
        -Csetup-args=-Db_lundef=false
    # libstdc++ too: libasan looks for its functions once, before greenlet brings it in.
    PYTHONPATH="$PWD/$build/asan-site" TESTS_SANITIZED=1 \
        LD_PRELOAD="$(${CC:-cc} -print-file-name=libasan.so):$(${CC:-cc} -print-file-name=libstdc++.so.6)" \
        ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
        pytest --deselect "$limited" $forked $shimmed ${PYTEST_ARGS:-tests/py tests/cpython $hosts}
}

thread() {
    echo "== C tests with threads, TSan"
    [ -f "$build/tsan/build.ninja" ] ||
        meson setup "$build/tsan" -Dpython=false -Db_sanitize=thread -Doptimization=1 -Ddebug=true
    TSAN_OPTIONS=halt_on_error=1 meson test -C "$build/tsan" --suite threads --print-errorlogs --timeout-multiplier 5
}

memcheck() {
    echo "== C tests, valgrind"
    [ -f "$build/memcheck/build.ninja" ] ||
        meson setup "$build/memcheck" -Dpython=false -Doptimization=1 -Ddebug=true
    meson test -C "$build/memcheck" --suite c --print-errorlogs --timeout-multiplier 20 \
        --wrapper 'valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite'
}

memcheck_python() {
    echo "== Python tests, valgrind"
    install_to "$build/memcheck-site" "$build/memcheck-package"
    PYTHONPATH="$PWD/$build/memcheck-site" PYTHONMALLOC=malloc \
        valgrind --quiet --error-exitcode=99 --num-callers=20 --suppressions=tests/valgrind.supp \
        "$(command -v python)" "$(command -v pytest)" -p no:cacheprovider tests/py/test_api.py tests/py/test_frames.py
}

helgrind() {
    echo "== C tests with threads, helgrind"
    [ -f "$build/helgrind/build.ninja" ] ||
        meson setup "$build/helgrind" -Dpython=false -Doptimization=1 -Ddebug=true \
            "-Dc_args=-include $PWD/tests/c/helgrind_atomics.h"
    # Not those of forks: in a child helgrind takes the parent's threads for running. With a fair schedule it takes 75 s
    # where it took 109 to 200.
    meson test -C "$build/helgrind" --print-errorlogs --timeout-multiplier 20 \
        --wrapper 'valgrind --quiet --tool=helgrind --fair-sched=yes --error-exitcode=99' \
        lock os publisher publisher_faults recorder recorder_favour recorder_threads
}

mkdir -p "$build"
for part in "$@"; do
    case $part in
    address | thread)
        sanitizers=$part
        [ "$part" = thread ] || sanitizers=address,undefined
        can_link "$sanitizers" || { missing "the $part sanitizer of ${CC:-cc}"; continue; }
        ;;
    memcheck | memcheck_python | helgrind)
        command -v valgrind >/dev/null || { missing valgrind; continue; }
        ;;
    *)
        echo "sanitize: '$part' is none of address, thread, memcheck, memcheck_python and helgrind" >&2
        exit 2
        ;;
    esac
    "$part"
done
