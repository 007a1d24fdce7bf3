/* SPDX-License-Identifier: MIT */
/* folding.c -- see folding.h. Paths are numbered, judged, and those that are shown written out; then the figures of each
 * stack go to the node where it ends. */
#include "core/folding.h"

#include "base/os.h"
#include "base/rng.h"
#include "core/paths.h"

#include <stdbool.h>
#include <string.h>

#define NO_STACK (-1.0) /* share of a path that no stack with blocks goes through */
#define NO_NODE UINT32_MAX

/* What is known of each path. Path 0 is the root. */
struct folding {
    struct mprof_paths paths;
    struct mprof_arena *arena;
    double *share;
    uint32_t *end;    /* the path itself if it is shown, else the last one above it that is */
    uint32_t *node;   /* of a path that is shown */
    uint32_t *folded; /* node "folded" below a path; NO_NODE: none. Until nodes are numbered 0 stands for one. */
};

static bool has_blocks(const struct mprof_stack *stack)
{
    for (unsigned m = 0; m < MPROF_MEASURES; m++)
        if (mprof_figures_any(mprof_stack_figures(stack, m)))
            return true;
    return false;
}

/* ---- shares ---- */

static void mark_present(struct folding *f)
{
    for (uint32_t path = 0; path < f->paths.count; path++)
        f->share[path] = NO_STACK;
    for (uint32_t s = 0; s < f->paths.source_count; s++) {
        const struct mprof_stack *stacks = mprof_snapshot_stacks(f->paths.sources[s].snapshot);
        uint32_t count = mprof_snapshot_stack_count(f->paths.sources[s].snapshot);
        for (uint32_t i = 0; i < count; i++)
            if (has_blocks(&stacks[i]))
                f->share[f->paths.sources[s].of_node[stacks[i].node]] = 0.0;
    }
    for (uint32_t path = f->paths.count - 1; path > 0; path--)
        if (f->share[path] >= 0.0)
            f->share[f->paths.items[path].parent] = 0.0;
}

/* Raises each share to that of one measure of one snapshot. sums: scratch, by path. */
static void judge(struct folding *f, uint32_t source, unsigned measure, bool blocks, double *sums)
{
    const struct mprof_snapshot *snapshot = f->paths.sources[source].snapshot;
    const struct mprof_stack *stacks = mprof_snapshot_stacks(snapshot);
    const uint32_t *of_node = f->paths.sources[source].of_node;
    uint32_t stack_count = mprof_snapshot_stack_count(snapshot);
    uint32_t count = f->paths.count;
    double total = 0.0;
    memset(sums, 0, count * sizeof *sums);
    for (uint32_t i = 0; i < stack_count; i++) {
        const struct mprof_figures *figures = mprof_stack_figures(&stacks[i], measure);
        double value = blocks ? figures->blocks : figures->bytes;
        sums[of_node[stacks[i].node]] += value;
        total += value;
    }
    if (!(total > 0.0))
        return;
    for (uint32_t path = count - 1; path > 0; path--) {
        double share = sums[path] / total;
        sums[f->paths.items[path].parent] += sums[path];
        if (share > f->share[path] && f->share[path] >= 0.0)
            f->share[path] = share;
    }
}

/* The smallest of 0, 1, 2, 5, ... millionths that at most `most` paths reach. */
static double choose_threshold(const struct folding *f, uint32_t most)
{
    static const double steps[] = {0.0,  1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3,
                                   2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1, 2e-1, 5e-1, 1.0,  2.0};
    enum { STEPS = sizeof steps / sizeof *steps };
    uint32_t reach[STEPS + 1] = {0}; /* first paths with this step as their highest, then with this one or a higher */
    for (uint32_t path = 1; path < f->paths.count; path++) {
        unsigned low = 0; /* steps that the share reaches: this one ... */
        unsigned high = STEPS;
        if (f->share[path] < 0.0)
            continue;
        while (high - low > 1) { /* ... and not this one */
            unsigned middle = (low + high) / 2;
            if (f->share[path] >= steps[middle])
                low = middle;
            else
                high = middle;
        }
        reach[low]++;
    }
    unsigned step = STEPS;
    while (step > 0 && reach[step] + reach[step - 1] <= most) {
        step--;
        reach[step] += reach[step + 1];
    }
    return steps[step < STEPS ? step : STEPS - 1];
}

/* ---- the tree that is shown ---- */

