/* SPDX-License-Identifier: MIT */
/* paths.c -- see paths.h. Three steps: rank the names, rank the functions by them, intern the paths of the nodes. */
#include "core/paths.h"

#include "base/os.h"
#include "base/rng.h"
#include "core/order.h"

#include <string.h>

#define NO_RANK UINT32_MAX

/* A string of one of the snapshots, or "<unknown>". */
struct name {
    const char *text;
    size_t length;
    uint32_t *rank; /* where its rank goes */
};

/* What one snapshot has while ranks are given out. */
struct ranks {
    uint32_t *strings;   /* rank of each string; NO_RANK if not used */
    uint32_t *functions; /* rank of each function */
};

struct naming {
    struct mprof_arena *arena;
    struct ranks of[2];
    uint32_t unknown; /* rank of "<unknown>" as a file name */
    uint32_t empty;   /* rank of "" as a function name */
};

static bool whole_path(enum mprof_key key)
{
    return key == MPROF_KEY_TRACEBACK || key == MPROF_KEY_STACK;
}

static bool by_function(enum mprof_key key)
{
    return key == MPROF_KEY_FUNCTION || key == MPROF_KEY_STACK;
}

/* ---- ranks of strings ---- */

static int compare_names(const void *context, uint32_t a, uint32_t b)
{
    const struct name *names = context;
    const struct name *left = &names[a];
    const struct name *right = &names[b];
    size_t shorter = left->length < right->length ? left->length : right->length;
    int order = memcmp(left->text, right->text, shorter);
    if (order != 0)
        return order;
    return left->length < right->length ? -1 : left->length > right->length;
}

/* Gives every used string NO_RANK - 1 and returns how many there are. */
static size_t mark_strings(const struct mprof_snapshot *snapshot, bool names_too, uint32_t *ranks)
{
    uint32_t strings = mprof_snapshot_string_count(snapshot);
    for (uint32_t i = 0; i < strings; i++)
        ranks[i] = NO_RANK;
    const struct mprof_function *functions = mprof_snapshot_functions(snapshot);
    uint32_t count = mprof_snapshot_function_count(snapshot);
    for (uint32_t i = 1; i < count; i++) {
        ranks[functions[i].filename] = NO_RANK - 1;
        if (names_too)
            ranks[functions[i].name] = NO_RANK - 1;
    }
    size_t used = 0;
    for (uint32_t i = 0; i < strings; i++)
        used += ranks[i] != NO_RANK;
    return used;
}

static int rank_strings(struct naming *naming, const struct mprof_paths *paths)
{
    size_t used = 2;
    for (uint32_t s = 0; s < paths->source_count; s++) {
        const struct mprof_snapshot *snapshot = paths->sources[s].snapshot;
        naming->of[s].strings =
            mprof_arena_array(naming->arena, mprof_snapshot_string_count(snapshot), sizeof(uint32_t));
        if (!naming->of[s].strings)
            return -1;
        used += mark_strings(snapshot, by_function(paths->key), naming->of[s].strings);
    }
    struct name *names = mprof_arena_array(naming->arena, used, sizeof *names);
    uint32_t *order = mprof_arena_array(naming->arena, 2 * used, sizeof *order);
    if (!names || !order)
        return -1;
    size_t count = 0;
    names[count++] = (struct name){MPROF_UNKNOWN_FILE, sizeof MPROF_UNKNOWN_FILE - 1, &naming->unknown};
    names[count++] = (struct name){"", 0, &naming->empty};
    for (uint32_t s = 0; s < paths->source_count; s++) {
        const struct mprof_snapshot *snapshot = paths->sources[s].snapshot;
        for (uint32_t i = 0; i < mprof_snapshot_string_count(snapshot); i++) {
            if (naming->of[s].strings[i] == NO_RANK)
                continue;
            struct name *name = &names[count++];
            name->text = mprof_snapshot_string(snapshot, i, &name->length);
            name->rank = &naming->of[s].strings[i];
        }
    }
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    mprof_order_sort(order, order + count, count, compare_names, names);
    uint32_t rank = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && compare_names(names, order[i - 1], order[i]) != 0)
            rank++;
        *names[order[i]].rank = rank;
    }
    return 0;
}

/* ---- ranks of functions ---- */

/* A function by the ranks of its names. */
struct ranked {
    uint32_t filename;
    uint32_t firstlineno;
    uint32_t name;
    uint32_t *rank;
};

