/* SPDX-License-Identifier: MIT */
/* selection.c -- see selection.h. First which frames match, from there which stacks, then which blocks. */
#include "core/selection.h"

#include "base/arena.h"
#include "core/snapshot_private.h"

#include <string.h>

/* ---- decisions ---- */

/* One filter, resolved for the stacks of one snapshot. */
struct verdict {
    bool inclusive;
    int64_t domain;
    const uint8_t *stacks; /* not 0: the frames match */
};

static uint8_t frame_matches(const struct mprof_filter *filter, const struct mprof_snapshot *snapshot, uint32_t node)
{
    uint32_t file = mprof_snapshot_string_count(snapshot); /* "<unknown>" */
    uint32_t line = 0;
    if (node) {
        const struct mprof_node *frame = &mprof_snapshot_nodes(snapshot)[node];
        file = mprof_snapshot_functions(snapshot)[frame->function].filename;
        line = frame->line;
    }
    return (!filter->files || filter->files[file]) && (filter->line == MPROF_ANY || filter->line == (int64_t)line);
}

/* Which stacks a filter matches. NULL without memory. */
static uint8_t *match_stacks(const struct mprof_filter *filter, const struct mprof_snapshot *snapshot,
                             struct mprof_arena *arena)
{
    const struct mprof_stack *stacks = mprof_snapshot_stacks(snapshot);
    const struct mprof_node *nodes = mprof_snapshot_nodes(snapshot);
    uint32_t stack_count = mprof_snapshot_stack_count(snapshot);
    uint32_t node_count = mprof_snapshot_node_count(snapshot);
    uint8_t *matches = mprof_arena_array(arena, stack_count, 1);
    if (!matches)
        return NULL;
    if (!filter->all_frames) {
        for (uint32_t i = 0; i < stack_count; i++)
            matches[i] = frame_matches(filter, snapshot, stacks[i].node);
        return matches;
    }
    uint8_t *below = mprof_arena_array(arena, node_count, 1); /* the node or an ancestor matches */
    if (!below)
        return NULL;
    for (uint32_t i = 1; i < node_count; i++)
        below[i] = below[nodes[i].parent] || frame_matches(filter, snapshot, i);
    below[0] = frame_matches(filter, snapshot, 0); /* last: node 0 is the parent of all, but no frame of theirs */
    for (uint32_t i = 0; i < stack_count; i++)
        matches[i] = below[stacks[i].node];
    return matches;
}

static bool passes(const struct verdict *verdicts, size_t count, uint32_t stack, uint32_t domain)
{
    bool included = false;
    bool must_be = false;
    for (size_t i = 0; i < count; i++) {
        const struct verdict *verdict = &verdicts[i];
        bool match = verdict->stacks[stack] && (verdict->domain == MPROF_ANY || verdict->domain == (int64_t)domain);
        if (!verdict->inclusive && match)
            return false;
        must_be |= verdict->inclusive;
        included |= verdict->inclusive && match;
    }
    return included || !must_be;
}

/* ---- the copy ---- */

struct copy {
    const struct mprof_snapshot *from;
    struct mprof_builder *to;
    uint32_t *strings; /* new index of each old one; 0: not copied yet (string, function and node 0 are 0 in both) */
    uint32_t *functions;
    uint32_t *nodes;
    uint32_t *stacks; /* 1 + new index; 0: not kept */
};

static int copy_string(struct copy *copy, uint32_t string, uint32_t *index)
{
    if (copy->strings[string] == 0) {
        size_t length;
        const char *text = mprof_snapshot_string(copy->from, string, &length);
        if (mprof_builder_string(copy->to, text, length, &copy->strings[string]) < 0)
            return -1;
    }
    *index = copy->strings[string];
    return 0;
}

static int copy_function(struct copy *copy, uint32_t index)
{
    struct mprof_function function = mprof_snapshot_functions(copy->from)[index];
    if (copy_string(copy, function.name, &function.name) < 0 ||
        copy_string(copy, function.filename, &function.filename) < 0)
        return -1;
    return mprof_builder_function(copy->to, &function, &copy->functions[index]);
}

