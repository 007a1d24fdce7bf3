/* SPDX-License-Identifier: MIT */
/* filter.c -- see filter.h. */
#include "core/filter.h"

#include "core/tally.h"

struct mprof_filter *mprof_filter_new(struct mprof_arena *arena, unsigned bits)
{
    struct mprof_filter *filter = mprof_arena_get(arena, sizeof *filter + ((size_t)1 << bits));
    if (filter)
        filter->shift = 64 - bits;
    return filter;
}

void mprof_filter_add(struct mprof_filter *filter, uintptr_t address)
{
    mprof_tally_add(&filter->buckets[mprof_filter_bucket(filter, address)]);
}

void mprof_filter_remove(struct mprof_filter *filter, uintptr_t address)
{
    mprof_tally_remove(&filter->buckets[mprof_filter_bucket(filter, address)]);
}

void mprof_filter_clear(struct mprof_filter *filter)
{
    uint64_t count = UINT64_C(1) << (64 - filter->shift);
    for (uint64_t i = 0; i < count; i++)
        __atomic_store_n(&filter->buckets[i], 0, __ATOMIC_RELAXED);
}
