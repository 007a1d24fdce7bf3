/* SPDX-License-Identifier: MIT */
/* test_stacktrie.c -- core/stacktrie.h against a plain list of nodes, and the stamps of the peak. */
#include "tap.h"

#include "base/rng.h"
#include "core/stacktrie.h"

static struct mprof_arena arena;
static struct mprof_stacktrie trie;

static void begin(bool with_spreads)
{
    mprof_arena_init(&arena, 0);
    if (mprof_stacktrie_init(&trie, &arena, with_spreads) != 0)
        bail("no memory");
}

static void test_edges(void)
{
    uint32_t a = 0;
    uint32_t b = 0;
    uint32_t c = 0;
    begin(true);
    is_int(mprof_stacktrie_child(&trie, &arena, 0, 1, 2, &a), 1, "a new node");
    is_uint(trie.nodes[a].line, 0, "has no line yet");
    is_int(mprof_stacktrie_child(&trie, &arena, 0, 1, 2, &b), 0, "is found again");
    is_uint(b, a, "and is the same");
    ok(mprof_stacktrie_child(&trie, &arena, 0, 1, 3, &b) == 1 &&
           mprof_stacktrie_child(&trie, &arena, 0, 2, 2, &c) == 1 &&
           mprof_stacktrie_child(&trie, &arena, a, 1, 2, &c) == 1,
       "offset, function and parent tell nodes apart");
    is_int(mprof_stacktrie_stack(&trie, &arena, 0, 5, &a), 1, "the empty stack has a record");
    is_int(mprof_stacktrie_stack(&trie, &arena, c, 5, &b), 1, "so has another");
    ok(a != b, "of its own");
    is_int(mprof_stacktrie_stack(&trie, &arena, c, 6, &a), 0, "which is found again");
    is_uint(a, b, "and is the same");
    is_uint(trie.count, 4, "four nodes");
    is_uint(trie.stack_count, 2, "two stacks");
    ok(mprof_stacktrie_valid(&trie), "valid");
    mprof_stacktrie_free_stack(&trie, b);
    is_uint(trie.nodes[c].stack, 0, "a freed record is no longer its node's");
    is_int(mprof_stacktrie_stack(&trie, &arena, c, 6, &a), 1, "and can be made again");
    is_uint(a, b, "in the same place");
    mprof_arena_drop(&arena);
}

/* The header's claim: at-peak = stamp == peak_stamp ? peak figures : in-use figures. */
static void test_peak(bool with_spreads)
{
    enum { STACKS = 20 };
    struct mprof_rng rng;
    double inuse[STACKS] = {0};
    double at_peak[STACKS] = {0};
    double total = 0;
    double peak = 0;
    uint64_t stamp = 0;
    uint32_t node;
    uint32_t stack;
    mprof_rng_seed(&rng, 1);
    begin(with_spreads);
    bool right = true;
    for (int step = 0; step < 50000 && right; step++) {
        uint32_t k = (uint32_t)(mprof_rng_next(&rng) % STACKS);
        /* Records appear at any time, also after a peak. */
        mprof_stacktrie_child(&trie, &arena, 0, k + 1, 0, &node);
        mprof_stacktrie_stack(&trie, &arena, node, stamp, &stack);
        double change = (double)(mprof_rng_next(&rng) % 100);
        if (mprof_rng_next(&rng) % 2)
            change = -fmin(change, inuse[k]);
        mprof_stacktrie_touch(&trie, stack, stamp);
        trie.stacks[stack].inuse_bytes += change;
        if (with_spreads)
            trie.spreads[stack].inuse.seen += change;
        inuse[k] += change;
        total += change;
        if (total > peak) {
            peak = total;
            stamp++;
            memcpy(at_peak, inuse, sizeof inuse);
        }
        double sum = 0;
        for (uint32_t i = 0; i < trie.stack_used && right; i++) {
            const struct mprof_stackrec *r = &trie.stacks[i];
            double got = r->stamp == stamp ? r->peak_bytes : r->inuse_bytes;
            if (with_spreads) {
                const struct mprof_stackspread *s = &trie.spreads[i];
                right = !(fabs((r->stamp == stamp ? s->peak.seen : s->inuse.seen) - got) > 0);
            }
            right = right && !(fabs(got - at_peak[trie.nodes[r->node].function - 1]) > 0);
            sum += got;
        }
        right = right && !(fabs(sum - peak) > 0);
    }
    ok(right, "the peak of each stack, %s spreads", with_spreads ? "with" : "without");
    mprof_arena_drop(&arena);
}

enum { NODES = 4000, FUNCTIONS = 50 };

