/* SPDX-License-Identifier: MIT */
/* merge.h -- core/merge.h as a function of mprofile._core.
 *
 * WHAT    _merge_traces(sequence of Traces) -> Traces.
 * LOCKS   the GIL is released while merging.
 * MEMORY  the new Traces object's. */
#ifndef MPROF_CPYTHON_MERGE_H
#define MPROF_CPYTHON_MERGE_H

#include <Python.h>

/* For a Py_mod_exec slot, after mprof_snapshot_type_add. 0, or -1 with an exception set. */
int mprof_merge_add(PyObject *module);

#endif
