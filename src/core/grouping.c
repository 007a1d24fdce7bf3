/* SPDX-License-Identifier: MIT */
/* grouping.c -- see grouping.h. Sums are made in one array of figures by path; groups are the paths that got any. */
#include "core/grouping.h"

#include "core/changes.h"
#include "core/order.h"

#include <math.h>
#include <string.h>

/* How often a stack counts for a frame of it. */
enum counting {
    FLAT, /* for its innermost frame, or for the stack as a whole */
    EACH, /* for each occurrence on the stack */
    ONCE, /* once, however often it recurs */
};

/* One figure of every stack: &stacks[i].inuse, .alloc, .peak, or an array beside the stacks. */
struct column {
    const struct mprof_figures *first;
    size_t stride; /* in bytes */
};

static const struct mprof_figures *column_at(struct column column, uint32_t stack)
{
    return (const struct mprof_figures *)(const void *)((const char *)column.first + stack * column.stride);
}

static struct column column_of(const struct mprof_snapshot *snapshot, enum mprof_measure measure)
{
    static const struct mprof_figures nothing;
    const struct mprof_stack *stacks = mprof_snapshot_stacks(snapshot);
    if (mprof_snapshot_stack_count(snapshot) == 0)
        return (struct column){&nothing, 0};
    return (struct column){mprof_stack_figures(stacks, measure), sizeof *stacks};
}

/* ---- the walk ---- */

/* The tree of a snapshot with its children, and room for a walk. */
struct tree {
    const struct mprof_snapshot *snapshot;
    const uint32_t *path_of_node;
    uint32_t *child;            /* first child of each node */
    uint32_t *sibling;          /* next child of the same parent */
    uint32_t *stack;            /* 1 + its stack; 0: none */
    uint32_t *open;             /* by path: how often it is on the way from the root to here */
    struct mprof_figures *sums; /* by depth: of the subtree seen so far */
};

/* path_of_node: numbers below path_count. */
static int tree_make(struct tree *tree, struct mprof_arena *arena, const struct mprof_snapshot *snapshot,
                     const uint32_t *path_of_node, uint32_t path_count)
{
    const struct mprof_node *nodes = mprof_snapshot_nodes(snapshot);
    uint32_t count = mprof_snapshot_node_count(snapshot);
    tree->snapshot = snapshot;
    tree->path_of_node = path_of_node;
    tree->child = mprof_arena_array(arena, count, sizeof(uint32_t));
    tree->sibling = mprof_arena_array(arena, count, sizeof(uint32_t));
    tree->stack = mprof_arena_array(arena, count, sizeof(uint32_t));
    tree->open = mprof_arena_array(arena, path_count, sizeof(uint32_t));
    uint32_t *depth = mprof_arena_array(arena, count, sizeof(uint32_t));
    if (!tree->child || !tree->sibling || !tree->stack || !tree->open || !depth)
        return -1;
    uint32_t deepest = 0;
    for (uint32_t i = 1; i < count; i++) {
        depth[i] = depth[nodes[i].parent] + 1;
        if (depth[i] > deepest)
            deepest = depth[i];
    }
    for (uint32_t i = count - 1; i > 0; i--) { /* backwards: children in the order of their numbers */
        tree->sibling[i] = tree->child[nodes[i].parent];
        tree->child[nodes[i].parent] = i;
    }
    const struct mprof_stack *stacks = mprof_snapshot_stacks(snapshot);
    uint32_t stack_count = mprof_snapshot_stack_count(snapshot);
    for (uint32_t i = 0; i < stack_count; i++)
        tree->stack[stacks[i].node] = i + 1;
    tree->sums = mprof_arena_array(arena, (size_t)deepest + 1, sizeof *tree->sums);
    return tree->sums ? 0 : -1;
}

