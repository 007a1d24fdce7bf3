/* SPDX-License-Identifier: MIT */
/* fuzz_decode.c -- the decoder of pprof profiles against any input.
 *
 * WHAT    Decodes the input. What is accepted is written and read again, and must then say the same.
 * WHY     A file comes from anywhere. With libFuzzer: -fsanitize=fuzzer,address,undefined. Without it, the definition
 *         MPROF_FUZZ_MAIN makes a program that replays the files named on its command line.
 * LOCKS   none.
 * MEMORY  that of the decoder, which is bounded (decode.h): 512 times the largest input, and 16 MB. */
#include "core/snapshot.h"
#include "pprof/decode.h"
#include "pprof/encode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void require(int condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz_decode: %s\n", what);
    abort();
}

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
    require(bytes <= SIZE_MAX / 2, "strings");
    for (uint32_t i = 0; i < mprof_snapshot_function_count(snapshot); i++) {
        const struct mprof_function *function = &mprof_snapshot_functions(snapshot)[i];
        require(function->name < strings && function->filename < strings, "string of a function");
    }
    for (uint32_t i = 1; i < mprof_snapshot_node_count(snapshot); i++) {
        const struct mprof_node *node = &mprof_snapshot_nodes(snapshot)[i];
        require(node->parent < i, "a parent after its child");
        require(node->function > 0 && node->function < mprof_snapshot_function_count(snapshot), "function of a node");
    }
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++) {
        const struct mprof_stack *stack = &mprof_snapshot_stacks(snapshot)[i];
        require(stack->node < mprof_snapshot_node_count(snapshot), "node of a stack");
        require(stack->total_frames >= stack->frames, "frames of a stack");
        require(isfinite(stack->inuse.bytes) && isfinite(stack->alloc.bytes) && isfinite(stack->peak.bytes), "bytes");
    }
    for (size_t i = 0; i < mprof_snapshot_block_count(snapshot); i++) {
        struct mprof_block block;
        mprof_snapshot_block(snapshot, i, &block);
        require(block.stack < mprof_snapshot_stack_count(snapshot), "stack of a block");
        require(block.samples > 0 && block.rate >= 1.0 && block.blocks >= 0.0 && block.bytes >= 0.0, "block");
    }
    for (uint32_t i = 0; i < mprof_snapshot_comment_count(snapshot); i++)
        require(mprof_snapshot_comment(snapshot, i) < strings, "comment");
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct mprof_snapshot *snapshot, *again;
    struct mprof_decode_error error;
    if (mprof_pprof_decode(data, size, &snapshot, &error) < 0) {
        require(error.text[0] != 0 && strlen(error.text) < sizeof error.text, "no word of what is wrong");
        require(!error.memory, "more memory than decode.h allows");
        return 0;
    }
    walk(snapshot);
    struct mprof_arena arena;
    unsigned char *bytes;
    size_t length;
    mprof_arena_init(&arena, 0);
    require(mprof_pprof_encode(snapshot, NULL, &arena, &bytes, &length) == 0, "cannot be written");
    if (mprof_pprof_decode(bytes, length, &again, &error) < 0) {
        fprintf(stderr, "%s\n", error.text);
        require(0, "what was written cannot be read");
    }
    walk(again);
    /* Values that no number of samples explains are near some, once records of one size are put together: 1.5 each. */
    struct mprof_figures before = total(snapshot), after = total(again);
    double tolerance = 2.0 * (1.0 + (double)mprof_snapshot_block_count(snapshot)) + 1e-6 * before.bytes;
    require(fabs(before.bytes - after.bytes) <= tolerance, "bytes in use differ");
    mprof_snapshot_decref(again);
    mprof_snapshot_decref(snapshot);
    mprof_arena_drop(&arena);
    return 0;
}

#ifdef MPROF_FUZZ_MAIN
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file) {
            perror(argv[i]);
            return 1;
        }
        size_t size = 0, room = 0;
        unsigned char *data = NULL;
        do {
            room = room ? 2 * room : 65536;
            data = realloc(data, room);
            if (!data) {
                perror(argv[i]);
                return 1;
            }
            size += fread(data + size, 1, room - size, file);
        } while (size == room);
        fclose(file);
        LLVMFuzzerTestOneInput(data, size);
        free(data);
        printf("%s: %zu bytes\n", argv[i], size);
    }
    return 0;
}
#endif