/* Marks the path of every kept stack, then copies the marked nodes in order, parents first. */
static int copy_nodes(struct copy *copy, const uint8_t *keep, uint8_t *wanted)
{
    const struct mprof_stack *stacks = mprof_snapshot_stacks(copy->from);
    const struct mprof_node *nodes = mprof_snapshot_nodes(copy->from);
    uint32_t stack_count = mprof_snapshot_stack_count(copy->from);
    uint32_t node_count = mprof_snapshot_node_count(copy->from);
    for (uint32_t i = 0; i < stack_count; i++)
        for (uint32_t node = keep[i] ? stacks[i].node : 0; node && !wanted[node]; node = nodes[node].parent)
            wanted[node] = 1;
    for (uint32_t i = 1; i < node_count; i++) {
        if (!wanted[i])
            continue;
        struct mprof_node node = nodes[i];
        if (copy->functions[node.function] == 0 && copy_function(copy, node.function) < 0)
            return -1;
        node.function = copy->functions[node.function];
        node.parent = copy->nodes[node.parent];
        if (mprof_builder_node(copy->to, &node, &copy->nodes[i]) < 0)
            return -1;
    }
    return 0;
}

static int copy_stacks(struct copy *copy, const uint8_t *keep)
{
    const struct mprof_stack *stacks = mprof_snapshot_stacks(copy->from);
    uint32_t count = mprof_snapshot_stack_count(copy->from);
    for (uint32_t i = 0; i < count; i++) {
        if (!keep[i])
            continue;
        struct mprof_stack stack = stacks[i];
        stack.node = copy->nodes[stack.node];
        if (mprof_builder_stack(copy->to, &stack, &copy->stacks[i]) < 0)
            return -1;
        copy->stacks[i]++;
    }
    return 0;
}

static int copy_comments(struct copy *copy)
{
    uint32_t count = mprof_snapshot_comment_count(copy->from);
    for (uint32_t i = 0; i < count; i++) {
        size_t length;
        const char *text = mprof_snapshot_string(copy->from, mprof_snapshot_comment(copy->from, i), &length);
        if (mprof_builder_comment(copy->to, text, length) < 0)
            return -1;
    }
    return 0;
}

/* Live entries are copied as they are: unpacking 10^6 of them into records and packing them again takes as long as
 * everything else together. */
static int copy_block(struct copy *copy, size_t index)
{
    struct mprof_live live = ((const struct mprof_live *)copy->from->live.items)[index];
    uint32_t stack = copy->stacks[live.stack] - 1;
    if (live.size & MPROF_LIVE_WIDE) {
        struct mprof_block block;
        mprof_snapshot_block(copy->from, index, &block);
        block.stack = stack;
        return mprof_builder_block(copy->to, &block);
    }
    struct mprof_live *entry;
    if (mprof_builder_reserve_live(copy->to, 1, &entry) < 0)
        return -1;
    live.stack = stack;
    *entry = live;
    return 0;
}

/* Everything of the kept stacks but their blocks. */
static int copy_begin(struct copy *copy, const struct mprof_snapshot *snapshot, struct mprof_arena *arena,
                      const uint8_t *keep_stacks)
{
    uint32_t node_count = mprof_snapshot_node_count(snapshot);
    copy->from = snapshot;
    copy->to = mprof_builder_new();
    copy->strings = mprof_arena_array(arena, mprof_snapshot_string_count(snapshot), sizeof(uint32_t));
    copy->functions = mprof_arena_array(arena, mprof_snapshot_function_count(snapshot), sizeof(uint32_t));
    copy->nodes = mprof_arena_array(arena, node_count, sizeof(uint32_t));
    copy->stacks = mprof_arena_array(arena, mprof_snapshot_stack_count(snapshot), sizeof(uint32_t));
    uint8_t *wanted = mprof_arena_array(arena, node_count, 1);
    if (!copy->to || !copy->strings || !copy->functions || !copy->nodes || !copy->stacks || !wanted)
        return -1;
    mprof_builder_set_births(copy->to, snapshot->birth_base_ns, snapshot->birth_shift);
    if (copy_nodes(copy, keep_stacks, wanted) < 0 || copy_stacks(copy, keep_stacks) < 0)
        return -1;
    return copy_comments(copy);
}

static struct mprof_snapshot *copy_end(struct copy *copy, struct mprof_arena *arena, int status)
{
    struct mprof_snapshot *result = NULL;
    if (status == 0)
        result = mprof_builder_finish(copy->to, mprof_snapshot_meta(copy->from));
    else
        mprof_builder_drop(copy->to);
    mprof_arena_drop(arena);
    return result;
}