/* Sets where stacks end, and counts those that are cut. */
static void cut_stacks(struct folding *f, struct mprof_fold *fold)
{
    for (uint32_t path = 1; path < f->paths.count; path++) {
        uint32_t parent = f->paths.items[path].parent;
        bool shown = f->end[parent] == parent && f->share[path] >= 0.0 && f->share[path] >= fold->threshold;
        f->end[path] = shown ? path : f->end[parent];
    }
    for (uint32_t path = 0; path < f->paths.count; path++)
        f->folded[path] = NO_NODE;
    for (uint32_t s = 0; s < f->paths.source_count; s++) {
        const struct mprof_stack *stacks = mprof_snapshot_stacks(f->paths.sources[s].snapshot);
        uint32_t count = mprof_snapshot_stack_count(f->paths.sources[s].snapshot);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t path = f->paths.sources[s].of_node[stacks[i].node];
            if (!has_blocks(&stacks[i]))
                continue;
            fold->stacks++;
            if (f->end[path] != path) {
                fold->cut++;
                f->folded[f->end[path]] = 0;
            }
        }
    }
}

/* Call sites that were met, in an open-addressed table. Room for all was taken beforehand. */
struct sites {
    struct mprof_fold *fold;
    uint32_t *slots; /* site; 0: free */
    size_t mask;
    uint64_t seed; /* line numbers may come from a file that somebody made to hurt */
};

static uint32_t intern_site(struct sites *sites, uint32_t function, uint32_t line)
{
    struct mprof_fold *fold = sites->fold;
    uint64_t key = (uint64_t)function << 32 | line;
    size_t at = (size_t)mprof_mix64(key ^ sites->seed) & sites->mask;
    for (uint32_t site; (site = sites->slots[at]) != 0; at = (at + 1) & sites->mask)
        if (fold->site_function[site] == function && fold->site_line[site] == line)
            return site;
    uint32_t added = fold->site_count++;
    fold->site_function[added] = function;
    fold->site_line[added] = line;
    sites->slots[at] = added;
    return added;
}

static int sites_make(struct sites *sites, struct mprof_fold *fold, struct mprof_arena *arena, uint32_t most)
{
    size_t slots = 64;
    while (slots < 2 * (size_t)most)
        slots *= 2;
    *sites = (struct sites){fold, mprof_arena_array(arena, slots, sizeof(uint32_t)), slots - 1, mprof_os_entropy()};
    fold->site_function = mprof_arena_array(arena, most, sizeof(uint32_t));
    fold->site_line = mprof_arena_array(arena, most, sizeof(uint32_t));
    fold->site_count = 1;
    return sites->slots && fold->site_function && fold->site_line ? 0 : -1;
}

static uint32_t add_node(struct mprof_fold *fold, uint32_t depth, uint32_t site)
{
    fold->node_depth[fold->node_count] = depth;
    fold->node_site[fold->node_count] = site;
    return fold->node_count++;
}

/* Writes the nodes in preorder: children in the order of their paths, then what is folded. */
static void write_nodes(struct folding *f, struct mprof_fold *fold, struct sites *sites, const uint32_t *child,
                        const uint32_t *sibling, uint32_t function_folded)
{
    const struct mprof_path *items = f->paths.items;
    uint32_t path = 0;
    (void)add_node(fold, 0, 0);
    for (;;) {
        if (child[path]) {
            path = child[path];
        } else {
            /* Leave this path, and all above that end with it. */
            for (;;) {
                if (f->folded[path] != NO_NODE) {
                    uint32_t site = intern_site(sites, function_folded, 0);
                    f->folded[path] = add_node(fold, items[path].depth + 1, site);
                }
                if (path == 0)
                    return;
                if (sibling[path])
                    break;
                path = items[path].parent;
            }
            path = sibling[path];
        }
        uint32_t site = intern_site(sites, (uint32_t)(items[path].frame >> 32), (uint32_t)items[path].frame);
        f->node[path] = add_node(fold, items[path].depth, site);
    }
}

