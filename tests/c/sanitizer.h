/* SPDX-License-Identifier: MIT */
/* sanitizer.h -- under which checker or emulator a test runs, and what the thread sanitizer does not know of.
 *
 * WHAT    MPROF_TESTS_ASAN and MPROF_TESTS_TSAN are 0 or 1; running_on_valgrind() says whether valgrind runs the test,
 *         MPROF_TESTS_HELGRIND is 1 in the build for valgrind's helgrind (helgrind_atomics.h);
 *         running_emulated() whether a user-mode emulator of another processor does, which says so in the environment
 *         (tools/test_arch.py). Such an emulator has memory of its own in the process, so what the system says of the
 *         process's memory and its limit is not about the test.
 *
 *         The thread sanitizer follows mmap and munmap but not mremap: it goes on blaming old accesses on memory that
 *         has moved away, and on what is mapped there next. Under it, a test that defines MPROF_TESTS_MREMAP before it
 *         includes this gets an mremap made of the two it follows; who defines MPROF_TESTS_MREMAP_ALWAYS, always, for a
 *         library to be preloaded (tools/tsan_python.sh).
 * WHY     The alternative, a list of reports to ignore, would hide real ones in the same functions.
 * LOCKS   as mremap.
 * MEMORY  as mremap, but for a moment both mappings exist. */
#ifndef MPROF_TESTS_SANITIZER_H
#define MPROF_TESTS_SANITIZER_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#define MPROF_TESTS_ASAN __has_feature(address_sanitizer)
#define MPROF_TESTS_TSAN __has_feature(thread_sanitizer)
#else
#if defined(__SANITIZE_ADDRESS__)
#define MPROF_TESTS_ASAN 1
#else
#define MPROF_TESTS_ASAN 0
#endif
#if defined(__SANITIZE_THREAD__)
#define MPROF_TESTS_TSAN 1
#else
#define MPROF_TESTS_TSAN 0
#endif
#endif

#ifndef MPROF_TESTS_HELGRIND
#define MPROF_TESTS_HELGRIND 0
#endif

/* Valgrind preloads its replacement of malloc. */
static inline bool running_on_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");
    return preload && strstr(preload, "vgpreload");
}

static inline bool running_emulated(void)
{
    return getenv("MPROF_TESTS_EMULATED") != NULL;
}

#if (MPROF_TESTS_TSAN && defined(MPROF_TESTS_MREMAP)) || defined(MPROF_TESTS_MREMAP_ALWAYS)
#include <sys/mman.h>

void *mremap(void *address, size_t old_size, size_t new_size, int flags, ...)
{
    (void)flags;
    void *moved = mmap(NULL, new_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (moved == MAP_FAILED)
        return moved;
    memcpy(moved, address, old_size < new_size ? old_size : new_size);
    munmap(address, old_size);
    return moved;
}
#endif

#endif
