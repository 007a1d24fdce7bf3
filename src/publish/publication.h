/* SPDX-License-Identifier: MIT */
/* publication.h -- one profile out of the recorder into its file.
 *
 * WHAT    snapshot of the recorder -> pprof, with comments -> gzip -> file (file.h) -> directory of history (history.h).
 *         The comments are the caller's, and
 *
 *             mprofile: pid=4711               of this process
 *             mprofile: parent=4710            in a forked child: who forked it
 *             mprofile: duration=12.3 s        since recording began
 *             mprofile: state=running          or final, in the last one of a process that ended in order
 *             mprofile: publications=13        this one counted
 *             mprofile: failures=2             times that the profile could not be written, and why the last time
 *             mprofile: failure=no space left on the disk (write)
 *             mprofile: history=...            heap and resident memory over time (series.h)
 *
 *         A file of a forked child is named after its parent's, with its process: heap.pb.gz -> heap.4711.pb.gz.
 * WHY     A publication while the program runs has the thread's time to spare, not the machine's: it compresses at zlib's
 *         fastest level, and above MPROF_PUBLICATION_PACKED bytes not at all. Only the last one is flushed to the disk:
 *         what a killed process has written survives it in the system's memory.
 * LOCKS   none; one thread at a time. No malloc, no Python.
 * MEMORY  an arena a publication. What lasts is in the struct. */
#ifndef MPROF_PUBLISH_PUBLICATION_H
#define MPROF_PUBLISH_PUBLICATION_H

#include "base/arena.h"
#include "publish/file.h"
#include "publish/series.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MPROF_PUBLICATION_COMMENTS = 64 }; /* most comments of the caller */

/* Largest profile, in bytes before compression, that is compressed while the program runs: about 30 ms. */
#define MPROF_PUBLICATION_PACKED ((size_t)4 << 20)

struct mprof_publication {
    char target[MPROF_FILE_PATH]; /* of the process that began */
    char path[MPROF_FILE_PATH];   /* of this process */
    char history[MPROF_FILE_PATH];
    uint64_t history_bytes;
    struct mprof_arena arena;
    const char *comments; /* each ended by a NUL, one after the other */
    size_t comments_size;
    bool pack;
    bool swept;
    long parent; /* 0: not a forked child */
    int64_t start_ns;
    struct mprof_series series;
    uint64_t publications;
    uint64_t failures;
    struct mprof_file_failure failure; /* the last one */
    int said;                          /* the errno that stderr was told last */
    /* Of the last publication. */
    double heap_bytes; /* in use */
    size_t plain_bytes;
    size_t file_bytes;
    int64_t snapshot_ns;
    int64_t encode_ns;
    int64_t pack_ns;
    int64_t write_ns;
};

struct mprof_publication_options {
    const char *target;   /* absolute path */
    bool child;           /* write to the target's name with our process in it */
    const char *comments; /* copied */
    size_t comments_size;
    const char *history; /* absolute path of a directory; NULL: none */
    uint64_t history_bytes;
};

/* 0, or an errno: ENAMETOOLONG, ENOMEM. The calling thread may call malloc. */
int mprof_publication_begin(struct mprof_publication *publication, const struct mprof_publication_options *options);
/* In a forked child: a file of its own. */
void mprof_publication_adopt(struct mprof_publication *publication, long parent);
void mprof_publication_end(struct mprof_publication *publication);

/* 0; 1: the recorder is not recording; -1: failed, see `failure`. */
int mprof_publication_publish(struct mprof_publication *publication, bool final);

/* The target's name with a process in it. False: too long. */
bool mprof_publication_path(const char *target, long pid, char path[MPROF_FILE_PATH]);

#endif
