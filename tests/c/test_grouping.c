/* SPDX-License-Identifier: MIT */
/* test_grouping.c -- order, paths, grouping and changes of src/core.
 *
 * What the core computes on the tree of random snapshots is compared with the plain definition: for each stack go up its
 * frames and add. */
#include "core/grouping.h"

#include "core/order.h"
#include "random_snapshot.h"
#include "tap.h"

enum { MOST_GROUPS = 4096 };

/* ---- the plain definition ---- */

struct group {
    char key[TEXT];
    struct mprof_figures figures[MPROF_MEASURES];
};

struct groups {
    struct group items[MOST_GROUPS];
    unsigned count;
};

static struct groups expected;
static struct groups expected_old;

static struct group *find(struct groups *groups, const char *key)
{
    for (unsigned i = 0; i < groups->count; i++)
        if (strcmp(groups->items[i].key, key) == 0)
            return &groups->items[i];
    return NULL;
}

static struct group *find_or_add(struct groups *groups, const char *key)
{
    struct group *group = find(groups, key);
    if (group)
        return group;
    if (groups->count == MOST_GROUPS)
        bail("too many groups");
    group = &groups->items[groups->count++];
    memset(group, 0, sizeof *group);
    memcpy(group->key, key, strlen(key) + 1);
    return group;
}

static bool whole(enum mprof_key key)
{
    return key == MPROF_KEY_TRACEBACK || key == MPROF_KEY_STACK;
}

static void key_text(const struct mprof_snapshot *snapshot, enum mprof_key key, uint32_t node, char *text)
{
    if (whole(key))
        path_text(snapshot, key, node, text);
    else
        frame_text(snapshot, key, node, text);
}

static void add_times(struct mprof_figures *sum, const struct mprof_figures *figures, double times)
{
    sum->bytes += times * figures->bytes;
    sum->blocks += times * figures->blocks;
    sum->seen += times * figures->seen;
    sum->samples += figures->samples;
    sum->bytes_var += times * times * figures->bytes_var;
    sum->blocks_var += times * times * figures->blocks_var;
}

/* Adds the figures of one stack, all of its measures, to the groups of its frames. */
static void add_stack(struct groups *groups, const struct mprof_snapshot *snapshot, enum mprof_key key, uint32_t node,
                      const struct mprof_figures figures[MPROF_MEASURES], bool cumulative, bool once)
{
    char keys[MOST_DEPTH + 1][TEXT];
    unsigned depth = 0;
    do {
        key_text(snapshot, key, node, keys[depth++]);
        node = mprof_snapshot_nodes(snapshot)[node].parent;
    } while (cumulative && node);
    for (unsigned i = 0; i < depth; i++) {
        unsigned times = 0;
        bool first = true;
        for (unsigned k = 0; k < depth; k++) {
            times += strcmp(keys[i], keys[k]) == 0;
            first &= k >= i || strcmp(keys[i], keys[k]) != 0;
        }
        if (!first)
            continue;
        struct group *group = find_or_add(groups, keys[i]);
        for (unsigned m = 0; m < MPROF_MEASURES; m++)
            add_times(&group->figures[m], &figures[m], once ? 1.0 : times);
    }
}

static void add_all(struct groups *groups, const struct mprof_snapshot *snapshot, enum mprof_key key, bool cumulative,
                    bool once)
{
    const struct mprof_stack *stacks = mprof_snapshot_stacks(snapshot);
    groups->count = 0;
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++) {
        struct mprof_figures figures[MPROF_MEASURES] = {stacks[i].inuse, stacks[i].alloc, stacks[i].peak};
        add_stack(groups, snapshot, key, stacks[i].node, figures, cumulative, once);
    }
}

static void path_key(const struct mprof_paths *paths, uint32_t path, char *text)
{
    const struct mprof_path *item = &paths->items[path];
    key_text(paths->sources[item->source].snapshot, paths->key, item->node, text);
}

/* ---- order ---- */

struct sortable {
    const uint32_t *values;
};

static int compare_values(const void *context, uint32_t a, uint32_t b)
{
    const uint32_t *values = ((const struct sortable *)context)->values;
    return values[a] < values[b] ? -1 : values[a] > values[b];
}

