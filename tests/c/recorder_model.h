/* SPDX-License-Identifier: MIT */
/* recorder_model.h -- the recorder done by brute force, to compare with.
 *
 * WHAT    A plain array of live blocks and one row of sums per stack. At every new maximum of the total all rows are
 *         copied to the peak, which is what the recorder avoids. Which allocations are samples, and which samples were
 *         dropped for want of memory, the model learns by looking into the recorder's table; all figures it works out
 *         for itself.
 * WHY     The recorder's sums are made in the same order with the same doubles, so they must be equal, not near.
 * LOCKS   none: one thread.
 * MEMORY  static. */
#ifndef MPROF_TESTS_RECORDER_MODEL_H
#define MPROF_TESTS_RECORDER_MODEL_H

#include "addresses.h"
#include "fake_source.h"
#include "recorded.h"
#include "tap.h"

#include "core/recorder_private.h"
#include "core/snapshot.h"

enum { MODEL_STACKS = 48, MODEL_BLOCKS = 512, MODEL_NONE = -1 };

struct model_sums {
    double bytes;
    double blocks;
};

struct model {
    double rate;
    uint64_t size[MODEL_BLOCKS];
    int stack[MODEL_BLOCKS]; /* MODEL_NONE: not recorded */
    bool used[MODEL_BLOCKS]; /* allocated, recorded or not */
    struct model_sums inuse[MODEL_STACKS];
    struct model_sums alloc[MODEL_STACKS];
    struct model_sums peak[MODEL_STACKS];
    double total;
    double peak_total;
    uint64_t live;
    uint64_t adds;
    uint64_t recorded;
    uint64_t restore_drops;
};

static struct fake_code model_codes[MODEL_STACKS + 8];

static void model_init(struct model *m, double rate)
{
    memset(m, 0, sizeof *m);
    m->rate = rate;
    for (int i = 0; i < MODEL_BLOCKS; i++)
        m->stack[i] = MODEL_NONE;
    for (uint32_t i = 0; i < MODEL_STACKS + 8; i++)
        model_codes[i] = fake_code(i, i % 5, 10 * i + 1);
}

/* Blocks lie 48 bytes apart, so that neighbours meet in the tables. */
static inline uintptr_t model_address(int block)
{
    return TEST_HEAP + 0x1000 + (uintptr_t)block * 48;
}

/* Stack 0 is empty; stack k ends in the function "f<k>", which no other stack holds. */
static void model_enter(int stack)
{
    fake_depth = 0;
    if (stack == 0)
        return;
    for (int i = 0; i <= stack % 7; i++)
        fake_call(&model_codes[MODEL_STACKS + i], (uint32_t)(2 * (stack % 3)));
    fake_call(&model_codes[stack], (uint32_t)stack);
}

static bool model_in_table(int block)
{
    return is_recorded(model_address(block));
}

static struct model_sums model_weight(const struct model *m, uint64_t size)
{
    double p = m->rate > 1 ? -expm1(-(double)(size ? size : 1) / m->rate) : 1;
    return (struct model_sums){(double)size / p, 1 / p};
}

static void model_count(struct model *m, int stack, uint64_t size, int sign)
{
    struct model_sums weight = model_weight(m, size);
    m->inuse[stack].bytes += sign * weight.bytes;
    m->inuse[stack].blocks += sign * weight.blocks;
    bool any = false;
    for (int i = 0; i < MODEL_BLOCKS && !any; i++)
        any = m->stack[i] == stack;
    if (!any)
        m->inuse[stack] = (struct model_sums){0, 0};
    m->total += sign * weight.bytes;
    if (m->live == 0)
        m->total = 0;
    if (m->total > m->peak_total) {
        m->peak_total = m->total;
        memcpy(m->peak, m->inuse, sizeof m->peak);
    }
}

static void model_insert(struct model *m, int block, uint64_t size, int stack)
{
    m->stack[block] = stack;
    m->size[block] = size;
    m->live++;
    model_count(m, stack, size, 1);
}

static void model_drop(struct model *m, int block)
{
    if (m->stack[block] == MODEL_NONE)
        return;
    int stack = m->stack[block];
    m->stack[block] = MODEL_NONE;
    m->live--;
    model_count(m, stack, m->size[block], -1);
}

static void model_added(struct model *m, int block, uint64_t size, int stack)
{
    m->used[block] = true;
    m->adds++;
    if (!model_in_table(block))
        return;
    m->recorded++;
    model_insert(m, block, size, stack);
    struct model_sums weight = model_weight(m, size);
    m->alloc[stack].bytes += weight.bytes;
    m->alloc[stack].blocks += weight.blocks;
}

static void model_malloc(struct model *m, int block, uint64_t size, int stack)
{
    model_enter(stack);
    fake_malloc(model_address(block), size);
    model_added(m, block, size, stack);
}

static void model_free(struct model *m, int block)
{
    fake_free(model_address(block));
    m->used[block] = false;
    model_drop(m, block);
}

/* to == MODEL_NONE: the base allocator refuses. */
static void model_realloc(struct model *m, int block, int to, uint64_t size, int stack)
{
    model_enter(stack);
    int was = m->stack[block];
    fake_realloc(model_address(block), to == MODEL_NONE ? 0 : model_address(to), size);
    model_drop(m, block);
    if (to != MODEL_NONE) {
        m->used[block] = false;
        model_added(m, to, size, stack);
    } else if (was != MODEL_NONE) {
        if (model_in_table(block))
            model_insert(m, block, m->size[block], was);
        else
            m->restore_drops++;
    }
}

