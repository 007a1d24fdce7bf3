/* SPDX-License-Identifier: MIT */
/* publisher.h -- the thread that publishes the profile while the program runs.
 *
 * WHAT    One thread a process. It sleeps until the recorder rings for a change (mprof_recorder_arm) and then publishes:
 *
 *             nothing changes    no wake-up at all: a futex without timeout
 *             something changed  when `every` has passed since the last time
 *             the heap grew      at once, when it is `growth` larger than what was published last and within the last
 *                                `every` (a heap that only swings is not published at each swing), and by 1 MiB
 *             the end            once more, at stop
 *
 *         Whatever kills the process finds the last publication complete. A publication that took d is followed
 *         by a rest of 4 d at least (but when the heap has grown), so that the thread takes a fifth of one processor at
 *         most. After a failure it tries again after `every`, then twice as long, up to a minute.
 *
 *         A forked child has no such thread: it is dormant until mprof_publisher_adopt gives it one of its own, with
 *         a file of its own, which is written first after `every`, or when the child's heap has grown. A child that
 *         ends before leaves no file.
 * WHY     A thread that is not Python's needs no GIL: it publishes while an extension computes, while the interpreter
 *         hangs, and costs the program's threads only the copy of the tables.
 *         pause and resume stand around a fork that can be announced, so that the child does not inherit a half-written
 *         file, and so that the thread is not there to be counted: CPython warns of a fork with more than one thread.
 * LOCKS   `lock` protects the state; it is not held while publishing or waiting. It is taken before fork and released or
 *         reset after. The recorder's lock is not taken with it held. Any thread may call; for start, stop and pause
 *         CPython's threads should let go of the GIL, for they wait for the publisher's thread.
 * MEMORY  static; an arena a publication (publication.h). The thread's stack is 256 KiB. */
#ifndef MPROF_PUBLISH_PUBLISHER_H
#define MPROF_PUBLISH_PUBLISHER_H

#include "publish/publication.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mprof_publisher_options {
    struct mprof_publication_options publication;
    int64_t every_ns;
    double growth; /* 0.1: a tenth */
};

enum mprof_publisher_error {
    MPROF_PUBLISHER_ACTIVE = -1,    /* there is one already */
    MPROF_PUBLISHER_NO_THREAD = -2, /* or no memory, or too long a path */
    MPROF_PUBLISHER_FAILED = -3,    /* the first publication failed; the publisher is running and will try again */
};

/* Starts the thread and waits until the first profile is written. The recorder is active. 0, or an enum
 * mprof_publisher_error with *failure filled in (for ACTIVE: not). */
int mprof_publisher_start(const struct mprof_publisher_options *options, struct mprof_file_failure *failure);

/* Publishes a last time and ends the thread. 0; 1: there was none; -1: the profile could not be written, see info; -2:
 * not within the time, the thread is left to itself. */
int mprof_publisher_stop(int64_t timeout_ns);

/* Before a fork: ends the thread, waiting a tenth of a second at most. */
void mprof_publisher_pause(void);
/* After it, in the parent. */
void mprof_publisher_resume(void);
/* After it, in the child. Without a call the child publishes nothing. */
void mprof_publisher_adopt(void);

/* A signal is to end the process, and somebody was asked to see to it who may never come to it: unless
 * mprof_publisher_spare is called within a second, the thread publishes a last time and lets the signal's default
 * action happen. For signal handlers: async-signal-safe. Without a running thread nothing happens. */
void mprof_publisher_doom(int signal);
void mprof_publisher_spare(void);

struct mprof_publisher_info {
    bool running;
    bool complete; /* stopped, with everything in the file */
    bool pack;
    long tid; /* of the thread, for /proc; 0: not running */
    uint64_t publications;
    uint64_t failures;
    struct mprof_file_failure failure; /* the last; error 0: none */
    size_t plain_bytes;                /* of the last publication, before compression */
    size_t file_bytes;
    int64_t snapshot_ns; /* and how long its parts took */
    int64_t encode_ns;
    int64_t pack_ns;
    int64_t write_ns;
    char path[MPROF_FILE_PATH]; /* "" if nothing has been recorded */
};

void mprof_publisher_info(struct mprof_publisher_info *info);

#endif
