/* SPDX-License-Identifier: MIT */
/* decode.h -- a pprof profile as a snapshot.
 *
 * WHAT    Reads the bytes of a Profile message (not gzip): what encode.h wrote, and any heap profile as Go writes it.
 *         Columns are found by name: inuse_*, alloc_*, peak_* with _objects and _space; missing ones are zero; `objects`
 *         and `space` alone mean in use. Space may be in multiples of bytes. For a foreign file the number of samples
 *         behind a value is inferred from the block size (label `bytes`) and the period.
 * WHY     Files come from anywhere. Whatever is not a profile gives an error that says what is wrong and at which byte;
 *         time is linear in the length of the input, and so is memory: at most MPROF_DECODE_FACTOR bytes for each byte
 *         of input, above MPROF_DECODE_CONSTANT.
 * LOCKS   none.
 * MEMORY  a scratch arena of its own, and the new snapshot's. */
#ifndef MPROF_PPROF_DECODE_H
#define MPROF_PPROF_DECODE_H

#include "core/snapshot.h"

#include <stdbool.h>
#include <stddef.h>

#define MPROF_DECODE_FACTOR ((size_t)512)
#define MPROF_DECODE_CONSTANT ((size_t)16 << 20)

struct mprof_decode_error {
    bool memory;    /* no memory; nothing is wrong with the input as far as it was read */
    size_t offset;  /* in the input */
    char text[240]; /* one line of ASCII, names the offset too */
};

/* 0, or -1 with *error filled in. The caller owns one reference to *out. */
int mprof_pprof_decode(const unsigned char *bytes, size_t length, struct mprof_snapshot **out,
                       struct mprof_decode_error *error);

#endif
