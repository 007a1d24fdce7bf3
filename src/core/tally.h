/* SPDX-License-Identifier: MIT */
/* tally.h -- a count in a byte that others look at without a lock.
 *
 * WHAT    0 to 254; 255 sticks, for nobody knows any more how many there are.
 * WHY     The sieve and the filter are arrays of these: 0 must be certain, the rest need not be.
 * LOCKS   changes under the caller's lock; looks without any.
 * MEMORY  the caller's. */
#ifndef MPROF_CORE_TALLY_H
#define MPROF_CORE_TALLY_H

#include <stdint.h>

static inline void mprof_tally_add(uint8_t *tally)
{
    if (*tally != UINT8_MAX)
        __atomic_store_n(tally, (uint8_t)(*tally + 1), __ATOMIC_RELAXED);
}

static inline void mprof_tally_remove(uint8_t *tally)
{
    if (*tally != UINT8_MAX && *tally != 0)
        __atomic_store_n(tally, (uint8_t)(*tally - 1), __ATOMIC_RELAXED);
}

#endif
