/* SPDX-License-Identifier: MIT */
/* snapshot_private.h -- what a snapshot is made of; for the files that make one.
 *
 * WHAT    The struct behind snapshot.h and the raw block records:
 *
 *           live entry   | birth code 16 | address 48 |  stack 32  | size 32 |     16 bytes: one block, rate <= 1
 *                        | (unused)                   |  stack 32  |1| index |     top bit of size set: blocks[index]
 *
 * WHY     In exact mode a snapshot may hold 10^7 blocks. A full record is 72 bytes, a live entry 16.
 * LOCKS   none: one thread builds, afterwards nothing changes.
 * MEMORY  the snapshot's own arena; the struct itself is a mapping beside it, because an arena must not move. */
#ifndef MPROF_CORE_SNAPSHOT_PRIVATE_H
#define MPROF_CORE_SNAPSHOT_PRIVATE_H

#include "base/arena.h"
#include "core/live.h"
#include "core/snapshot.h"

#include <stdatomic.h>

/* A growing array in the arena. */
struct mprof_array {
    void *items;
    size_t count;
    size_t capacity;
};

struct mprof_snapshot {
    struct mprof_arena arena;
    _Atomic uint32_t references;
    struct mprof_meta meta;
    int64_t birth_base_ns; /* birth_ns of a live entry = birth_base_ns + (code << birth_shift) */
    unsigned birth_shift;
    struct mprof_array text;      /* char: all strings, end to end */
    struct mprof_array ends;      /* size_t: where each string ends in text */
    struct mprof_array functions; /* struct mprof_function */
    struct mprof_array nodes;     /* struct mprof_node */
    struct mprof_array stacks;    /* struct mprof_stack */
    struct mprof_array live;      /* struct mprof_live: one entry a block record, in order */
    struct mprof_array blocks;    /* struct mprof_block: the records that do not fit in a live entry */
    struct mprof_array comments;  /* uint32_t: strings */
};

/* As mprof_builder_new, with the arena's limit and its failing requests (arena.h) set before the first request. */
struct mprof_builder *mprof_builder_new_limited(size_t limit, uint64_t fail_at, uint64_t fail_count);
/* Requests that the builder's arena has served or refused so far. */
uint64_t mprof_builder_requests(const struct mprof_builder *builder);

/* Variance of the number of blocks that one sampled block of this size stands for; a block of no bytes is sampled as if
 * it had one. 0 for rate <= 1. */
double mprof_figures_unsure(uint64_t size, double rate);
/* mprof_figures_add_block for who knows that figure already. */
void mprof_figures_add_unsure(struct mprof_figures *figures, const struct mprof_block *block, double unsure);

/* Room for so many nodes and stacks that are still to come, made at once; and in the index, unless all nodes will be
 * appended. */
int mprof_builder_reserve(struct mprof_builder *builder, size_t nodes, size_t stacks, bool indexed);
/* Adds a node without a look whether there is one like it. */
int mprof_builder_append_node(struct mprof_builder *builder, const struct mprof_node *node, uint32_t *index);
/* As mprof_builder_finish, but leaves `inuse` of the stacks at zero: for who goes by the blocks. */
struct mprof_snapshot *mprof_builder_finish_unsummed(struct mprof_builder *builder, const struct mprof_meta *meta);
/* Meaning of the birth codes of live entries. Before the first block; without it every code is 0, "unknown". */
void mprof_builder_set_births(struct mprof_builder *builder, int64_t base_ns, unsigned shift);
/* Appends n zeroed live entries for the caller to fill; finish takes them as they are. Stacks must be indices that
 * mprof_builder_stack gave. The pointer is good until the next call that adds blocks; NULL if n is 0. */
int mprof_builder_reserve_live(struct mprof_builder *builder, size_t n, struct mprof_live **entries);
/* Appends n zeroed full records; the first has index *first. A live entry must name each of them. `stack` of the
 * record and of its entry must agree. */
int mprof_builder_reserve_blocks(struct mprof_builder *builder, size_t n, struct mprof_block **blocks, uint32_t *first);

#endif
