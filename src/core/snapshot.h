/* SPDX-License-Identifier: MIT */
/* snapshot.h -- an immutable heap profile, detached from the program that it came from.
 *
 * WHAT    Strings, functions, a tree of frames, stacks (paths in the tree) with their figures, and block records:
 *
 *           strings    "app.py"  "handler"  ...                      index 0 is ""
 *           functions  {name, filename, firstlineno}                 index 0 is unused (all zero)
 *           nodes      {parent, function, line}                      index 0 is the root: no frame
 *           stacks     {node of the innermost frame, figures}        two stacks never name the same node
 *           blocks     {stack, size, samples, estimates}             what is in use, one record or more a stack
 *
 *         A parent's index is always smaller than its child's, so one pass over nodes in order meets parents first.
 *         A stack whose node is 0 has no Python frame ("<unknown>" in tracemalloc's words).
 *         It comes from three sources: the recorder (snapshot_take.c), a list of traces or a program that adds item by
 *         item (the builder below), and a pprof file (src/pprof/decode.c, through the builder).
 * WHY     The recorder is copied under its lock with plain memcpy and turned into this form after the lock is released:
 *         the program stops for the copy only.
 * LOCKS   none: nothing changes after mprof_builder_finish. The reference count is atomic.
 * MEMORY  one arena a snapshot, given back as a whole with the last reference. */
#ifndef MPROF_CORE_SNAPSHOT_H
#define MPROF_CORE_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a set of samples says about bytes and blocks. All fields add up over disjoint sets.
 * `samples` counts the samples, `seen` their own bytes without any weight (a lower bound that is certain);
 * `bytes` = sum s/p and `blocks` = sum 1/p are the unbiased estimates, `bytes_var` = sum s^2(1-p)/p^2 and
 * `blocks_var` = sum (1-p)/p^2 the unbiased estimates of their variances (docs/sampling.md). */
struct mprof_figures {
    double bytes;
    double blocks;
    double bytes_var;
    double blocks_var;
    double seen;
    double samples;
};

struct mprof_function {
    uint32_t name;     /* string: qualified name where the interpreter has one */
    uint32_t filename; /* string */
    uint32_t firstlineno;
};

struct mprof_node {
    uint32_t parent; /* node of the caller's frame; 0 at the outermost frame */
    uint32_t function;
    uint32_t line; /* 0 if unknown */
};

struct mprof_stack {
    uint32_t node;              /* innermost frame; 0: no frame */
    uint32_t frames;            /* frames kept on the path from node to the root */
    uint32_t total_frames;      /* frames that the program had; > frames when the stack was cut at max_frames */
    struct mprof_figures inuse; /* of all blocks of this stack */
    struct mprof_figures alloc; /* everything ever allocated */
    struct mprof_figures peak;  /* in use when the whole heap was at its peak */
};

/* A record of blocks in use. In a snapshot of the recorder each record is one sampled block: samples is 1, blocks is
 * 1/p, bytes is size/p. In one read from a file it may stand for several blocks of one stack and size. */
struct mprof_block {
    uint32_t stack;
    uint32_t domain;  /* tracemalloc's domain; 0 is Python's own memory */
    uint64_t size;    /* bytes of one block (the mean if sizes were mixed) */
    uint64_t samples; /* blocks sampled */
    double blocks;    /* estimated number of blocks */
    double bytes;     /* estimated bytes */
    double rate;      /* sample rate in force for this record; <= 1: exact */
    uint64_t id;      /* identifies the sample across snapshots of one recording; 0: unknown */
    int64_t birth_ns; /* time_ns at the allocation (wall clock); 0: unknown */
    uint64_t address; /* 0: unknown */
};

/* How the profile was recorded. */
struct mprof_meta {
    double sample_rate; /* mean bytes between marks now in force; 1 when every block is recorded */
    uint32_t max_frames;
    uint64_t drops;     /* samples lost for want of memory */
    uint64_t thinnings; /* times the rate was doubled to hold the bound on live samples */
    int64_t start_ns;   /* wall clock, nanoseconds since 1970: profiling began; 0: unknown */
    int64_t time_ns;    /* wall clock: this profile was taken */
    int64_t peak_ns;    /* wall clock: the heap was at its peak; 0: unknown */
    uint64_t recording; /* identifies the recording, so that ids compare; 0: unknown */
};

