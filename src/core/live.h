/* SPDX-License-Identifier: MIT */
/* live.h -- one block in use, in 16 bytes.
 *
 * WHAT    key    | birth code 16 | address 48 |      0: no block
 *         stack  index of the stack's figures
 *         size   bytes of the block; or, with the top bit set, the index of a record that holds more
 *
 * WHY     The live table and a snapshot of it share this form, so a snapshot starts as a plain copy.
 * LOCKS   none of its own.
 * MEMORY  none of its own. */
#ifndef MPROF_CORE_LIVE_H
#define MPROF_CORE_LIVE_H

#include <stdint.h>

struct mprof_live {
    uint64_t key;
    uint32_t stack;
    uint32_t size;
};

#define MPROF_LIVE_WIDE UINT32_C(0x80000000) /* in size: the rest is an index */
#define MPROF_LIVE_ADDRESS_BITS 48
#define MPROF_LIVE_ADDRESS ((UINT64_C(1) << MPROF_LIVE_ADDRESS_BITS) - 1)

static inline uintptr_t mprof_live_address(const struct mprof_live *entry)
{
    return (uintptr_t)(entry->key & MPROF_LIVE_ADDRESS);
}

/* A key when the units of births have doubled `doublings` times since. */
static inline uint64_t mprof_live_aged(uint64_t key, unsigned doublings)
{
    return (key & MPROF_LIVE_ADDRESS) | key >> MPROF_LIVE_ADDRESS_BITS >> doublings << MPROF_LIVE_ADDRESS_BITS;
}

#endif