static int make_nodes(struct folding *f, struct mprof_fold *fold, uint32_t function_folded)
{
    uint32_t count = f->paths.count;
    uint32_t *child = mprof_arena_array(f->arena, count, sizeof *child);
    uint32_t *sibling = mprof_arena_array(f->arena, count, sizeof *sibling);
    f->node = mprof_arena_array(f->arena, count, sizeof *f->node);
    if (!child || !sibling || !f->node)
        return -1;
    uint32_t nodes = f->folded[0] != NO_NODE ? 2 : 1;
    for (uint32_t path = count - 1; path > 0; path--) { /* backwards: children in the order of their numbers */
        if (f->end[path] != path)
            continue;
        sibling[path] = child[f->paths.items[path].parent];
        child[f->paths.items[path].parent] = path;
        nodes += f->folded[path] != NO_NODE ? 2 : 1;
    }
    struct sites sites;
    fold->node_depth = mprof_arena_array(f->arena, nodes, sizeof(uint32_t));
    fold->node_site = mprof_arena_array(f->arena, nodes, sizeof(uint32_t));
    if (!fold->node_depth || !fold->node_site || sites_make(&sites, fold, f->arena, nodes + 1) < 0)
        return -1;
    write_nodes(f, fold, &sites, child, sibling, function_folded);
    return 0;
}

/* ---- figures ---- */

static uint32_t node_of(const struct folding *f, uint32_t source, const struct mprof_stack *stack)
{
    uint32_t path = f->paths.sources[source].of_node[stack->node];
    uint32_t end = f->end[path];
    return end == path ? f->node[path] : f->folded[end];
}

static int add_figures(struct folding *f, struct mprof_fold *fold)
{
    uint32_t *place =
        mprof_arena_array(f->arena, fold->node_count, sizeof *place); /* 1: a stack ends there; then 1 + place */
    if (!place)
        return -1;
    for (uint32_t s = 0; s < f->paths.source_count; s++) {
        const struct mprof_stack *stacks = mprof_snapshot_stacks(f->paths.sources[s].snapshot);
        uint32_t count = mprof_snapshot_stack_count(f->paths.sources[s].snapshot);
        for (uint32_t i = 0; i < count; i++)
            if (has_blocks(&stacks[i]))
                place[node_of(f, s, &stacks[i])] = 1;
    }
    fold->own_node = mprof_arena_array(f->arena, fold->node_count, sizeof *fold->own_node);
    if (!fold->own_node)
        return -1;
    for (uint32_t node = 0; node < fold->node_count; node++)
        if (place[node]) {
            fold->own_node[fold->own_count++] = node;
            place[node] = fold->own_count;
        }
    for (uint32_t s = 0; s < f->paths.source_count; s++) {
        const struct mprof_stack *stacks = mprof_snapshot_stacks(f->paths.sources[s].snapshot);
        uint32_t count = mprof_snapshot_stack_count(f->paths.sources[s].snapshot);
        struct mprof_figures *sums =
            mprof_arena_array(f->arena, (size_t)fold->own_count * MPROF_MEASURES, sizeof *sums);
        if (!sums)
            return -1;
        for (uint32_t i = 0; i < count; i++) {
            if (!has_blocks(&stacks[i]))
                continue;
            size_t at = (size_t)(place[node_of(f, s, &stacks[i])] - 1) * MPROF_MEASURES;
            for (unsigned m = 0; m < MPROF_MEASURES; m++)
                mprof_figures_add(&sums[at + m], mprof_stack_figures(&stacks[i], m));
        }
        fold->figures[s] = sums;
    }
    return 0;
}

int mprof_fold(struct mprof_fold *fold, struct mprof_arena *arena, const struct mprof_snapshot *const *snapshots,
               uint32_t count, const struct mprof_fold_options *options)
{
    *fold = (struct mprof_fold){.threshold = options->threshold};
    struct folding f = {.arena = arena};
    if (mprof_paths_make_numbered(&f.paths, arena, snapshots, options->numbers, count) < 0 ||
        f.paths.count > UINT32_MAX / 2 - 1)
        return -1;
    f.share = mprof_arena_array(arena, f.paths.count, sizeof *f.share);
    f.end = mprof_arena_array(arena, f.paths.count, sizeof *f.end);
    f.folded = mprof_arena_array(arena, f.paths.count, sizeof *f.folded);
    double *sums = mprof_arena_array(arena, f.paths.count, sizeof *sums);
    if (!f.share || !f.end || !f.folded || !sums)
        return -1;
    mark_present(&f);
    for (uint32_t s = 0; s < count; s++)
        for (unsigned m = 0; m < MPROF_MEASURES; m++)
            for (int blocks = 0; blocks < 2; blocks++)
                judge(&f, s, m, blocks, sums);
    if (!(options->threshold >= 0.0))
        fold->threshold = choose_threshold(&f, options->most);
    cut_stacks(&f, fold);
    if (make_nodes(&f, fold, options->folded) < 0)
        return -1;
    return add_figures(&f, fold);
}
