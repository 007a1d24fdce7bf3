/* SPDX-License-Identifier: MIT */
/* wide.h -- products of 128 bits.
 *
 * WHAT    a * b + c of 64-bit numbers, in two halves; it always fits, for (2^64-1)^2 + 2^64-1 < 2^128.
 * WHY     One instruction where the compiler has a type of 128 bits. On 32 bits it has none; there the product is made
 *         of four smaller ones. That is compiled everywhere, so that the tests run it everywhere.
 * LOCKS   none.
 * MEMORY  none. */
#ifndef MPROF_BASE_WIDE_H
#define MPROF_BASE_WIDE_H

#include <stdint.h>

struct mprof_wide {
    uint64_t high;
    uint64_t low;
};

/* Long multiplication with digits of 32 bits. None of the sums passes 64 bits: (2^32-1)^2 + 2 * (2^32-1) = 2^64-1.
 *
 *     place     product           and with it
 *     1         a_low * b_low     the lower digit of c                                 -> first
 *     2^32      a_high * b_low    the higher digit of c, what first carries            -> left
 *     2^32      a_low * b_high    the lower digit of left                              -> right
 *     2^64      a_high * b_high   what left and right carry                            -> high */
static inline struct mprof_wide mprof_wide_multiply_add_by_halves(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t a_low = a & UINT32_MAX, a_high = a >> 32;
    uint64_t b_low = b & UINT32_MAX, b_high = b >> 32;
    uint64_t first = a_low * b_low + (c & UINT32_MAX);
    uint64_t left = a_high * b_low + (c >> 32) + (first >> 32);
    uint64_t right = a_low * b_high + (left & UINT32_MAX);
    return (struct mprof_wide){
        .high = a_high * b_high + (left >> 32) + (right >> 32),
        .low = right << 32 | (first & UINT32_MAX),
    };
}

static inline struct mprof_wide mprof_wide_multiply_add(uint64_t a, uint64_t b, uint64_t c)
{
#ifdef __SIZEOF_INT128__
    __extension__ unsigned __int128 product = a;
    product = product * b + c;
    return (struct mprof_wide){.high = (uint64_t)(product >> 64), .low = (uint64_t)product};
#else
    return mprof_wide_multiply_add_by_halves(a, b, c);
#endif
}

#endif
