/* SPDX-License-Identifier: MIT */
/* fuzz_stacktrie.c -- the tree of stacks against lists.
 *
 * WHAT    The input is a list of steps: a frame is looked up, a stack gets or loses bytes, a record is given back, what
 *         no record needs is swept, memory is refused. Two lists, of nodes and of records, say what must come of it:
 *         which node and record it is, whether it was made now, and each stack's bytes at the peak.
 * WHY     The tree reuses slots and copies figures to the peak as late as it can; the lists do neither.
 * LOCKS   none.
 * MEMORY  one arena an input. */
#include "core/stacktrie.h"
#include "fuzz.h"

#include <string.h>

enum { NODES = 600, MOST_STEPS = 2048, FUNCTIONS = UINT8_MAX + 2 };

struct model_node {
    bool in;
    uint32_t parent; /* index in the model */
    uint32_t function;
    uint32_t offset;
    uint32_t id; /* index in the tree */
    bool has_record;
    uint32_t record;
    double inuse;
    double at_peak;
};

static struct model_node model[NODES]; /* [0] is the root */
static struct mprof_stacktrie trie;
static struct mprof_arena arena;
static uint64_t stamp;
static double total, peak;

static bool refusing(void)
{
    return arena.fail_at != 0 && arena.requests <= arena.fail_at + arena.fail_count;
}

/* The first node in use at or after `i`, counted round: there is the root. */
static uint32_t node_at(uint64_t i)
{
    uint32_t at = (uint32_t)(i % NODES);
    while (!model[at].in)
        at = at + 1 == NODES ? 0 : at + 1;
    return at;
}

static void child(uint32_t parent, uint32_t function, uint32_t offset)
{
    uint32_t known = 1, id = 0;
    while (known < NODES && !(model[known].in && model[known].parent == parent && model[known].function == function &&
                              model[known].offset == offset))
        known++;
    uint32_t place = 1;
    while (place < NODES && model[place].in)
        place++;
    if (known == NODES && place == NODES)
        return;
    int result = mprof_stacktrie_child(&trie, &arena, model[parent].id, function, offset, &id);
    if (known < NODES) {
        fuzz_require(result == 0 && id == model[known].id, "a node was not found, or is another");
        return;
    }
    if (result < 0) {
        fuzz_require(refusing(), "no node, without want of memory");
        return;
    }
    fuzz_require(result == 1, "found a node that was never made");
    for (uint32_t i = 0; i < NODES; i++)
        fuzz_require(!model[i].in || model[i].id != id, "two nodes in one place");
    model[place] = (struct model_node){.in = true, .parent = parent, .function = function, .offset = offset, .id = id};
}

static void change(uint32_t i, double bytes)
{
    uint32_t record;
    int result = mprof_stacktrie_stack(&trie, &arena, model[i].id, stamp, &record);
    if (result < 0) {
        fuzz_require(refusing() && !model[i].has_record, "no record, without want of memory");
        return;
    }
    fuzz_require(result == !model[i].has_record, "a record was made twice, or not at all");
    fuzz_require(result == 1 || record == model[i].record, "a record is another");
    for (uint32_t k = 0; k < NODES; k++)
        fuzz_require(k == i || !model[k].in || !model[k].has_record || model[k].record != record, "two in one record");
    model[i].has_record = true;
    model[i].record = record;
    if (bytes < -model[i].inuse)
        bytes = -model[i].inuse;
    mprof_stacktrie_touch(&trie, record, stamp);
    trie.stacks[record].inuse_bytes += bytes;
    if (trie.spreads)
        trie.spreads[record].inuse.seen += bytes;
    model[i].inuse += bytes;
    total += bytes;
    if (total > peak) {
        peak = total;
        stamp++;
        for (uint32_t k = 0; k < NODES; k++)
            model[k].at_peak = model[k].inuse;
    }
}

