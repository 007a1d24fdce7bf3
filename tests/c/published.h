/* SPDX-License-Identifier: MIT */
/* published.h -- what the tests of the publisher share: a heap of one fake stack, a directory, and what is in its files.
 *
 * WHAT    begin_in_scratch() makes the directory and enters the stack; start_publisher(), pause_publisher(), info() and
 *         published() are the publisher's; bytes_in() and has_comment() read a profile, which this process wrote without
 *         zlib or with it. The linker brings its looks at the clock, the beginnings of its publications and its fsync()
 *         here (--wrap, tests/meson.build): the clock can be set forward and stopped, and a disk that is slow to sync
 *         does not matter.
 * WHY     Two programs test it. What a machine that is busy does to time is none of the publisher's faults.
 * LOCKS   none; call from one thread, but for the wrapped calls.
 * MEMORY  static. */
#ifndef MPROF_TESTS_PUBLISHED_H
#define MPROF_TESTS_PUBLISHED_H

#include "await.h"
#include "fake_source.h"
#include "sanitizer.h"
#include "scratch.h"
#include "tap.h"

#include "core/snapshot.h"
#include "pprof/decode.h"
#include "publish/publisher.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

static struct fake_code code;
static char directory[256];
static char target[300];

#if MPROF_TESTS_TSAN
/* Forked children of this test start a thread, which the sanitizer forbids unless it is told. */
const char *__tsan_default_options(void);

const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}
#endif

/* ---- the clock and the disk ---- */

static _Atomic int64_t ahead;                /* of the true clock, or of where it was stopped */
static _Atomic int64_t stopped_at;           /* 0: it goes */
static _Thread_local int64_t stopped_for_me; /* where it was stopped for this thread alone; 0: it was not */
static _Thread_local int64_t read_ns;        /* what this thread has read last */
static uint32_t *_Atomic bell;               /* the word that the publisher's thread waits for */
static _Atomic int64_t published_ns; /* when the last publication began, by the clock as the thread has read it */
static _Atomic int64_t apart_ns;     /* and how long after the one before */
static _Atomic unsigned syncs;

int64_t __real_mprof_os_monotonic_ns(void);
int64_t __wrap_mprof_os_monotonic_ns(void);
void __real_mprof_recorder_arm(uint32_t *word, double growth, double least, double floor);
void __wrap_mprof_recorder_arm(uint32_t *word, double growth, double least, double floor);
int __wrap_fsync(int fd);

static int64_t clock_ns(void)
{
    int64_t at = stopped_for_me ? stopped_for_me : atomic_load(&stopped_at);
    read_ns = (at ? at : __real_mprof_os_monotonic_ns()) + atomic_load(&ahead);
    return read_ns;
}

/* A publication looks at the clock and arms the bell anew. */
void __wrap_mprof_recorder_arm(uint32_t *word, double growth, double least, double floor)
{
    if (word) {
        atomic_store(&bell, word);
        atomic_store(&apart_ns, read_ns - atomic_exchange(&published_ns, read_ns));
    }
    __real_mprof_recorder_arm(word, growth, least, floor);
}

int __wrap_fsync(int fd)
{
    atomic_fetch_add(&syncs, 1);
    return fcntl(fd, F_GETFD) < 0 ? -1 : 0;
}

/* The profile at a path, which this process wrote without zlib or with it. NULL: not there, or damaged. */
static struct mprof_snapshot *read_profile(const char *path)
{
    char command[700];
    snprintf(command, sizeof command, "gzip -cdf '%s'", path);
    FILE *stream = access(path, R_OK) == 0 ? popen(command, "re") : NULL;
    if (!stream)
        return NULL;
    size_t room = 64 << 20;
    unsigned char *bytes = malloc(room);
    size_t length = fread(bytes, 1, room, stream);
    struct mprof_snapshot *snapshot = NULL;
    struct mprof_decode_error error;
    if (pclose(stream) != 0 || mprof_pprof_decode(bytes, length, &snapshot, &error) != 0)
        snapshot = NULL;
    free(bytes);
    return snapshot;
}

static double bytes_in(const char *path)
{
    struct mprof_snapshot *snapshot = read_profile(path);
    double sum = snapshot ? 0 : -1;
    for (uint32_t i = 0; snapshot && i < mprof_snapshot_stack_count(snapshot); i++)
        sum += mprof_snapshot_stacks(snapshot)[i].inuse.bytes;
    mprof_snapshot_decref(snapshot);
    return sum;
}

/* Whether a comment of the profile begins so; `text` may be NULL. */
static bool has_comment(const char *path, const char *begin, char text[256])
{
    struct mprof_snapshot *snapshot = read_profile(path);
    bool found = false;
    for (uint32_t i = 0; snapshot && i < mprof_snapshot_comment_count(snapshot) && !found; i++) {
        size_t length;
        const char *comment = mprof_snapshot_string(snapshot, mprof_snapshot_comment(snapshot, i), &length);
        found = length >= strlen(begin) && memcmp(comment, begin, strlen(begin)) == 0;
        if (found && text)
            snprintf(text, 256, "%.*s", (int)length, comment);
    }
    mprof_snapshot_decref(snapshot);
    return found;
}

static void remove_files(void)
{
    char path[600];
    DIR *stream = opendir(directory);
    for (struct dirent *entry; stream && (entry = readdir(stream));) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (strlen(entry->d_name) > 2)
            unlink(path);
    }
    closedir(stream);
}

static int start_with(int64_t every_ns, struct mprof_file_failure *failure)
{
    static const char comments[] = "mprofile: command=a test\0second";
    const struct mprof_publisher_options options = {
        .publication = {.target = target, .comments = comments, .comments_size = sizeof comments},
        .every_ns = every_ns,
        .growth = 0.1,
    };
    return mprof_publisher_start(&options, failure);
}

static int start_publisher(int64_t every_ns)
{
    struct mprof_file_failure failure;
    return start_with(every_ns, &failure);
}

/* However long the thread takes to end. */
static void pause_publisher(void)
{
    stopped_for_me = __real_mprof_os_monotonic_ns();
    mprof_publisher_pause();
    stopped_for_me = 0;
}

static struct mprof_publisher_info info(void)
{
    struct mprof_publisher_info info;
    mprof_publisher_info(&info);
    return info;
}

static bool published(uint64_t publications)
{
    AWAIT(info().publications >= publications);
    return info().publications >= publications;
}

static int wait_for(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void begin_in_scratch(void)
{
    scratch_directory(directory, "publisher");
    snprintf(target, sizeof target, "%s/heap.pb.gz", directory);
    code = fake_code(1, 1, 1);
    fake_call(&code, 2);
}

#endif