struct mprof_snapshot *mprof_select(const struct mprof_snapshot *snapshot, const struct mprof_filter *filters,
                                    size_t count)
{
    struct mprof_arena arena;
    struct copy copy = {.from = snapshot};
    mprof_arena_init(&arena, 0);
    uint32_t stack_count = mprof_snapshot_stack_count(snapshot);
    struct verdict *verdicts = mprof_arena_array(&arena, count, sizeof *verdicts);
    uint8_t *keep = mprof_arena_array(&arena, stack_count, 1); /* a block of domain 0, or if `some`, of any domain */
    uint8_t *some = mprof_arena_array(&arena, stack_count, 1);
    if (!verdicts || !keep || !some)
        return copy_end(&copy, &arena, -1);
    bool by_domain = false;
    for (size_t i = 0; i < count; i++) {
        verdicts[i] = (struct verdict){filters[i].inclusive, filters[i].domain, NULL};
        verdicts[i].stacks = match_stacks(&filters[i], snapshot, &arena);
        if (!verdicts[i].stacks)
            return copy_end(&copy, &arena, -1);
        by_domain |= filters[i].domain != MPROF_ANY;
    }
    for (uint32_t i = 0; i < stack_count; i++)
        some[i] = keep[i] = passes(verdicts, count, i, 0);
    size_t block_count = mprof_snapshot_block_count(snapshot);
    struct mprof_block block;
    for (size_t i = 0; by_domain && i < block_count; i++) {
        mprof_snapshot_block(snapshot, i, &block);
        some[block.stack] |= passes(verdicts, count, block.stack, block.domain);
    }
    if (copy_begin(&copy, snapshot, &arena, some) < 0)
        return copy_end(&copy, &arena, -1);
    for (size_t i = 0; i < block_count; i++) {
        uint32_t stack = mprof_snapshot_block_stack(snapshot, i);
        if (!some[stack])
            continue;
        if (by_domain) {
            mprof_snapshot_block(snapshot, i, &block);
            if (!passes(verdicts, count, stack, block.domain))
                continue;
        }
        if (copy_block(&copy, i) < 0)
            return copy_end(&copy, &arena, -1);
    }
    return copy_end(&copy, &arena, 0);
}

struct mprof_snapshot *mprof_select_blocks(const struct mprof_snapshot *snapshot, const uint8_t *keep)
{
    struct mprof_arena arena;
    struct copy copy = {.from = snapshot};
    mprof_arena_init(&arena, 0);
    uint8_t *stacks = mprof_arena_array(&arena, mprof_snapshot_stack_count(snapshot), 1);
    if (!stacks)
        return copy_end(&copy, &arena, -1);
    size_t count = mprof_snapshot_block_count(snapshot);
    for (size_t i = 0; i < count; i++)
        if (keep[i])
            stacks[mprof_snapshot_block_stack(snapshot, i)] = 1;
    if (copy_begin(&copy, snapshot, &arena, stacks) < 0)
        return copy_end(&copy, &arena, -1);
    for (size_t i = 0; i < count; i++)
        if (keep[i] && copy_block(&copy, i) < 0)
            return copy_end(&copy, &arena, -1);
    return copy_end(&copy, &arena, 0);
}

struct mprof_snapshot *mprof_select_all(const struct mprof_snapshot *snapshot, const struct mprof_comment *comments,
                                        size_t count)
{
    struct mprof_arena arena;
    struct copy copy = {.from = snapshot};
    mprof_arena_init(&arena, 0);
    uint32_t stack_count = mprof_snapshot_stack_count(snapshot);
    uint8_t *stacks = mprof_arena_array(&arena, stack_count, 1);
    if (!stacks)
        return copy_end(&copy, &arena, -1);
    memset(stacks, 1, stack_count);
    if (copy_begin(&copy, snapshot, &arena, stacks) < 0)
        return copy_end(&copy, &arena, -1);
    for (size_t i = 0; i < count; i++)
        if (mprof_builder_comment(copy.to, comments[i].text, comments[i].length) < 0)
            return copy_end(&copy, &arena, -1);
    size_t block_count = mprof_snapshot_block_count(snapshot);
    for (size_t i = 0; i < block_count; i++)
        if (copy_block(&copy, i) < 0)
            return copy_end(&copy, &arena, -1);
    return copy_end(&copy, &arena, 0);
}
