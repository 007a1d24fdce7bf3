/* SPDX-License-Identifier: MIT */
/* layout.h -- how a snapshot is laid out in a pprof profile: field numbers, columns, labels.
 *
 * WHAT    Field numbers are those of profile.proto. A stack becomes up to two kinds of samples:
 *
 *             location ids     values                                  numeric labels
 *           | leaf ... root |  peak, alloc columns; in-use zero     |  total_frames, alloc_*, peak_*   one a stack
 *           | leaf ... root |  in-use columns; the others zero      |  bytes, domain, rate, age        one a size and age
 *
 *         Values are estimates of what the program allocated, not counts of samples. The labels of the first kind say
 *         what the columns cannot: numbers of samples and standard errors. `bytes` of the second kind is the size of
 *         one block; `rate` is there where a record was sampled at another rate than the profile's period. `age` is how
 *         long the blocks have lived, in seconds, rounded down to one of mprof_age_bounds; where it is missing, less
 *         than a second or unknown.
 * WHY     Go's tools show the last column by default, so in-use bytes come last, and the four columns of Go's own heap
 *         profiles stay together and in their order. Their tag filters know a numeric label named `bytes`, and
 *         `-tagfocus age=60s:` for what has lived for a minute or more. Ages are coarse, and coarser as they grow, so
 *         that a stack's records are at most MPROF_AGES times as many as its sizes.
 * LOCKS   none.
 * MEMORY  none. */
#ifndef MPROF_PPROF_LAYOUT_H
#define MPROF_PPROF_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

enum {
    MPROF_PROFILE_SAMPLE_TYPE = 1,
    MPROF_PROFILE_SAMPLE = 2,
    MPROF_PROFILE_MAPPING = 3,
    MPROF_PROFILE_LOCATION = 4,
    MPROF_PROFILE_FUNCTION = 5,
    MPROF_PROFILE_STRING = 6,
    MPROF_PROFILE_TIME = 9,
    MPROF_PROFILE_PERIOD_TYPE = 11,
    MPROF_PROFILE_PERIOD = 12,
    MPROF_PROFILE_COMMENT = 13,
};

enum { MPROF_TYPE_NAME = 1, MPROF_TYPE_UNIT = 2 };
enum { MPROF_SAMPLE_LOCATION = 1, MPROF_SAMPLE_VALUE = 2, MPROF_SAMPLE_LABEL = 3 };
enum { MPROF_TAG_KEY = 1, MPROF_TAG_NUMBER = 3, MPROF_TAG_UNIT = 4 };
enum {
    MPROF_MAPPING_ID = 1,
    MPROF_MAPPING_FILENAME = 5,
    MPROF_MAPPING_HAS_FUNCTIONS = 7,
    MPROF_MAPPING_HAS_FILENAMES = 8,
    MPROF_MAPPING_HAS_LINES = 9,
};
enum { MPROF_LOCATION_ID = 1, MPROF_LOCATION_MAPPING = 2, MPROF_LOCATION_ADDRESS = 3, MPROF_LOCATION_LINE = 4 };
enum { MPROF_LINE_FUNCTION = 1, MPROF_LINE_NUMBER = 2 };
enum {
    MPROF_FUNCTION_ID = 1,
    MPROF_FUNCTION_NAME = 2,
    MPROF_FUNCTION_SYSTEM_NAME = 3, /* read only */
    MPROF_FUNCTION_FILENAME = 4,
    MPROF_FUNCTION_START_LINE = 5,
};

/* Columns in the order in which they are written: for each set of figures its blocks, then its bytes. */
enum mprof_column {
    MPROF_COLUMN_PEAK,
    MPROF_COLUMN_ALLOC = 2,
    MPROF_COLUMN_INUSE = 4,
    MPROF_COLUMNS = 6,
};

