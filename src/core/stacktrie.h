/* SPDX-License-Identifier: MIT */
/* stacktrie.h -- interned call stacks, and the figures of each.
 *
 * WHAT    A tree whose nodes are (parent, function, byte offset). A stack is the node of its innermost frame; callers
 *         shared by stacks are shared nodes:
 *
 *                       main:12                     node 1
 *                       /      \
 *                  serve:40    load:7               nodes 2, 3
 *                   /    \        \
 *              parse:9  render:3  parse:9           nodes 4, 5, 6
 *
 *         A node that is the innermost frame of some sample has a stack record: what is in use, what was ever
 *         allocated, and what was in use at the peak.
 *
 *         The peak without a copy of everything: let `peak_stamp` count the times the total has reached a new
 *         maximum. A record's in-use figures are copied to its peak figures the first time they change after that
 *         (its own stamp is older). So at-peak = stamp == peak_stamp ? peak figures : in-use figures, exact, at O(1)
 *         an event.
 * WHY     One hash of nodes by (parent, function, offset) instead of a hash of whole stacks: a stack that differs in
 *         its last frame costs one look-up. Offsets, not lines: a line is resolved once, when its node is made.
 *         Most nodes have few children, so a node remembers two: in a large tree that saves the bucket's cache miss, and
 *         where every stack is new it saves the search.
 * LOCKS   the caller's.
 * MEMORY  the caller's arena: 32 bytes a node, 76 a stack, 96 more in sampled mode. Nodes and records that no live
 *         sample needs are given back by recorder_prune.c and reused. */
#ifndef MPROF_CORE_STACKTRIE_H
#define MPROF_CORE_STACKTRIE_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

struct mprof_trienode {
    uint32_t parent;
    uint32_t function; /* index in functab; 0: the root, or a free slot */
    uint32_t offset;
    uint32_t line;
    uint32_t stack;     /* record + 1; 0: no sample ended here */
    uint32_t next;      /* in its bucket, or in the free list: index; 0 ends */
    uint32_t lately[2]; /* the children made or found last, which may be gone; [1] is 0 while it had no two */
};

/* One cache line a stack: what every event touches. */
struct mprof_stackrec {
    double inuse_bytes;
    double inuse_blocks;
    double alloc_bytes;
    double alloc_blocks;
    double peak_bytes;
    double peak_blocks;
    uint64_t stamp;
    uint32_t node;
    uint32_t live; /* samples in use */
};

struct mprof_spread {
    double bytes_var;
    double blocks_var;
    double seen;
    double samples;
};

/* Sampled mode only: what intervals need. */
struct mprof_stackspread {
    struct mprof_spread inuse;
    struct mprof_spread alloc;
    struct mprof_spread peak;
};

/* Rarely touched. */
struct mprof_stackinfo {
    uint32_t total_frames; /* of the first capture that ended here */
    uint32_t pins;         /* reallocs under way that may still put a sample back */
    uint32_t recent;       /* in which phase it allocated last (recorder_prune.c); MPROF_STACK_FREE: a free slot */
};

#define MPROF_STACK_FREE UINT32_MAX

struct mprof_stacktrie {
    struct mprof_trienode *nodes; /* [0] is the root */
    uint32_t used;                /* high-water mark */
    uint32_t capacity;
    uint32_t free;
    uint32_t count; /* nodes in use, without the root */
    uint32_t *buckets;
    uint32_t bucket_count; /* a power of two */

    struct mprof_stackrec *stacks;
    struct mprof_stackspread *spreads; /* NULL in exact mode */
    struct mprof_stackinfo *infos;
    uint32_t stacks_capacity;
    uint32_t spreads_capacity;
    uint32_t infos_capacity;
    uint32_t stack_used; /* high-water mark */
    uint32_t stack_free; /* index + 1; linked through node */
    uint32_t stack_count;
    bool with_spreads;
};

/* -1: no memory. */
int mprof_stacktrie_init(struct mprof_stacktrie *trie, struct mprof_arena *arena, bool with_spreads);
/* Child of `parent` for a frame. 1: made now (its line is 0: set it); 0: found; -1: no memory. */
int mprof_stacktrie_child(struct mprof_stacktrie *trie, struct mprof_arena *arena, uint32_t parent, uint32_t function,
                          uint32_t offset, uint32_t *node);
/* Record of the stack that ends at `node` (0: the empty stack). 1: made now; 0: found; -1: no memory. */
int mprof_stacktrie_stack(struct mprof_stacktrie *trie, struct mprof_arena *arena, uint32_t node, uint64_t stamp,
                          uint32_t *stack);
void mprof_stacktrie_free_stack(struct mprof_stacktrie *trie, uint32_t stack);
/* Frees every node whose byte in `marks` (one a node, `used` of them) is 0. None of them has a record or a marked
 * descendant. Sets the byte in `functions` of each function that a node left is of. */
void mprof_stacktrie_sweep(struct mprof_stacktrie *trie, const uint8_t *marks, uint8_t *functions);

/* Before a change of a record's in-use figures. */
static inline void mprof_stacktrie_touch(struct mprof_stacktrie *trie, uint32_t stack, uint64_t peak_stamp)
{
    struct mprof_stackrec *record = &trie->stacks[stack];
    if (record->stamp != peak_stamp) {
        record->stamp = peak_stamp;
        record->peak_bytes = record->inuse_bytes;
        record->peak_blocks = record->inuse_blocks;
        if (trie->spreads)
            trie->spreads[stack].peak = trie->spreads[stack].inuse;
    }
}

/* Tests: every node is in its bucket, parents are in use, records point back. */
bool mprof_stacktrie_valid(const struct mprof_stacktrie *trie);

#endif