static int compare_functions(const void *context, uint32_t a, uint32_t b)
{
    const struct ranked *left = (const struct ranked *)context + a;
    const struct ranked *right = (const struct ranked *)context + b;
    if (left->filename != right->filename)
        return left->filename < right->filename ? -1 : 1;
    if (left->firstlineno != right->firstlineno)
        return left->firstlineno < right->firstlineno ? -1 : 1;
    return left->name < right->name ? -1 : left->name > right->name;
}

/* Function 0, which no frame has, stands for "<unknown>". */
static uint32_t file_rank(const struct naming *naming, uint32_t source, const struct mprof_function *functions,
                          uint32_t function)
{
    return function ? naming->of[source].strings[functions[function].filename] : naming->unknown;
}

static int rank_functions(struct naming *naming, const struct mprof_paths *paths)
{
    size_t total = 0;
    for (uint32_t s = 0; s < paths->source_count; s++) {
        uint32_t count = mprof_snapshot_function_count(paths->sources[s].snapshot);
        const struct mprof_function *functions = mprof_snapshot_functions(paths->sources[s].snapshot);
        naming->of[s].functions = mprof_arena_array(naming->arena, count, sizeof(uint32_t));
        if (!naming->of[s].functions)
            return -1;
        for (uint32_t i = 0; i < count; i++)
            naming->of[s].functions[i] = file_rank(naming, s, functions, i);
        total += count;
    }
    if (!by_function(paths->key))
        return 0;
    struct ranked *ranked = mprof_arena_array(naming->arena, total, sizeof *ranked);
    uint32_t *order = mprof_arena_array(naming->arena, 2 * total, sizeof *order);
    if (!ranked || !order)
        return -1;
    uint32_t at = 0;
    for (uint32_t s = 0; s < paths->source_count; s++) {
        uint32_t count = mprof_snapshot_function_count(paths->sources[s].snapshot);
        const struct mprof_function *functions = mprof_snapshot_functions(paths->sources[s].snapshot);
        for (uint32_t i = 0; i < count; i++, at++) {
            ranked[at].filename = naming->of[s].functions[i];
            ranked[at].firstlineno = functions[i].firstlineno;
            ranked[at].name = i ? naming->of[s].strings[functions[i].name] : naming->empty;
            ranked[at].rank = &naming->of[s].functions[i];
            order[at] = at;
        }
    }
    mprof_order_sort(order, order + total, total, compare_functions, ranked);
    uint32_t rank = 0;
    for (size_t i = 0; i < total; i++) {
        if (i > 0 && compare_functions(ranked, order[i - 1], order[i]) != 0)
            rank++;
        *ranked[order[i]].rank = rank;
    }
    return 0;
}

/* ---- paths ---- */

/* Open addressing over the paths; room for all of them was taken beforehand, so adding cannot fail. */
struct intern {
    struct mprof_paths *paths;
    uint32_t *slots; /* path; 0: free */
    size_t mask;
    uint64_t seed; /* line numbers may come from a file that somebody made to hurt */
};

static uint32_t intern(struct intern *table, uint32_t parent, uint64_t frame, uint32_t source, uint32_t node)
{
    struct mprof_path *items = table->paths->items;
    size_t at = (size_t)mprof_mix64((frame ^ table->seed) + mprof_mix64(parent ^ table->seed)) & table->mask;
    for (uint32_t path; (path = table->slots[at]) != 0; at = (at + 1) & table->mask)
        if (items[path].frame == frame && items[path].parent == parent)
            return path;
    uint32_t added = table->paths->count++;
    items[added] = (struct mprof_path){frame, parent, items[parent].depth + 1, source, node};
    table->slots[at] = added;
    return added;
}

static void number_nodes(struct intern *table, const uint32_t *ranks, uint32_t source, const uint8_t *wanted)
{
    struct mprof_paths *paths = table->paths;
    const struct mprof_snapshot *snapshot = paths->sources[source].snapshot;
    const struct mprof_node *nodes = mprof_snapshot_nodes(snapshot);
    uint32_t count = mprof_snapshot_node_count(snapshot);
    uint32_t *of_node = paths->sources[source].of_node;
    bool with_line = paths->key != MPROF_KEY_FILE && paths->key != MPROF_KEY_FUNCTION;
    bool whole = whole_path(paths->key);
    for (uint32_t i = 1; i < count; i++) {
        if (wanted && !wanted[i])
            continue;
        uint64_t frame = (uint64_t)ranks[nodes[i].function] << 32 | (with_line ? nodes[i].line : 0);
        of_node[i] = intern(table, whole ? of_node[nodes[i].parent] : 0, frame, source, i);
    }
    /* After the nodes, whose outermost frames take of_node[0] for their parent: the empty path. */
    of_node[0] = intern(table, 0, (uint64_t)ranks[0] << 32, source, 0);
}

