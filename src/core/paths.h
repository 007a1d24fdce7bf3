/* SPDX-License-Identifier: MIT */
/* paths.h -- what statistics are grouped by: the call paths of one or two snapshots under one numbering.
 *
 * WHAT    A path is a sequence of frame keys. Frames with equal keys are one path whatever node, function or snapshot
 *         they come from:
 *
 *             key         a frame is           a path is                      whose
 *             LINE        file, line           one frame                      tracemalloc 'lineno'
 *             FILE        file                 one frame                      tracemalloc 'filename'
 *             TRACEBACK   file, line           all frames, oldest first       tracemalloc 'traceback'
 *             FUNCTION    file, first line,    one frame                      reports
 *                         name
 *             STACK       function, line       all frames, oldest first       reports
 *
 *             snapshot 0   node -> path  \
 *                                         >  paths: {frame, parent, depth, a node that has this path}
 *             snapshot 1   node -> path  /   path 0 is the empty path
 *
 *         A frame key is one number, (rank of the file or function) << 32 | line. Ranks are given in the order of the
 *         names, so comparing two frames as tracemalloc does (file name by code points, then line) is comparing two
 *         numbers: UTF-8 sorts by bytes as by code points.
 * WHY     Two functions on one line are two nodes but one line to tracemalloc, and two snapshots number their strings
 *         and nodes each in their own way. With one numbering a group is an array index.
 * LOCKS   none; the snapshots do not change.
 * MEMORY  the caller's arena. It fails only for want of memory. */
#ifndef MPROF_CORE_PATHS_H
#define MPROF_CORE_PATHS_H

#include "base/arena.h"
#include "core/snapshot.h"

#include <stdbool.h>
#include <stdint.h>

enum mprof_key {
    MPROF_KEY_LINE,
    MPROF_KEY_FILE,
    MPROF_KEY_TRACEBACK,
    MPROF_KEY_FUNCTION,
    MPROF_KEY_STACK,
};

/* What tracemalloc calls the file of a block that has no Python frame; its line is 0. */
#define MPROF_UNKNOWN_FILE "<unknown>"

struct mprof_path {
    uint64_t frame;  /* key of its innermost frame */
    uint32_t parent; /* path of the caller; 0 at the outermost frame, and always 0 where a path is one frame */
    uint32_t depth;  /* frames */
    uint32_t source; /* 0 or 1: the snapshot of `node` */
    uint32_t node;   /* the first node met that has this path; 0: the block has no Python frame */
};

struct mprof_paths_source {
    const struct mprof_snapshot *snapshot;
    uint32_t *of_node; /* path of each node; of_node[0]: the path of "<unknown>"; 0 if nobody asked for this node */
};

struct mprof_paths {
    enum mprof_key key;
    uint32_t count; /* paths, the empty one included */
    struct mprof_path *items;
    uint32_t source_count;
    struct mprof_paths_source sources[2];
};

/* Numbers the paths of `count` (1 or 2) snapshots. `every_node`: false if only nodes that have a stack will be asked
 * for. 0, or -1 without memory. */
int mprof_paths_make(struct mprof_paths *paths, struct mprof_arena *arena, enum mprof_key key,
                     const struct mprof_snapshot *const *snapshots, uint32_t count, bool every_node);

/* The same for whole stacks whose functions the caller has numbered: numbers[s][f] is that of function f of snapshot s,
 * numbers[s][0] that of "<unknown>". A frame key is then number << 32 | line, and comparing says nothing about names. */
int mprof_paths_make_numbered(struct mprof_paths *paths, struct mprof_arena *arena,
                              const struct mprof_snapshot *const *snapshots, const uint32_t *const *numbers,
                              uint32_t count);

/* As tuples of frames compare in Python, oldest frame first: below 0, 0 (only if a == b) or above 0. */
int mprof_paths_compare(const struct mprof_paths *paths, uint32_t a, uint32_t b);

#endif
