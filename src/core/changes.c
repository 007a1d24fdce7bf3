/* SPDX-License-Identifier: MIT */
/* changes.c -- see changes.h. A hash join on the ids of the blocks. */
#include "core/changes.h"

#include "base/rng.h"

#include <stdbool.h>
#include <stddef.h>

static bool has_variance(const struct mprof_snapshot *snapshot)
{
    const struct mprof_stack *stacks = mprof_snapshot_stacks(snapshot);
    uint32_t count = mprof_snapshot_stack_count(snapshot);
    for (uint32_t i = 0; i < count; i++)
        if (stacks[i].inuse.bytes_var > 0 || stacks[i].inuse.blocks_var > 0)
            return true;
    return false;
}

/* The blocks of one snapshot by id; open addressing. */
struct by_id {
    struct id_slot {
        uint64_t id; /* 0: free */
        double rate;
        bool met; /* the other snapshot has it too, at the same rate */
    } * slots;
    size_t mask;
};

static struct id_slot *find(const struct by_id *table, uint64_t id)
{
    size_t at = (size_t)mprof_mix64(id) & table->mask;
    while (table->slots[at].id != 0 && table->slots[at].id != id)
        at = (at + 1) & table->mask;
    return &table->slots[at];
}

static int by_id_make(struct by_id *table, const struct mprof_snapshot *snapshot, struct mprof_arena *arena)
{
    size_t count = mprof_snapshot_block_count(snapshot);
    size_t size = 64;
    while (size < 2 * count)
        size *= 2;
    table->slots = mprof_arena_get(arena, size * sizeof *table->slots);
    if (!table->slots)
        return -1;
    table->mask = size - 1;
    for (size_t i = 0; i < count; i++) {
        struct mprof_block block;
        mprof_snapshot_block(snapshot, i, &block);
        if (block.id == 0)
            continue;
        struct id_slot *slot = find(table, block.id);
        slot->id = block.id;
        slot->rate = block.rate;
    }
    return 0;
}

/* True if the block is in the table at the same rate, which the table remembers. Rates are copied, never computed
 * anew, so equal rates are equal to the last bit. */
static bool meet(const struct by_id *table, const struct mprof_block *block)
{
    if (block->id == 0)
        return false;
    struct id_slot *slot = find(table, block->id);
    if (slot->id == 0 || slot->rate < block->rate || slot->rate > block->rate)
        return false;
    slot->met = true;
    return true;
}

static struct mprof_figures *figures_by_stack(const struct mprof_snapshot *snapshot, struct mprof_arena *arena)
{
    size_t count = mprof_snapshot_stack_count(snapshot);
    return mprof_arena_get(arena, (count ? count : 1) * sizeof(struct mprof_figures));
}

static int all_by_stack(const struct mprof_snapshot *snapshot, struct mprof_arena *arena,
                        struct mprof_figures **by_stack)
{
    if (!(*by_stack = figures_by_stack(snapshot, arena)))
        return -1;
    const struct mprof_stack *stacks = mprof_snapshot_stacks(snapshot);
    uint32_t count = mprof_snapshot_stack_count(snapshot);
    for (uint32_t i = 0; i < count; i++)
        (*by_stack)[i] = stacks[i].inuse;
    return 0;
}

int mprof_changes_by_stack(const struct mprof_snapshot *now, const struct mprof_snapshot *before,
                           struct mprof_arena *arena, struct mprof_figures *by_stack[2])
{
    by_stack[0] = by_stack[1] = NULL;
    bool now_varies = has_variance(now);
    bool before_varies = has_variance(before);
    if (!now_varies && !before_varies)
        return 0;
    uint64_t recording = mprof_snapshot_meta(now)->recording;
    if (recording == 0 || recording != mprof_snapshot_meta(before)->recording) {
        if ((now_varies && all_by_stack(now, arena, &by_stack[0]) < 0) ||
            (before_varies && all_by_stack(before, arena, &by_stack[1]) < 0))
            return -1;
        return 0;
    }
    struct by_id table;
    by_stack[0] = figures_by_stack(now, arena);
    by_stack[1] = figures_by_stack(before, arena);
    if (!by_stack[0] || !by_stack[1] || by_id_make(&table, before, arena) < 0)
        return -1;
    struct mprof_block block;
    size_t count = mprof_snapshot_block_count(now);
    for (size_t i = 0; i < count; i++) {
        mprof_snapshot_block(now, i, &block);
        if (!meet(&table, &block))
            mprof_figures_add_block(&by_stack[0][block.stack], &block);
    }
    count = mprof_snapshot_block_count(before);
    for (size_t i = 0; i < count; i++) {
        mprof_snapshot_block(before, i, &block);
        if (block.id == 0 || !find(&table, block.id)->met)
            mprof_figures_add_block(&by_stack[1][block.stack], &block);
    }
    return 0;
}
