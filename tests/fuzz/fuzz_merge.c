/* SPDX-License-Identifier: MIT */
/* fuzz_merge.c -- two profiles as one, against their sums.
 *
 * WHAT    Two snapshots made of the input are merged, in both orders. Each stack must have the sum of what the two have
 *         of it, each block must be there, and the order must not matter.
 * WHY     Merging gives new numbers to strings, functions, frames and stacks at once: a slip would move bytes from one
 *         stack to another and keep the total.
 * LOCKS   none.
 * MEMORY  four snapshots. */
#include "core/merge.h"
#include "fuzz_snapshot.h"

#include <math.h>

static bool near(const struct mprof_figures *a, const struct mprof_figures *b)
{
    double values[][2] = {{a->bytes, b->bytes},           {a->blocks, b->blocks}, {a->bytes_var, b->bytes_var},
                          {a->blocks_var, b->blocks_var}, {a->seen, b->seen},     {a->samples, b->samples}};
    for (unsigned i = 0; i < sizeof values / sizeof *values; i++)
        if (fabs(values[i][0] - values[i][1]) > 1e-9 * (fabs(values[i][0]) + fabs(values[i][1])))
            return false;
    return true;
}

static struct mprof_snapshot *merge(const struct mprof_snapshot *first, const struct mprof_snapshot *second)
{
    const struct mprof_snapshot *both[] = {first, second};
    struct mprof_snapshot *merged = mprof_merge(both, second ? 2 : 1);
    fuzz_require(merged != NULL, "no memory to merge");
    return merged;
}

static void add(struct mprof_stack *sum, const struct mprof_stack *part)
{
    if (!part)
        return;
    mprof_figures_add(&sum->inuse, &part->inuse);
    mprof_figures_add(&sum->alloc, &part->alloc);
    mprof_figures_add(&sum->peak, &part->peak);
    sum->frames = part->frames;
    sum->total_frames = part->total_frames > sum->total_frames ? part->total_frames : sum->total_frames;
}

static bool same_stack(const struct mprof_stack *a, const struct mprof_stack *b)
{
    return near(&a->inuse, &b->inuse) && near(&a->alloc, &b->alloc) && near(&a->peak, &b->peak) &&
           a->frames == b->frames && a->total_frames == b->total_frames;
}

/* second NULL: merged is of the first alone. */
static void require_sum(const struct mprof_snapshot *merged, const struct mprof_snapshot *first,
                        const struct mprof_snapshot *second)
{
    uint32_t stacks = mprof_snapshot_stack_count(first);
    size_t blocks = mprof_snapshot_block_count(first) + (second ? mprof_snapshot_block_count(second) : 0);
    for (uint32_t i = 0; second && i < mprof_snapshot_stack_count(second); i++)
        stacks += !fuzz_stack(first, second, i);
    fuzz_require(mprof_snapshot_stack_count(merged) == stacks, "number of stacks");
    fuzz_require(mprof_snapshot_block_count(merged) == blocks, "number of blocks");
    for (uint32_t i = 0; i < stacks; i++) {
        struct mprof_stack sum = {0};
        add(&sum, fuzz_stack(first, merged, i));
        if (second)
            add(&sum, fuzz_stack(second, merged, i));
        fuzz_require(same_stack(&sum, &mprof_snapshot_stacks(merged)[i]), "a stack is not the sum of its parts");
    }
}

static void require_meta(const struct mprof_snapshot *merged, const struct mprof_snapshot *first,
                         const struct mprof_snapshot *second)
{
    const struct mprof_meta *m = mprof_snapshot_meta(merged);
    const struct mprof_meta *a = mprof_snapshot_meta(first), *b = mprof_snapshot_meta(second);
    int64_t start = !a->start_ns || (b->start_ns && b->start_ns < a->start_ns) ? b->start_ns : a->start_ns;
    fuzz_require(fuzz_same(m->sample_rate, fmax(a->sample_rate, b->sample_rate)), "the rate");
    fuzz_require(m->max_frames == (a->max_frames > b->max_frames ? a->max_frames : b->max_frames), "frames kept");
    fuzz_require(m->thinnings == (a->thinnings > b->thinnings ? a->thinnings : b->thinnings), "thinnings");
    fuzz_require(m->drops == a->drops + b->drops, "drops");
    fuzz_require(m->start_ns == start && m->time_ns == FUZZ_TIME, "times");
}

static bool has_comment(const struct mprof_snapshot *in, const struct mprof_snapshot *from, uint32_t comment)
{
    for (uint32_t i = 0; i < mprof_snapshot_comment_count(in); i++)
        if (same_string(in, mprof_snapshot_comment(in, i), from, mprof_snapshot_comment(from, comment)))
            return true;
    return false;
}

static void require_comments(const struct mprof_snapshot *merged, const struct mprof_snapshot *first,
                             const struct mprof_snapshot *second)
{
    uint32_t common = 0;
    for (uint32_t i = 0; i < mprof_snapshot_comment_count(first); i++) {
        bool both = has_comment(second, first, i);
        common += both;
        fuzz_require(has_comment(merged, first, i) == both, "a comment that both have, or not");
    }
    fuzz_require(mprof_snapshot_comment_count(merged) == common, "number of comments");
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct fuzz_input input = {data, data + size};
    struct mprof_snapshot *first = fuzz_snapshot(&input);
    struct mprof_snapshot *second = fuzz_snapshot(&input);
    struct mprof_snapshot *merged = merge(first, second);
    struct mprof_snapshot *turned = merge(second, first);
    struct mprof_snapshot *alone = merge(first, NULL);
    require_sum(merged, first, second);
    require_sum(turned, first, second);
    require_sum(alone, first, NULL);
    require_meta(merged, first, second);
    require_meta(turned, first, second);
    require_comments(merged, first, second);
    require_comments(turned, second, first);
    mprof_snapshot_decref(alone);
    mprof_snapshot_decref(turned);
    mprof_snapshot_decref(merged);
    mprof_snapshot_decref(second);
    mprof_snapshot_decref(first);
    return 0;
}