static void test_order(struct mprof_rng *rng)
{
    enum { MOST = 1000 };
    uint32_t values[MOST];
    uint32_t items[MOST];
    uint32_t room[MOST];
    bool good = true;
    for (uint32_t round = 0; round < 300; round++) {
        uint32_t count = round < 70 ? round : below(rng, MOST);
        for (uint32_t i = 0; i < count; i++) {
            values[i] = below(rng, 50);
            items[i] = i;
        }
        struct sortable context = {values};
        mprof_order_sort(items, room, count, compare_values, &context);
        for (uint32_t i = 1; i < count; i++)
            good &= check(values[items[i - 1]] < values[items[i]] ||
                              (values[items[i - 1]] == values[items[i]] && items[i - 1] < items[i]),
                          "%u items, at %u", count, i);
    }
    ok(good, "the sort is in order and stable");
}

/* ---- statistics ---- */

static bool check_statistics(const struct mprof_snapshot *snapshot, enum mprof_key key, bool cumulative)
{
    struct mprof_arena arena;
    struct mprof_statistics result;
    mprof_arena_init(&arena, 0);
    if (mprof_grouping_statistics(&result, &arena, key, snapshot, cumulative) < 0)
        bail("no memory");
    add_all(&expected, snapshot, key, cumulative, false);
    unsigned with_blocks = 0;
    for (unsigned i = 0; i < expected.count; i++)
        with_blocks += expected.items[i].figures[MPROF_INUSE].samples > 0;
    bool good = check(result.count == with_blocks, "%u groups, not %u", result.count, with_blocks);
    char before[TEXT] = "";
    for (uint32_t i = 0; i < result.count; i++) {
        const struct mprof_group *group = &result.groups[i];
        char text[TEXT];
        path_key(&result.paths, group->path, text);
        const struct group *other = find(&expected, text);
        good &= check(other && same_figures(&group->figures, &other->figures[MPROF_INUSE]), "figures of %s", text);
        good &= check(near(group->size, rint(group->figures.bytes)) && near(group->count, rint(group->figures.blocks)),
                      "rounding of %s", text);
        const struct mprof_group *last = i ? group - 1 : group;
        bool tie = i > 0 && near(last->size, group->size) && near(last->count, group->count);
        good &=
            check(i == 0 || last->size > group->size || (near(last->size, group->size) && last->count >= group->count),
                  "order of size and count at %u", i);
        good &= check(!tie || strcmp(before, text) > 0, "order of paths at %u: %s, %s", i, before, text);
        memcpy(before, text, sizeof before);
    }
    mprof_arena_drop(&arena);
    return good;
}

static void test_statistics(struct mprof_rng *rng)
{
    bool good = true;
    for (unsigned round = 0; round < 60; round++) {
        struct shape shape = {.blocks = below(rng, 200), .sampled = round % 2};
        struct mprof_snapshot *snapshot = random_snapshot(rng, &shape);
        good &= check_statistics(snapshot, MPROF_KEY_LINE, false) &&
                check_statistics(snapshot, MPROF_KEY_FILE, false) &&
                check_statistics(snapshot, MPROF_KEY_TRACEBACK, false) &&
                check_statistics(snapshot, MPROF_KEY_LINE, true) && check_statistics(snapshot, MPROF_KEY_FILE, true);
        mprof_snapshot_decref(snapshot);
    }
    ok(good, "statistics are the sums over stacks, in tracemalloc's order");
}

/* ---- differences ---- */

/* The variances of the blocks that the other snapshot does not have, by the plain definition. */
static void add_changed(struct groups *groups, const struct mprof_snapshot *snapshot,
                        const struct mprof_snapshot *other, enum mprof_key key, bool cumulative, bool comparable)
{
    for (size_t i = 0; i < mprof_snapshot_block_count(snapshot); i++) {
        struct mprof_block block;
        struct mprof_block theirs;
        bool shared = false;
        mprof_snapshot_block(snapshot, i, &block);
        for (size_t k = 0; comparable && k < mprof_snapshot_block_count(other); k++) {
            mprof_snapshot_block(other, k, &theirs);
            shared |= block.id != 0 && theirs.id == block.id && near(theirs.rate, block.rate);
        }
        struct mprof_figures figures[MPROF_MEASURES] = {{0}};
        if (!shared)
            mprof_figures_add_block(&figures[0], &block);
        add_stack(groups, snapshot, key, mprof_snapshot_stacks(snapshot)[block.stack].node, figures, cumulative, false);
    }
}

