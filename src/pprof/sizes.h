/* SPDX-License-Identifier: MIT */
/* sizes.h -- the blocks of one stack, summed by size and age.
 *
 * WHAT    add() each block record, finish() gives one item for each (domain, rate, age, size), sorted in this order.
 *         Ages are the classes of layout.h. More than MPROF_SIZES_EXACT sizes of one age, of blocks that were all
 *         recorded (rate 1), are summed up, in all ages, into classes of sizes
 *         from 2^k to below 2^(k+1), each under its mean size. Sampled blocks keep their sizes: the weight of a sample
 *         depends on it.
 * WHY     A file of every block of a large program would be as large as the program. A hash finds the item, so that
 *         a million blocks of ten sizes take a million steps and the room of ten.
 * LOCKS   none.
 * MEMORY  the caller's arena; kept from one stack to the next, given back by mprof_sizes_free. */
#ifndef MPROF_PPROF_SIZES_H
#define MPROF_PPROF_SIZES_H

#include "base/arena.h"
#include "core/snapshot.h"

#include <stddef.h>
#include <stdint.h>

enum { MPROF_SIZES_EXACT = 32 };

struct mprof_size {
    uint64_t size;
    uint64_t rate; /* rounded; 1: exact */
    double bytes;
    double blocks;
    uint32_t domain;
    uint32_t age;  /* class of ages */
    uint32_t slot; /* while adding */
};

struct mprof_sizes {
    struct mprof_arena *arena;
    struct mprof_size *items;
    size_t count;
    size_t capacity;
    uint32_t *slots; /* 1 + index of an item; 0: free */
    size_t slot_count;
    uint64_t secret; /* of the hash */
    int64_t now_ns;  /* what ages count to; 0: unknown, and so are they */
};

void mprof_sizes_init(struct mprof_sizes *sizes, struct mprof_arena *arena, int64_t now_ns);
void mprof_sizes_free(struct mprof_sizes *sizes);
/* The item of a block that is alone. */
void mprof_sizes_one(const struct mprof_sizes *sizes, const struct mprof_block *block, struct mprof_size *size);
/* 0, or -1 when memory is exhausted. */
int mprof_sizes_add(struct mprof_sizes *sizes, const struct mprof_block *block);
/* After it, read items; the next add() comes after mprof_sizes_clear. */
void mprof_sizes_finish(struct mprof_sizes *sizes);
void mprof_sizes_clear(struct mprof_sizes *sizes);

/* A sample rate as a file holds it: a whole number, at least 1. */
uint64_t mprof_sizes_whole_rate(double rate);

#endif