/* One random event. */
static void model_step(struct model *m, struct mprof_rng *rng)
{
    int block = (int)(mprof_rng_next(rng) % MODEL_BLOCKS);
    int stack = (int)(mprof_rng_next(rng) % MODEL_STACKS);
    uint64_t kind = mprof_rng_next(rng) % 100;
    uint64_t size = mprof_rng_next(rng) % 2000;
    if (kind == 0)
        size = UINT64_C(3) << 30; /* more than an entry's own word holds */
    if (!m->used[block]) {
        model_malloc(m, block, size, stack);
    } else if (kind < 60) {
        model_free(m, block);
    } else if (kind < 70) {
        model_realloc(m, block, MODEL_NONE, size, stack);
    } else if (kind < 80) {
        model_realloc(m, block, block, size, stack);
    } else {
        int to = (int)(mprof_rng_next(rng) % MODEL_BLOCKS);
        if (!m->used[to])
            model_realloc(m, block, to, size, stack);
    }
}

static bool model_same(double got, double want, double tolerance)
{
    return fabs(got - want) <= tolerance * (1 + fabs(want)); /* what is left of a sum may be rounding alone */
}

/* Which of the model's stacks a stack of a snapshot is; -1: none of them. */
static int model_stack_of(const struct mprof_snapshot *snapshot, const struct mprof_stack *stack)
{
    if (stack->node == 0)
        return 0;
    const struct mprof_node *node = &mprof_snapshot_nodes(snapshot)[stack->node];
    const struct mprof_function *function = &mprof_snapshot_functions(snapshot)[node->function];
    size_t length;
    const char *name = mprof_snapshot_string(snapshot, function->name, &length);
    int k = 0;
    for (size_t i = 1; i < length; i++)
        k = 10 * k + (name[i] - '0');
    uint32_t frames = k < MODEL_STACKS ? (uint32_t)(k % 7 + 2) : 0;
    bool right = length > 1 && name[0] == 'f' && k < MODEL_STACKS && node->line == (uint32_t)(10 * k + 1 + k / 2) &&
                 function->firstlineno == (uint32_t)(10 * k + 1) && stack->total_frames == frames;
    return right ? k : -1;
}

/* Compares sums in use (recomputed by the snapshot from its blocks, hence the tolerance), allocated and at the peak. */
static bool model_matches_snapshot(const struct model *m, const struct mprof_snapshot *snapshot)
{
    const double rounding = 1e-9;
    bool seen[MODEL_STACKS] = {false};
    uint64_t blocks = mprof_snapshot_block_count(snapshot);
    if (!check(blocks == m->live, "%" PRIu64 " blocks, want %" PRIu64, blocks, m->live))
        return false;
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++) {
        const struct mprof_stack *stack = &mprof_snapshot_stacks(snapshot)[i];
        int k = model_stack_of(snapshot, stack);
        if (!check(k >= 0 && !seen[k], "stack %u is unknown or double (%d)", i, k))
            return false;
        seen[k] = true;
        if (!check(model_same(stack->inuse.bytes, m->inuse[k].bytes, rounding) &&
                       model_same(stack->inuse.blocks, m->inuse[k].blocks, rounding),
                   "stack %d in use: %g, want %g", k, stack->inuse.bytes, m->inuse[k].bytes) ||
            !check(model_same(stack->alloc.bytes, m->alloc[k].bytes, 0) &&
                       model_same(stack->alloc.blocks, m->alloc[k].blocks, 0),
                   "stack %d allocated: %g, want %g", k, stack->alloc.bytes, m->alloc[k].bytes) ||
            !check(model_same(stack->peak.bytes, m->peak[k].bytes, 0) &&
                       model_same(stack->peak.blocks, m->peak[k].blocks, 0),
                   "stack %d at the peak: %g, want %g", k, stack->peak.bytes, m->peak[k].bytes))
            return false;
    }
    for (int k = 0; k < MODEL_STACKS; k++) {
        if (!check(seen[k] || !(m->alloc[k].blocks > 0), "stack %d is missing", k))
            return false;
    }
    for (size_t i = 0; i < blocks; i++) {
        struct mprof_block block;
        mprof_snapshot_block(snapshot, i, &block);
        int at = (int)((block.address - model_address(0)) / 48);
        if (!check(at >= 0 && at < MODEL_BLOCKS && m->stack[at] != MODEL_NONE && m->size[at] == block.size &&
                       model_stack_of(snapshot, &mprof_snapshot_stacks(snapshot)[block.stack]) == m->stack[at],
                   "block at %" PRIx64 " is wrong", block.address))
            return false;
    }
    return true;
}

static bool model_matches_totals(const struct model *m)
{
    struct mprof_recorder_totals totals;
    mprof_recorder_totals(&totals);
    return check(model_same(totals.bytes, m->total, 0), "total %.17g, want %.17g", totals.bytes, m->total) &&
           check(model_same(totals.peak_bytes, m->peak_total, 0), "peak %.17g, want %.17g", totals.peak_bytes,
                 m->peak_total) &&
           check(totals.live == m->live, "%" PRIu64 " live, want %" PRIu64, totals.live, m->live);
}

#endif
