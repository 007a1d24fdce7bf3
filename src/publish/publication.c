/* SPDX-License-Identifier: MIT */
/* publication.c -- see publication.h. */
#define _GNU_SOURCE
#include "publish/publication.h"

#include "base/os.h"
#include "core/recorder.h"
#include "core/snapshot.h"
#include "pprof/encode.h"
#include "pprof/layout.h"
#include "publish/gzip.h"
#include "publish/history.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OWN_COMMENTS = 8, LINE = 128, LEVEL_RUNNING = 1, LEVEL_FINAL = 6 };
enum { MESSAGE = MPROF_FILE_PATH + 256 };

/* ---- names ---- */

/* Where the suffix of a file's name begins: a known one, else the last dot's. */
static size_t suffix_at(const char *path)
{
    static const char *const known[] = {".pb.gz", ".pprof.gz", ".pb", ".pprof", ".gz"};
    size_t length = strlen(path);
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t suffix = strlen(known[i]);
        if (strlen(base) > suffix && strcmp(path + length - suffix, known[i]) == 0)
            return length - suffix;
    }
    const char *dot = strrchr(base, '.');
    return dot && dot != base ? (size_t)(dot - path) : length;
}

bool mprof_publication_path(const char *target, long pid, char path[MPROF_FILE_PATH])
{
    size_t suffix = suffix_at(target);
    int length = snprintf(path, MPROF_FILE_PATH, "%.*s.%ld%s", (int)suffix, target, pid, target + suffix);
    return length > 0 && length < MPROF_FILE_PATH;
}

static bool same_stem(const char *path, const char *name, size_t length)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    size_t stem = strlen(base) < MPROF_FILE_STEM ? strlen(base) : MPROF_FILE_STEM;
    return length == stem && memcmp(name, base, stem) == 0;
}

/* Whether a temporary file's name is the target's or that of one of its processes'. */
static bool is_ours(const void *context, const char *name, size_t length)
{
    const char *target = context;
    char path[MPROF_FILE_PATH];
    if (same_stem(target, name, length))
        return true;
    const char *slash = strrchr(target, '/');
    size_t stem = suffix_at(target) - (slash ? (size_t)(slash + 1 - target) : 0);
    if (length <= stem + 1 || name[stem] != '.')
        return false;
    int64_t pid = 0;
    for (size_t i = stem + 1; i < length && i < stem + 11 && name[i] >= '0' && name[i] <= '9'; i++)
        pid = pid * 10 + (name[i] - '0');
    return pid <= INT32_MAX && mprof_publication_path(target, (long)pid, path) && same_stem(path, name, length);
}

/* ---- begin and end ---- */

static bool copy_path(char to[MPROF_FILE_PATH], const char *from)
{
    size_t length = strlen(from);
    if (length >= MPROF_FILE_PATH)
        return false;
    memcpy(to, from, length + 1);
    return true;
}

int mprof_publication_begin(struct mprof_publication *p, const struct mprof_publication_options *options)
{
    memset(p, 0, sizeof *p);
    mprof_arena_init(&p->arena, 0);
    if (!copy_path(p->target, options->target) || !copy_path(p->history, options->history ? options->history : ""))
        return ENAMETOOLONG;
    if (options->child ? !mprof_publication_path(p->target, (long)getpid(), p->path) : !copy_path(p->path, p->target))
        return ENAMETOOLONG;
    p->history_bytes = options->history_bytes;
    p->start_ns = mprof_os_monotonic_ns();
    p->pack = mprof_gzip_load();
    if (options->comments_size != 0) {
        char *comments = mprof_arena_get(&p->arena, options->comments_size);
        if (!comments)
            return ENOMEM;
        memcpy(comments, options->comments, options->comments_size);
        p->comments = comments;
        p->comments_size = options->comments_size;
    }
    return 0;
}

void mprof_publication_adopt(struct mprof_publication *p, long parent)
{
    p->parent = parent;
    p->start_ns = mprof_os_monotonic_ns();
    p->series.count = 0;
    p->publications = p->failures = 0;
    p->said = 0;
    p->swept = false;
    if (!mprof_publication_path(p->target, (long)getpid(), p->path))
        p->path[0] = '\0'; /* writing fails and says so; the parent's file is not ours to write */
}

void mprof_publication_end(struct mprof_publication *p)
{
    mprof_arena_drop(&p->arena);
}

/* ---- comments ---- */

struct comments {
    struct mprof_encode_comment items[MPROF_PUBLICATION_COMMENTS + OWN_COMMENTS];
    size_t count;
    char lines[OWN_COMMENTS][LINE];
    unsigned own;
};

static void add_comment(struct comments *comments, const char *text, size_t length)
{
    comments->items[comments->count++] = (struct mprof_encode_comment){text, length};
}

__attribute__((format(printf, 2, 3))) static void add_line(struct comments *comments, const char *format, ...)
{
    char *line = comments->lines[comments->own++];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, LINE, format, arguments);
    va_end(arguments);
    add_comment(comments, line, length < LINE ? (size_t)length : LINE - 1);
}

