/* SPDX-License-Identifier: MIT */
/* grouping.h -- sums over a snapshot: statistics, differences, rows of a report.
 *
 * WHAT    Each function groups the stacks of a snapshot by a key (paths.h) and adds up their figures:
 *
 *             statistics    in use, by line, file or traceback       Snapshot.statistics
 *             differences   the same of two snapshots                Snapshot.compare_to
 *             rows          in use, allocated and at the peak, each  reports
 *                           flat and cumulative
 *
 *         Flat: a stack counts for its innermost frame. Cumulative: for every frame on it. A frame that recurs m times
 *         on a stack counts m times for tracemalloc's cumulative statistics, once for a report.
 *
 *         Cumulative sums come from one walk over the tree, children before parents. T(n) = figures of all stacks
 *         through node n, and j(n) = how many ancestors of n have its key. Then over the nodes n of a key
 *
 *             each occurrence   bytes = sum T(n).bytes     variance = sum (2 j(n) + 1) T(n).variance
 *             once              sum of T(n) where j(n) = 0
 *
 *         since m occurrences multiply a block's variance by m^2 = 1 + 3 + ... + (2m - 1).
 * WHY     10^6 blocks are 10^4 stacks: sums over stacks, not over blocks. A walk over the tree costs its nodes; going
 *         up from each stack costs stacks times depth.
 * LOCKS   none; snapshots do not change.
 * MEMORY  the caller's arena, results and scratch alike; drop it when the result has been read. Every function returns
 *         0, or -1 without memory. */
#ifndef MPROF_CORE_GROUPING_H
#define MPROF_CORE_GROUPING_H

#include "base/arena.h"
#include "core/paths.h"
#include "core/snapshot.h"

#include <stdbool.h>
#include <stdint.h>

struct mprof_group {
    uint32_t path;
    double size; /* bytes and blocks, rounded to whole numbers: what it is sorted by */
    double count;
    struct mprof_figures figures;
};

/* Groups that hold at least one block, in tracemalloc's order: size, count, traceback, all descending. */
struct mprof_statistics {
    struct mprof_paths paths;
    struct mprof_group *groups;
    uint32_t count;
};

int mprof_grouping_statistics(struct mprof_statistics *result, struct mprof_arena *arena, enum mprof_key key,
                              const struct mprof_snapshot *snapshot, bool cumulative);

struct mprof_difference {
    uint32_t path;
    double size; /* in the new snapshot, rounded */
    double size_diff;
    double count;
    double count_diff;
    /* Variances and number of the samples that were born or died between the two. Samples alive in both at the same
     * rate add the same to both estimates and cancel. bytes, blocks and seen say nothing here. */
    struct mprof_figures changed;
};

/* Groups that hold a block in either, in tracemalloc's order: |size_diff|, size, |count_diff|, count, traceback, all
 * descending. Source 0 of the paths is the new snapshot, source 1 the old one. */
struct mprof_differences {
    struct mprof_paths paths;
    struct mprof_difference *groups;
    uint32_t count;
};

int mprof_grouping_differences(struct mprof_differences *result, struct mprof_arena *arena, enum mprof_key key,
                               const struct mprof_snapshot *now, const struct mprof_snapshot *before, bool cumulative);

enum mprof_measure {
    MPROF_INUSE,
    MPROF_ALLOC,
    MPROF_PEAK,
    MPROF_MEASURES,
};

static inline const struct mprof_figures *mprof_stack_figures(const struct mprof_stack *stack, unsigned measure)
{
    return measure == MPROF_INUSE ? &stack->inuse : measure == MPROF_ALLOC ? &stack->alloc : &stack->peak;
}

struct mprof_row {
    uint32_t path;
    uint32_t total_frames; /* of whole stacks: frames that the program had, more than the path has if it was cut */
    struct mprof_figures flat[MPROF_MEASURES];
    struct mprof_figures cumulative[MPROF_MEASURES]; /* a stack counts once; for whole stacks the same as flat */
};

/* Rows in descending order of bytes in use (flat), then allocated (flat), then in use (cumulative), then of the path.
 */
struct mprof_rows {
    struct mprof_paths paths;
    struct mprof_row *rows;
    uint32_t count;
};

int mprof_grouping_rows(struct mprof_rows *result, struct mprof_arena *arena, enum mprof_key key,
                        const struct mprof_snapshot *snapshot);

/* Rows by groups of functions: group_of[f], below `groups`, is that of function f, group_of[0] that of stacks without a
 * frame. (*rows)[g] is the row of group g, also where it has nothing; its path is g. */
int mprof_grouping_sums(struct mprof_row **rows, struct mprof_arena *arena, const struct mprof_snapshot *snapshot,
                        const uint32_t *group_of, uint32_t groups);

/* Over all stacks, by measure. Needs no memory. */
void mprof_grouping_totals(const struct mprof_snapshot *snapshot, struct mprof_figures totals[MPROF_MEASURES]);

/* True if both hold the same sequence of traces: domain, size, frames (file and line) and number of frames. */
int mprof_grouping_same_traces(const struct mprof_snapshot *a, const struct mprof_snapshot *b,
                               struct mprof_arena *arena, bool *same);

#endif
