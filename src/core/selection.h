/* SPDX-License-Identifier: MIT */
/* selection.h -- a part of a snapshot as a new snapshot: tracemalloc's filters.
 *
 * WHAT    A block is kept if it passes at least one including filter (or there is none) and every excluding one.
 *
 *             filter      frames: file in a set, line      domain
 *             includes    the block must match both        e.g. only b.py
 *             excludes    the block must not match both    e.g. not <frozen *>
 *
 *         The set of files is one byte a string of the snapshot. Whoever has patterns matches them once for each name,
 *         not once for each frame.
 * WHY     Matching 10^6 traces against a pattern in Python takes seconds; the names are a few hundred.
 * LOCKS   none; snapshots do not change.
 * MEMORY  the new snapshot shares nothing with the old one. Scratch memory is given back before returning. */
#ifndef MPROF_CORE_SELECTION_H
#define MPROF_CORE_SELECTION_H

#include "core/snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MPROF_ANY (-1)  /* every line, every domain */
#define MPROF_NONE (-2) /* none: the caller asked for what no block can have */

struct mprof_filter {
    bool inclusive;
    bool all_frames;      /* match any frame of a stack, not only the innermost */
    const uint8_t *files; /* by string, one more for "<unknown>": not 0 if it matches. NULL: any file */
    int64_t line;         /* a line number, MPROF_ANY or MPROF_NONE */
    int64_t domain;       /* a domain, MPROF_ANY or MPROF_NONE */
};

/* The blocks that pass, in order, with their ids, births and rates. A stack is kept if one of its blocks is, or if a
 * block of domain 0 (Python's own memory) would be. What a kept stack allocated, and had in use at the peak, stays as
 * it is: those figures are not known by domain. NULL: no memory. */
struct mprof_snapshot *mprof_select(const struct mprof_snapshot *snapshot, const struct mprof_filter *filters,
                                    size_t count);

/* The same with the decision made by the caller: blocks where keep[i] is not 0, and the stacks that they are of. */
struct mprof_snapshot *mprof_select_blocks(const struct mprof_snapshot *snapshot, const uint8_t *keep);

struct mprof_comment {
    const char *text;
    size_t length;
};

/* All of it, with comments added after those it has. NULL: no memory. */
struct mprof_snapshot *mprof_select_all(const struct mprof_snapshot *snapshot, const struct mprof_comment *comments,
                                        size_t count);

#endif