/* Adds a subtree whose root has `outer` ancestors of the same key. */
static void add_subtree(struct mprof_figures *sum, const struct mprof_figures *subtree, enum counting counting,
                        uint32_t outer)
{
    if (outer == 0) {
        mprof_figures_add(sum, subtree);
        return;
    }
    if (counting == ONCE)
        return;
    double squares = 2.0 * outer + 1.0;
    sum->bytes += subtree->bytes;
    sum->blocks += subtree->blocks;
    sum->seen += subtree->seen;
    sum->bytes_var += squares * subtree->bytes_var;
    sum->blocks_var += squares * subtree->blocks_var;
}

static void add_flat(const struct tree *tree, struct column column, struct mprof_figures *by_path)
{
    const struct mprof_stack *stacks = mprof_snapshot_stacks(tree->snapshot);
    uint32_t count = mprof_snapshot_stack_count(tree->snapshot);
    for (uint32_t i = 0; i < count; i++)
        mprof_figures_add(&by_path[tree->path_of_node[stacks[i].node]], column_at(column, i));
}

static void add_cumulative(struct tree *tree, struct column column, enum counting counting,
                           struct mprof_figures *by_path)
{
    const struct mprof_node *nodes = mprof_snapshot_nodes(tree->snapshot);
    struct mprof_figures *sums = tree->sums;
    if (tree->stack[0]) /* no Python frame: it is under no other node and nothing is under it */
        mprof_figures_add(&by_path[tree->path_of_node[0]], column_at(column, tree->stack[0] - 1));
    uint32_t node = tree->child[0];
    size_t depth = 0;
    while (node) {
        depth++;
        sums[depth] = tree->stack[node] ? *column_at(column, tree->stack[node] - 1) : (struct mprof_figures){0};
        tree->open[tree->path_of_node[node]]++;
        if (tree->child[node]) {
            node = tree->child[node];
            continue;
        }
        /* Leave this node, and every ancestor whose last child this was. */
        for (;;) {
            uint32_t path = tree->path_of_node[node];
            uint32_t outer = --tree->open[path];
            add_subtree(&by_path[path], &sums[depth], counting, outer);
            mprof_figures_add(&sums[depth - 1], &sums[depth]);
            depth--;
            if (tree->sibling[node]) {
                node = tree->sibling[node];
                break;
            }
            node = nodes[node].parent;
            if (node == 0)
                return;
        }
    }
}

static void add(struct tree *tree, struct column column, enum counting counting, struct mprof_figures *by_path)
{
    if (mprof_snapshot_stack_count(tree->snapshot) == 0)
        return;
    if (counting == FLAT)
        add_flat(tree, column, by_path);
    else
        add_cumulative(tree, column, counting, by_path);
}

/* Sorts `count` items of `size` bytes into a new array. NULL without memory. */
static void *sorted(struct mprof_arena *arena, const void *items, uint32_t count, size_t size,
                    mprof_order_compare *compare, const void *context)
{
    uint32_t *order = mprof_arena_array(arena, 2 * (size_t)count, sizeof *order);
    char *out = mprof_arena_array(arena, count, size);
    if (!order || !out)
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    mprof_order_sort(order, order + count, count, compare, context);
    for (uint32_t i = 0; i < count; i++)
        memcpy(out + i * size, (const char *)items + order[i] * size, size);
    return out;
}

/* Descending. */
static int compare_numbers(double a, double b)
{
    return a > b ? -1 : a < b;
}

/* ---- statistics ---- */

static int compare_groups(const void *context, uint32_t a, uint32_t b)
{
    const struct mprof_statistics *statistics = context;
    const struct mprof_group *left = &statistics->groups[a];
    const struct mprof_group *right = &statistics->groups[b];
    int order = compare_numbers(left->size, right->size);
    if (order == 0)
        order = compare_numbers(left->count, right->count);
    return order ? order : mprof_paths_compare(&statistics->paths, right->path, left->path);
}

