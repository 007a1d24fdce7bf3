/* SPDX-License-Identifier: MIT */
/* history.h -- a directory of profiles over time, thinned as they age.
 *
 * WHAT    One file a publication, named by its time (UTC) and its process, so that names sort by time:
 *
 *             20260131T235959.123Z.4711.pb.gz
 *
 *         After each write old files go. Of each process stay
 *
 *             the newest of each second    of the last minute
 *             the newest of each minute    of the last hour
 *             the newest of each hour      before
 *
 *         and if all files together are larger than the bound, the oldest go until they are not. The newest file of all
 *         always stays. Several processes may use one directory; each also thins what others left.
 * WHY     The directory itself is the only state: files are whole or not there (file.h), and any set of them is
 *         consistent, whenever the process is killed.
 * LOCKS   none; one thread of a process at a time.
 * MEMORY  the given arena, 32 bytes a file. */
#ifndef MPROF_PUBLISH_HISTORY_H
#define MPROF_PUBLISH_HISTORY_H

#include "base/arena.h"
#include "publish/file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mprof_history_file {
    int64_t time_ms; /* since 1970 */
    uint64_t size;
    int64_t pid;
    bool drop;
};

enum { MPROF_HISTORY_NAME = 48 };

/* False: the time is not in the years 1970 to 9999. */
bool mprof_history_name(int64_t time_ms, int64_t pid, char name[MPROF_HISTORY_NAME]);
/* False: not the name of such a file. */
bool mprof_history_parse(const char *name, int64_t *time_ms, int64_t *pid);

/* Decides which files go: sorts them by time and sets `drop`. bytes 0: no bound. */
void mprof_history_thin(struct mprof_history_file *files, size_t count, int64_t now_ms, uint64_t bytes);

/* Writes a profile into the directory and thins it. 0, or -1 with the failure filled in. */
int mprof_history_add(const char *directory, uint64_t bound, int64_t time_ms, const void *bytes, size_t length,
                      struct mprof_arena *arena, struct mprof_file_failure *failure);
/* Removes what killed processes left half written. */
void mprof_history_sweep(const char *directory);

#endif
