/* SPDX-License-Identifier: MIT */
/* stacktrie.c -- see stacktrie.h. */
#include "core/stacktrie.h"

#include "base/compiler.h"
#include "base/rng.h"

#include <string.h>

static uint32_t bucket_of(uint32_t parent, uint32_t function, uint32_t offset, uint32_t bucket_count)
{
    uint64_t key = ((uint64_t)parent << 32 | function) ^ (uint64_t)offset * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(mprof_mix64(key) & (bucket_count - 1));
}

static void put_into_bucket(struct mprof_stacktrie *trie, uint32_t i)
{
    struct mprof_trienode *node = &trie->nodes[i];
    uint32_t *bucket = &trie->buckets[bucket_of(node->parent, node->function, node->offset, trie->bucket_count)];
    node->next = *bucket;
    *bucket = i;
}

static int rehash(struct mprof_stacktrie *trie, struct mprof_arena *arena, uint32_t bucket_count)
{
    uint32_t *buckets = mprof_arena_get(arena, bucket_count * sizeof *buckets);
    if (!buckets)
        return -1;
    mprof_arena_put(arena, trie->buckets, trie->bucket_count * sizeof *buckets);
    trie->buckets = buckets;
    trie->bucket_count = bucket_count;
    for (uint32_t i = 1; i < trie->used; i++) {
        if (trie->nodes[i].function != 0)
            put_into_bucket(trie, i);
    }
    return 0;
}

/* Room for one more record in the arrays that run in step; each knows its own capacity, so a failure half-way is
 * harmless. */
static int reserve_stack(struct mprof_stacktrie *trie, struct mprof_arena *arena)
{
    uint64_t need = (uint64_t)trie->stack_used + 1;
    if (need >= UINT32_MAX / 2)
        return -1;
    void *array = mprof_arena_reserve(arena, trie->stacks, &trie->stacks_capacity, need, sizeof *trie->stacks);
    if (!array)
        return -1;
    trie->stacks = array;
    array = mprof_arena_reserve(arena, trie->infos, &trie->infos_capacity, need, sizeof *trie->infos);
    if (!array)
        return -1;
    trie->infos = array;
    if (trie->with_spreads) {
        array = mprof_arena_reserve(arena, trie->spreads, &trie->spreads_capacity, need, sizeof *trie->spreads);
        if (!array)
            return -1;
        trie->spreads = array;
    }
    return 0;
}

static int reserve_node(struct mprof_stacktrie *trie, struct mprof_arena *arena)
{
    struct mprof_trienode *nodes =
        mprof_arena_reserve(arena, trie->nodes, &trie->capacity, (uint64_t)trie->used + 1, sizeof *nodes);
    if (!nodes)
        return -1;
    trie->nodes = nodes;
    return 0;
}

int mprof_stacktrie_init(struct mprof_stacktrie *trie, struct mprof_arena *arena, bool with_spreads)
{
    memset(trie, 0, sizeof *trie);
    trie->with_spreads = with_spreads;
    if (rehash(trie, arena, 256) != 0 || reserve_node(trie, arena) != 0 || reserve_stack(trie, arena) != 0)
        return -1;
    trie->used = 1; /* the root */
    return 0;
}

static bool is(const struct mprof_stacktrie *trie, uint32_t i, uint32_t parent, uint32_t function, uint32_t offset)
{
    const struct mprof_trienode *node = &trie->nodes[i];
    return node->parent == parent && node->function == function && node->offset == offset;
}

static void remember(struct mprof_trienode *parent, uint32_t child)
{
    parent->lately[1] = parent->lately[0];
    parent->lately[0] = child;
}