/* A later snapshot of the same recording: some blocks gone, some new, some with the rate changed. */
static struct mprof_snapshot *later(struct mprof_rng *rng, const struct mprof_snapshot *snapshot, uint32_t added)
{
    struct shape shape = {.blocks = added, .sampled = true, .recording = 7, .first_id = 100000};
    struct mprof_snapshot *born = random_snapshot(rng, &shape);
    const struct mprof_snapshot *both[2] = {born, snapshot};
    struct mprof_builder *builder = mprof_builder_new();
    for (unsigned s = 0; builder && s < 2; s++)
        for (size_t i = 0; i < mprof_snapshot_block_count(both[s]); i++) {
            struct mprof_block block;
            mprof_snapshot_block(both[s], i, &block);
            if (s == 1 && below(rng, 4) == 0)
                continue;
            if (s == 1 && below(rng, 4) == 0)
                block.rate *= 2;
            /* The same path, node by node. */
            uint32_t nodes[MOST_DEPTH];
            unsigned depth = 0;
            struct mprof_stack stack = {0};
            uint32_t at = mprof_snapshot_stacks(both[s])[block.stack].node;
            for (; at; at = mprof_snapshot_nodes(both[s])[at].parent)
                nodes[depth++] = at;
            while (depth > 0) {
                struct mprof_node node = mprof_snapshot_nodes(both[s])[nodes[--depth]];
                struct mprof_function function = mprof_snapshot_functions(both[s])[node.function];
                const char *file = text_of(both[s], function.filename);
                const char *name = text_of(both[s], function.name);
                node.parent = stack.node;
                if (mprof_builder_string(builder, file, strlen(file), &function.filename) < 0 ||
                    mprof_builder_string(builder, name, strlen(name), &function.name) < 0 ||
                    mprof_builder_function(builder, &function, &node.function) < 0 ||
                    mprof_builder_node(builder, &node, &stack.node) < 0)
                    bail("no memory");
            }
            if (mprof_builder_stack(builder, &stack, &block.stack) < 0 || mprof_builder_block(builder, &block) < 0)
                bail("no memory");
        }
    struct mprof_snapshot *result = builder ? mprof_builder_finish(builder, mprof_snapshot_meta(born)) : NULL;
    mprof_snapshot_decref(born);
    if (!result)
        bail("no memory");
    return result;
}

static bool check_differences(const struct mprof_snapshot *now, const struct mprof_snapshot *before, enum mprof_key key,
                              bool cumulative, bool comparable)
{
    static struct groups changed;
    struct mprof_arena arena;
    struct mprof_differences result;
    mprof_arena_init(&arena, 0);
    if (mprof_grouping_differences(&result, &arena, key, now, before, cumulative) < 0)
        bail("no memory");
    add_all(&expected, now, key, cumulative, false);
    add_all(&expected_old, before, key, cumulative, false);
    changed.count = 0;
    add_changed(&changed, now, before, key, cumulative, comparable);
    add_changed(&changed, before, now, key, cumulative, comparable);
    const struct mprof_figures none[MPROF_MEASURES] = {{0}};
    unsigned covered = 0;
    bool good = true;
    for (uint32_t i = 0; i < result.count; i++) {
        const struct mprof_difference *group = &result.groups[i];
        char text[TEXT];
        path_key(&result.paths, group->path, text);
        struct group *found = find(&expected, text);
        struct group *found_old = find(&expected_old, text);
        struct group *found_changed = find(&changed, text);
        const struct mprof_figures *a = found ? found->figures : none;
        const struct mprof_figures *b = found_old ? found_old->figures : none;
        const struct mprof_figures *c = found_changed ? found_changed->figures : none;
        good &= check(near(group->size, rint(a->bytes)) && near(group->count, rint(a->blocks)) &&
                          near(group->size_diff, rint(a->bytes) - rint(b->bytes)) &&
                          near(group->count_diff, rint(a->blocks) - rint(b->blocks)),
                      "difference of %s", text);
        good &= check(near(group->changed.bytes_var, c->bytes_var) && near(group->changed.blocks_var, c->blocks_var) &&
                          near(group->changed.samples, c->samples),
                      "variance of %s: %g, not %g", text, group->changed.bytes_var, c->bytes_var);
        covered += (found && a->samples > 0) || (found_old && b->samples > 0);
        good &= check(i == 0 || fabs(group[-1].size_diff) >= fabs(group->size_diff), "order at %u", i);
    }
    unsigned all = 0;
    for (unsigned i = 0; i < expected.count; i++)
        all += expected.items[i].figures[0].samples > 0;
    for (unsigned i = 0; i < expected_old.count; i++) {
        const struct group *newer = find(&expected, expected_old.items[i].key);
        all += expected_old.items[i].figures[0].samples > 0 && !(newer && newer->figures[0].samples > 0);
    }
    good &= check(covered == result.count && all == result.count, "%u groups, not %u", result.count, all);
    mprof_arena_drop(&arena);
    return good;
}

