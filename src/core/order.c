/* SPDX-License-Identifier: MIT */
/* order.c -- see order.h. Merging runs of doubling length, from the array to the room and back. */
#include "core/order.h"

#include <string.h>

enum { SHORT_RUN = 8 }; /* sorted by insertion before merging begins */

static void sort_run(uint32_t *items, size_t count, mprof_order_compare *compare, const void *context)
{
    for (size_t i = 1; i < count; i++) {
        uint32_t item = items[i];
        size_t at = i;
        while (at > 0 && compare(context, item, items[at - 1]) < 0) {
            items[at] = items[at - 1];
            at--;
        }
        items[at] = item;
    }
}

static void merge(const uint32_t *left, size_t left_count, const uint32_t *right, size_t right_count, uint32_t *out,
                  mprof_order_compare *compare, const void *context)
{
    while (left_count > 0 && right_count > 0) {
        if (compare(context, *right, *left) < 0) {
            *out++ = *right++;
            right_count--;
        } else {
            *out++ = *left++;
            left_count--;
        }
    }
    memcpy(out, left, left_count * sizeof *left);
    memcpy(out + left_count, right, right_count * sizeof *right);
}

void mprof_order_sort(uint32_t *items, uint32_t *room, size_t count, mprof_order_compare *compare, const void *context)
{
    for (size_t at = 0; at < count; at += SHORT_RUN)
        sort_run(items + at, count - at < SHORT_RUN ? count - at : SHORT_RUN, compare, context);
    uint32_t *from = items;
    uint32_t *to = room;
    for (size_t run = SHORT_RUN; run < count; run *= 2) {
        for (size_t at = 0; at < count; at += 2 * run) {
            size_t left = count - at < run ? count - at : run;
            size_t right = count - at - left < run ? count - at - left : run;
            merge(from + at, left, from + at + left, right, to + at, compare, context);
        }
        uint32_t *other = from;
        from = to;
        to = other;
    }
    if (from != items)
        memcpy(items, from, count * sizeof *items);
}