/* Random growth; sweeps keep what is needed for a random half of the stacks. */
static void test_random(uint64_t seed)
{
    static struct {
        uint32_t parent, function, offset, node;
        bool in, has_stack;
    } model[NODES]; /* [0] is the root; parents come first */
    struct mprof_rng rng;
    mprof_rng_seed(&rng, seed);
    memset(model, 0, sizeof model);
    begin(seed % 2);
    model[0].in = true;
    for (uint32_t i = 1; i < NODES; i++) {
        model[i].parent = (uint32_t)(mprof_rng_next(&rng) % (i < 50 ? 1 : i));
        model[i].function = (uint32_t)(1 + mprof_rng_next(&rng) % FUNCTIONS);
        model[i].offset = i; /* makes them distinct */
    }
    bool right = true;
    uint32_t most = 0;
    uint32_t most_stacks = 0;
    for (int round = 0; round < 40 && right; round++) {
        for (int n = 0; n < 500 && right; n++) {
            /* The path to a random node, from the root. */
            uint32_t path[NODES];
            uint32_t depth = 0;
            uint32_t target = (uint32_t)(mprof_rng_next(&rng) % NODES);
            for (uint32_t i = target; i != 0; i = model[i].parent)
                path[depth++] = i;
            uint32_t node = 0;
            while (depth-- > 0 && right) {
                uint32_t i = path[depth];
                int made = mprof_stacktrie_child(&trie, &arena, node, model[i].function, model[i].offset, &node);
                right = made == !model[i].in && (made || node == model[i].node);
                if (made)
                    trie.nodes[node].line = i;
                model[i].in = true;
                model[i].node = node;
            }
            uint32_t stack;
            right = right && mprof_stacktrie_stack(&trie, &arena, node, 0, &stack) == !model[target].has_stack;
            model[target].has_stack = true;
        }
        most = trie.used > most ? trie.used : most;
        most_stacks = trie.stack_used > most_stacks ? trie.stack_used : most_stacks;
        right = right && mprof_stacktrie_valid(&trie);
        uint8_t *marks = mprof_arena_get(&arena, trie.used);
        uint32_t used = trie.used;
        for (uint32_t i = 0; i < NODES; i++) {
            if (model[i].has_stack && mprof_rng_next(&rng) % 2) {
                mprof_stacktrie_free_stack(&trie, trie.nodes[model[i].node].stack - 1);
                model[i].has_stack = false;
            }
            for (uint32_t j = i; model[i].has_stack && j != 0; j = model[j].parent)
                marks[model[j].node] = 1;
        }
        uint8_t functions[FUNCTIONS + 1] = {0};
        uint8_t wanted[FUNCTIONS + 1] = {0};
        mprof_stacktrie_sweep(&trie, marks, functions);
        uint32_t count = 0;
        for (uint32_t i = 1; i < NODES && right; i++) {
            model[i].in = model[i].in && marks[model[i].node];
            count += model[i].in;
            wanted[model[i].function] |= model[i].in;
            right = !model[i].in || trie.nodes[model[i].node].line == i;
        }
        mprof_arena_put(&arena, marks, used);
        right = right && count == trie.count && mprof_stacktrie_valid(&trie) &&
                memcmp(functions, wanted, sizeof functions) == 0;
    }
    ok(right, "seed %" PRIu64 ": as a plain list", seed);
    ok(most <= NODES && most_stacks <= NODES, "seed %" PRIu64 ": free slots are used again", seed);
    mprof_arena_drop(&arena);
}

/* Nodes with one, two and three children, some of which were refused before: each is made once, and found. */
static void test_children(void)
{
    bool right = true;
    for (uint64_t n = 0; n <= 40; n++) {
        uint32_t parent = 0;
        uint32_t made = 0;
        begin(false);
        arena.fail_at = n ? arena.requests + n : 0;
        arena.fail_count = n % 5;
        for (uint32_t i = 0; i < 600 && right; i++) {
            uint32_t child[3] = {0, 0, 0};
            for (uint32_t step = 0; step < 12 && right; step++) {
                uint32_t which = (i + step * step) % (1 + i % 3);
                uint32_t node;
                int result = mprof_stacktrie_child(&trie, &arena, parent, which + 1, i, &node);
                right = child[which] ? result == 0 && node == child[which] : result == 1 || (result < 0 && n != 0);
                made += result == 1;
                if (result == 1)
                    child[which] = node;
            }
            parent = child[0] ? child[0] : parent;
        }
        right = right && trie.count == made && mprof_stacktrie_valid(&trie);
        mprof_arena_drop(&arena);
    }
    ok(right, "each child is made once, whatever was refused between");
}

static void test_no_memory(void)
{
    bool right = true;
    for (uint64_t n = 1; n <= 5; n++) {
        mprof_arena_init(&arena, 0);
        arena.fail_at = n;
        right = right && mprof_stacktrie_init(&trie, &arena, true) == -1;
        mprof_arena_drop(&arena);
    }
    ok(right, "no memory to begin with");
    /* Each of the arrays that run in step may be the one that cannot grow. */
    for (uint64_t n = 1; n <= 60; n++) {
        uint32_t node;
        uint32_t stack;
        uint64_t refused = 0;
        begin(n % 2);
        arena.fail_at = arena.requests + n;
        arena.fail_count = n % 3 ? 0 : 20;
        for (uint32_t i = 1; i <= 2000; i++) {
            if (mprof_stacktrie_child(&trie, &arena, 0, i, 0, &node) < 0 ||
                mprof_stacktrie_stack(&trie, &arena, node, 0, &stack) < 0)
                refused++;
            else
                trie.stacks[stack].inuse_bytes = i;
        }
        right = right && mprof_stacktrie_valid(&trie) && trie.stack_count + refused == 2000;
        for (uint32_t i = 0; i < trie.stack_used; i++)
            right = right && !(fabs(trie.stacks[i].inuse_bytes - trie.nodes[trie.stacks[i].node].function) > 0);
    }
    ok(right, "each request refused: what was refused left no record");
    mprof_arena_drop(&arena);
}

int main(void)
{
    test_edges();
    test_peak(false);
    test_peak(true);
    for (uint64_t seed = 1; seed <= 4; seed++)
        test_random(seed);
    test_children();
    test_no_memory();
    return done();
}
