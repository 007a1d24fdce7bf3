/* SPDX-License-Identifier: MIT */
/* same_path.h -- whether strings and call stacks of two snapshots are the same, for tests and fuzzers.
 *
 * LOCKS   none.
 * MEMORY  none. */
#ifndef MPROF_TESTS_SAME_PATH_H
#define MPROF_TESTS_SAME_PATH_H

#include "core/snapshot.h"

#include <stdbool.h>
#include <string.h>

static inline bool same_string(const struct mprof_snapshot *a, uint32_t i, const struct mprof_snapshot *b, uint32_t k)
{
    size_t length_a, length_b;
    const char *text_a = mprof_snapshot_string(a, i, &length_a);
    const char *text_b = mprof_snapshot_string(b, k, &length_b);
    return length_a == length_b && (length_a == 0 || memcmp(text_a, text_b, length_a) == 0);
}

/* The same frames, from these nodes to the roots. */
static inline bool same_path(const struct mprof_snapshot *a, uint32_t i, const struct mprof_snapshot *b, uint32_t k)
{
    while (i != 0 && k != 0) {
        const struct mprof_node *x = &mprof_snapshot_nodes(a)[i], *y = &mprof_snapshot_nodes(b)[k];
        const struct mprof_function *f = &mprof_snapshot_functions(a)[x->function];
        const struct mprof_function *g = &mprof_snapshot_functions(b)[y->function];
        if (x->line != y->line || f->firstlineno != g->firstlineno || !same_string(a, f->name, b, g->name) ||
            !same_string(a, f->filename, b, g->filename))
            return false;
        i = x->parent;
        k = y->parent;
    }
    return i == k;
}

#endif