static void test_differences(struct mprof_rng *rng)
{
    bool good = true;
    for (unsigned round = 0; round < 30; round++) {
        struct shape shape = {.blocks = below(rng, 150), .sampled = true, .recording = 7, .first_id = 1};
        struct mprof_snapshot *before = random_snapshot(rng, &shape);
        struct mprof_snapshot *now = later(rng, before, below(rng, 100));
        shape.recording = 8;
        struct mprof_snapshot *stranger = random_snapshot(rng, &shape);
        good &= check_differences(now, before, MPROF_KEY_LINE, false, true) &&
                check_differences(now, before, MPROF_KEY_TRACEBACK, false, true) &&
                check_differences(now, before, MPROF_KEY_FILE, true, true) &&
                check_differences(now, before, MPROF_KEY_LINE, true, true) &&
                check_differences(now, now, MPROF_KEY_LINE, false, true) &&
                check_differences(now, stranger, MPROF_KEY_LINE, false, false);
        mprof_snapshot_decref(before);
        mprof_snapshot_decref(now);
        mprof_snapshot_decref(stranger);
    }
    ok(good, "differences: only samples that were born, died or were thinned have a variance");
}

/* ---- rows ---- */

/* The most frames that the program had in a stack of the row. */
static uint32_t frames_of(const struct mprof_rows *rows, uint32_t row)
{
    const struct mprof_snapshot *snapshot = rows->paths.sources[0].snapshot;
    uint32_t most = 0;
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++) {
        const struct mprof_stack *stack = &mprof_snapshot_stacks(snapshot)[i];
        if (rows->paths.sources[0].of_node[stack->node] == rows->rows[row].path && stack->total_frames > most)
            most = stack->total_frames;
    }
    return most;
}

static bool check_rows(const struct mprof_snapshot *snapshot, enum mprof_key key)
{
    struct mprof_arena arena;
    struct mprof_rows result;
    mprof_arena_init(&arena, 0);
    if (mprof_grouping_rows(&result, &arena, key, snapshot) < 0)
        bail("no memory");
    add_all(&expected_old, snapshot, key, false, false);  /* flat */
    add_all(&expected, snapshot, key, !whole(key), true); /* cumulative */
    bool good = check(result.count == expected.count, "%u rows, not %u", result.count, expected.count);
    const struct mprof_figures none[MPROF_MEASURES] = {{0}};
    for (uint32_t i = 0; i < result.count; i++) {
        char text[TEXT];
        path_key(&result.paths, result.rows[i].path, text);
        const struct group *flat = find(&expected_old, text);
        const struct group *cumulative = find(&expected, text);
        for (unsigned m = 0; m < MPROF_MEASURES; m++)
            good &= check(cumulative && same_figures(&result.rows[i].flat[m], flat ? &flat->figures[m] : &none[m]) &&
                              same_figures(&result.rows[i].cumulative[m], &cumulative->figures[m]),
                          "measure %u of %s", m, text);
        good &= check(result.rows[i].total_frames == (key == MPROF_KEY_STACK ? frames_of(&result, i) : 0),
                      "%u frames of %s", result.rows[i].total_frames, text);
        good &= check(i == 0 || result.rows[i - 1].flat[0].bytes >= result.rows[i].flat[0].bytes, "order at %u", i);
    }
    mprof_arena_drop(&arena);
    return good;
}

static void test_rows(struct mprof_rng *rng)
{
    bool good = true;
    for (unsigned round = 0; round < 30; round++) {
        struct shape shape = {.blocks = below(rng, 150), .sampled = round % 2};
        struct mprof_snapshot *snapshot = random_snapshot(rng, &shape);
        good &= check_rows(snapshot, MPROF_KEY_LINE) && check_rows(snapshot, MPROF_KEY_FUNCTION) &&
                check_rows(snapshot, MPROF_KEY_FILE) && check_rows(snapshot, MPROF_KEY_STACK);
        struct mprof_figures totals[MPROF_MEASURES];
        struct mprof_figures sum = {0};
        mprof_grouping_totals(snapshot, totals);
        for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++)
            mprof_figures_add(&sum, &mprof_snapshot_stacks(snapshot)[i].peak);
        good &= check(same_figures(&totals[MPROF_PEAK], &sum), "total at the peak");
        mprof_snapshot_decref(snapshot);
    }
    ok(good, "rows: flat and cumulative, a stack once a frame");
}

