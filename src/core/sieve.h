/* SPDX-License-Identifier: MIT */
/* sieve.h -- the first look of every free: is this address certainly not watched?
 *
 * WHAT    A byte for each 16 bytes of a megabyte; all megabytes of addresses are folded upon it. It says how many
 *         watched addresses fall into it (255 sticks). 0: certainly not watched. Anything else: ask the filter
 *         (filter.h), which errs less.
 * WHY     Its size and place never change, so that a look is a few shifts and one load. Neighbours in memory are
 *         neighbours here: a line of cache answers for a kilobyte of blocks, and the blocks that a program frees
 *         have mostly just been near each other. A thousand watched addresses let 1.5 % of the other frees through.
 *         With very many the filter, which grows, does the work.
 * LOCKS   changes under the caller's lock; mprof_sieve_maybe without any. A thread can only free an address after it
 *         has learnt of it from the thread that allocated it, and that hand-over orders the change before the look:
 *         relaxed loads are enough.
 * MEMORY  64 KiB, the caller's. */
#ifndef MPROF_CORE_SIEVE_H
#define MPROF_CORE_SIEVE_H

#include "core/tally.h"

#include <stdbool.h>
#include <stdint.h>

enum { MPROF_SIEVE_MARKS = 1 << 16 };

union mprof_sieve {
    uint8_t marks[MPROF_SIEVE_MARKS];
    uint64_t words[MPROF_SIEVE_MARKS / 8];
};

/* The bits above a megabyte are folded in, for blocks that all begin alike in their pages. */
static inline uint16_t mprof_sieve_mark(uintptr_t address)
{
    return (uint16_t)((address >> 4) ^ (address >> 20));
}

/* False: the address is not watched. */
static inline bool mprof_sieve_maybe(const union mprof_sieve *sieve, uintptr_t address)
{
    return __atomic_load_n(&sieve->marks[mprof_sieve_mark(address)], __ATOMIC_RELAXED) != 0;
}

static inline void mprof_sieve_add(union mprof_sieve *sieve, uintptr_t address)
{
    mprof_tally_add(&sieve->marks[mprof_sieve_mark(address)]);
}

static inline void mprof_sieve_remove(union mprof_sieve *sieve, uintptr_t address)
{
    mprof_tally_remove(&sieve->marks[mprof_sieve_mark(address)]);
}

/* Everything is watched from here on, or nothing. Others may look meanwhile. What has never been written is no memory
 * yet, and stays none where it is as it should be. */
static inline void mprof_sieve_fill(union mprof_sieve *sieve, bool everything)
{
    const uint64_t word = everything ? UINT64_MAX : 0;
    for (uint32_t i = 0; i < MPROF_SIEVE_MARKS / 8; i++) {
        if (__atomic_load_n(&sieve->words[i], __ATOMIC_RELAXED) != word)
            __atomic_store_n(&sieve->words[i], word, __ATOMIC_RELAXED);
    }
}

#endif
