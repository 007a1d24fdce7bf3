/* SPDX-License-Identifier: MIT */
/* snapshot_take.c -- the recorder's state as a snapshot.
 *
 * WHAT    Two steps. Under the lock, plain copies of the tables into one mapping that was made, and whose pages were
 *         faulted in, before. Without the lock, those copies go through the builder: nodes are renumbered so that
 *         parents come first, nodes of one line merge, live entries get their stacks' new numbers.
 * WHY     The program waits for memcpy only: 100,000 live samples are a few megabytes, under a millisecond.
 * LOCKS   the recorder's, for the copies.
 * MEMORY  the copies' mapping (given back at the end) and the snapshot's own arena. */
#include "core/recorder_private.h"
#include "core/snapshot_private.h"

#include <errno.h>
#include <string.h>

/* The copies. Every pointer is into `memory`. */
struct copy {
    char *memory;
    size_t size;
    struct mprof_live *live; /* with free places between */
    size_t live_count;
    struct mprof_detail *details;
    struct mprof_trienode *nodes;
    struct mprof_stackrec *stacks;
    struct mprof_stackspread *spreads; /* NULL in exact mode */
    struct mprof_stackinfo *infos;
    struct mprof_funcentry *functions;
    struct mprof_string *strings;
    char *text;
    uint32_t node_count;
    uint32_t stack_count;
    uint32_t function_count;
    uint32_t string_count;
    struct mprof_meta meta;
    uint64_t peak_stamp;
    int64_t offset_ns; /* wall clock minus monotonic clock */
    int64_t start_ns;
    unsigned birth_shift;
    double rate;
};

/* Cuts the next `size` bytes off a mapping; the first pass, without a mapping, only adds up. */
static void *cut(char *memory, size_t *used, size_t size)
{
    size_t at = *used;
    *used = (at + size + 63) & ~(size_t)63;
    return memory ? memory + at : NULL;
}

/* Lays the copies out; returns the bytes needed. */
static size_t lay_out(const struct mprof_recorder *r, struct copy *c)
{
    size_t used = 0;
    c->live_count = mprof_livetable_room(&r->live);
    c->node_count = r->trie.used;
    c->stack_count = r->trie.stack_used;
    c->function_count = r->functions.used;
    c->string_count = r->strings.used;
    c->live = cut(c->memory, &used, c->live_count * sizeof *c->live);
    c->details = cut(c->memory, &used, r->live.details_used * sizeof *c->details);
    c->nodes = cut(c->memory, &used, c->node_count * sizeof *c->nodes);
    c->stacks = cut(c->memory, &used, c->stack_count * sizeof *c->stacks);
    c->infos = cut(c->memory, &used, c->stack_count * sizeof *c->infos);
    c->functions = cut(c->memory, &used, c->function_count * sizeof *c->functions);
    c->strings = cut(c->memory, &used, c->string_count * sizeof *c->strings);
    c->text = cut(c->memory, &used, r->strings.text_used);
    c->spreads = r->trie.spreads ? cut(c->memory, &used, c->stack_count * sizeof *c->spreads) : NULL;
    return used;
}

static void copy_bytes(void *to, const void *from, size_t size)
{
    if (size != 0)
        memcpy(to, from, size);
}

static void copy_tables(const struct mprof_recorder *r, struct copy *c)
{
    mprof_livetable_copy(&r->live, c->live);
    copy_bytes(c->details, r->live.details, r->live.details_used * sizeof *c->details);
    copy_bytes(c->nodes, r->trie.nodes, c->node_count * sizeof *c->nodes);
    copy_bytes(c->stacks, r->trie.stacks, c->stack_count * sizeof *c->stacks);
    copy_bytes(c->infos, r->trie.infos, c->stack_count * sizeof *c->infos);
    copy_bytes(c->functions, r->functions.functions, c->function_count * sizeof *c->functions);
    copy_bytes(c->strings, r->strings.strings, c->string_count * sizeof *c->strings);
    copy_bytes(c->text, r->strings.text, r->strings.text_used);
    if (c->spreads)
        copy_bytes(c->spreads, r->trie.spreads, c->stack_count * sizeof *c->spreads);
}

static void copy_state(const struct mprof_recorder *r, struct copy *c)
{
    int64_t monotonic = mprof_os_monotonic_coarse_ns();
    c->offset_ns = r->start_wall_ns - r->start_ns;
    c->peak_stamp = r->peak_stamp;
    c->birth_shift = r->birth_shift;
    c->start_ns = r->start_ns;
    c->rate = r->rate;
    c->meta = (struct mprof_meta){
        .sample_rate = r->rate,
        .max_frames = r->options.max_frames,
        .drops = r->drops + __atomic_load_n(&r->reentered, __ATOMIC_RELAXED),
        .thinnings = r->thinnings,
        .start_ns = r->start_wall_ns,
        .time_ns = monotonic + c->offset_ns,
        .peak_ns = r->peak_ns ? r->peak_ns + c->offset_ns : 0,
        .recording = r->recording,
    };
}

/* Makes room without the lock, copies with it, and again with more room if the tables have outgrown it meanwhile.
 * 0; ENOMEM; -1: not active. */
