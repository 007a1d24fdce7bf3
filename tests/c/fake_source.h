/* SPDX-License-Identifier: MIT */
/* fake_source.h -- a runtime for tests of the recorder: scripted stacks, scripted code, and its allocator hooks.
 *
 * WHAT    A code object is a struct fake_code; its address is its identity, as in a real runtime. Each thread says
 *         which frames it is in:
 *
 *             fake_call(&main_code, 2);        outermost first
 *             fake_call(&parse_code, 6);
 *             fake_malloc(0x1000, 64);         what the hooks do, with an address of the test's choice
 *             fake_return(1);                  back in main
 *
 *         Functions are named "f<id>", in files "m<file>.py"; the line of an offset is first line + offset / 2.
 * WHY     The addresses are numbers only: a test may "allocate" 8 MiB a million times without any memory.
 * LOCKS   none; the frames are thread-local.
 * MEMORY  static. */
#ifndef MPROF_TESTS_FAKE_SOURCE_H
#define MPROF_TESTS_FAKE_SOURCE_H

#include "core/recorder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAKE_DEPTH = 1024 };

struct fake_code {
    _Alignas(64) uint64_t fingerprint;
    uint64_t lines_hash;
    uint32_t id;
    uint32_t file;
    uint32_t firstlineno;
};

static _Thread_local struct mprof_rawframe fake_frames[FAKE_DEPTH]; /* outermost first */
static _Thread_local uint32_t fake_depth;

/* A code object as if freshly made. */
static inline struct fake_code fake_code(uint32_t id, uint32_t file, uint32_t firstlineno)
{
    return (struct fake_code){mprof_mix64(id + 1), mprof_mix64(~(uint64_t)id), id, file, firstlineno};
}

static inline void fake_call(const struct fake_code *code, uint32_t offset)
{
    if (fake_depth == FAKE_DEPTH)
        abort();
    fake_frames[fake_depth++] = (struct mprof_rawframe){.code = code, .offset = offset};
}

static inline void fake_return(uint32_t frames)
{
    fake_depth -= frames;
}

/* Keeps what is equal, as a runtime does that knows its frames again. The continuation is the number of frames left. */
static struct mprof_walked fake_walk(bool attached, const struct mprof_lastwalk *last, struct mprof_rawframe *frames,
                                     uint32_t max)
{
    (void)attached;
    struct mprof_walked walked = {fake_depth < max ? fake_depth : max, 0, NULL};
    while (!last->cut && fake_depth <= max && walked.kept < last->count && walked.count > 0 &&
           last->frames[walked.kept].code == fake_frames[walked.kept].code &&
           last->frames[walked.kept].offset == fake_frames[walked.kept].offset) {
        walked.kept++;
        walked.count--;
    }
    for (uint32_t i = 0; i < walked.count; i++)
        frames[i] = fake_frames[fake_depth - 1 - i];
    if (fake_depth > max)
        walked.more = &fake_frames[fake_depth - max];
    return walked;
}

static uint32_t fake_count(const void *more, uint32_t limit)
{
    uint32_t left = (uint32_t)((const struct mprof_rawframe *)more - fake_frames);
    return left < limit ? left : limit;
}

static uint64_t fake_fingerprint(const void *code)
{
    return ((const struct fake_code *)code)->fingerprint;
}

static void fake_describe(const void *address, struct mprof_description *description)
{
    const struct fake_code *code = address;
    description->name_length = (size_t)snprintf(description->name, MPROF_SOURCE_TEXT, "f%u", code->id);
    description->filename_length = (size_t)snprintf(description->filename, MPROF_SOURCE_TEXT, "m%u.py", code->file);
    description->firstlineno = code->firstlineno;
    description->lines_hash = code->lines_hash;
}

static uint32_t fake_line(const void *code, uint32_t offset)
{
    return ((const struct fake_code *)code)->firstlineno + offset / 2;
}

static const struct mprof_source fake_source = {
    .walk = fake_walk,
    .count = fake_count,
    .fingerprint = fake_fingerprint,
    .describe = fake_describe,
    .line = fake_line,
};

/* ---- the hooks ---- */

/* As a hook does after the base allocator has answered. */
static inline void fake_malloc(uintptr_t address, uint64_t size)
{
    if (mprof_recorder_is_exact() || !mprof_sampler_pass_any(size))
        mprof_recorder_add(true, address, size);
}

/* As a hook does before the base allocator is told. */
static inline void fake_free(uintptr_t address)
{
    if (mprof_recorder_watched(address))
        mprof_recorder_remove(address);
}

/* realloc; `moved` is what the base allocator gives, 0 if it refuses. */
static inline void fake_realloc(uintptr_t old, uintptr_t moved, uint64_t size)
{
    struct mprof_taken taken = {.found = false};
    if (mprof_recorder_watched(old))
        mprof_recorder_take(old, &taken);
    if (moved) {
        mprof_recorder_settle(&taken);
        fake_malloc(moved, size);
    } else {
        mprof_recorder_restore(&taken);
    }
}

static inline int fake_start(double rate, uint32_t max_frames, uint64_t seed, uint64_t max_live)
{
    struct mprof_recorder_options options = {
        .sample_rate = rate,
        .max_frames = max_frames,
        .seeded = true,
        .seed = seed,
        .max_live = max_live,
        .source = &fake_source,
    };
    return mprof_recorder_start(&options);
}

#endif
