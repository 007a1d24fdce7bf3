/* SPDX-License-Identifier: MIT */
/* test_folding.c -- the tree of call sites of src/core/folding.h, of random snapshots.
 *
 * It is compared with the plain definition: for each stack go down its sites, and for each of them add up all stacks that
 * begin with the same sites. */
#include "core/folding.h"

#include "random_snapshot.h"
#include "tap.h"

enum { MOST_STACKS = 400, FUNCTIONS = 2 * FILES * NAMES + 1, FOLDED = 77 };

struct site {
    uint32_t function;
    uint32_t line;
};

struct path {
    unsigned depth;
    struct site sites[MOST_DEPTH + 1];
};

/* A stack by what it is called with: its sites, the snapshot and its figures. */
struct entry {
    struct path path;
    uint32_t source;
    const struct mprof_stack *stack;
};

static struct entry entries[MOST_STACKS];
static unsigned entry_count;

static void path_of(struct path *path, const struct mprof_snapshot *snapshot, const uint32_t *numbers, uint32_t node)
{
    const struct mprof_node *nodes = mprof_snapshot_nodes(snapshot);
    *path = (struct path){0};
    for (uint32_t one = node; one; one = nodes[one].parent)
        path->depth++;
    if (!node)
        path->sites[path->depth++] = (struct site){numbers[0], 0};
    unsigned at = path->depth;
    for (uint32_t one = node; one; one = nodes[one].parent)
        path->sites[--at] = (struct site){numbers[nodes[one].function], nodes[one].line};
}

static bool begins_with(const struct path *path, const struct path *other, unsigned depth)
{
    if (path->depth < depth)
        return false;
    for (unsigned i = 0; i < depth; i++)
        if (path->sites[i].function != other->sites[i].function || path->sites[i].line != other->sites[i].line)
            return false;
    return true;
}

static bool same_path(const struct path *a, const struct path *b)
{
    return a->depth == b->depth && begins_with(a, b, a->depth);
}

static const struct mprof_figures *measure_of(const struct mprof_stack *stack, unsigned measure)
{
    return measure == MPROF_INUSE ? &stack->inuse : measure == MPROF_ALLOC ? &stack->alloc : &stack->peak;
}

static double value_of(const struct entry *entry, unsigned measure, bool blocks)
{
    const struct mprof_figures *figures = measure_of(entry->stack, measure);
    return blocks ? figures->blocks : figures->bytes;
}

/* Of the stacks that begin like this one, in its first `depth` sites. */
static double share_of(const struct entry *entry, unsigned depth)
{
    double share = 0.0;
    for (uint32_t source = 0; source < 2; source++)
        for (unsigned measure = 0; measure < MPROF_MEASURES; measure++)
            for (int blocks = 0; blocks < 2; blocks++) {
                double all = 0.0;
                double part = 0.0;
                for (unsigned i = 0; i < entry_count; i++) {
                    double value = entries[i].source == source ? value_of(&entries[i], measure, blocks) : 0.0;
                    all += value;
                    part += begins_with(&entries[i].path, &entry->path, depth) ? value : 0.0;
                }
                if (all > 0.0 && part / all > share)
                    share = part / all;
            }
    return share;
}

static unsigned shown_depth(const struct entry *entry, double threshold)
{
    unsigned depth = 0;
    /* A little less than the threshold: sums are made in another order. */
    while (depth < entry->path.depth && share_of(entry, depth + 1) >= threshold * (1 - 1e-12))
        depth++;
    return depth;
}

/* The path of a node, from the depths of the nodes before it. */
static void node_path(struct path *path, const struct mprof_fold *fold, uint32_t node)
{
    path->depth = fold->node_depth[node];
    uint32_t wanted = path->depth;
    for (uint32_t one = node; wanted > 0; one--)
        if (fold->node_depth[one] == wanted) {
            uint32_t site = fold->node_site[one];
            path->sites[--wanted] = (struct site){fold->site_function[site], fold->site_line[site]};
        }
}