static int copy_recorder(struct mprof_recorder *r, struct copy *c)
{
    memset(c, 0, sizeof *c);
    for (;;) {
        mprof_recorder_lock(r);
        bool active = r->active;
        size_t need = active ? lay_out(r, c) : 0;
        bool fits = active && c->memory && need <= c->size;
        if (fits) {
            copy_tables(r, c);
            copy_state(r, c);
        }
        mprof_recorder_unlock(r);
        if (fits)
            return 0;
        if (c->memory)
            mprof_os_unmap(c->memory, c->size);
        c->memory = NULL;
        if (!active)
            return -1;
        c->size = (need + need / 8 + MPROF_OS_PAGE) & ~(MPROF_OS_PAGE - 1);
        c->memory = mprof_os_map_present(c->size);
        if (!c->memory)
            return ENOMEM;
    }
}

/* ---- into the builder ---- */

enum { KNOWN = 256 };

/* New numbers of old nodes, functions, stacks; 0 (stacks: UINT32_MAX) until given. */
struct renumber {
    struct mprof_builder *builder;
    int (*put_node)(struct mprof_builder *builder, const struct mprof_node *node, uint32_t *index);
    const struct copy *copy;
    uint32_t *functions;
    uint32_t *nodes;
    uint32_t *stacks;
    uint32_t *pending; /* path from a node up to one that has its number */
    struct mprof_arena *scratch;
    uint32_t stack_count; /* new */
    struct known {
        uint64_t size;
        double p;   /* 0: free */
    } known[KNOWN]; /* probabilities computed before: programs ask for few sizes */
};

static int add_string(struct renumber *n, uint32_t old, uint32_t *index)
{
    const struct mprof_string *string = &n->copy->strings[old];
    return mprof_builder_string(n->builder, n->copy->text + string->offset, string->length, index);
}

static int add_function(struct renumber *n, uint32_t old, uint32_t *index)
{
    if (n->functions[old] == 0) {
        const struct mprof_funcentry *entry = &n->copy->functions[old];
        struct mprof_function function = {0, 0, entry->firstlineno};
        if (add_string(n, entry->name, &function.name) != 0 ||
            add_string(n, entry->filename, &function.filename) != 0 ||
            mprof_builder_function(n->builder, &function, &n->functions[old]) != 0)
            return -1;
    }
    *index = n->functions[old];
    return 0;
}

/* Adds a node after its parents. */
static int add_node(struct renumber *n, uint32_t old, uint32_t *index)
{
    uint32_t depth = 0;
    for (uint32_t i = old; i != 0 && n->nodes[i] == 0; i = n->copy->nodes[i].parent)
        n->pending[depth++] = i;
    while (depth-- > 0) {
        uint32_t i = n->pending[depth];
        const struct mprof_trienode *from = &n->copy->nodes[i];
        struct mprof_node node = {n->nodes[from->parent], 0, from->line};
        if (add_function(n, from->function, &node.function) != 0 || n->put_node(n->builder, &node, &n->nodes[i]) != 0)
            return -1;
    }
    *index = n->nodes[old];
    return 0;
}

static struct mprof_figures figures_of(double bytes, double blocks, const struct mprof_spread *spread)
{
    if (spread)
        return (struct mprof_figures){bytes,        blocks,         spread->bytes_var, spread->blocks_var,
                                      spread->seen, spread->samples};
    return (struct mprof_figures){bytes, blocks, 0, 0, bytes, blocks};
}

static int add_stack(struct renumber *n, uint32_t old)
{
    const struct copy *c = n->copy;
    const struct mprof_stackrec *record = &c->stacks[old];
    const struct mprof_stackspread *spread = c->spreads ? &c->spreads[old] : NULL;
    struct mprof_stack stack = {.total_frames = c->infos[old].total_frames};
    stack.alloc = figures_of(record->alloc_bytes, record->alloc_blocks, spread ? &spread->alloc : NULL);
    if (record->stamp == c->peak_stamp)
        stack.peak = figures_of(record->peak_bytes, record->peak_blocks, spread ? &spread->peak : NULL);
    else
        stack.peak = figures_of(record->inuse_bytes, record->inuse_blocks, spread ? &spread->inuse : NULL);
    if (add_node(n, record->node, &stack.node) != 0)
        return -1;
    if (mprof_builder_stack(n->builder, &stack, &n->stacks[old]) != 0)
        return -1;
    if (n->stack_count <= n->stacks[old])
        n->stack_count = n->stacks[old] + 1;
    return 0;
}

static int add_stacks(struct renumber *n)
{
    for (uint32_t i = 0; i < n->copy->stack_count; i++) {
        if (n->copy->infos[i].recent != MPROF_STACK_FREE && add_stack(n, i) != 0)
            return -1;
    }
    return 0;
}

static double probability(struct renumber *n, uint64_t size)
{
    struct known *known = &n->known[(size ^ size >> 11) / 8 % KNOWN];
    if (known->size != size || known->p <= 0)
        *known = (struct known){size, mprof_sampler_probability(size, n->copy->rate)};
    return known->p;
}