int mprof_grouping_statistics(struct mprof_statistics *result, struct mprof_arena *arena, enum mprof_key key,
                              const struct mprof_snapshot *snapshot, bool cumulative)
{
    if (mprof_paths_make(&result->paths, arena, key, &snapshot, 1, cumulative) < 0)
        return -1;
    struct mprof_figures *by_path = mprof_arena_array(arena, result->paths.count, sizeof *by_path);
    const uint32_t *path_of_node = result->paths.sources[0].of_node;
    struct tree tree = {.snapshot = snapshot, .path_of_node = path_of_node};
    if (!by_path || (cumulative && tree_make(&tree, arena, snapshot, path_of_node, result->paths.count) < 0))
        return -1;
    add(&tree, column_of(snapshot, MPROF_INUSE), cumulative ? EACH : FLAT, by_path);
    result->groups = mprof_arena_array(arena, result->paths.count, sizeof *result->groups);
    if (!result->groups)
        return -1;
    result->count = 0;
    for (uint32_t path = 1; path < result->paths.count; path++) {
        const struct mprof_figures *figures = &by_path[path];
        if (mprof_figures_any(figures))
            result->groups[result->count++] =
                (struct mprof_group){path, rint(figures->bytes), rint(figures->blocks), *figures};
    }
    result->groups = sorted(arena, result->groups, result->count, sizeof *result->groups, compare_groups, result);
    return result->groups ? 0 : -1;
}

/* ---- differences ---- */

static int compare_differences(const void *context, uint32_t a, uint32_t b)
{
    const struct mprof_differences *differences = context;
    const struct mprof_difference *left = &differences->groups[a];
    const struct mprof_difference *right = &differences->groups[b];
    int order = compare_numbers(fabs(left->size_diff), fabs(right->size_diff));
    if (order == 0)
        order = compare_numbers(left->size, right->size);
    if (order == 0)
        order = compare_numbers(fabs(left->count_diff), fabs(right->count_diff));
    if (order == 0)
        order = compare_numbers(left->count, right->count);
    return order ? order : mprof_paths_compare(&differences->paths, right->path, left->path);
}

int mprof_grouping_differences(struct mprof_differences *result, struct mprof_arena *arena, enum mprof_key key,
                               const struct mprof_snapshot *now, const struct mprof_snapshot *before, bool cumulative)
{
    const struct mprof_snapshot *both[2] = {now, before};
    struct mprof_paths *paths = &result->paths;
    if (mprof_paths_make(paths, arena, key, both, 2, cumulative) < 0)
        return -1;
    struct mprof_figures *changed[2];
    if (mprof_changes_by_stack(now, before, arena, changed) < 0)
        return -1;
    struct mprof_figures *sums[2];
    struct mprof_figures *changes = mprof_arena_array(arena, paths->count, sizeof *changes);
    if (!changes)
        return -1;
    for (uint32_t s = 0; s < 2; s++) {
        const uint32_t *path_of_node = paths->sources[s].of_node;
        struct tree tree = {.snapshot = both[s], .path_of_node = path_of_node};
        sums[s] = mprof_arena_array(arena, paths->count, sizeof *sums[s]);
        if (!sums[s] || (cumulative && tree_make(&tree, arena, both[s], path_of_node, paths->count) < 0))
            return -1;
        add(&tree, column_of(both[s], MPROF_INUSE), cumulative ? EACH : FLAT, sums[s]);
        if (changed[s])
            add(&tree, (struct column){changed[s], sizeof *changed[s]}, cumulative ? EACH : FLAT, changes);
    }
    result->groups = mprof_arena_array(arena, paths->count, sizeof *result->groups);
    if (!result->groups)
        return -1;
    result->count = 0;
    for (uint32_t path = 1; path < paths->count; path++) {
        const struct mprof_figures *new_sum = &sums[0][path];
        const struct mprof_figures *old_sum = &sums[1][path];
        if (!mprof_figures_any(new_sum) && !mprof_figures_any(old_sum))
            continue;
        double size = rint(new_sum->bytes);
        double count = rint(new_sum->blocks);
        result->groups[result->count++] = (struct mprof_difference){
            .path = path,
            .size = size,
            .size_diff = size - rint(old_sum->bytes),
            .count = count,
            .count_diff = count - rint(old_sum->blocks),
            .changed = changes[path],
        };
    }
    result->groups = sorted(arena, result->groups, result->count, sizeof *result->groups, compare_differences, result);
    return result->groups ? 0 : -1;
}

