/* SPDX-License-Identifier: MIT */
/* series.c -- see series.h. */
#include "publish/series.h"

#include "pprof/layout.h"

#include <inttypes.h>
#include <stdio.h>

static void halve(struct mprof_series *series)
{
    for (uint32_t i = 0; i < series->count / 2; i++) {
        const struct mprof_point *pair = &series->points[2 * i];
        series->points[i] = pair[pair[1].heap > pair[0].heap];
    }
    series->count /= 2;
}

void mprof_series_add(struct mprof_series *series, const struct mprof_point *point)
{
    if (series->count == MPROF_SERIES_POINTS)
        halve(series);
    series->points[series->count++] = *point;
}

size_t mprof_series_write(const struct mprof_series *series, char text[MPROF_SERIES_TEXT])
{
    int64_t before = 0;
    size_t length = (size_t)snprintf(text, MPROF_SERIES_TEXT, MPROF_COMMENT_PREFIX "history=");
    for (uint32_t i = 0; i < series->count; i++) {
        const struct mprof_point *point = &series->points[i];
        length += (size_t)snprintf(text + length, MPROF_SERIES_TEXT - length, "%s%" PRId64 ",%" PRIu64 ",%" PRIu64,
                                   i ? ";" : "", point->time_ms - before, point->heap >> 10, point->resident >> 10);
        before = point->time_ms;
    }
    return length;
}
