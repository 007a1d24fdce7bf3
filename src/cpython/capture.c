/* SPDX-License-Identifier: MIT */
/* capture.c -- see capture.h. */
#include "capture.h"

#include "frames.h"
#include "lines.h"
#include "names.h"

#include "base/compiler.h"
#include "base/hash.h"

#ifndef NDEBUG
/* Whether frames that were written, and those kept, are what a whole walk finds. */
static bool is_whole(PyThreadState *ts, const struct mprof_lastwalk *last, const struct mprof_rawframe *frames,
                     struct mprof_walked walked)
{
    const void *place = mprof_layout_top(ts);
    if (!mprof_layout_sound(ts, place, place))
        return true;
    uint32_t total = walked.count + walked.kept;
    uint32_t met = 0;
    for (; place != NULL && met < total; place = mprof_layout_back(place)) {
        struct mprof_rawframe read;
        if (!mprof_layout_read(place, &read))
            continue;
        const struct mprof_rawframe *told = met < walked.count ? &frames[met] : &last->frames[total - 1 - met];
        if (told->code != read.code || told->offset != read.offset)
            return false;
        met++;
    }
    return met == total && mprof_frames_count(place, 1) == mprof_frames_count(walked.more, 1);
}
#endif

static struct mprof_walked walk(bool attached, const struct mprof_lastwalk *last, struct mprof_rawframe *frames,
                                uint32_t max)
{
    PyThreadState *ts = mprof_frames_thread_state(attached);
    struct mprof_walked walked = {0, 0, NULL};
    if (ts) {
        walked = mprof_frames_walk_on(ts, last, frames, max);
        mprof_assert(is_whole(ts, last, frames, walked));
    }
    return walked;
}

static uint32_t count(const void *more, uint32_t limit)
{
    return mprof_frames_count(more, limit);
}

/* The objects that a code object points to and its numbers: a new code object at an old address has all of them equal
 * only if it was made from the same constants, and then it is the same function. */
static uint64_t fingerprint(const void *address)
{
    const PyCodeObject *code = address;
    size_t size;
    uint64_t hash = (uint64_t)(uintptr_t)mprof_lines_table(code, &size);
    hash = mprof_mix64(hash + (uint64_t)(uintptr_t)mprof_code_filename(code));
    hash = mprof_mix64(hash + (uint64_t)(uintptr_t)mprof_code_name(code));
    hash += (uint64_t)mprof_code_firstlineno(code) << 32 ^ size;
#if MPROF_HAVE_CODE_VERSION
    hash = mprof_mix64(hash) + code->co_version;
#endif
    return mprof_mix64(hash);
}

static size_t copy_name(const PyObject *str, char *text)
{
    size_t length = mprof_names_copy(str, text, MPROF_SOURCE_TEXT);
    return length < MPROF_SOURCE_TEXT ? length : MPROF_SOURCE_TEXT;
}

static void describe(const void *address, struct mprof_description *d)
{
    const PyCodeObject *code = address;
    size_t size;
    const unsigned char *table = mprof_lines_table(code, &size);
    int32_t first = mprof_code_firstlineno(code);
    d->name_length = copy_name(mprof_code_qualname(code), d->name);
    d->filename_length = copy_name(mprof_code_filename(code), d->filename);
    d->firstlineno = first > 0 ? (uint32_t)first : 0;
    d->lines_hash = mprof_hash_bytes(table, size);
}

static uint32_t line(const void *address, uint32_t offset)
{
    int32_t found = mprof_lines_find(address, offset);
    return found > 0 ? (uint32_t)found : 0;
}

const struct mprof_source mprof_capture_source = {
    .walk = walk,
    .count = count,
    .fingerprint = fingerprint,
    .describe = describe,
    .line = line,
};
