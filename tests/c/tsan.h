/* SPDX-License-Identifier: MIT */
/* tsan.h -- what the thread sanitizer does not know of.
 *
 * WHAT    It follows mmap and munmap but not mremap: it goes on blaming old accesses on memory that has moved away, and
 *         on what is mapped there next. Under it, this header gives the program an mremap made of the two it follows.
 * WHY     The alternative, a list of reports to ignore, would hide real ones in the same functions.
 * LOCKS   as mremap.
 * MEMORY  as mremap, but for a moment both mappings exist. */
#ifndef MPROF_TESTS_TSAN_H
#define MPROF_TESTS_TSAN_H

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MPROF_TESTS_TSAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define MPROF_TESTS_TSAN 1
#endif

#ifdef MPROF_TESTS_TSAN
#include <string.h>
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
