/* SPDX-License-Identifier: MIT */
/* os.h -- the operating system behind one small interface.
 *
 * WHAT    Memory in pages, clocks, entropy, waiting on a word, threads, and what a directory holds. One .c file a
 *         platform (os_linux.c).
 * WHY     The rest of the tree has no #ifdef for platforms.
 * LOCKS   none; every function may be called from any thread. All but mprof_os_entropy are async-signal-safe on
 *         Linux.
 * MEMORY  mprof_os_map is where all memory of the profiler comes from. */
#ifndef MPROF_BASE_OS_H
#define MPROF_BASE_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed pages. `size` is a multiple of MPROF_OS_PAGE. NULL when the system has none. errno is preserved. */
void *mprof_os_map(size_t size);
/* As mprof_os_map, with the pages already present, so that writing them faults no more; huge ones where they fit. */
void *mprof_os_map_present(size_t size);
void mprof_os_unmap(void *address, size_t size);
/* Grows or shrinks a mapping; may move it. NULL: the old mapping is untouched. */
void *mprof_os_remap(void *address, size_t old_size, size_t new_size);

/* Asks for huge pages under the parts of a mapping that are not touched yet; a hint, never fails. */
void mprof_os_advise_huge(void *address, size_t size);

/* Granularity of mprof_os_map. A system with larger pages rounds up by itself. */
#define MPROF_OS_PAGE ((size_t)4096)

int64_t mprof_os_monotonic_ns(void);
/* Resolution of a timer tick (1-10 ms), a fraction of the cost. */
int64_t mprof_os_monotonic_coarse_ns(void);
int64_t mprof_os_wall_ns(void); /* since 1970 */

/* 64 unpredictable bits; never blocks, never fails (falls back on clocks and addresses). */
uint64_t mprof_os_entropy(void);

/* Sleeps while *word == expected, until woken; may return early. */
void mprof_os_wait(uint32_t *word, uint32_t expected);
/* The same, for at most `ns` nanoseconds. */
void mprof_os_wait_for(uint32_t *word, uint32_t expected, int64_t ns);
/* Wakes one waiter; all waiters. */
void mprof_os_wake(uint32_t *word);
void mprof_os_wake_all(uint32_t *word);

/* Memory barriers in other threads, so that a thread which often does something needs none of its own. prepare: once a
 * process, and again in a forked child; false: the system has none. It waits for all processors, for some milliseconds
 * where other threads run, and true is as good as a barrier. barrier: on return every running thread of the process has
 * passed a full barrier since the call; false: the system refuses by now, and that took 5 ms of waiting instead. errno
 * is preserved. */
bool mprof_os_prepare_barrier(void);
bool mprof_os_barrier(void);

/* The calling thread, and whether a thread of this process is still there: false some time after its end. errno is
 * preserved. */
long mprof_os_thread(void);
bool mprof_os_thread_lives(long thread);

/* Whether the eight bytes at an address can be read, which a signal would tell otherwise. Takes a system call; false, too,
 * where the system refuses it. errno is preserved. */
bool mprof_os_readable(const void *address);

/* Calls `entry` with each name in a directory, "." and ".." too, until it returns non-zero. 0, or an errno. errno is
 * preserved. */
int mprof_os_list(const char *directory, int (*entry)(void *context, const char *name), void *context);
/* Resident memory of this process, in bytes; 0 if it cannot be told. errno is preserved. */
uint64_t mprof_os_resident(void);

#endif
