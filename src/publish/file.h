/* SPDX-License-Identifier: MIT */
/* file.h -- a file that is whole or not there.
 *
 * WHAT    mprof_file_write puts bytes at a path: into a temporary file beside it, which is renamed over it.
 *
 *             /var/log/heap.pb.gz                               the target: the old content or the new
 *             /var/log/.heap.pb.gz.4711.0123456789abcdef.tmp    while writing; gone after any outcome but a kill
 *
 *         The temporary name begins with (at most 40 bytes of) the target's and ends with process and chance. The file
 *         is made anew (O_EXCL, O_NOFOLLOW), so nobody can have put a link in its place; a link that stands at the
 *         target is replaced, not followed. Only the owner can read it. What a killed process left behind is removed
 *         by mprof_file_sweep.
 * WHY     A profile is read by others at any moment, and the writer may be killed at any moment.
 *         The writer holds a lock (flock) on its temporary file, so that a sweeper that cannot see the writer's process,
 *         in another container, leaves its file alone.
 * LOCKS   none; one thread of a process writes at a time. No malloc, no stdio.
 * MEMORY  the stack: under 10 KiB. */
#ifndef MPROF_PUBLISH_FILE_H
#define MPROF_PUBLISH_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* Longest path, with its end. */
enum { MPROF_FILE_PATH = 4096 };

struct mprof_file_failure {
    int error;        /* an errno */
    const char *call; /* the system call that failed */
};

/* 0, or -1 with the failure filled in; the target is then untouched. `sync`: on the disk, too, when it returns. */
int mprof_file_write(const char *path, const void *bytes, size_t length, bool sync, struct mprof_file_failure *failure);

/* Removes temporary files in a directory whose writers are dead and whose target's name `matches`. The name is cut to
 * MPROF_FILE_STEM bytes, as in the file's. */
enum { MPROF_FILE_STEM = 40 };
void mprof_file_sweep(const char *directory, bool (*matches)(const void *context, const char *name, size_t length),
                      const void *context);

/* In a forked child: closes what the parent's writer had open, and was not copied. */
void mprof_file_after_fork(void);

/* What an errno means, in English. "error" for those that writing a file does not give. */
const char *mprof_file_reason(int error);

/* ---- tests ---- */

/* Makes the n-th system call from now (1 is the next) fail with `error`; 0: none. */
void mprof_file_fail(unsigned n, int error);
/* System calls made since the last mprof_file_fail. */
unsigned mprof_file_calls(void);
/* Lets each write write this many bytes at most; 0: as many as it likes. */
void mprof_file_shorten(size_t most);

#endif
