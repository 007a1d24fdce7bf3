/* SPDX-License-Identifier: MIT */
/* encode.h -- a snapshot as a pprof profile.
 *
 * WHAT    Bytes of a Profile message (layout.h), without gzip. What is in use comes back from mprof_pprof_decode as it
 *         was, sample by sample, with ages rounded down (layout.h); totals ever allocated and at the peak come back rounded to whole bytes and blocks.
 *         Names that are not UTF-8 (lone surrogates) are written with backslash escapes (utf8.h).
 * WHY     Rounding is carried on from one sample to the next, so that the file's in-use total is the rounded total of
 *         the snapshot and not the sum of thousands of roundings.
 * LOCKS   none. Needs no Python state; not for use inside a hook (it takes time).
 * MEMORY  the given arena only; *bytes, of *length bytes, is from there. On failure nothing stays taken. */
#ifndef MPROF_PPROF_ENCODE_H
#define MPROF_PPROF_ENCODE_H

#include "base/arena.h"
#include "core/snapshot.h"

#include <stddef.h>
#include <stdint.h>

struct mprof_encode_comment {
    const char *text;
    size_t length;
};

struct mprof_encode_options {
    const char *binary; /* name of the program, for the mapping; NULL: none */
    size_t binary_length;
    const uint32_t *selection; /* blocks to write, each at most once; NULL: all */
    size_t selected;
    /* One byte a stack, 0: leave out the stack and its blocks. NULL: leave out the stacks that no selected block
     * names, or none if all blocks are selected. */
    const unsigned char *stack_mask;
    const struct mprof_encode_comment *comments; /* after those of the snapshot */
    size_t comment_count;
};

/* options NULL: everything. 0, or -1 when memory is exhausted. */
int mprof_pprof_encode(const struct mprof_snapshot *snapshot, const struct mprof_encode_options *options,
                       struct mprof_arena *arena, unsigned char **bytes, size_t *length);

#endif