/* As pruning does: only records of which nothing is in use go. */
static void give_back(uint32_t i)
{
    if (!model[i].has_record || model[i].inuse > 0)
        return;
    mprof_stacktrie_free_stack(&trie, model[i].record);
    model[i].has_record = false;
    model[i].at_peak = 0;
}

static void sweep(void)
{
    uint32_t used = trie.used;
    uint8_t *marks = calloc(used, 1);
    fuzz_require(marks != NULL, "no memory for the fuzzer");
    for (uint32_t i = 0; i < NODES; i++)
        for (uint32_t k = i; model[i].in && model[i].has_record; k = model[k].parent) {
            marks[model[k].id] = 1;
            if (k == 0)
                break;
        }
    uint8_t functions[FUNCTIONS] = {0};
    uint8_t wanted[FUNCTIONS] = {0};
    mprof_stacktrie_sweep(&trie, marks, functions);
    for (uint32_t i = 1; i < NODES; i++) {
        model[i].in = model[i].in && marks[model[i].id];
        wanted[model[i].function] |= model[i].in;
    }
    fuzz_require(memcmp(functions, wanted, sizeof functions) == 0, "functions of the nodes left");
    free(marks);
}

static void compare(void)
{
    uint32_t nodes = 0, records = 0;
    for (uint32_t i = 0; i < NODES; i++) {
        const struct model_node *m = &model[i];
        if (!m->in)
            continue;
        const struct mprof_trienode *node = &trie.nodes[m->id];
        if (i > 0) {
            nodes++;
            fuzz_require(node->parent == model[m->parent].id && node->function == m->function &&
                             node->offset == m->offset,
                         "a node has changed");
        }
        fuzz_require((node->stack != 0) == m->has_record, "a record was lost or kept");
        if (!m->has_record)
            continue;
        records++;
        const struct mprof_stackrec *record = &trie.stacks[m->record];
        bool touched = record->stamp == stamp;
        fuzz_require(node->stack - 1 == m->record && record->node == m->id, "a node and its record disagree");
        fuzz_require(fuzz_same(record->inuse_bytes, m->inuse), "bytes in use");
        fuzz_require(fuzz_same(touched ? record->peak_bytes : record->inuse_bytes, m->at_peak), "bytes at the peak");
        if (trie.spreads) {
            const struct mprof_stackspread *spread = &trie.spreads[m->record];
            fuzz_require(fuzz_same(touched ? spread->peak.seen : spread->inuse.seen, m->at_peak), "seen at the peak");
        }
    }
    fuzz_require(trie.count == nodes && trie.stack_count == records, "numbers of nodes and records");
    fuzz_require(mprof_stacktrie_valid(&trie), "not valid");
}

static void step(struct fuzz_input *input)
{
    uint8_t what = fuzz_byte(input);
    uint32_t i = node_at(fuzz_number(input, 2));
    switch (what % 8) {
    case 0:
    case 1:
        child(i, 1 + fuzz_byte(input) % 16, fuzz_byte(input) % 4);
        break;
    case 2:
        for (uint32_t run = fuzz_byte(input); run > 0; run--)
            child(i, 1 + run, run % 3);
        break;
    case 3:
        change(i, (double)fuzz_number(input, 2));
        break;
    case 4:
        change(i, -(double)fuzz_number(input, 2));
        break;
    case 5:
        give_back(i);
        break;
    case 6:
        sweep();
        compare();
        break;
    default:
        arena.fail_at = arena.requests + 1 + what / 8 % 4;
        arena.fail_count = fuzz_byte(input) % 8;
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct fuzz_input input = {data, data + size};
    mprof_arena_init(&arena, 0);
    memset(model, 0, sizeof model);
    model[0].in = true;
    stamp = 0;
    total = peak = 0;
    fuzz_require(mprof_stacktrie_init(&trie, &arena, fuzz_byte(&input) & 1) == 0, "no memory to begin with");
    for (unsigned steps = 0; fuzz_more(&input) && steps < MOST_STEPS; steps++)
        step(&input);
    compare();
    mprof_arena_drop(&arena);
    return 0;
}
