/* SPDX-License-Identifier: MIT */
/* merge.c -- see merge.h. */
#include "cpython/merge.h"

#include "cpython/compat.h"
#include "cpython/snapshot_type.h"
#include "cpython/traces.h"

#include "core/merge.h"

/* The snapshots behind a tuple of Traces, in an array to be given to PyMem_Free. The tuple keeps them alive. */
static const struct mprof_snapshot **snapshots_of(PyObject *tuple, PyTypeObject *type)
{
    Py_ssize_t count = PyTuple_GET_SIZE(tuple);
    if (count == 0) {
        PyErr_SetString(PyExc_ValueError, "there is nothing to merge; give one profile or more");
        return NULL;
    }
    const struct mprof_snapshot **snapshots = PyMem_New(const struct mprof_snapshot *, (size_t)count);
    if (!snapshots) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PyTuple_GET_ITEM(tuple, i);
        if (Py_TYPE(item) != type) {
            PyErr_Format(PyExc_TypeError, "what is merged must be Traces, not %.200s", Py_TYPE(item)->tp_name);
            PyMem_Free((void *)snapshots);
            return NULL;
        }
        snapshots[i] = ((struct mprof_traces *)(void *)item)->snapshot;
    }
    return snapshots;
}

static PyObject *merge_traces(PyObject *module, PyObject *sequence)
{
    struct mprof_snapshot_types *types = mprof_traces_types(module);
    PyObject *tuple = types ? PySequence_Tuple(sequence) : NULL;
    if (!tuple)
        return NULL;
    const struct mprof_snapshot **snapshots = snapshots_of(tuple, types->traces);
    PyObject *result = NULL;
    if (snapshots) {
        PyThreadState *state = PyEval_SaveThread();
        struct mprof_snapshot *merged = mprof_merge(snapshots, (size_t)PyTuple_GET_SIZE(tuple));
        PyEval_RestoreThread(state);
        result = merged ? mprof_snapshot_type_wrap(module, merged) : PyErr_NoMemory();
        PyMem_Free((void *)snapshots);
    }
    Py_DECREF(tuple);
    return result;
}

static PyMethodDef functions[] = {
    {"_merge_traces", merge_traces, METH_O,
     PyDoc_STR("_merge_traces(sequence of Traces) -> Traces: the sums of several processes' profiles")},
    {NULL, NULL, 0, NULL},
};

int mprof_merge_add(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
