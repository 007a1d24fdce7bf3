/* SPDX-License-Identifier: MIT */
/* recorder_prune.c -- stacks that nothing needs any more.
 *
 * WHAT    Programs that make code at run time (templates, notebooks, exec) make new functions for ever, and each
 *         leaves nodes in the tree. When the tree has grown by half since the last time, stacks with no live sample,
 *         none at the peak, and no allocation since the last time are folded: what they allocated is added to the stack
 *         "<pruned>", so totals stay right; their nodes, functions and names are given back.
 *
 *             round n      made, used         -> recent
 *             round n + 1  not used           -> not recent
 *             round n + 2  still not used, nothing live, nothing at the peak -> folded
 *
 * WHY     Reference counts on every node would cost each event; a sweep costs O(tree) once per growth by half, so
 *         O(1) per node made.
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
    return record->live == 0 && !at_peak && r->trie.infos[stack].recent == 0 && r->trie.infos[stack].pins == 0;
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

void mprof_recorder_prune_locked(struct mprof_recorder *r)
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
            trie->infos[i].recent = 0;
            for (uint32_t node = trie->stacks[i].node; node != 0 && !nodes[node]; node = trie->nodes[node].parent)
                nodes[node] = 1;
        }
        mprof_stacktrie_sweep(trie, nodes);
        for (uint32_t i = 1; i < trie->used; i++)
            functions[trie->nodes[i].function] = 1;
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
    /* Of c nodes left, those made since the last time are kept whatever they are. Letting the tree double would add all
     * of c to them each time, and c would grow without end; half of c comes to rest at twice what is needed. */
    uint64_t more = trie->count / 2 > MPROF_PRUNE_MIN_NODES ? trie->count / 2 : MPROF_PRUNE_MIN_NODES;
    uint64_t next = trie->count + more;
    r->prune_at = next < UINT32_MAX ? (uint32_t)next : UINT32_MAX;
}
