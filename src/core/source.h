/* SPDX-License-Identifier: MIT */
/* source.h -- where call stacks come from: the language runtime as the core sees it.
 *
 * WHAT    Five functions that the owner of the recorder supplies: walk the calling thread's stack, and say what a
 *         code address means.
 * WHY     The core knows no Python; its tests pass a fake runtime.
 * LOCKS   walk and count run in the thread whose stack it is: walk mostly without the recorder's lock. fingerprint, describe
 *         and line run under the recorder's lock, while the code's frame is on the calling thread's stack, so the code is
 *         alive. None of them may allocate, block, or change the runtime's state.
 * MEMORY  none. */
#ifndef MPROF_CORE_SOURCE_H
#define MPROF_CORE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A frame as it is read from the stack: code object and byte offset of its current instruction. `place` and `at` are the
 * runtime's own: the frame's address and where it is, by which it knows the frame again. */
struct mprof_rawframe {
    const void *code;
    uint32_t offset;
    uint32_t node; /* the recorder's: of the stack that ends here */
    const void *place;
    uintptr_t at;
};

enum { MPROF_SLOT_BITS = 8, MPROF_SLOTS = 1 << MPROF_SLOT_BITS };

/* What a thread's walk before has found. */
struct mprof_lastwalk {
    const struct mprof_rawframe *frames; /* outermost first */
    uint32_t count;                      /* 0: nothing, or nothing that may be relied on */
    bool cut;                            /* there were frames beyond the outermost */
    uint16_t slots[MPROF_SLOTS]; /* by mprof_source_slot(place): where in `frames` the place may be. Only a hint */
};

static inline uint32_t mprof_source_slot(const void *place)
{
    return (uint32_t)(((uint64_t)(uintptr_t)place >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - MPROF_SLOT_BITS));
}

struct mprof_walked {
    uint32_t count;   /* frames written */
    uint32_t kept;    /* outermost frames of the walk before that are as they were, and complete the stack */
    const void *more; /* continuation for count; NULL: the walk reached the outermost frame */
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
    /* Frames of the calling thread: at most `max`, those written (innermost first) and those kept together.
     * `attached`: the thread holds what the runtime wants held (for Python: the GIL or an attached thread state). */
    struct mprof_walked (*walk)(bool attached, const struct mprof_lastwalk *last, struct mprof_rawframe *frames,
                                uint32_t max);
    /* Frames from a continuation on, at most `limit`. */
    uint32_t (*count)(const void *more, uint32_t limit);
    /* Changes when the address holds another code object than before (with overwhelming likelihood). */
    uint64_t (*fingerprint)(const void *code);
    void (*describe)(const void *code, struct mprof_description *description);
    /* Line of a byte offset; 0: unknown. */
    uint32_t (*line)(const void *code, uint32_t offset);
};

#endif