static struct mprof_block full_record(struct renumber *n, const struct mprof_live *entry)
{
    const struct copy *c = n->copy;
    const struct mprof_detail *detail =
        entry->size & MPROF_LIVE_WIDE ? &c->details[entry->size & ~MPROF_LIVE_WIDE] : NULL;
    uint64_t size = detail ? detail->size : entry->size;
    double p = probability(n, size);
    return (struct mprof_block){
        .stack = n->stacks[entry->stack],
        .size = size,
        .samples = 1,
        .blocks = 1 / p,
        .bytes = (double)size / p,
        .rate = c->rate,
        .id = detail ? detail->id : 0,
        .birth_ns =
            detail ? detail->birth_ns + c->offset_ns
                   : c->start_ns + c->offset_ns + (int64_t)(entry->key >> MPROF_LIVE_ADDRESS_BITS << c->birth_shift),
        .address = mprof_live_address(entry),
    };
}

/* Where the entries of each new stack begin when they are sorted by stack. NULL: no memory. */
static size_t *count_entries(const struct renumber *n, size_t *entries, size_t *wide)
{
    const struct copy *c = n->copy;
    size_t *starts = mprof_arena_get(n->scratch, (n->stack_count + (size_t)1) * sizeof *starts);
    if (!starts)
        return NULL;
    for (size_t i = 0; i < c->live_count; i++) {
        if (c->live[i].key == 0)
            continue;
        *entries += 1;
        *wide += c->rate > 1.0 || (c->live[i].size & MPROF_LIVE_WIDE);
        starts[n->stacks[c->live[i].stack] + 1]++;
    }
    for (uint32_t s = 0; s < n->stack_count; s++)
        starts[s + 1] += starts[s];
    return starts;
}

/* In the order of their stacks: whoever sums them up by stack, as the encoder does, then reads and writes memory in
 * order. */
static int add_blocks(struct renumber *n)
{
    const struct copy *c = n->copy;
    size_t count = 0;
    size_t wide = 0;
    struct mprof_live *entries = NULL;
    struct mprof_block *blocks = NULL;
    uint32_t first = 0;
    uint32_t next = 0;
    size_t *starts = count_entries(n, &count, &wide);
    mprof_builder_set_births(n->builder, c->start_ns + c->offset_ns, c->birth_shift);
    if (!starts || mprof_builder_reserve_blocks(n->builder, wide, &blocks, &first) != 0 ||
        mprof_builder_reserve_live(n->builder, count, &entries) != 0)
        return -1;
    for (size_t i = 0; i < c->live_count; i++) {
        const struct mprof_live *entry = &c->live[i];
        if (entry->key == 0)
            continue;
        uint32_t stack = n->stacks[entry->stack];
        size_t at = starts[stack]++;
        entries[at] = *entry;
        entries[at].stack = stack;
        if (c->rate > 1.0 || (entry->size & MPROF_LIVE_WIDE)) {
            uint32_t record = wide == count ? (uint32_t)at : next++;
            blocks[record] = full_record(n, entry);
            entries[at].size = (first + record) | MPROF_LIVE_WIDE;
        }
    }
    return 0;
}

static struct mprof_snapshot *build(const struct copy *c, bool merge)
{
    struct mprof_arena scratch;
    mprof_arena_init(&scratch, 0);
    scratch.huge = true;
    struct renumber n = {.builder = mprof_builder_new(), .copy = c, .scratch = &scratch};
    n.put_node = merge ? mprof_builder_node : mprof_builder_append_node;
    n.functions = mprof_arena_get(&scratch, (c->function_count + (size_t)1) * sizeof *n.functions);
    n.nodes = mprof_arena_get(&scratch, (c->node_count + (size_t)1) * sizeof *n.nodes);
    n.stacks = mprof_arena_get(&scratch, (c->stack_count + (size_t)1) * sizeof *n.stacks);
    n.pending = mprof_arena_get(&scratch, (MPROF_MAX_FRAMES + (size_t)1) * sizeof *n.pending);
    struct mprof_snapshot *snapshot = NULL;
    if (n.builder && n.functions && n.nodes && n.stacks && n.pending &&
        mprof_builder_reserve(n.builder, c->node_count, c->stack_count, merge) == 0 && add_stacks(&n) == 0 &&
        add_blocks(&n) == 0)
        snapshot = (merge ? mprof_builder_finish : mprof_builder_finish_unsummed)(n.builder, &c->meta);
    else
        mprof_builder_drop(n.builder);
    mprof_arena_drop(&scratch);
    return snapshot;
}

static struct mprof_snapshot *take(bool merge)
{
    struct copy c;
    int problem = copy_recorder(&mprof_recorder, &c);
    if (problem != 0) {
        errno = problem > 0 ? problem : 0;
        return NULL;
    }
    struct mprof_snapshot *snapshot = build(&c, merge);
    mprof_os_unmap(c.memory, c.size);
    if (!snapshot)
        errno = ENOMEM;
    return snapshot;
}

struct mprof_snapshot *mprof_recorder_snapshot(void)
{
    return take(true);
}

struct mprof_snapshot *mprof_recorder_snapshot_unmerged(void)
{
    return take(false);
}
