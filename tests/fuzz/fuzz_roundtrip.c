/* SPDX-License-Identifier: MIT */
/* fuzz_roundtrip.c -- a snapshot written as a profile and read again.
 *
 * WHAT    A snapshot made of the input is written and read. What comes back must be what encode.h promises: paths and
 *         description as they were, totals rounded, blocks record by record. What was read, written and read again, is
 *         the same to the last byte.
 * WHY     fuzz_decode.c meets few files that are nearly right; here every input is a whole profile.
 * LOCKS   none.
 * MEMORY  three snapshots and three files. */
#include "fuzz_snapshot.h"
#include "pprof/decode.h"
#include "pprof/encode.h"
#include "pprof/layout.h"
#include "pprof/sizes.h"

#include <math.h>

struct file {
    unsigned char *bytes;
    size_t length;
};

static struct file encode(const struct mprof_snapshot *snapshot, struct mprof_arena *arena)
{
    struct file file;
    fuzz_require(mprof_pprof_encode(snapshot, NULL, arena, &file.bytes, &file.length) == 0, "cannot be written");
    return file;
}

static struct mprof_snapshot *decode(const struct file *file)
{
    struct mprof_snapshot *snapshot;
    struct mprof_decode_error error;
    if (mprof_pprof_decode(file->bytes, file->length, &snapshot, &error) < 0) {
        fprintf(stderr, "%s\n", error.text);
        fuzz_require(false, "what was written cannot be read");
    }
    return snapshot;
}

/* Totals come back rounded, and so do their errors. */
static bool same_total(const struct mprof_figures *wrote, const struct mprof_figures *read)
{
    double bytes_error = round(sqrt(wrote->bytes_var)), blocks_error = round(sqrt(wrote->blocks_var));
    return fuzz_same(read->bytes, round(wrote->bytes)) && fuzz_same(read->blocks, round(wrote->blocks)) &&
           fuzz_same(read->seen, wrote->seen) && fuzz_same(read->samples, wrote->samples) &&
           fuzz_same(read->bytes_var, bytes_error * bytes_error) &&
           fuzz_same(read->blocks_var, blocks_error * blocks_error);
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * (fabs(a) + fabs(b));
}

/* In whole seconds, rounded down to a class of layout.h. */
static uint32_t age_of(const struct mprof_block *block)
{
    uint32_t age = 0;
    for (unsigned i = 0; block->birth_ns != 0 && i < MPROF_AGES; i++)
        if ((FUZZ_TIME - block->birth_ns) / 1000000000 >= mprof_age_bound(i))
            age = mprof_age_bound(i);
    return age;
}

static bool same_record(const struct mprof_block *a, const struct mprof_block *b)
{
    return a->size == b->size && a->domain == b->domain && fuzz_same(a->rate, b->rate) && age_of(a) == age_of(b);
}

/* Samples of a stack's blocks: of all, or of those in the same record. */
static uint64_t samples(const struct mprof_snapshot *snapshot, uint32_t stack, const struct mprof_block *record)
{
    uint64_t sum = 0;
    struct mprof_block block;
    for (size_t i = 0; i < mprof_snapshot_block_count(snapshot); i++) {
        mprof_snapshot_block(snapshot, i, &block);
        if (block.stack == stack && (!record || same_record(&block, record)))
            sum += block.samples;
    }
    return sum;
}

static bool many_exact(const struct mprof_snapshot *snapshot, uint32_t stack)
{
    size_t count = 0;
    struct mprof_block block;
    for (size_t i = 0; i < mprof_snapshot_block_count(snapshot); i++) {
        mprof_snapshot_block(snapshot, i, &block);
        count += block.stack == stack && block.rate <= 1.0;
    }
    return count > MPROF_SIZES_EXACT;
}