static bool check_fold(const struct mprof_snapshot *const *snapshots, const uint32_t *const *numbers, uint32_t count,
                       double threshold, uint32_t most)
{
    entry_count = 0;
    for (uint32_t s = 0; s < count; s++)
        for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshots[s]); i++) {
            struct entry *entry = &entries[entry_count++];
            entry->source = s;
            entry->stack = &mprof_snapshot_stacks(snapshots[s])[i];
            path_of(&entry->path, snapshots[s], numbers[s], entry->stack->node);
        }
    struct mprof_fold_options options = {
        .numbers = {numbers[0], numbers[1]}, .folded = FOLDED, .threshold = threshold, .most = most};
    struct mprof_fold fold;
    struct mprof_arena arena;
    mprof_arena_init(&arena, 0);
    if (mprof_fold(&fold, &arena, snapshots, count, &options) < 0)
        bail("no memory");
    bool good = check(fold.stacks == entry_count, "%u stacks, not %u", fold.stacks, entry_count);
    good &= check(threshold < 0 || fold.threshold == threshold, "threshold %g", fold.threshold);

    struct mprof_figures sums[MOST_STACKS][2][MPROF_MEASURES] = {0};
    uint32_t cut = 0;
    for (unsigned i = 0; i < entry_count; i++) {
        struct path path = entries[i].path;
        unsigned depth = shown_depth(&entries[i], fold.threshold);
        if (depth < path.depth) {
            cut++;
            path.depth = depth + 1;
            path.sites[depth] = (struct site){FOLDED, 0};
        }
        unsigned found = 0;
        for (uint32_t k = 0; k < fold.own_count; k++) {
            struct path other;
            node_path(&other, &fold, fold.own_node[k]);
            if (!same_path(&path, &other))
                continue;
            found++;
            for (unsigned m = 0; m < MPROF_MEASURES; m++)
                mprof_figures_add(&sums[k][entries[i].source][m], measure_of(entries[i].stack, m));
        }
        good &= check(found == 1, "stack %u ends at %u nodes", i, found);
    }
    good &= check(fold.cut == cut, "%u stacks were cut, not %u", fold.cut, cut);
    for (uint32_t k = 0; k < fold.own_count; k++)
        for (uint32_t s = 0; s < count; s++)
            for (unsigned m = 0; m < MPROF_MEASURES; m++)
                good &= check(same_figures(&fold.figures[s][k * MPROF_MEASURES + m], &sums[k][s][m]),
                              "measure %u of snapshot %u at node %u", m, s, fold.own_node[k]);

    /* Nothing is there twice, and nothing that no stack goes through. */
    for (uint32_t node = 0; node < fold.node_count; node++) {
        struct path path;
        node_path(&path, &fold, node);
        bool used = node == 0;
        for (uint32_t k = 0; k < fold.own_count && !used; k++) {
            struct path own;
            node_path(&own, &fold, fold.own_node[k]);
            used = begins_with(&own, &path, path.depth);
        }
        good &= check(used, "node %u is on no stack", node);
        for (uint32_t other = 0; other < node; other++) {
            struct path earlier;
            node_path(&earlier, &fold, other);
            good &= check(!same_path(&path, &earlier), "nodes %u and %u are one path", other, node);
        }
    }
    for (uint32_t site = 1; site < fold.site_count; site++)
        for (uint32_t other = 1; other < site; other++)
            good &= check(fold.site_function[site] != fold.site_function[other] ||
                              fold.site_line[site] != fold.site_line[other],
                          "sites %u and %u are one", other, site);
    mprof_arena_drop(&arena);
    return good;
}

/* Numbers for the functions of a snapshot: their own, or so few that several functions are one. */
static void number(uint32_t numbers[FUNCTIONS], uint32_t different)
{
    for (uint32_t i = 0; i < FUNCTIONS; i++)
        numbers[i] = i % different;
}

static struct mprof_snapshot *snapshot_of(struct mprof_rng *rng, uint32_t blocks)
{
    const struct shape shape = {.blocks = blocks, .sampled = below(rng, 2)};
    return random_snapshot(rng, &shape);
}

