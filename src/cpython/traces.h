/* SPDX-License-Identifier: MIT */
/* traces.h -- the struct behind mprofile._core.Traces; for the files that make its methods.
 *
 * WHAT    snapshot_type.c    the type as a sequence, and its caches
 *         traces_make.c      from trace tuples, from a pprof file and back
 *         traces_fold.c      by groups of functions, and as one tree without what is small
 *         traces_pickle.c    into a pickle and back
 *         traces_sums.c      statistics, differences, rows, selections
 *
 *         Python objects for strings, frames and frame tuples are made when first asked for, then kept:
 *
 *             strings[i]   str          nodes[n]  FrameTuple       stacks[s]  tuple of FrameTuples, most recent first
 *
 *         so one stack gives one frames tuple, the same object each time.
 * WHY     Making the objects of a frame costs as much as the frame's share of everything else.
 * LOCKS   Caches are filled by compare and swap and emptied only with the object: a slot that was seen full stays.
 * MEMORY  Caches are in an arena of the object's own, three pointers a string, node and stack, zero until used. */
#ifndef MPROF_CPYTHON_TRACES_H
#define MPROF_CPYTHON_TRACES_H

#include "cpython/snapshot_type.h"

#include "base/arena.h"
#include "core/grouping.h"

struct mprof_traces {
    PyObject_HEAD struct mprof_snapshot *snapshot;
    PyTypeObject *frame_type;
    struct mprof_arena arena;
    PyObject **strings;
    PyObject **nodes; /* nodes[0]: the frame ("<unknown>", 0) */
    PyObject **stacks;
};

/* The types of this module. NULL with an exception set once the module has been cleared. */
struct mprof_snapshot_types *mprof_traces_types(PyObject *module);

/* As mprof_snapshot_type_wrap, for who has a Traces object and no module. Steals the reference to the snapshot. */
PyObject *mprof_traces_new(PyTypeObject *type, PyTypeObject *frame_type, struct mprof_snapshot *snapshot);

static inline struct mprof_traces *mprof_traces_of(PyObject *self)
{
    return (struct mprof_traces *)(void *)self;
}

/* All return a new reference, or NULL with an exception set. */
PyObject *mprof_traces_string(struct mprof_traces *traces, uint32_t string);
PyObject *mprof_traces_frame(struct mprof_traces *traces, uint32_t node);
PyObject *mprof_traces_frames(struct mprof_traces *traces, uint32_t stack);
/* The path of a node, most recent frame first or oldest first. Not cached. */
PyObject *mprof_traces_path(struct mprof_traces *traces, uint32_t node, int oldest_first);
PyObject *mprof_traces_item(struct mprof_traces *traces, size_t index);
/* The figures of rows as bytes: of each the flat ones, then the cumulative ones. */
PyObject *mprof_traces_row_figures(const struct mprof_row *rows, uint32_t count);

/* A FrameTuple. Steals the references, also when it fails; any of them may be NULL with an exception set. */
PyObject *mprof_traces_frame_new(PyTypeObject *type, PyObject *filename, PyObject *line, PyObject *name,
                                 PyObject *firstlineno);
/* A str of UTF-8 with surrogates; what is no UTF-8 comes out as backslash escapes. */
PyObject *mprof_traces_decode(const char *text, size_t length);

/* Methods of the type, as PyCFunctions; their documentation is in the table in snapshot_type.c. */
PyObject *mprof_traces_reduce(PyObject *self, PyObject *unused);
PyObject *mprof_traces_to_pprof(PyObject *self, PyObject *arguments);
PyObject *mprof_traces_statistics(PyObject *self, PyObject *arguments);
PyObject *mprof_traces_differences(PyObject *self, PyObject *arguments);
PyObject *mprof_traces_rows(PyObject *self, PyObject *arguments);
PyObject *mprof_traces_list_functions(PyObject *self, PyObject *unused);
PyObject *mprof_traces_sums(PyObject *self, PyObject *arguments);
PyObject *mprof_traces_fold(PyObject *self, PyObject *arguments);
PyObject *mprof_traces_totals(PyObject *self, PyObject *unused);
PyObject *mprof_traces_filenames(PyObject *self, PyObject *unused);
PyObject *mprof_traces_select(PyObject *self, PyObject *arguments);
PyObject *mprof_traces_select_blocks(PyObject *self, PyObject *arguments);
PyObject *mprof_traces_meta(PyObject *self, PyObject *unused);
PyObject *mprof_traces_comments(PyObject *self, PyObject *unused);
PyObject *mprof_traces_block(PyObject *self, PyObject *arguments);

PyObject *mprof_traces_restore(PyObject *module, PyObject *arguments);
/* Functions of the module: _make_traces, _restore_traces, _traces_from_pprof. */
extern PyMethodDef mprof_traces_functions[];

#endif