/* One byte a node: 1 if it has a stack. */
static uint8_t *stack_nodes(struct mprof_arena *arena, const struct mprof_snapshot *snapshot)
{
    uint8_t *wanted = mprof_arena_array(arena, mprof_snapshot_node_count(snapshot), 1);
    const struct mprof_stack *stacks = mprof_snapshot_stacks(snapshot);
    uint32_t count = mprof_snapshot_stack_count(snapshot);
    for (uint32_t i = 0; wanted && i < count; i++)
        wanted[stacks[i].node] = 1;
    return wanted;
}

/* Takes the snapshots in and makes room. Sets *most to the number of paths that there can be. */
static int paths_begin(struct mprof_paths *paths, struct mprof_arena *arena, enum mprof_key key,
                       const struct mprof_snapshot *const *snapshots, uint32_t count, size_t *most)
{
    *paths = (struct mprof_paths){.key = key, .source_count = count};
    *most = 1; /* the empty path; node 0 of each snapshot stands for "<unknown>" */
    for (uint32_t s = 0; s < count; s++) {
        uint32_t nodes = mprof_snapshot_node_count(snapshots[s]);
        paths->sources[s].snapshot = snapshots[s];
        paths->sources[s].of_node = mprof_arena_array(arena, nodes, sizeof(uint32_t));
        if (!paths->sources[s].of_node)
            return -1;
        *most += nodes;
    }
    return *most > UINT32_MAX ? -1 : 0;
}

/* ranks[s]: of the functions of each snapshot. */
static int paths_intern(struct mprof_paths *paths, struct mprof_arena *arena, const uint32_t *const *ranks, size_t most,
                        bool every_node)
{
    size_t slots = 64;
    while (slots < 2 * most)
        slots *= 2;
    struct intern table = {.paths = paths, .mask = slots - 1, .seed = mprof_os_entropy()};
    table.slots = mprof_arena_array(arena, slots, sizeof(uint32_t));
    paths->items = mprof_arena_array(arena, most, sizeof *paths->items);
    if (!table.slots || !paths->items)
        return -1;
    paths->count = 1;
    for (uint32_t s = 0; s < paths->source_count; s++) {
        uint8_t *wanted = NULL;
        if (!every_node && !whole_path(paths->key) && !(wanted = stack_nodes(arena, paths->sources[s].snapshot)))
            return -1;
        number_nodes(&table, ranks[s], s, wanted);
    }
    mprof_arena_put(arena, table.slots, slots * sizeof(uint32_t));
    return 0;
}

int mprof_paths_make(struct mprof_paths *paths, struct mprof_arena *arena, enum mprof_key key,
                     const struct mprof_snapshot *const *snapshots, uint32_t count, bool every_node)
{
    size_t most;
    struct naming naming = {.arena = arena};
    if (paths_begin(paths, arena, key, snapshots, count, &most) < 0 || rank_strings(&naming, paths) < 0 ||
        rank_functions(&naming, paths) < 0)
        return -1;
    const uint32_t *const ranks[2] = {naming.of[0].functions, naming.of[1].functions};
    return paths_intern(paths, arena, ranks, most, every_node);
}

int mprof_paths_make_numbered(struct mprof_paths *paths, struct mprof_arena *arena,
                              const struct mprof_snapshot *const *snapshots, const uint32_t *const *numbers,
                              uint32_t count)
{
    size_t most;
    if (paths_begin(paths, arena, MPROF_KEY_STACK, snapshots, count, &most) < 0)
        return -1;
    return paths_intern(paths, arena, numbers, most, true);
}

int mprof_paths_compare(const struct mprof_paths *paths, uint32_t a, uint32_t b)
{
    const struct mprof_path *items = paths->items;
    if (a == b)
        return 0;
    int shorter = items[a].depth < items[b].depth ? -1 : items[a].depth > items[b].depth;
    while (items[a].depth > items[b].depth)
        a = items[a].parent;
    while (items[b].depth > items[a].depth)
        b = items[b].parent;
    if (a == b)
        return shorter; /* one is the beginning of the other */
    while (items[a].parent != items[b].parent) {
        a = items[a].parent;
        b = items[b].parent;
    }
    return items[a].frame < items[b].frame ? -1 : 1;
}
