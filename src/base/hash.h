/* SPDX-License-Identifier: MIT */
/* hash.h -- a hash of byte strings.
 *
 * WHAT    Eight bytes at a time through a multiply-and-mix step. Not keyed: for tables whose keys are not chosen by
 *         an adversary, or whose worst case is bounded otherwise.
 * LOCKS   none.
 * MEMORY  none. */
#ifndef MPROF_BASE_HASH_H
#define MPROF_BASE_HASH_H

#include "base/rng.h"

#include <stddef.h>
#include <string.h>

static inline uint64_t mprof_hash_bytes(const void *bytes, size_t length)
{
    const unsigned char *p = bytes;
    uint64_t hash = length * UINT64_C(0x9e3779b97f4a7c15);
    for (; length >= 8; p += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        hash = mprof_mix64(hash ^ word);
    }
    if (length) {
        uint64_t word = 0;
        memcpy(&word, p, length);
        hash = mprof_mix64(hash ^ word);
    }
    return hash;
}

#endif