/* ---- rows ---- */

static int compare_rows(const void *context, uint32_t a, uint32_t b)
{
    const struct mprof_rows *rows = context;
    const struct mprof_row *left = &rows->rows[a];
    const struct mprof_row *right = &rows->rows[b];
    int order = compare_numbers(left->flat[MPROF_INUSE].bytes, right->flat[MPROF_INUSE].bytes);
    if (order == 0)
        order = compare_numbers(left->flat[MPROF_ALLOC].bytes, right->flat[MPROF_ALLOC].bytes);
    if (order == 0)
        order = compare_numbers(left->cumulative[MPROF_INUSE].bytes, right->cumulative[MPROF_INUSE].bytes);
    return order ? order : mprof_paths_compare(&rows->paths, left->path, right->path);
}

/* Sums of all measures by path: flat, then cumulative, which for whole stacks is the same. */
static int sum_rows(struct mprof_figures *sums[2 * MPROF_MEASURES], struct mprof_arena *arena, struct tree *tree,
                    uint32_t path_count, bool whole)
{
    for (unsigned m = 0; m < MPROF_MEASURES; m++) {
        struct column column = column_of(tree->snapshot, (enum mprof_measure)m);
        struct mprof_figures *flat = sums[m] = mprof_arena_array(arena, path_count, sizeof *flat);
        struct mprof_figures *cumulative = sums[MPROF_MEASURES + m] =
            whole ? flat : mprof_arena_array(arena, path_count, sizeof *flat);
        if (!flat || !cumulative)
            return -1;
        add(tree, column, FLAT, flat);
        if (!whole)
            add(tree, column, ONCE, cumulative);
    }
    return 0;
}

/* False if the row has nothing. */
static bool fill_row(struct mprof_row *row, uint32_t path, struct mprof_figures *const sums[2 * MPROF_MEASURES])
{
    bool any = false;
    *row = (struct mprof_row){.path = path};
    for (unsigned m = 0; m < MPROF_MEASURES; m++) {
        row->flat[m] = sums[m][path];
        row->cumulative[m] = sums[MPROF_MEASURES + m][path];
        any |= mprof_figures_any(&row->cumulative[m]);
    }
    return any;
}

/* Sets how many frames the stacks of each path had. */
static int count_frames(struct mprof_rows *rows, struct mprof_arena *arena, const struct mprof_snapshot *snapshot)
{
    const struct mprof_stack *stacks = mprof_snapshot_stacks(snapshot);
    uint32_t *by_path = mprof_arena_array(arena, rows->paths.count, sizeof *by_path);
    if (!by_path)
        return -1;
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++) {
        uint32_t *frames = &by_path[rows->paths.sources[0].of_node[stacks[i].node]];
        if (*frames < stacks[i].total_frames)
            *frames = stacks[i].total_frames;
    }
    for (uint32_t i = 0; i < rows->count; i++)
        rows->rows[i].total_frames = by_path[rows->rows[i].path];
    return 0;
}

int mprof_grouping_rows(struct mprof_rows *result, struct mprof_arena *arena, enum mprof_key key,
                        const struct mprof_snapshot *snapshot)
{
    bool whole = key == MPROF_KEY_TRACEBACK || key == MPROF_KEY_STACK;
    struct mprof_paths *paths = &result->paths;
    struct mprof_figures *sums[2 * MPROF_MEASURES];
    struct tree tree;
    if (mprof_paths_make(paths, arena, key, &snapshot, 1, true) < 0 ||
        tree_make(&tree, arena, snapshot, paths->sources[0].of_node, paths->count) < 0 ||
        sum_rows(sums, arena, &tree, paths->count, whole) < 0)
        return -1;
    uint32_t count = 0;
    for (uint32_t path = 1; path < paths->count; path++)
        for (unsigned i = MPROF_MEASURES; i < 2 * MPROF_MEASURES; i++)
            if (mprof_figures_any(&sums[i][path])) {
                count++;
                break;
            }
    result->rows = mprof_arena_array(arena, count, sizeof *result->rows);
    if (!result->rows)
        return -1;
    result->count = 0;
    for (uint32_t path = 1; path < paths->count; path++) {
        struct mprof_row row;
        if (fill_row(&row, path, sums))
            result->rows[result->count++] = row;
    }
    if (whole && count_frames(result, arena, snapshot) < 0)
        return -1;
    result->rows = sorted(arena, result->rows, result->count, sizeof *result->rows, compare_rows, result);
    return result->rows ? 0 : -1;
}