struct mprof_snapshot;
struct mprof_builder;

/* ---- reading; every pointer lives as long as the snapshot ---- */

void mprof_snapshot_incref(struct mprof_snapshot *snapshot);
void mprof_snapshot_decref(struct mprof_snapshot *snapshot); /* NULL is allowed */

const struct mprof_meta *mprof_snapshot_meta(const struct mprof_snapshot *snapshot);
uint32_t mprof_snapshot_string_count(const struct mprof_snapshot *snapshot);
/* Not NUL-terminated; may hold any byte. UTF-8 with lone surrogates as three bytes. */
const char *mprof_snapshot_string(const struct mprof_snapshot *snapshot, uint32_t index, size_t *length);
uint32_t mprof_snapshot_function_count(const struct mprof_snapshot *snapshot); /* includes index 0 */
const struct mprof_function *mprof_snapshot_functions(const struct mprof_snapshot *snapshot);
uint32_t mprof_snapshot_node_count(const struct mprof_snapshot *snapshot); /* includes the root */
const struct mprof_node *mprof_snapshot_nodes(const struct mprof_snapshot *snapshot);
uint32_t mprof_snapshot_stack_count(const struct mprof_snapshot *snapshot);
const struct mprof_stack *mprof_snapshot_stacks(const struct mprof_snapshot *snapshot);
size_t mprof_snapshot_block_count(const struct mprof_snapshot *snapshot);
void mprof_snapshot_block(const struct mprof_snapshot *snapshot, size_t index, struct mprof_block *block);
/* Stack of a block record, without unpacking the rest. */
uint32_t mprof_snapshot_block_stack(const struct mprof_snapshot *snapshot, size_t index);
uint32_t mprof_snapshot_comment_count(const struct mprof_snapshot *snapshot);
uint32_t mprof_snapshot_comment(const struct mprof_snapshot *snapshot, uint32_t index); /* a string index */
/* Bytes that the snapshot holds. */
size_t mprof_snapshot_memory(const struct mprof_snapshot *snapshot);

/* ---- building; not for use inside a hook. Every function returns 0 or -1 when memory is exhausted, after which
 * the builder may only be dropped. ---- */

struct mprof_builder *mprof_builder_new(void);          /* NULL: no memory */
void mprof_builder_drop(struct mprof_builder *builder); /* NULL is allowed */
/* Interns: equal content gives equal index. */
int mprof_builder_string(struct mprof_builder *builder, const char *text, size_t length, uint32_t *index);
int mprof_builder_function(struct mprof_builder *builder, const struct mprof_function *function, uint32_t *index);
int mprof_builder_node(struct mprof_builder *builder, const struct mprof_node *node, uint32_t *index);
/* One stack a node: a second call with the same node adds alloc and peak to the first's, keeps the larger total_frames.
 * `frames` and `inuse` of the argument are ignored: finish computes them. */
int mprof_builder_stack(struct mprof_builder *builder, const struct mprof_stack *stack, uint32_t *index);
int mprof_builder_block(struct mprof_builder *builder, const struct mprof_block *block);
/* Kept in order, not interned against each other. */
int mprof_builder_comment(struct mprof_builder *builder, const char *text, size_t length);
/* Ends the builder in any case. NULL: no memory. */
struct mprof_snapshot *mprof_builder_finish(struct mprof_builder *builder, const struct mprof_meta *meta);

/* ---- shared arithmetic ---- */

/* Adds `samples` sampled blocks of `size` bytes at `rate` (docs/sampling.md); rate <= 1 is exact. */
void mprof_figures_add_samples(struct mprof_figures *figures, uint64_t size, double rate, uint64_t samples);
/* Adds a block record: its estimates as they stand, variances from size, rate and samples. */
void mprof_figures_add_block(struct mprof_figures *figures, const struct mprof_block *block);
void mprof_figures_add(struct mprof_figures *figures, const struct mprof_figures *other);
/* Whether they are of any block. */
static inline bool mprof_figures_any(const struct mprof_figures *figures)
{
    return figures->samples > 0 || figures->blocks > 0;
}

#endif
