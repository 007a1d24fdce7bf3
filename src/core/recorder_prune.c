/* SPDX-License-Identifier: MIT */
/* recorder_prune.c -- stacks that nothing needs any more.
 *
 * WHAT    Programs that make code at run time (templates, notebooks, exec) make new functions for ever, and each
 *         leaves nodes in the tree. When the tree has doubled since the last time, stacks with no live sample, none at
 *         the peak, and no allocation in the last quarter of its growth are folded: what they allocated is added to the
 *         stack "<pruned>", so totals stay right; their nodes, functions and names are given back.
 *
 *             nodes   c ----- 5/4 c ----- 6/4 c ----- 7/4 c ----- 2 c
 *             phase     n       n + 1       n + 2       n + 3     prune: who did not allocate in n + 3
 *
 * WHY     Reference counts on every node would cost each event; a sweep costs O(tree) once each time that the tree
 *         has doubled, so O(1) per node made. A quarter, since what allocated lately is kept whatever it is, and looked
 *         at again the next time: where every stack is new, that is all that there is to keep.
 * LOCKS   the recorder's, held.
 * MEMORY  scratch marks, a byte a node, function and string, from a mapping of their own; without it nothing is
 *         pruned. */
#include "core/recorder_private.h"

static const char PRUNED[] = "<pruned>";

/* Record of the stack that collects what pruned stacks allocated. -1: no memory. */
static int find_pruned(struct mprof_recorder *r, uint32_t *stack)
{
    struct mprof_funcentry entry = {0, 0, 0, 0, 0};
    uint32_t function;
    uint32_t node;
    if (mprof_strtab_intern(&r->strings, &r->arena, PRUNED, sizeof PRUNED - 1, &entry.name) != 0)
        return -1;
    entry.filename = entry.name;
    if (mprof_functab_intern(&r->functions, &r->arena, &entry, &function) != 0 ||
        mprof_stacktrie_child(&r->trie, &r->arena, 0, function, 0, &node) < 0 ||
        mprof_stacktrie_stack(&r->trie, &r->arena, node, r->peak_stamp, stack) < 0)
        return -1;
    return 0;
}

static bool dead(const struct mprof_recorder *r, uint32_t stack)
{
    const struct mprof_stackrec *record = &r->trie.stacks[stack];
    bool at_peak = record->stamp == r->peak_stamp && record->peak_blocks > 0;
    return record->live == 0 && !at_peak && r->trie.infos[stack].recent != r->phase && r->trie.infos[stack].pins == 0;
}

static void fold(struct mprof_stacktrie *trie, uint32_t from, uint32_t into)
{
    trie->stacks[into].alloc_bytes += trie->stacks[from].alloc_bytes;
    trie->stacks[into].alloc_blocks += trie->stacks[from].alloc_blocks;
    if (trie->spreads) {
        struct mprof_spread *sum = &trie->spreads[into].alloc;
        const struct mprof_spread *part = &trie->spreads[from].alloc;
        sum->bytes_var += part->bytes_var;
        sum->blocks_var += part->blocks_var;
        sum->seen += part->seen;
        sum->samples += part->samples;
    }
    mprof_stacktrie_free_stack(trie, from);
}

static void prune(struct mprof_recorder *r)
{
    struct mprof_stacktrie *trie = &r->trie;
    struct mprof_arena scratch;
    mprof_arena_init(&scratch, 0);
    uint32_t pruned;
    int found = find_pruned(r, &pruned);
    uint8_t *nodes = mprof_arena_get(&scratch, trie->used);
    uint8_t *functions = mprof_arena_get(&scratch, r->functions.used);
    uint8_t *strings = mprof_arena_get(&scratch, r->strings.used);
    if (found == 0 && nodes && functions && strings) {
        for (uint32_t i = 0; i < trie->stack_used; i++) {
            if (trie->infos[i].recent == MPROF_STACK_FREE)
                continue;
            if (i != pruned && dead(r, i)) {
                fold(trie, i, pruned);
                continue;
            }
            for (uint32_t node = trie->stacks[i].node; node != 0 && !nodes[node]; node = trie->nodes[node].parent)
                nodes[node] = 1;
        }
        mprof_stacktrie_sweep(trie, nodes, functions);
        mprof_functab_sweep(&r->functions, functions);
        for (uint32_t i = 1; i < r->functions.used; i++) {
            if (!functions[i])
                continue;
            strings[r->functions.functions[i].name] = 1;
            strings[r->functions.functions[i].filename] = 1;
        }
        mprof_strtab_sweep(&r->strings, &r->arena, strings);
        mprof_recorder_void_captures_locked(r);
        r->prunes++;
    }
    mprof_arena_drop(&scratch);
}

static uint32_t grown_by(uint32_t count, uint32_t more)
{
    return count < UINT32_MAX - more ? count + more : UINT32_MAX;
}

/* Of c nodes left, those that the last phase made or used are kept whatever they are: with n that are needed, c comes to
 * rest at n + c / 4, and the tree at 8 n / 3 before it is pruned. Small trees grow by the least that is worth it. */
void mprof_recorder_plan_prune_locked(struct mprof_recorder *r)
{
    uint32_t growth = r->trie.count > MPROF_PRUNE_MIN_NODES ? r->trie.count : MPROF_PRUNE_MIN_NODES;
    r->phase_nodes = growth / MPROF_PRUNE_PHASES;
    r->phases_left = MPROF_PRUNE_PHASES;
    r->phase_ends = grown_by(r->trie.count, r->phase_nodes);
}

void mprof_recorder_next_phase_locked(struct mprof_recorder *r)
{
    if (--r->phases_left == 0) {
        prune(r);
        mprof_recorder_plan_prune_locked(r);
    } else {
        r->phase_ends = grown_by(r->trie.count, r->phase_nodes); /* one deep stack may be more than a phase */
    }
    r->phase = (r->phase + 1) & INT32_MAX; /* never MPROF_STACK_FREE */
}