int mprof_grouping_sums(struct mprof_row **rows, struct mprof_arena *arena, const struct mprof_snapshot *snapshot,
                        const uint32_t *group_of, uint32_t groups)
{
    const struct mprof_node *nodes = mprof_snapshot_nodes(snapshot);
    uint32_t node_count = mprof_snapshot_node_count(snapshot);
    uint32_t *group_of_node = mprof_arena_array(arena, node_count, sizeof *group_of_node);
    struct mprof_figures *sums[2 * MPROF_MEASURES];
    struct tree tree;
    if (!group_of_node)
        return -1;
    for (uint32_t i = 0; i < node_count; i++)
        group_of_node[i] = group_of[nodes[i].function]; /* the root's function is 0 */
    if (tree_make(&tree, arena, snapshot, group_of_node, groups) < 0 || sum_rows(sums, arena, &tree, groups, false) < 0)
        return -1;
    *rows = mprof_arena_array(arena, groups, sizeof **rows);
    if (!*rows)
        return -1;
    for (uint32_t group = 0; group < groups; group++)
        (void)fill_row(&(*rows)[group], group, sums);
    return 0;
}

void mprof_grouping_totals(const struct mprof_snapshot *snapshot, struct mprof_figures totals[MPROF_MEASURES])
{
    memset(totals, 0, MPROF_MEASURES * sizeof *totals);
    const struct mprof_stack *stacks = mprof_snapshot_stacks(snapshot);
    uint32_t count = mprof_snapshot_stack_count(snapshot);
    for (uint32_t i = 0; i < count; i++) {
        mprof_figures_add(&totals[MPROF_INUSE], &stacks[i].inuse);
        mprof_figures_add(&totals[MPROF_ALLOC], &stacks[i].alloc);
        mprof_figures_add(&totals[MPROF_PEAK], &stacks[i].peak);
    }
}

/* ---- equality ---- */

int mprof_grouping_same_traces(const struct mprof_snapshot *a, const struct mprof_snapshot *b,
                               struct mprof_arena *arena, bool *same)
{
    *same = a == b;
    size_t count = mprof_snapshot_block_count(a);
    if (a == b || count != mprof_snapshot_block_count(b))
        return 0;
    const struct mprof_snapshot *both[2] = {a, b};
    struct mprof_paths paths;
    if (mprof_paths_make(&paths, arena, MPROF_KEY_TRACEBACK, both, 2, false) < 0)
        return -1;
    const struct mprof_stack *stacks[2] = {mprof_snapshot_stacks(a), mprof_snapshot_stacks(b)};
    for (size_t i = 0; i < count; i++) {
        struct mprof_block of_a;
        struct mprof_block of_b;
        mprof_snapshot_block(a, i, &of_a);
        mprof_snapshot_block(b, i, &of_b);
        const struct mprof_stack *stack_a = &stacks[0][of_a.stack];
        const struct mprof_stack *stack_b = &stacks[1][of_b.stack];
        if (of_a.domain != of_b.domain || of_a.size != of_b.size || stack_a->total_frames != stack_b->total_frames ||
            paths.sources[0].of_node[stack_a->node] != paths.sources[1].of_node[stack_b->node])
            return 0;
    }
    *same = true;
    return 0;
}
