/* SPDX-License-Identifier: MIT */
/* source.h -- where call stacks come from: the language runtime as the core sees it.
 *
 * WHAT    Five functions that the owner of the recorder supplies: walk the calling thread's stack, and say what a
 *         code address means.
 * WHY     The core knows no Python; its tests pass a fake runtime.
 * LOCKS   walk and count run without the recorder's lock, in the thread whose stack it is. fingerprint, describe and
 *         line run under the recorder's lock, while the code's frame is on the calling thread's stack, so the code is
 *         alive. None of them may allocate, block, or change the runtime's state.
 * MEMORY  none. */
#ifndef MPROF_CORE_SOURCE_H
#define MPROF_CORE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A frame as it is read from the stack: code object and byte offset of its current instruction. */
struct mprof_rawframe {
    const void *code;
    uint32_t offset;
};

enum { MPROF_SOURCE_TEXT = 4096 };

/* What a code object says of itself, copied. Longer texts are cut. */
struct mprof_description {
    char name[MPROF_SOURCE_TEXT];
    char filename[MPROF_SOURCE_TEXT];
    size_t name_length;
    size_t filename_length;
    uint32_t firstlineno;
    uint64_t lines_hash; /* of the line table: tells reloaded code from the old */
};

struct mprof_source {
    /* Frames of the calling thread, innermost first, at most `max`. *more is a continuation for count, NULL at the end.
     * `attached`: the thread holds what the runtime wants held (for Python: the GIL or an attached thread state). */
    uint32_t (*walk)(bool attached, struct mprof_rawframe *frames, uint32_t max, const void **more);
    /* Frames from a continuation on, at most `limit`. */
    uint32_t (*count)(const void *more, uint32_t limit);
    /* Changes when the address holds another code object than before (with overwhelming likelihood). */
    uint64_t (*fingerprint)(const void *code);
    void (*describe)(const void *code, struct mprof_description *description);
    /* Line of a byte offset; 0: unknown. */
    uint32_t (*line)(const void *code, uint32_t offset);
};

#endif
