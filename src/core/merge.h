/* SPDX-License-Identifier: MIT */
/* merge.h -- several profiles as one: their processes' sums.
 *
 * WHAT    Stacks of the same frames become one, whose figures are the sums of theirs. Blocks stay as they are, each at the
 *         rate that it was recorded with, so profiles of different rates add up; the result's own rate, by which
 *         intervals of small groups are computed, is the largest. Its peak is the sum of the peaks, which is at least what
 *         was in use at any one time. drops add up; thinnings and frames kept are the most of any. It began
 *         when the first began and was taken when the last was taken.
 *         Of the comments those stay that all profiles have.
 * LOCKS   none; snapshots do not change.
 * MEMORY  the new snapshot shares nothing with the others. Scratch memory is given back before returning. */
#ifndef MPROF_CORE_MERGE_H
#define MPROF_CORE_MERGE_H

#include "core/snapshot.h"

#include <stddef.h>

/* count >= 1. NULL: no memory. */
struct mprof_snapshot *mprof_merge(const struct mprof_snapshot *const *snapshots, size_t count);

#endif
