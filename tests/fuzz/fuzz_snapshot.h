/* SPDX-License-Identifier: MIT */
/* fuzz_snapshot.h -- snapshots made of an input, and their stacks by path.
 *
 * WHAT    The input is a list of stacks: their frames, what they allocated, what they had at the peak, and their
 *         blocks in use. Names are few, so that stacks share frames and meet again, or come from the input.
 * WHY     What the fuzzers of files and of merging need alike is written once.
 * LOCKS   none.
 * MEMORY  that of the snapshot. */
#ifndef MPROF_FUZZ_SNAPSHOT_H
#define MPROF_FUZZ_SNAPSHOT_H

#include "core/snapshot.h"
#include "fuzz.h"
#include "same_path.h"

#include <string.h>

/* When each of them was taken: a wall clock in nanoseconds. */
#define FUZZ_TIME INT64_C(1700000000000000001)

enum { FUZZ_STACKS = 48, FUZZ_DEPTH = 6, FUZZ_COMMENTS = 3 };

static inline uint32_t fuzz_string(struct mprof_builder *builder, struct fuzz_input *input)
{
    static const char *const names[] = {"f", "<module>", "caf\xc3\xa9", "a.py", ""};
    char own[3];
    uint32_t index;
    uint8_t which = fuzz_byte(input) % 8;
    const char *text = which < 5 ? names[which] : own;
    size_t length = which < 5 ? strlen(text) : which - 4u;
    for (size_t i = 0; which >= 5 && i < length; i++)
        own[i] = (char)(fuzz_byte(input) & 0x7f);
    fuzz_require(mprof_builder_string(builder, text, length, &index) == 0, "no memory for a string");
    return index;
}

static inline uint32_t fuzz_path(struct mprof_builder *builder, struct fuzz_input *input, uint32_t depth)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < depth; i++) {
        struct mprof_function function = {.name = fuzz_string(builder, input), .filename = fuzz_string(builder, input)};
        struct mprof_node node = {.parent = at};
        function.firstlineno = 1 + fuzz_byte(input) % 3u;
        node.line = 1 + (uint32_t)fuzz_number(input, 1 + fuzz_byte(input) % 2u);
        fuzz_require(mprof_builder_function(builder, &function, &node.function) == 0 &&
                         mprof_builder_node(builder, &node, &at) == 0,
                     "no memory for a frame");
    }
    return at;
}

static inline void fuzz_blocks(struct mprof_builder *builder, struct fuzz_input *input, uint32_t stack, double rate)
{
    uint8_t count = fuzz_byte(input);
    bool alike = count & 0x80; /* a run of sizes, which takes few bytes to say */
    uint64_t size = fuzz_number(input, 1 + fuzz_byte(input) % 5u);
    for (uint8_t n = count & 0x3f; n > 0; n--) {
        struct mprof_block block = {.stack = stack, .samples = 1, .rate = rate};
        struct mprof_figures figures = {0};
        if (alike) {
            block.size = size + n;
        } else {
            uint8_t kind = fuzz_byte(input);
            block.size = fuzz_number(input, 1 + kind % 5u);
            block.rate = kind & 8 ? 2.0 * rate : kind & 16 ? 1.0 : rate;
            block.domain = kind & 32 ? 1 + kind % 3u : 0;
            block.birth_ns = kind & 64 ? FUZZ_TIME - (int64_t)fuzz_number(input, 6) : 0;
        }
        mprof_figures_add_samples(&figures, block.size, block.rate, 1);
        block.blocks = figures.blocks;
        block.bytes = figures.bytes;
        fuzz_require(mprof_builder_block(builder, &block) == 0, "no memory for a block");
    }
}

static inline struct mprof_snapshot *fuzz_snapshot(struct fuzz_input *input)
{
    static const double rates[] = {1.0, 1.0, 2.0, 64.0, 4096.0, 524288.0, 0x1p40};
    struct mprof_builder *builder = mprof_builder_new();
    fuzz_require(builder != NULL, "no memory for a builder");
    double rate = rates[fuzz_byte(input) % 7];
    uint32_t stacks = fuzz_byte(input) % FUZZ_STACKS;
    for (uint32_t i = 0; i < stacks && fuzz_more(input); i++) {
        uint32_t depth = fuzz_byte(input) % FUZZ_DEPTH, index;
        struct mprof_stack stack = {.node = fuzz_path(builder, input, depth)};
        uint8_t figures = fuzz_byte(input);
        stack.total_frames = depth + (figures & 1 ? fuzz_byte(input) : 0u);
        if (figures & 2)
            mprof_figures_add_samples(&stack.alloc, fuzz_number(input, 3), rate, fuzz_byte(input));
        if (figures & 4)
            mprof_figures_add_samples(&stack.peak, fuzz_number(input, 3), rate, fuzz_byte(input));
        fuzz_require(mprof_builder_stack(builder, &stack, &index) == 0, "no memory for a stack");
        fuzz_blocks(builder, input, index, rate);
    }
    struct mprof_meta meta = {.sample_rate = rate, .time_ns = FUZZ_TIME};
    uint8_t known = fuzz_byte(input);
    for (uint32_t i = 0; i < known % FUZZ_COMMENTS; i++) {
        char text = (char)('a' + fuzz_byte(input) % 4);
        fuzz_require(mprof_builder_comment(builder, &text, 1) == 0, "no memory for a comment");
    }
    meta.max_frames = fuzz_byte(input);
    meta.thinnings = fuzz_byte(input);
    meta.drops = known & 4 ? fuzz_number(input, 8) : 0;
    meta.recording = known & 8 ? fuzz_number(input, 8) : 0;
    meta.start_ns = known & 16 ? (int64_t)fuzz_number(input, 7) : 0;
    meta.peak_ns = known & 32 ? -(int64_t)fuzz_number(input, 7) : 0;
    struct mprof_snapshot *snapshot = mprof_builder_finish(builder, &meta);
    fuzz_require(snapshot != NULL, "no memory for a snapshot");
    return snapshot;
}

/* ---- comparing ---- */

/* The stack of `in` that has the frames of a stack of `from`; NULL if there is none. */
static inline const struct mprof_stack *fuzz_stack(const struct mprof_snapshot *in, const struct mprof_snapshot *from,
                                                   uint32_t stack)
{
    uint32_t node = mprof_snapshot_stacks(from)[stack].node;
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(in); i++)
        if (same_path(in, mprof_snapshot_stacks(in)[i].node, from, node))
            return &mprof_snapshot_stacks(in)[i];
    return NULL;
}

#endif
