/* SPDX-License-Identifier: MIT */
/* merge.c -- see merge.h. */
#include "core/merge.h"

#include "base/arena.h"

#include <string.h>

/* Numbers in the new snapshot of what one of the old ones has. */
struct renumber {
    const struct mprof_snapshot *from;
    struct mprof_builder *to;
    uint32_t *functions; /* 0: not added yet */
    uint32_t *nodes;
    uint32_t *stacks;
};

static int add_string(const struct renumber *n, uint32_t old, uint32_t *index)
{
    size_t length;
    const char *text = mprof_snapshot_string(n->from, old, &length);
    return mprof_builder_string(n->to, text, length, index);
}

/* Parents come first in the old order, so they have their numbers already. */
static int add_node(struct renumber *n, uint32_t old)
{
    struct mprof_node node = mprof_snapshot_nodes(n->from)[old];
    uint32_t *function = &n->functions[node.function];
    if (*function == 0) {
        struct mprof_function copy = mprof_snapshot_functions(n->from)[node.function];
        if (add_string(n, copy.name, &copy.name) != 0 || add_string(n, copy.filename, &copy.filename) != 0 ||
            mprof_builder_function(n->to, &copy, function) != 0)
            return -1;
    }
    node.function = *function;
    node.parent = n->nodes[node.parent];
    return mprof_builder_node(n->to, &node, &n->nodes[old]);
}

static int add_stack(struct renumber *n, uint32_t old)
{
    struct mprof_stack stack = mprof_snapshot_stacks(n->from)[old];
    stack.node = n->nodes[stack.node];
    return mprof_builder_stack(n->to, &stack, &n->stacks[old]);
}

/* An address and an id name a block within its process only. */
static int add_block(struct renumber *n, size_t old)
{
    struct mprof_block block;
    mprof_snapshot_block(n->from, old, &block);
    block.stack = n->stacks[block.stack];
    block.address = 0;
    block.id = 0;
    return mprof_builder_block(n->to, &block);
}

static int add_all(struct renumber *n)
{
    for (uint32_t i = 1; i < mprof_snapshot_node_count(n->from); i++)
        if (add_node(n, i) != 0)
            return -1;
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(n->from); i++)
        if (add_stack(n, i) != 0)
            return -1;
    for (size_t i = 0; i < mprof_snapshot_block_count(n->from); i++)
        if (add_block(n, i) != 0)
            return -1;
    return 0;
}

static int add_snapshot(struct mprof_builder *to, const struct mprof_snapshot *from)
{
    struct mprof_arena scratch;
    mprof_arena_init(&scratch, 0);
    struct renumber n = {.from = from, .to = to};
    n.functions = mprof_arena_get(&scratch, (mprof_snapshot_function_count(from) + (size_t)1) * sizeof *n.functions);
    n.nodes = mprof_arena_get(&scratch, (mprof_snapshot_node_count(from) + (size_t)1) * sizeof *n.nodes);
    n.stacks = mprof_arena_get(&scratch, (mprof_snapshot_stack_count(from) + (size_t)1) * sizeof *n.stacks);
    int result = n.functions && n.nodes && n.stacks ? add_all(&n) : -1;
    mprof_arena_drop(&scratch);
    return result;
}

/* ---- comments ---- */

static bool has_comment(const struct mprof_snapshot *snapshot, const char *text, size_t length)
{
    for (uint32_t i = 0; i < mprof_snapshot_comment_count(snapshot); i++) {
        size_t other_length;
        const char *other = mprof_snapshot_string(snapshot, mprof_snapshot_comment(snapshot, i), &other_length);
        if (other_length == length && memcmp(other, text, length) == 0)
            return true;
    }
    return false;
}

static int add_comments(struct mprof_builder *to, const struct mprof_snapshot *const *snapshots, size_t count)
{
    for (uint32_t i = 0; i < mprof_snapshot_comment_count(snapshots[0]); i++) {
        size_t length;
        const char *text = mprof_snapshot_string(snapshots[0], mprof_snapshot_comment(snapshots[0], i), &length);
        bool everywhere = true;
        for (size_t k = 1; k < count && everywhere; k++)
            everywhere = has_comment(snapshots[k], text, length);
        if (everywhere && mprof_builder_comment(to, text, length) != 0)
            return -1;
    }
    return 0;
}

/* ---- the whole ---- */

/* The earlier of two times of which either may be unknown. */
static int64_t earlier(int64_t a, int64_t b)
{
    if (a == 0 || b == 0)
        return a ? a : b;
    return a < b ? a : b;
}

static void add_meta(struct mprof_meta *sum, const struct mprof_meta *meta)
{
    sum->sample_rate = meta->sample_rate > sum->sample_rate ? meta->sample_rate : sum->sample_rate;
    sum->max_frames = meta->max_frames > sum->max_frames ? meta->max_frames : sum->max_frames;
    sum->thinnings = meta->thinnings > sum->thinnings ? meta->thinnings : sum->thinnings;
    sum->drops += meta->drops;
    sum->start_ns = earlier(sum->start_ns, meta->start_ns);
    sum->time_ns = meta->time_ns > sum->time_ns ? meta->time_ns : sum->time_ns;
}

struct mprof_snapshot *mprof_merge(const struct mprof_snapshot *const *snapshots, size_t count)
{
    struct mprof_builder *builder = mprof_builder_new();
    if (!builder)
        return NULL;
    struct mprof_meta meta = *mprof_snapshot_meta(snapshots[0]);
    int result = add_comments(builder, snapshots, count);
    for (size_t i = 0; i < count && result == 0; i++) {
        result = add_snapshot(builder, snapshots[i]);
        if (i > 0)
            add_meta(&meta, mprof_snapshot_meta(snapshots[i]));
    }
    if (count > 1)
        meta.peak_ns = 0;
    meta.recording = 0;
    if (result == 0)
        return mprof_builder_finish(builder, &meta);
    mprof_builder_drop(builder);
    return NULL;
}