static inline const char *mprof_column_name(unsigned column)
{
    static const char *const names[MPROF_COLUMNS] = {
        [MPROF_COLUMN_PEAK] = "peak_objects",   [MPROF_COLUMN_PEAK + 1] = "peak_space",
        [MPROF_COLUMN_ALLOC] = "alloc_objects", [MPROF_COLUMN_ALLOC + 1] = "alloc_space",
        [MPROF_COLUMN_INUSE] = "inuse_objects", [MPROF_COLUMN_INUSE + 1] = "inuse_space",
    };
    return names[column];
}

enum mprof_label {
    MPROF_LABEL_BYTES,
    MPROF_LABEL_DOMAIN,
    MPROF_LABEL_RATE,
    MPROF_LABEL_AGE,
    MPROF_LABEL_TOTAL_FRAMES,
    MPROF_LABEL_ALLOC, /* + one of enum mprof_label_detail */
    MPROF_LABEL_PEAK = MPROF_LABEL_ALLOC + 4,
    MPROF_LABELS = MPROF_LABEL_PEAK + 4,
};

/* What a set of figures says beyond its columns. */
enum mprof_label_detail {
    MPROF_DETAIL_SAMPLES,
    MPROF_DETAIL_SEEN,
    MPROF_DETAIL_BYTES_ERROR,
    MPROF_DETAIL_BLOCKS_ERROR,
    MPROF_DETAILS,
};

static inline const char *mprof_label_name(unsigned label)
{
    static const char *const names[MPROF_LABELS] = {
        [MPROF_LABEL_BYTES] = "bytes",
        [MPROF_LABEL_DOMAIN] = "domain",
        [MPROF_LABEL_RATE] = "rate",
        [MPROF_LABEL_AGE] = "age",
        [MPROF_LABEL_TOTAL_FRAMES] = "total_frames",
        [MPROF_LABEL_ALLOC + MPROF_DETAIL_SAMPLES] = "alloc_samples",
        [MPROF_LABEL_ALLOC + MPROF_DETAIL_SEEN] = "alloc_seen",
        [MPROF_LABEL_ALLOC + MPROF_DETAIL_BYTES_ERROR] = "alloc_bytes_error",
        [MPROF_LABEL_ALLOC + MPROF_DETAIL_BLOCKS_ERROR] = "alloc_blocks_error",
        [MPROF_LABEL_PEAK + MPROF_DETAIL_SAMPLES] = "peak_samples",
        [MPROF_LABEL_PEAK + MPROF_DETAIL_SEEN] = "peak_seen",
        [MPROF_LABEL_PEAK + MPROF_DETAIL_BYTES_ERROR] = "peak_bytes_error",
        [MPROF_LABEL_PEAK + MPROF_DETAIL_BLOCKS_ERROR] = "peak_blocks_error",
    };
    return names[label];
}

/* NULL: a bare number. */
static inline const char *mprof_label_unit(unsigned label)
{
    switch (label) {
    case MPROF_LABEL_DOMAIN:
        return NULL;
    case MPROF_LABEL_AGE:
        return "seconds";
    case MPROF_LABEL_BYTES:
    case MPROF_LABEL_RATE:
    case MPROF_LABEL_ALLOC + MPROF_DETAIL_SEEN:
    case MPROF_LABEL_ALLOC + MPROF_DETAIL_BYTES_ERROR:
    case MPROF_LABEL_PEAK + MPROF_DETAIL_SEEN:
    case MPROF_LABEL_PEAK + MPROF_DETAIL_BYTES_ERROR:
        return "bytes";
    default:
        return "count";
    }
}

/* Where classes of ages begin, in seconds. */
enum { MPROF_AGES = 7 };

static inline uint32_t mprof_age_bound(unsigned class)
{
    static const uint32_t bounds[MPROF_AGES] = {0, 1, 10, 60, 600, 3600, 21600};
    return bounds[class];
}

/* A stack without frames is one location of a function of this name, in a file of this name, at line 0. */
#define MPROF_NO_FRAME "<unknown>"

/* What a profile has no field for is in comments: this, then key=value. */
#define MPROF_COMMENT_PREFIX "mprofile: "

#endif