static void test_folding(struct mprof_rng *rng)
{
    static const double thresholds[] = {0.0, 0.004, 0.02, 0.1, 0.6, 1.0};
    bool good = true;
    for (unsigned round = 0; round < 40; round++) {
        uint32_t numbers[2][FUNCTIONS];
        const uint32_t *const both[2] = {numbers[0], numbers[1]};
        const struct mprof_snapshot *snapshots[2];
        struct mprof_snapshot *now = snapshot_of(rng, below(rng, 60));
        struct mprof_snapshot *before = snapshot_of(rng, below(rng, 60));
        snapshots[0] = now;
        snapshots[1] = before;
        number(numbers[0], round % 2 ? FUNCTIONS : 5);
        number(numbers[1], round % 3 ? FUNCTIONS : 4);
        double threshold = thresholds[round % (sizeof thresholds / sizeof *thresholds)];
        good &= check_fold(snapshots, both, 1, threshold, 0) && check_fold(snapshots, both, 2, threshold, 0);
        mprof_snapshot_decref(now);
        mprof_snapshot_decref(before);
    }
    ok(good, "stacks end where they become small");
}

static uint32_t paths_at(const struct mprof_snapshot *snapshot, const uint32_t *numbers, double threshold,
                         uint32_t most, double *used)
{
    struct mprof_fold_options options = {
        .numbers = {numbers, NULL}, .folded = FOLDED, .threshold = threshold, .most = most};
    struct mprof_fold fold;
    struct mprof_arena arena;
    uint32_t paths = 0;
    mprof_arena_init(&arena, 0);
    if (mprof_fold(&fold, &arena, &snapshot, 1, &options) < 0)
        bail("no memory");
    for (uint32_t node = 1; node < fold.node_count; node++)
        paths += fold.site_function[fold.node_site[node]] != FOLDED;
    *used = fold.threshold;
    mprof_arena_drop(&arena);
    return paths;
}

static void test_threshold(struct mprof_rng *rng)
{
    bool good = true;
    for (unsigned round = 0; round < 60; round++) {
        struct mprof_snapshot *snapshot = snapshot_of(rng, 1 + below(rng, 150));
        uint32_t numbers[FUNCTIONS];
        number(numbers, FUNCTIONS);
        double used;
        uint32_t all = paths_at(snapshot, numbers, 0.0, 0, &used);
        good &= check(paths_at(snapshot, numbers, -1.0, all, &used) == all && used == 0.0, "all %u fit", all);
        uint32_t most = below(rng, all);
        uint32_t left = paths_at(snapshot, numbers, -1.0, most, &used);
        good &= check(left <= most && used > 0.0, "%u paths, at most %u", left, most);
        double step = used;
        double ignored;
        for (double tried = 1e-6; tried < 3.0; tried *= 10) {
            static const double factors[] = {1, 2, 5};
            for (unsigned i = 0; i < 3; i++)
                if (factors[i] * tried < step * (1 - 1e-9))
                    good &= check(paths_at(snapshot, numbers, factors[i] * tried, 0, &ignored) > most,
                                  "a threshold of %g would do, not %g", factors[i] * tried, step);
        }
        mprof_snapshot_decref(snapshot);
    }
    ok(good, "the threshold rises only as far as it must");
}

static void test_no_memory(struct mprof_rng *rng)
{
    const struct mprof_snapshot *snapshots[2];
    struct mprof_snapshot *now = snapshot_of(rng, 50);
    struct mprof_snapshot *before = snapshot_of(rng, 50);
    uint32_t numbers[FUNCTIONS];
    snapshots[0] = now;
    snapshots[1] = before;
    number(numbers, FUNCTIONS);
    struct mprof_fold_options options = {.numbers = {numbers, numbers}, .folded = FOLDED, .threshold = -1, .most = 9};
    unsigned failed = 0;
    int status = -1;
    while (status < 0 && failed < 1000) {
        struct mprof_fold fold;
        struct mprof_arena arena;
        mprof_arena_init(&arena, 0);
        arena.fail_at = failed + 1;
        status = mprof_fold(&fold, &arena, snapshots, 2, &options);
        failed += status < 0;
        mprof_arena_drop(&arena);
    }
    ok(status == 0 && failed > 10, "it fails for each of its %u requests for memory", failed);
    mprof_snapshot_decref(now);
    mprof_snapshot_decref(before);
}

int main(void)
{
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 20250301);
    test_folding(&rng);
    test_threshold(&rng);
    test_no_memory(&rng);
    return done();
}
