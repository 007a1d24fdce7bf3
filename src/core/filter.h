/* SPDX-License-Identifier: MIT */
/* filter.h -- "is this address watched?", answered without a lock.
 *
 * WHAT    A counting Bloom filter with one hash: a byte per bucket says how many watched addresses fall into it (255
 *         sticks). 0 means that the address is certainly not watched.
 *
 *             address --mix--> bucket   [0][0][2][0][0][1][0] ...      0: pass on    else: lock and look
 *
 * WHY     Whatever the sieve (sieve.h) lets through comes here before it takes the lock. The filter grows with the
 *         number of watched addresses, at 1/16 of its buckets, and its hash has nothing to do with the sieve's: about
 *         6 % of what was let through wrongly goes on, also with millions of watched addresses.
 * LOCKS   changes under the caller's lock; mprof_filter_maybe without any. A thread can only free an address after it
 *         has learnt of it from the thread that allocated it, and that hand-over orders the filter's change before
 *         the look: relaxed loads are enough.
 * MEMORY  the caller's arena. A filter that has grown out of its size is kept until the arena is dropped, because a
 *         thread may be looking at it; the sizes quadruple, so the old ones add a third. */
#ifndef MPROF_CORE_FILTER_H
#define MPROF_CORE_FILTER_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

struct mprof_filter {
    unsigned shift; /* 64 - log2(number of buckets) */
    uint8_t buckets[];
};

static inline uint64_t mprof_filter_bucket(const struct mprof_filter *filter, uintptr_t address)
{
    /* Fibonacci hashing (Knuth, TAOCP 6.4): the top bits of a product with 2^64/phi spread runs of addresses evenly. */
    return ((uint64_t)(address >> 4) * UINT64_C(0x9e3779b97f4a7c15)) >> filter->shift;
}

/* False: the address is not watched. */
static inline bool mprof_filter_maybe(const struct mprof_filter *filter, uintptr_t address)
{
    return __atomic_load_n(&filter->buckets[mprof_filter_bucket(filter, address)], __ATOMIC_RELAXED) != 0;
}

enum { MPROF_FILTER_MIN_BITS = 14, MPROF_FILTER_MAX_BITS = 26 };

/* NULL: no memory. */
struct mprof_filter *mprof_filter_new(struct mprof_arena *arena, unsigned bits);
void mprof_filter_add(struct mprof_filter *filter, uintptr_t address);
void mprof_filter_remove(struct mprof_filter *filter, uintptr_t address);
/* Forgets all. Others may look meanwhile. */
void mprof_filter_clear(struct mprof_filter *filter);
/* How many addresses it should hold before it grows. */
static inline uint64_t mprof_filter_capacity(const struct mprof_filter *filter)
{
    return (UINT64_C(1) << (64 - filter->shift)) / 16;
}

#endif
