/* SPDX-License-Identifier: MIT */
/* snapshot.c -- see snapshot.h. Reading a snapshot, and the arithmetic of figures. */
#include "core/snapshot.h"

#include "base/compiler.h"
#include "base/os.h"
#include "core/snapshot_private.h"

#include <math.h>

void mprof_snapshot_incref(struct mprof_snapshot *snapshot)
{
    atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
}

void mprof_snapshot_decref(struct mprof_snapshot *snapshot)
{
    if (!snapshot || atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel) != 1)
        return;
    mprof_arena_drop(&snapshot->arena);
    mprof_os_unmap(snapshot, MPROF_OS_PAGE);
}

const struct mprof_meta *mprof_snapshot_meta(const struct mprof_snapshot *snapshot)
{
    return &snapshot->meta;
}

uint32_t mprof_snapshot_string_count(const struct mprof_snapshot *snapshot)
{
    return (uint32_t)snapshot->ends.count;
}

const char *mprof_snapshot_string(const struct mprof_snapshot *snapshot, uint32_t index, size_t *length)
{
    mprof_assert(index < snapshot->ends.count);
    const size_t *ends = snapshot->ends.items;
    size_t start = index ? ends[index - 1] : 0;
    *length = ends[index] - start;
    return *length ? (const char *)snapshot->text.items + start : "";
}

uint32_t mprof_snapshot_function_count(const struct mprof_snapshot *snapshot)
{
    return (uint32_t)snapshot->functions.count;
}

const struct mprof_function *mprof_snapshot_functions(const struct mprof_snapshot *snapshot)
{
    return snapshot->functions.items;
}

uint32_t mprof_snapshot_node_count(const struct mprof_snapshot *snapshot)
{
    return (uint32_t)snapshot->nodes.count;
}

const struct mprof_node *mprof_snapshot_nodes(const struct mprof_snapshot *snapshot)
{
    return snapshot->nodes.items;
}

uint32_t mprof_snapshot_stack_count(const struct mprof_snapshot *snapshot)
{
    return (uint32_t)snapshot->stacks.count;
}

const struct mprof_stack *mprof_snapshot_stacks(const struct mprof_snapshot *snapshot)
{
    return snapshot->stacks.items;
}

size_t mprof_snapshot_block_count(const struct mprof_snapshot *snapshot)
{
    return snapshot->live.count;
}

uint32_t mprof_snapshot_block_stack(const struct mprof_snapshot *snapshot, size_t index)
{
    mprof_assert(index < snapshot->live.count);
    return ((const struct mprof_live *)snapshot->live.items)[index].stack;
}

void mprof_snapshot_block(const struct mprof_snapshot *snapshot, size_t index, struct mprof_block *block)
{
    mprof_assert(index < snapshot->live.count);
    const struct mprof_live *live = (const struct mprof_live *)snapshot->live.items + index;
    if (live->size & MPROF_LIVE_WIDE) {
        uint32_t wide = live->size & ~MPROF_LIVE_WIDE;
        mprof_assert(wide < snapshot->blocks.count);
        *block = ((const struct mprof_block *)snapshot->blocks.items)[wide];
        return;
    }
    int64_t code = (int64_t)(live->key >> MPROF_LIVE_ADDRESS_BITS);
    *block = (struct mprof_block){
        .stack = live->stack,
        .size = live->size,
        .samples = 1,
        .blocks = 1.0,
        .bytes = (double)live->size,
        .rate = 1.0,
        .birth_ns = snapshot->birth_base_ns + (code << snapshot->birth_shift),
        .address = live->key & (((uint64_t)1 << MPROF_LIVE_ADDRESS_BITS) - 1),
    };
}

uint32_t mprof_snapshot_comment_count(const struct mprof_snapshot *snapshot)
{
    return (uint32_t)snapshot->comments.count;
}

uint32_t mprof_snapshot_comment(const struct mprof_snapshot *snapshot, uint32_t index)
{
    mprof_assert(index < snapshot->comments.count);
    return ((const uint32_t *)snapshot->comments.items)[index];
}

size_t mprof_snapshot_memory(const struct mprof_snapshot *snapshot)
{
    return snapshot->arena.mapped + MPROF_OS_PAGE;
}

/* (1-p)/p^2 */
double mprof_figures_unsure(uint64_t size, double rate)
{
    if (!(rate > 1.0))
        return 0;
    double exponent = (size ? (double)size : 1.0) / rate;
    double p = -expm1(-exponent);
    return exp(-exponent) / (p * p);
}

static void add_variance(struct mprof_figures *figures, uint64_t size, double unsure, double samples)
{
    figures->bytes_var += samples * unsure * (double)size * (double)size;
    figures->blocks_var += samples * unsure;
}

void mprof_figures_add_samples(struct mprof_figures *figures, uint64_t size, double rate, uint64_t samples)
{
    double s = (double)size;
    double n = (double)samples;
    double p = 1.0;
    if (rate > 1.0) {
        p = -expm1(-(size ? s : 1.0) / rate);
        add_variance(figures, size, mprof_figures_unsure(size, rate), n);
    }
    figures->bytes += n * s / p;
    figures->blocks += n / p;
    figures->seen += n * s;
    figures->samples += n;
}

void mprof_figures_add_block(struct mprof_figures *figures, const struct mprof_block *block)
{
    mprof_figures_add_unsure(figures, block, mprof_figures_unsure(block->size, block->rate));
}

void mprof_figures_add_unsure(struct mprof_figures *figures, const struct mprof_block *block, double unsure)
{
    double n = (double)block->samples;
    add_variance(figures, block->size, unsure, n);
    figures->bytes += block->bytes;
    figures->blocks += block->blocks;
    figures->seen += n * (double)block->size;
    figures->samples += n;
}

void mprof_figures_add(struct mprof_figures *figures, const struct mprof_figures *other)
{
    figures->bytes += other->bytes;
    figures->blocks += other->blocks;
    figures->bytes_var += other->bytes_var;
    figures->blocks_var += other->blocks_var;
    figures->seen += other->seen;
    figures->samples += other->samples;
}
