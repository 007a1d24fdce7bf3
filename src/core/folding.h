/* SPDX-License-Identifier: MIT */
/* folding.h -- the stacks of one snapshot, or of two, as one tree of call sites without what is small.
 *
 * WHAT    A site is a function and a line in it. A path is the sites from the root to a frame. The share of a path is
 *         what the stacks through it have of the whole, in bytes or in blocks, by that measure and in that snapshot
 *         where it is the largest. A path whose share is below the threshold is not shown; of the stacks that go on
 *         there the figures stand, all of them together, at a node "folded":
 *
 *             root --+-- main:10 --+-- parse:31            60 %        threshold 2 %
 *                    |             +-- parse:35            30 %
 *                    |             +-- (folded)             1 %        two stacks that were cut
 *                    +-- idle:7                             9 %
 *
 *         So sums stay what they are. The nodes come in preorder with their depths, which together give the tree.
 * WHY     A page with a million nodes can neither be loaded nor read, and its making would cost a second in Python. Here
 *         it is some passes over arrays in the order of the paths, in which parents come first.
 * LOCKS   none; snapshots do not change.
 * MEMORY  the caller's arena, results and scratch alike: some 80 bytes a node of the snapshots. */
#ifndef MPROF_CORE_FOLDING_H
#define MPROF_CORE_FOLDING_H

#include "base/arena.h"
#include "core/grouping.h"
#include "core/snapshot.h"

#include <stdint.h>

struct mprof_fold_options {
    const uint32_t
        *numbers[2];  /* by snapshot: number of each function; that of function 0 is of stacks without frames */
    uint32_t folded;  /* number of the function "folded" */
    double threshold; /* smallest share that is shown; below 0: the smallest of 0, 1, 2, 5, 10, ... millionths */
    uint32_t most;    /* ... that leaves at most so many paths */
};

struct mprof_fold {
    double threshold; /* that was used */
    uint32_t stacks;  /* of each snapshot, added up */
    uint32_t cut;     /* how many of them were cut */

    uint32_t site_count; /* site 0 is the root's and has no function */
    uint32_t *site_function;
    uint32_t *site_line;

    uint32_t node_count; /* node 0 is the root */
    uint32_t *node_depth;
    uint32_t *node_site;

    uint32_t own_count; /* nodes at which stacks end */
    uint32_t *own_node;
    /* figures[s][i * MPROF_MEASURES + m]: of own_node[i] in snapshot s */
    struct mprof_figures *figures[2];
};

/* Folds `count` (1 or 2) snapshots. 0, or -1 without memory. */
int mprof_fold(struct mprof_fold *fold, struct mprof_arena *arena, const struct mprof_snapshot *const *snapshots,
               uint32_t count, const struct mprof_fold_options *options);

#endif
