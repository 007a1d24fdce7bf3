/* SPDX-License-Identifier: MIT */
/* fuzz_decode.c -- the decoder of pprof profiles against any input.
 *
 * WHAT    Decodes the input. What is accepted is written and read again, and must then say the same.
 * WHY     A file comes from anywhere.
 * LOCKS   none.
 * MEMORY  that of the decoder, which is bounded (decode.h): 512 times the largest input, and 16 MB. */
#include "core/snapshot.h"
#include "fuzz.h"
#include "pprof/decode.h"
#include "pprof/encode.h"

#include <math.h>
#include <string.h>

static struct mprof_figures total(const struct mprof_snapshot *snapshot)
{
    struct mprof_figures sum = {0};
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++)
        mprof_figures_add(&sum, &mprof_snapshot_stacks(snapshot)[i].inuse);
    return sum;
}

/* All indices are in range, all figures are numbers. */
static void walk(const struct mprof_snapshot *snapshot)
{
    uint32_t strings = mprof_snapshot_string_count(snapshot);
    size_t length, bytes = 0;
    for (uint32_t i = 0; i < strings; i++) {
        const char *text = mprof_snapshot_string(snapshot, i, &length);
        bytes += length ? (unsigned char)text[length - 1] : 0;
    }
    fuzz_require(bytes <= SIZE_MAX / 2, "strings");
    for (uint32_t i = 0; i < mprof_snapshot_function_count(snapshot); i++) {
        const struct mprof_function *function = &mprof_snapshot_functions(snapshot)[i];
        fuzz_require(function->name < strings && function->filename < strings, "string of a function");
    }
    for (uint32_t i = 1; i < mprof_snapshot_node_count(snapshot); i++) {
        const struct mprof_node *node = &mprof_snapshot_nodes(snapshot)[i];
        fuzz_require(node->parent < i, "a parent after its child");
        fuzz_require(node->function > 0 && node->function < mprof_snapshot_function_count(snapshot),
                     "function of a node");
    }
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++) {
        const struct mprof_stack *stack = &mprof_snapshot_stacks(snapshot)[i];
        fuzz_require(stack->node < mprof_snapshot_node_count(snapshot), "node of a stack");
        fuzz_require(stack->total_frames >= stack->frames, "frames of a stack");
        fuzz_require(isfinite(stack->inuse.bytes) && isfinite(stack->alloc.bytes) && isfinite(stack->peak.bytes),
                     "bytes");
    }
    for (size_t i = 0; i < mprof_snapshot_block_count(snapshot); i++) {
        struct mprof_block block;
        mprof_snapshot_block(snapshot, i, &block);
        fuzz_require(block.stack < mprof_snapshot_stack_count(snapshot), "stack of a block");
        fuzz_require(block.samples > 0 && block.rate >= 1.0 && block.blocks >= 0.0 && block.bytes >= 0.0, "block");
    }
    for (uint32_t i = 0; i < mprof_snapshot_comment_count(snapshot); i++)
        fuzz_require(mprof_snapshot_comment(snapshot, i) < strings, "comment");
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct mprof_snapshot *snapshot, *again;
    struct mprof_decode_error error;
    if (mprof_pprof_decode(data, size, &snapshot, &error) < 0) {
        fuzz_require(error.text[0] != 0 && strlen(error.text) < sizeof error.text, "no word of what is wrong");
        fuzz_require(!error.memory, "more memory than decode.h allows");
        return 0;
    }
    walk(snapshot);
    struct mprof_arena arena;
    unsigned char *bytes;
    size_t length;
    mprof_arena_init(&arena, 0);
    fuzz_require(mprof_pprof_encode(snapshot, NULL, &arena, &bytes, &length) == 0, "cannot be written");
    if (mprof_pprof_decode(bytes, length, &again, &error) < 0) {
        fprintf(stderr, "%s\n", error.text);
        fuzz_require(0, "what was written cannot be read");
    }
    walk(again);
    /* Values that no number of samples explains are near some, once records of one size are put together: 1.5 each. */
    struct mprof_figures before = total(snapshot), after = total(again);
    double tolerance = 2.0 * (1.0 + (double)mprof_snapshot_block_count(snapshot)) + 1e-6 * before.bytes;
    fuzz_require(fabs(before.bytes - after.bytes) <= tolerance, "bytes in use differ");
    mprof_snapshot_decref(again);
    mprof_snapshot_decref(snapshot);
    mprof_arena_drop(&arena);
    return 0;
}