static void require_same_blocks(const struct mprof_snapshot *a, uint32_t i, const struct mprof_snapshot *b, uint32_t k)
{
    fuzz_require(samples(a, i, NULL) == samples(b, k, NULL), "samples in use");
    const struct mprof_figures *x = &mprof_snapshot_stacks(a)[i].inuse, *y = &mprof_snapshot_stacks(b)[k].inuse;
    fuzz_require(near(x->bytes, y->bytes) && near(x->blocks, y->blocks), "bytes and blocks in use");
    if (many_exact(a, i))
        return; /* summed up into classes */
    fuzz_require(fuzz_same(x->seen, y->seen) && near(x->bytes_var, y->bytes_var) && near(x->blocks_var, y->blocks_var),
                 "errors of what is in use");
    struct mprof_block block;
    for (size_t n = 0; n < mprof_snapshot_block_count(b); n++) {
        mprof_snapshot_block(b, n, &block);
        if (block.stack == k)
            fuzz_require(samples(a, i, &block) == block.samples, "blocks of one size, age and rate");
    }
}

static void require_same_meta(const struct mprof_snapshot *one, const struct mprof_snapshot *other)
{
    const struct mprof_meta *a = mprof_snapshot_meta(one), *b = mprof_snapshot_meta(other);
    fuzz_require(fuzz_same(a->sample_rate, b->sample_rate) && a->max_frames == b->max_frames && a->drops == b->drops &&
                     a->thinnings == b->thinnings && a->start_ns == b->start_ns && a->time_ns == b->time_ns &&
                     a->peak_ns == b->peak_ns && a->recording == b->recording,
                 "the description");
    uint32_t comments = mprof_snapshot_comment_count(one);
    fuzz_require(mprof_snapshot_comment_count(other) == comments, "number of comments");
    for (uint32_t i = 0; i < comments; i++)
        fuzz_require(same_string(one, mprof_snapshot_comment(one, i), other, mprof_snapshot_comment(other, i)),
                     "a comment");
}

static bool has_anything(const struct mprof_stack *stack)
{
    return mprof_figures_any(&stack->inuse) || mprof_figures_any(&stack->alloc) || mprof_figures_any(&stack->peak);
}

static void require_same(const struct mprof_snapshot *a, const struct mprof_snapshot *b)
{
    require_same_meta(a, b);
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(a); i++) {
        const struct mprof_stack *x = &mprof_snapshot_stacks(a)[i];
        const struct mprof_stack *y = fuzz_stack(b, a, i);
        fuzz_require(y || !has_anything(x), "a stack is lost");
        if (!y)
            continue;
        fuzz_require(x->frames == y->frames && x->total_frames == y->total_frames, "frames of a stack");
        fuzz_require(same_total(&x->alloc, &y->alloc), "what a stack allocated");
        fuzz_require(same_total(&x->peak, &y->peak), "what a stack had at the peak");
        require_same_blocks(a, i, b, (uint32_t)(y - mprof_snapshot_stacks(b)));
    }
    for (uint32_t k = 0; k < mprof_snapshot_stack_count(b); k++)
        fuzz_require(fuzz_stack(a, b, k) != NULL, "a stack from nowhere");
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct fuzz_input input = {data, data + size};
    struct mprof_arena arena;
    mprof_arena_init(&arena, 0);
    struct mprof_snapshot *snapshot = fuzz_snapshot(&input);
    struct file file = encode(snapshot, &arena);
    struct mprof_snapshot *read = decode(&file);
    require_same(snapshot, read);
    struct file second = encode(read, &arena);
    struct mprof_snapshot *again = decode(&second);
    require_same(read, again);
    struct file third = encode(again, &arena);
    fuzz_require(second.length == third.length && memcmp(second.bytes, third.bytes, third.length) == 0,
                 "other bytes when written again");
    mprof_snapshot_decref(again);
    mprof_snapshot_decref(read);
    mprof_snapshot_decref(snapshot);
    mprof_arena_drop(&arena);
    return 0;
}
