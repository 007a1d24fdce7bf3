/* SPDX-License-Identifier: MIT */
/* series.h -- heap and resident memory over time.
 *
 * WHAT    One point a publication: when, bytes of heap in use, resident bytes. At most MPROF_SERIES_POINTS of them: when
 *         they are full, of each two neighbours the one with the larger heap stays. So the series always covers
 *         the whole recording, peaks survive, and the resolution halves.
 *         mprof_series_write gives it as text, the content of a profile's comment:
 *
 *             mprofile: history=1700000000000,81920,131072;1000,90112,139264;1001,90112,147456
 *                               ms since 1970, heap in KiB, resident in KiB; then: ms since the one before, ...
 * WHY     Every profile file carries its own past, so that one file is enough to draw it.
 * LOCKS   the caller's.
 * MEMORY  12 KiB in the struct. */
#ifndef MPROF_PUBLISH_SERIES_H
#define MPROF_PUBLISH_SERIES_H

#include <stddef.h>
#include <stdint.h>

enum { MPROF_SERIES_POINTS = 512 };

struct mprof_point {
    int64_t time_ms; /* since 1970 */
    uint64_t heap;   /* bytes */
    uint64_t resident;
};

struct mprof_series {
    struct mprof_point points[MPROF_SERIES_POINTS];
    uint32_t count;
};

void mprof_series_add(struct mprof_series *series, const struct mprof_point *point);

/* Longest text, with its end. */
enum { MPROF_SERIES_TEXT = 32 + MPROF_SERIES_POINTS * 64 };
/* Returns the length. */
size_t mprof_series_write(const struct mprof_series *series, char text[MPROF_SERIES_TEXT]);

#endif
