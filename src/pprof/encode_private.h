/* SPDX-License-Identifier: MIT */
/* encode_private.h -- the state of the encoder, shared by its two files.
 *
 * WHAT    encode.c: the profile as a whole, its tables and names. encode_samples.c: locations and samples.
 * WHY     One idea a file.
 * LOCKS   none: one thread encodes.
 * MEMORY  the caller's arena; given back at the end but for the output. */
#ifndef MPROF_PPROF_ENCODE_PRIVATE_H
#define MPROF_PPROF_ENCODE_PRIVATE_H

#include "pprof/encode.h"
#include "pprof/idmap.h"
#include "pprof/layout.h"
#include "pprof/sizes.h"
#include "pprof/wire.h"

enum { MPROF_META_COMMENTS = 7, MPROF_META_COMMENT_SIZE = 64 };
/* Strings that are not the snapshot's: columns, labels, "", space, count, bytes, seconds, <unknown>, the binary. */
enum { MPROF_OWN_STRINGS = MPROF_COLUMNS + MPROF_LABELS + 7 + MPROF_META_COMMENTS };

/* Bytes of a label before or after its number, at most: two tags, and a 32-bit number. */
enum { MPROF_LABEL_PART = 8, MPROF_LABEL_SIZE = 2 + 2 * MPROF_LABEL_PART + MPROF_VARINT };

/* Where something stands in what has been written. length 0: nowhere yet. */
struct mprof_encode_piece {
    uint32_t start;
    uint32_t length;
};

/* A node that the path at hand is the first to have, and where it is in the path. */
struct mprof_encode_fresh {
    uint32_t node;
    uint32_t offset;
};

struct mprof_encode_text {
    const char *bytes;
    size_t length;
};

enum { MPROF_ENCODE_TABLES = 9 };

struct mprof_encode_owned {
    void *memory;
    size_t size;
};

struct mprof_encoder {
    const struct mprof_snapshot *snapshot;
    const struct mprof_encode_options *options;
    struct mprof_arena *arena;
    struct mprof_out out;
    struct mprof_out path; /* packed location ids of the stack at hand */
    struct mprof_encode_fresh *fresh;
    uint32_t fresh_count;
    uint32_t fresh_capacity;
    unsigned char tail[MPROF_LABELS * MPROF_LABEL_SIZE]; /* packed labels of the sample at hand */
    size_t tail_length;
    struct mprof_idmap lines;
    struct mprof_sizes sizes;
    uint64_t period;

    /* Numbers in the file by index in the snapshot; 0: not named yet. And back. */
    uint32_t *string_number;
    uint32_t *function_number;
    uint32_t *location_number;          /* by node; the root's is the location of no frame */
    struct mprof_encode_piece *written; /* by node: the packed path from there to the root */
    struct mprof_encode_text *strings;
    uint32_t *functions; /* [number - 1] */
    uint32_t *locations; /* [number - 1]: a node */
    uint32_t string_count;
    uint32_t function_count;
    uint32_t location_count;

    /* Blocks to write, by stack: order[starts[s]] to order[starts[s + 1] - 1]; order NULL: they are in this order. */
    size_t *starts;
    uint32_t *order;
    size_t selected;

    struct mprof_encode_label {
        size_t key_size; /* 0: not prepared yet */
        size_t unit_size;
        unsigned char key[MPROF_LABEL_PART];
        unsigned char unit[MPROF_LABEL_PART];
    } labels[MPROF_LABELS];
    uint32_t bytes_unit;
    uint32_t count_unit;
    uint32_t seconds_unit; /* 0: not named yet */
    uint32_t no_frame;
    double carry_bytes; /* what rounding has left over so far */
    double carry_blocks;
    char meta[MPROF_META_COMMENTS][MPROF_META_COMMENT_SIZE];
    struct mprof_encode_owned owned[MPROF_ENCODE_TABLES];
    unsigned owned_count;
};

/* Number of a string that is not the snapshot's. */
uint32_t mprof_encode_own_string(struct mprof_encoder *e, const char *bytes, size_t length);
/* The samples of a stack. -1: no memory. */
int mprof_encode_stack(struct mprof_encoder *e, uint32_t index);

#endif