int mprof_stacktrie_child(struct mprof_stacktrie *trie, struct mprof_arena *arena, uint32_t parent, uint32_t function,
                          uint32_t offset, uint32_t *node)
{
    mprof_assert(function != 0);
    const uint32_t *lately = trie->nodes[parent].lately;
    if (lately[0] != 0 && is(trie, lately[0], parent, function, offset)) {
        *node = lately[0];
        return 0;
    }
    if (lately[1] != 0) { /* or it never had another child */
        uint32_t i = lately[1];
        if (!is(trie, i, parent, function, offset)) {
            i = trie->buckets[bucket_of(parent, function, offset, trie->bucket_count)];
            while (i != 0 && !is(trie, i, parent, function, offset))
                i = trie->nodes[i].next;
        }
        if (i != 0) {
            remember(&trie->nodes[parent], i);
            *node = i;
            return 0;
        }
    }
    if (trie->free == 0 && reserve_node(trie, arena) != 0)
        return -1;
    if (trie->count >= trie->bucket_count)
        (void)rehash(trie, arena, trie->bucket_count * 2); /* without memory: longer chains */
    uint32_t slot;
    if (trie->free != 0) {
        slot = trie->free;
        trie->free = trie->nodes[slot].next;
    } else {
        slot = trie->used++;
    }
    uint32_t *bucket = &trie->buckets[bucket_of(parent, function, offset, trie->bucket_count)];
    trie->nodes[slot] = (struct mprof_trienode){parent, function, offset, 0, 0, *bucket, {0, 0}};
    remember(&trie->nodes[parent], slot);
    *bucket = slot;
    trie->count++;
    *node = slot;
    return 1;
}

int mprof_stacktrie_stack(struct mprof_stacktrie *trie, struct mprof_arena *arena, uint32_t node, uint64_t stamp,
                          uint32_t *stack)
{
    if (trie->nodes[node].stack != 0) {
        *stack = trie->nodes[node].stack - 1;
        return 0;
    }
    uint32_t slot;
    if (trie->stack_free != 0) {
        slot = trie->stack_free - 1;
        trie->stack_free = trie->stacks[slot].node;
    } else {
        if (reserve_stack(trie, arena) != 0)
            return -1;
        slot = trie->stack_used++;
    }
    memset(&trie->stacks[slot], 0, sizeof trie->stacks[slot]);
    memset(&trie->infos[slot], 0, sizeof trie->infos[slot]);
    if (trie->spreads)
        memset(&trie->spreads[slot], 0, sizeof trie->spreads[slot]);
    trie->stacks[slot].node = node;
    trie->stacks[slot].stamp = stamp; /* nothing was in use here at the peak */
    trie->nodes[node].stack = slot + 1;
    trie->stack_count++;
    *stack = slot;
    return 1;
}

void mprof_stacktrie_free_stack(struct mprof_stacktrie *trie, uint32_t stack)
{
    trie->nodes[trie->stacks[stack].node].stack = 0;
    trie->stacks[stack].node = trie->stack_free;
    trie->infos[stack].recent = MPROF_STACK_FREE;
    trie->stack_free = stack + 1;
    trie->stack_count--;
}

void mprof_stacktrie_sweep(struct mprof_stacktrie *trie, const uint8_t *marks, uint8_t *functions)
{
    /* Mostly most are gone: to fill the buckets anew takes less than to find each in its own. */
    memset(trie->buckets, 0, trie->bucket_count * sizeof *trie->buckets);
    for (uint32_t i = 1; i < trie->used; i++) {
        struct mprof_trienode *node = &trie->nodes[i];
        if (node->function == 0)
            continue;
        if (marks[i]) {
            functions[node->function] = 1;
            put_into_bucket(trie, i);
            continue;
        }
        mprof_assert(node->stack == 0);
        *node = (struct mprof_trienode){0, 0, 0, 0, 0, trie->free, {0, 0}};
        trie->free = i;
        trie->count--;
    }
}

bool mprof_stacktrie_valid(const struct mprof_stacktrie *trie)
{
    uint32_t count = 0;
    for (uint32_t i = 1; i < trie->used; i++) {
        const struct mprof_trienode *node = &trie->nodes[i];
        if (node->function == 0)
            continue;
        count++;
        if (node->parent >= trie->used || (node->parent != 0 && trie->nodes[node->parent].function == 0))
            return false;
        uint32_t j = trie->buckets[bucket_of(node->parent, node->function, node->offset, trie->bucket_count)];
        while (j != 0 && j != i)
            j = trie->nodes[j].next;
        if (j != i)
            return false;
        if (node->stack != 0 && trie->stacks[node->stack - 1].node != i)
            return false;
    }
    return count == trie->count;
}