static void write_comments(const struct mprof_publication *p, bool final, struct comments *comments)
{
    comments->count = comments->own = 0;
    for (size_t at = 0; at < p->comments_size && comments->count < MPROF_PUBLICATION_COMMENTS;) {
        size_t length = strnlen(p->comments + at, p->comments_size - at);
        add_comment(comments, p->comments + at, length);
        at += length + 1;
    }
    int64_t tenths = (mprof_os_monotonic_ns() - p->start_ns) / 100000000;
    add_line(comments, MPROF_COMMENT_PREFIX "pid=%ld", (long)getpid());
    if (p->parent)
        add_line(comments, MPROF_COMMENT_PREFIX "parent=%ld", p->parent);
    add_line(comments, MPROF_COMMENT_PREFIX "duration=%" PRId64 ".%" PRId64 " s", tenths / 10, tenths % 10);
    add_line(comments, MPROF_COMMENT_PREFIX "state=%s", final ? "final" : "running");
    add_line(comments, MPROF_COMMENT_PREFIX "publications=%" PRIu64, p->publications + 1);
    if (p->failures) {
        add_line(comments, MPROF_COMMENT_PREFIX "failures=%" PRIu64, p->failures);
        add_line(comments, MPROF_COMMENT_PREFIX "failure=%s (%s)", mprof_file_reason(p->failure.error),
                 p->failure.call);
    }
}

/* ---- failures ---- */

/* stderr is told each reason once in a row; the next file counts all. */
static void fail(struct mprof_publication *p, const char *path, const char *consequence)
{
    char text[MESSAGE];
    if (p->publications == 0)
        consequence = "";
    p->failures++;
    if (p->said == p->failure.error)
        return;
    p->said = p->failure.error;
    int length = snprintf(text, sizeof text, "mprofile: cannot write %s: %s (%s: error %d)%s\n", path,
                          mprof_file_reason(p->failure.error), p->failure.call, p->failure.error, consequence);
    if (length > 0) {
        size_t size = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
        ssize_t written = write(STDERR_FILENO, text, size);
        (void)written; /* there is nobody else to tell */
    }
}

static int fail_memory(struct mprof_publication *p)
{
    p->failure = (struct mprof_file_failure){ENOMEM, "mmap"};
    fail(p, p->path, "; its last complete content stays");
    return -1;
}

/* ---- one publication ---- */

struct bytes {
    unsigned char *start;
    size_t length;
};

static int encode(struct mprof_publication *p, const struct mprof_snapshot *snapshot, bool final,
                  struct mprof_arena *arena, struct bytes *plain)
{
    struct comments *comments = mprof_arena_get(arena, sizeof *comments);
    char *history = mprof_arena_get(arena, MPROF_SERIES_TEXT);
    if (!comments || !history)
        return -1;
    write_comments(p, final, comments);
    add_comment(comments, history, mprof_series_write(&p->series, history));
    const struct mprof_encode_options options = {.comments = comments->items, .comment_count = comments->count};
    return mprof_pprof_encode(snapshot, &options, arena, &plain->start, &plain->length);
}

static int write_files(struct mprof_publication *p, const struct bytes *file, bool final, int64_t time_ms,
                       struct mprof_arena *arena)
{
    if (mprof_file_write(p->path, file->start, file->length, final, &p->failure) != 0) {
        fail(p, p->path, "; its last complete content stays");
        return -1;
    }
    p->publications++;
    if (!p->swept) {
        char directory[MPROF_FILE_PATH];
        const char *slash = strrchr(p->target, '/');
        (void)snprintf(directory, sizeof directory, "%.*s/.", slash ? (int)(slash - p->target) : 0, p->target);
        mprof_file_sweep(directory, is_ours, p->target);
        if (p->history[0])
            mprof_history_sweep(p->history);
        p->swept = true;
    }
    if (p->history[0] &&
        mprof_history_add(p->history, p->history_bytes, time_ms, file->start, file->length, arena, &p->failure) != 0)
        fail(p, p->history, "; this moment is missing in the history");
    return 0;
}

int mprof_publication_publish(struct mprof_publication *p, bool final)
{
    struct mprof_recorder_totals totals;
    int64_t begin = mprof_os_monotonic_ns();
    struct mprof_snapshot *snapshot = mprof_recorder_snapshot_unmerged();
    if (!snapshot)
        return errno ? fail_memory(p) : 1;
    mprof_recorder_totals(&totals);
    p->heap_bytes = totals.bytes;
    int64_t time_ms = mprof_snapshot_meta(snapshot)->time_ns / 1000000;
    const struct mprof_point point = {time_ms, totals.bytes > 0 ? (uint64_t)totals.bytes : 0, mprof_os_resident()};
    mprof_series_add(&p->series, &point);

    struct mprof_arena arena;
    struct bytes file = {NULL, 0};
    mprof_arena_init(&arena, 0);
    arena.huge = true;
    int64_t taken = mprof_os_monotonic_ns();
    int result = encode(p, snapshot, final, &arena, &file);
    mprof_snapshot_decref(snapshot);
    int64_t encoded = mprof_os_monotonic_ns();
    p->plain_bytes = file.length;
    if (result == 0 && p->pack && (final || file.length <= MPROF_PUBLICATION_PACKED))
        (void)mprof_gzip(file.start, file.length, final ? LEVEL_FINAL : LEVEL_RUNNING, &arena, &file.start,
                         &file.length); /* no memory for it: as it is, then */
    int64_t packed = mprof_os_monotonic_ns();
    if (result == 0)
        result = write_files(p, &file, final, time_ms, &arena);
    else
        result = fail_memory(p);
    mprof_arena_drop(&arena);
    p->file_bytes = file.length;
    p->snapshot_ns = taken - begin;
    p->encode_ns = encoded - taken;
    p->pack_ns = packed - encoded;
    p->write_ns = mprof_os_monotonic_ns() - packed;
    return result;
}
