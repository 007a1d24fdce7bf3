/* SPDX-License-Identifier: MIT */
/* snapshot_type.h -- a snapshot of the core as a Python object.
 *
 * WHAT    The type `mprofile._core.Traces`: to Python code a sequence of trace tuples (domain, size, frames[,
 *         total_nframe]), most recent frame first, as tracemalloc's own list of traces; behind it a struct
 *         mprof_snapshot, on which statistics, differences and filters are computed without making those tuples.
 *         A frame in `frames` is a tuple (filename, lineno) that also has the attributes `name` and `firstlineno`.
 *
 *             module.c                        snapshot_type.c                   src/core
 *             _get_traces()        -> wrap -> Traces object   --owns-->  struct mprof_snapshot
 *             _get_object_traceback() -> frames
 *
 * WHY     10^6 blocks are 10^6 tuples, and most users only want the sums: tuples are made for what is looked at.
 * LOCKS   the GIL where there is one. A Traces object never changes; its caches are filled by compare and swap.
 * MEMORY  a Traces object owns one reference to its snapshot. The types belong to the module's state: nothing here is
 *         static but on 3.7, whose struct sequences have to be. */
#ifndef MPROF_CPYTHON_SNAPSHOT_TYPE_H
#define MPROF_CPYTHON_SNAPSHOT_TYPE_H

#include <Python.h>

#include "core/snapshot.h"

#include <stddef.h>
#include <stdint.h>

/* The first member of the module's state, so that PyModule_GetState(module) points to it. */
struct mprof_snapshot_types {
    PyTypeObject *traces;
    PyTypeObject *frame;
};

/* Fills the state's types, and adds to the module: Traces, FrameTuple, _make_traces, _restore_traces, _decode_pprof.
 * For a Py_mod_exec slot. 0, or -1 with an exception set. */
int mprof_snapshot_type_add(PyObject *module);
/* For the module's m_traverse, m_clear and m_free. */
int mprof_snapshot_type_traverse(PyObject *module, visitproc visit, void *arg);
void mprof_snapshot_type_clear(PyObject *module);

/* A new Traces object. Steals the reference to the snapshot, also when it fails: NULL with an exception set. */
PyObject *mprof_snapshot_type_wrap(PyObject *module, struct mprof_snapshot *snapshot);

/* A frame by its names: UTF-8, lone surrogates as three bytes, not NUL-terminated. */
struct mprof_frame_names {
    const char *filename;
    size_t filename_length;
    const char *name;
    size_t name_length;   /* 0: unknown */
    uint32_t firstlineno; /* 0: unknown */
    uint32_t line;
};

/* The tuple of frame tuples for `frames`, most recent first in and out. No frame at all gives tracemalloc's
 * (("<unknown>", 0),). NULL with an exception set when memory is exhausted. */
PyObject *mprof_snapshot_type_frames(PyObject *module, const struct mprof_frame_names *frames, size_t count);

#endif