/* ---- sums by groups of functions ---- */

/* A group for each file, whose numbers are 1 and more; group 0 has no function. */
static void check_sums(const struct mprof_snapshot *snapshot, bool *good)
{
    uint32_t group_of[2 * FILES * NAMES + 1];
    uint32_t count = mprof_snapshot_function_count(snapshot);
    for (uint32_t i = 0; i < count; i++) {
        group_of[i] = FILES + 1;
        for (uint32_t k = 0; i > 0 && k < FILES; k++)
            if (strcmp(text_of(snapshot, mprof_snapshot_functions(snapshot)[i].filename), files[k]) == 0)
                group_of[i] = 1 + k;
    }
    struct mprof_arena arena;
    struct mprof_row *rows;
    mprof_arena_init(&arena, 0);
    if (mprof_grouping_sums(&rows, &arena, snapshot, group_of, FILES + 2) < 0)
        bail("no memory");
    add_all(&expected_old, snapshot, MPROF_KEY_FILE, false, false); /* flat */
    add_all(&expected, snapshot, MPROF_KEY_FILE, true, true);       /* cumulative */
    const struct mprof_figures none[MPROF_MEASURES] = {{0}};
    for (uint32_t i = 0; i < FILES + 2; i++) {
        const char *name = i == 0 ? "" : i <= FILES ? files[i - 1] : MPROF_UNKNOWN_FILE;
        const struct group *flat = find(&expected_old, name);
        const struct group *cumulative = find(&expected, name);
        for (unsigned m = 0; m < MPROF_MEASURES; m++)
            *good &= check(same_figures(&rows[i].flat[m], flat ? &flat->figures[m] : &none[m]) &&
                               same_figures(&rows[i].cumulative[m], cumulative ? &cumulative->figures[m] : &none[m]),
                           "measure %u of group %u", m, i);
    }
    mprof_arena_drop(&arena);
}

static void test_sums(struct mprof_rng *rng)
{
    bool good = true;
    for (unsigned round = 0; round < 30; round++) {
        struct shape shape = {.blocks = below(rng, 150), .sampled = round % 2};
        struct mprof_snapshot *snapshot = random_snapshot(rng, &shape);
        check_sums(snapshot, &good);
        mprof_snapshot_decref(snapshot);
    }
    ok(good, "sums by groups of functions, a stack once a group");
}

/* ---- no memory ---- */

enum call { STATISTICS, DIFFERENCES, ROWS, SUMS, SAME, CALLS };

static int call(enum call what, const struct mprof_snapshot *a, const struct mprof_snapshot *b,
                struct mprof_arena *arena)
{
    struct mprof_statistics statistics;
    struct mprof_differences differences;
    struct mprof_rows rows;
    struct mprof_row *sums;
    const uint32_t one_group[2 * FILES * NAMES + 1] = {0};
    bool same;
    switch (what) {
    case STATISTICS:
        return mprof_grouping_statistics(&statistics, arena, MPROF_KEY_LINE, a, true);
    case DIFFERENCES:
        return mprof_grouping_differences(&differences, arena, MPROF_KEY_TRACEBACK, a, b, false);
    case ROWS:
        return mprof_grouping_rows(&rows, arena, MPROF_KEY_STACK, a);
    case SUMS:
        return mprof_grouping_sums(&sums, arena, a, one_group, 1);
    default:
        return mprof_grouping_same_traces(a, b, arena, &same);
    }
}

static void test_no_memory(struct mprof_rng *rng)
{
    struct shape shape = {.blocks = 100, .sampled = true, .recording = 7, .first_id = 1};
    struct mprof_snapshot *a = random_snapshot(rng, &shape);
    struct mprof_snapshot *b = random_snapshot(rng, &shape);
    for (unsigned what = 0; what < CALLS; what++) {
        unsigned failed = 0;
        int status = -1;
        while (status < 0 && failed < 1000) {
            struct mprof_arena arena;
            mprof_arena_init(&arena, 0);
            arena.fail_at = failed + 1;
            status = call((enum call)what, a, b, &arena);
            failed += status < 0;
            mprof_arena_drop(&arena);
        }
        ok(status == 0 && failed > 3, "call %u fails for each of its %u requests for memory", what, failed);
    }
    mprof_snapshot_decref(a);
    mprof_snapshot_decref(b);
}

int main(void)
{
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 20240601);
    test_order(&rng);
    test_statistics(&rng);
    test_differences(&rng);
    test_rows(&rng);
    test_sums(&rng);
    test_no_memory(&rng);
    return done();
}
