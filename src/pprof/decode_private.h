/* SPDX-License-Identifier: MIT */
/* decode_private.h -- what the files of the decoder share.
 *
 * WHAT    The decoder reads the input several times, because a profile's parts may come in any order and each needs the
 *         one before:
 *
 *           count -> strings -> types and comments -> mappings and functions -> locations -> samples
 *
 *         No pass keeps more than it counted, so tables are allocated once and at their size.
 * WHY     Keeping what comes too early would need memory for the whole file; skipping a field costs its length prefix.
 * LOCKS   none.
 * MEMORY  `arena` for the tables, the builder's for the snapshot. */
#ifndef MPROF_PPROF_DECODE_PRIVATE_H
#define MPROF_PPROF_DECODE_PRIVATE_H

#include "base/arena.h"
#include "core/snapshot.h"
#include "pprof/decode.h"
#include "pprof/idmap.h"
#include "pprof/layout.h"
#include "pprof/wire.h"

struct mprof_text {
    size_t start; /* in the input */
    size_t length;
    uint32_t interned; /* index in the builder; 0: not there yet, or empty */
};

struct mprof_place { /* a location: lines[first] is the innermost of its frames */
    uint32_t first;
    uint32_t count;
};

struct mprof_line {
    uint32_t function; /* in the builder */
    uint32_t line;
};

struct mprof_path { /* leaf first: indices in places */
    uint32_t *items;
    size_t count;
    size_t capacity;
};

struct mprof_decoder {
    struct mprof_builder *builder;
    struct mprof_arena *arena;
    struct mprof_decode_error *error;
    struct mprof_wire input;

    /* Counted by the first pass. */
    size_t string_count;
    size_t type_count;
    size_t mapping_count;
    size_t function_count;
    size_t location_count;
    size_t line_count;

    struct mprof_text *strings;
    struct mprof_idmap mappings;  /* id -> 1 + string of the file name */
    struct mprof_idmap functions; /* id -> function in the builder */
    struct mprof_idmap locations; /* id -> 1 + index in places */
    struct mprof_place *places;
    struct mprof_line *lines;
    uint32_t no_frame; /* function in the builder that stands for "no frame"; 0: none */

    struct {
        bool found;
        size_t index; /* of the sample type */
        double scale; /* bytes in its unit */
    } columns[MPROF_COLUMNS];
    double rate; /* the period, if it is one of bytes; else 1 */
    struct mprof_meta meta;

    struct mprof_path path;      /* of the sample at hand */
    struct mprof_path last_path; /* of the one before; the same if it was of the same stack */
    uint32_t last_node;
    size_t frames_left; /* bound on the frames of all samples, against locations of many lines */
};

/* As mprof_pprof_decode, with the builder, which it ends in any case, and the arena of the tables, which it leaves
 * empty of its own. */
int mprof_decode_with(const unsigned char *bytes, size_t length, struct mprof_builder *builder,
                      struct mprof_arena *arena, struct mprof_snapshot **out, struct mprof_decode_error *error);

/* Both return -1. The format is of what is wrong; the offset is put after it. */
int mprof_decode_fail(struct mprof_decoder *d, size_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));
int mprof_decode_no_memory(struct mprof_decoder *d);

/* 1: a field; 0: the end; -1: failed. */
int mprof_decode_next(struct mprof_decoder *d, struct mprof_wire *wire, struct mprof_field *field);
/* The payload of a field that must be a number, a message, or the index of a string. `what` is for the error. */
int mprof_decode_number(struct mprof_decoder *d, const struct mprof_field *field, const char *what, uint64_t *value);
int mprof_decode_message(struct mprof_decoder *d, const struct mprof_field *field, const char *what);
int mprof_decode_string(struct mprof_decoder *d, const struct mprof_field *field, const char *what, uint32_t *index);
/* True if the string is this one. */
bool mprof_decode_is(const struct mprof_decoder *d, uint32_t string, const char *text);
/* Bytes in one of a unit: 1 for "bytes" and "", 1024 for "kilobytes" and "kB" ...; 0: no unit of bytes. */
double mprof_decode_unit(const struct mprof_decoder *d, uint32_t string);
/* A string as far as an error message can hold it. */
const char *mprof_decode_show(const struct mprof_decoder *d, uint32_t string, char *buffer, size_t size);

/* The builder's index of a string of the file. */
int mprof_decode_intern(struct mprof_decoder *d, uint32_t string, uint32_t *index);

/* Columns, rate and meta, and the comments into the builder. Needs strings. */
int mprof_decode_header(struct mprof_decoder *d);
/* One sample into the builder. Needs all tables. */
int mprof_decode_sample(struct mprof_decoder *d, const struct mprof_field *field);

#endif
