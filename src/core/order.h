/* SPDX-License-Identifier: MIT */
/* order.h -- sorting numbers by what they stand for.
 *
 * WHAT    A stable merge sort of an array of indices, with a context for the comparison.
 * WHY     qsort has no context, qsort_r has three incompatible signatures, and both move whole items: a group is 100
 *         bytes, its index 4. Merging also compares less often than quicksort, and comparing two call paths is the
 *         expensive part.
 * LOCKS   none.
 * MEMORY  the caller gives room for as many indices again. */
#ifndef MPROF_CORE_ORDER_H
#define MPROF_CORE_ORDER_H

#include <stddef.h>
#include <stdint.h>

/* Below 0: a comes before b. 0: they keep the order they had. Above 0: b comes before a. */
typedef int mprof_order_compare(const void *context, uint32_t a, uint32_t b);

/* Sorts items[0..count). `room` holds `count` items and is overwritten. */
void mprof_order_sort(uint32_t *items, uint32_t *room, size_t count, mprof_order_compare *compare, const void *context);

#endif
