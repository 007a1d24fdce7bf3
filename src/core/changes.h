/* SPDX-License-Identifier: MIT */
/* changes.h -- which samples two snapshots of one recording do not share.
 *
 * WHAT    A sample that is alive in both snapshots adds the same error to both estimates, so it cancels in their
 *         difference. The variance of the difference is the sum over the samples that were born or died between:
 *
 *             before   a  b  c  d               variance of (now - before) = v(a) + v(c) + v(e)
 *             now         b     d  e
 *
 * WHY     A leak of 1 MB in a heap of 1 GB would drown in the errors of two independent estimates.
 * LOCKS   none; snapshots do not change.
 * MEMORY  the caller's arena. */
#ifndef MPROF_CORE_CHANGES_H
#define MPROF_CORE_CHANGES_H

#include "base/arena.h"
#include "core/snapshot.h"

/* For each stack of `now` (by_stack[0]) and of `before` (by_stack[1]): figures of the blocks that the other snapshot
 * does not have. Blocks are matched by id within one recording; a block whose rate differs counts on both sides, and so
 * does every block when the recordings differ or are unknown. Blocks that were recorded for certain have no variance
 * and may be left out. by_stack[s] is NULL if nothing on that side has a variance. 0, or -1 without memory. */
int mprof_changes_by_stack(const struct mprof_snapshot *now, const struct mprof_snapshot *before,
                           struct mprof_arena *arena, struct mprof_figures *by_stack[2]);

#endif
