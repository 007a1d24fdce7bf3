/* SPDX-License-Identifier: MIT */
/* same_snapshot.h -- whether a snapshot that was written as a pprof profile came back as it must.
 *
 * WHAT    same_snapshot(): meta, comments, and stack by stack paths, totals and blocks. What a file says only roughly,
 *         ages and errors, is compared as it says it.
 * LOCKS   none.
 * MEMORY  on the stack; with more groups than that holds a test ends (bail). */
#ifndef MPROF_TESTS_SAME_SNAPSHOT_H
#define MPROF_TESTS_SAME_SNAPSHOT_H

#include "same_path.h"
#include "tap.h"

#include "core/snapshot.h"
#include "core/snapshot_private.h"

/* When the snapshots were taken. */
#define SNAPSHOT_TIME INT64_C(1700000000000000001)

static bool same(double a, double b)
{
    return !(a < b) && !(a > b);
}

/* Totals come back rounded, errors too. */
static bool same_total(const struct mprof_figures *wrote, const struct mprof_figures *read)
{
    double bytes_error = round(sqrt(wrote->bytes_var)), blocks_error = round(sqrt(wrote->blocks_var));
    return same(read->bytes, round(wrote->bytes)) && same(read->blocks, round(wrote->blocks)) &&
           same(read->seen, wrote->seen) && same(read->samples, wrote->samples) &&
           same(read->bytes_var, bytes_error * bytes_error) && same(read->blocks_var, blocks_error * blocks_error);
}

/* How long ago a block was born, as a file says it: in seconds, rounded down to one of seven. */
static int64_t age_of(const struct mprof_block *block)
{
    static const int64_t bounds[] = {21600, 3600, 600, 60, 10, 1};
    for (unsigned i = 0; block->birth_ns != 0 && i < sizeof bounds / sizeof *bounds; i++)
        if (SNAPSHOT_TIME - block->birth_ns >= bounds[i] * 1000000000)
            return bounds[i];
    return 0;
}

static bool block_before(const struct mprof_block *a, const struct mprof_block *b)
{
    if (a->domain != b->domain)
        return a->domain < b->domain;
    if (age_of(a) != age_of(b))
        return age_of(a) < age_of(b);
    return same(a->rate, b->rate) ? a->size < b->size : a->rate < b->rate;
}

/* The blocks of a stack, one record for each (domain, age, rate, size), in this order. */
static size_t grouped(const struct mprof_snapshot *snapshot, uint32_t stack, struct mprof_block *groups, size_t room)
{
    size_t count = 0;
    for (size_t i = 0; i < mprof_snapshot_block_count(snapshot); i++) {
        struct mprof_block block;
        if (mprof_snapshot_block_stack(snapshot, i) != stack)
            continue;
        mprof_snapshot_block(snapshot, i, &block);
        size_t at = count;
        while (at > 0 && block_before(&block, &groups[at - 1]))
            at--;
        if (at > 0 && !block_before(&groups[at - 1], &block)) {
            groups[at - 1].samples += block.samples;
            groups[at - 1].blocks += block.blocks;
            groups[at - 1].bytes += block.bytes;
            continue;
        }
        if (count == room)
            bail("more groups than this test can hold");
        memmove(&groups[at + 1], &groups[at], (count - at) * sizeof *groups);
        groups[at] = block;
        count++;
    }
    return count;
}

enum { ROOM = 256 };

/* Sampled blocks come back with the estimates that their samples give, to the last bit. */
static bool same_blocks(const struct mprof_snapshot *a, const struct mprof_snapshot *b, uint32_t stack)
{
    struct mprof_block wrote[ROOM], read[ROOM];
    size_t count = grouped(a, stack, wrote, ROOM - 1);
    bool fine = check(grouped(b, stack, read, ROOM - 1) == count, "stack %u: %zu records", stack, count);
    for (size_t i = 0; fine && i < count; i++) {
        struct mprof_figures figures = {0};
        mprof_figures_add_samples(&figures, wrote[i].size, wrote[i].rate, wrote[i].samples);
        fine = check(read[i].size == wrote[i].size && read[i].domain == wrote[i].domain &&
                         same(read[i].rate, wrote[i].rate) && read[i].samples == wrote[i].samples &&
                         read[i].birth_ns == (age_of(&wrote[i]) ? SNAPSHOT_TIME - age_of(&wrote[i]) * 1000000000 : 0) &&
                         same(read[i].blocks, figures.blocks) && same(read[i].bytes, figures.bytes),
                     "stack %u: %" PRIu64 " of size %" PRIu64 " rate %g bytes %.17g; read %" PRIu64 " of size %" PRIu64
                     " rate %g bytes %.17g",
                     stack, wrote[i].samples, wrote[i].size, wrote[i].rate, figures.bytes, read[i].samples,
                     read[i].size, read[i].rate, read[i].bytes);
    }
    return fine;
}

static bool same_meta(const struct mprof_meta *a, const struct mprof_meta *b)
{
    return same(a->sample_rate, b->sample_rate) && a->max_frames == b->max_frames && a->drops == b->drops &&
           a->thinnings == b->thinnings && a->start_ns == b->start_ns && a->time_ns == b->time_ns &&
           a->peak_ns == b->peak_ns && a->recording == b->recording;
}

static bool same_snapshot(const struct mprof_snapshot *a, const struct mprof_snapshot *b, bool blocks)
{
    bool fine = check(same_meta(mprof_snapshot_meta(a), mprof_snapshot_meta(b)), "meta");
    uint32_t stacks = mprof_snapshot_stack_count(a), comments = mprof_snapshot_comment_count(a);
    fine = fine && check(mprof_snapshot_stack_count(b) == stacks, "%u stacks", stacks);
    fine = fine && check(mprof_snapshot_comment_count(b) == comments, "%u comments", comments);
    for (uint32_t i = 0; fine && i < comments; i++)
        fine = check(same_string(a, mprof_snapshot_comment(a, i), b, mprof_snapshot_comment(b, i)), "comment %u", i);
    for (uint32_t i = 0; fine && i < stacks; i++) {
        const struct mprof_stack *x = &mprof_snapshot_stacks(a)[i], *y = &mprof_snapshot_stacks(b)[i];
        fine = check(same_path(a, x->node, b, y->node), "path of stack %u", i) &&
               check(x->frames == y->frames && x->total_frames == y->total_frames, "frames of stack %u", i) &&
               check(same_total(&x->alloc, &y->alloc), "alloc of stack %u", i) &&
               check(same_total(&x->peak, &y->peak), "peak of stack %u", i) && (!blocks || same_blocks(a, b, i));
    }
    return fine;
}

#endif
