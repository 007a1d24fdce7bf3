/* SPDX-License-Identifier: MIT */
/* traces_fold.c -- methods of mprofile._core.Traces for who numbers its functions: see traces.h and core/folding.h.
 *
 * WHAT    functions()   names of the functions, in the order by which arrays of numbers are indexed
 *         sums          rows by groups of functions: modules, packages
 *         fold          the tree of call sites of one profile or of two
 * WHY     Which functions are the same, and to what module they belong, is for Python to say, some thousand times. What
 *         is a million times, the frames of the stacks, stays here.
 * LOCKS   The core reads snapshots that never change, so other Python threads run meanwhile.
 * MEMORY  One arena a call, dropped before returning. Numbers are native uint32_t in bytes objects, figures doubles. */
#define PY_SSIZE_T_CLEAN

#include "cpython/traces.h"

#include "core/folding.h"
#include "core/grouping.h"

#include <stdbool.h>
#include <string.h>

/* ---- functions ---- */

static PyObject *text_or_none(struct mprof_traces *traces, uint32_t string)
{
    if (string)
        return mprof_traces_string(traces, string);
    Py_INCREF(Py_None);
    return Py_None;
}

static PyObject *function_to_python(struct mprof_traces *traces, const struct mprof_function *function, bool unknown)
{
    PyObject *tuple = PyTuple_New(3);
    PyObject *name = text_or_none(traces, function->name);
    PyObject *filename =
        unknown ? PyUnicode_FromString(MPROF_UNKNOWN_FILE) : mprof_traces_string(traces, function->filename);
    PyObject *line = PyLong_FromUnsignedLong(function->firstlineno);
    if (!tuple || !name || !filename || !line) {
        Py_XDECREF(tuple);
        Py_XDECREF(name);
        Py_XDECREF(filename);
        Py_XDECREF(line);
        return NULL;
    }
    PyTuple_SET_ITEM(tuple, 0, name);
    PyTuple_SET_ITEM(tuple, 1, filename);
    PyTuple_SET_ITEM(tuple, 2, line);
    return tuple;
}

PyObject *mprof_traces_list_functions(PyObject *self, PyObject *Py_UNUSED(unused))
{
    struct mprof_traces *traces = mprof_traces_of(self);
    const struct mprof_function *functions = mprof_snapshot_functions(traces->snapshot);
    uint32_t count = mprof_snapshot_function_count(traces->snapshot);
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (uint32_t i = 0; list && i < count; i++) {
        PyObject *item = function_to_python(traces, &functions[i], i == 0);
        if (item)
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
        else
            Py_CLEAR(list);
    }
    return list;
}

/* ---- numbers of functions ---- */

/* The numbers, copied into the arena for their alignment. NULL with an exception set. limit: all are below it. */
static const uint32_t *numbers_of(struct mprof_traces *traces, struct mprof_arena *arena, PyObject *bytes,
                                  uint64_t limit)
{
    uint32_t count = mprof_snapshot_function_count(traces->snapshot);
    if (!PyBytes_Check(bytes) || (size_t)PyBytes_GET_SIZE(bytes) != count * sizeof(uint32_t)) {
        PyErr_Format(PyExc_ValueError, "the numbers of the functions must be bytes, four for each of %u functions",
                     (unsigned)count);
        return NULL;
    }
    uint32_t *numbers = mprof_arena_get(arena, count * sizeof *numbers);
    if (!numbers) {
        PyErr_NoMemory();
        return NULL;
    }
    memcpy(numbers, PyBytes_AS_STRING(bytes), count * sizeof *numbers);
    for (uint32_t i = 0; i < count; i++)
        if (numbers[i] >= limit) {
            PyErr_Format(PyExc_ValueError, "the number of a function is %u, they must be below %llu",
                         (unsigned)numbers[i], (unsigned long long)limit);
            return NULL;
        }
    return numbers;
}

static PyObject *bytes_of(const void *items, size_t count, size_t size)
{
    return PyBytes_FromStringAndSize(items, (Py_ssize_t)(count * size));
}

/* ---- sums ---- */

PyObject *mprof_traces_sums(PyObject *self, PyObject *arguments)
{
    struct mprof_traces *traces = mprof_traces_of(self);
    PyObject *given;
    unsigned int groups;
    if (!PyArg_ParseTuple(arguments, "OI:sums", &given, &groups))
        return NULL;
    PyObject *result = NULL;
    struct mprof_row *rows;
    struct mprof_arena arena;
    mprof_arena_init(&arena, 0);
    const uint32_t *group_of = numbers_of(traces, &arena, given, groups);
    int status = -1;
    if (group_of) {
        Py_BEGIN_ALLOW_THREADS;
        status = mprof_grouping_sums(&rows, &arena, traces->snapshot, group_of, groups);
        Py_END_ALLOW_THREADS;
        result = status < 0 ? PyErr_NoMemory() : mprof_traces_row_figures(rows, groups);
    }
    mprof_arena_drop(&arena);
    return result;
}

/* ---- fold ---- */

static PyObject *fold_to_python(const struct mprof_fold *fold, uint32_t snapshots)
{
    const size_t figures = MPROF_MEASURES * sizeof(struct mprof_figures);
    PyObject *items[] = {
        PyFloat_FromDouble(fold->threshold),
        PyLong_FromUnsignedLong(fold->stacks),
        PyLong_FromUnsignedLong(fold->cut),
        bytes_of(fold->site_function, fold->site_count, sizeof(uint32_t)),
        bytes_of(fold->site_line, fold->site_count, sizeof(uint32_t)),
        bytes_of(fold->node_depth, fold->node_count, sizeof(uint32_t)),
        bytes_of(fold->node_site, fold->node_count, sizeof(uint32_t)),
        bytes_of(fold->own_node, fold->own_count, sizeof(uint32_t)),
        bytes_of(fold->figures[0], fold->own_count, figures),
        snapshots == 2 ? bytes_of(fold->figures[1], fold->own_count, figures) : PyBytes_FromStringAndSize(NULL, 0),
    };
    enum { COUNT = sizeof items / sizeof *items }; /* NOLINT(bugprone-sizeof-expression): an array of pointers it is */
    PyObject *tuple = PyTuple_New(COUNT);
    for (Py_ssize_t i = 0; i < COUNT; i++) {
        if (!items[i])
            Py_CLEAR(tuple);
        if (tuple)
            PyTuple_SET_ITEM(tuple, i, items[i]);
        else
            Py_XDECREF(items[i]);
    }
    return tuple;
}

PyObject *mprof_traces_fold(PyObject *self, PyObject *arguments)
{
    PyObject *given[2];
    PyObject *old;
    unsigned int folded;
    unsigned int most;
    double threshold;
    if (!PyArg_ParseTuple(arguments, "OOOIdI:fold", &given[0], &old, &given[1], &folded, &threshold, &most))
        return NULL;
    if (old != Py_None && Py_TYPE(old) != Py_TYPE(self))
        return PyErr_Format(PyExc_TypeError, "the older profile must be Traces or None, not %.200s",
                            Py_TYPE(old)->tp_name);
    uint32_t count = old == Py_None ? 1 : 2;
    struct mprof_traces *of[2] = {mprof_traces_of(self), mprof_traces_of(old)};
    const struct mprof_snapshot *snapshots[2] = {0};
    struct mprof_fold_options options = {.folded = folded, .threshold = threshold, .most = most};
    struct mprof_fold fold;
    struct mprof_arena arena;
    mprof_arena_init(&arena, 0);
    PyObject *result = NULL;
    uint32_t numbered = 0;
    while (numbered < count) {
        snapshots[numbered] = of[numbered]->snapshot;
        options.numbers[numbered] = numbers_of(of[numbered], &arena, given[numbered], UINT64_MAX);
        if (!options.numbers[numbered])
            break;
        numbered++;
    }
    if (numbered == count) {
        int status;
        Py_BEGIN_ALLOW_THREADS;
        status = mprof_fold(&fold, &arena, snapshots, count, &options);
        Py_END_ALLOW_THREADS;
        result = status < 0 ? PyErr_NoMemory() : fold_to_python(&fold, count);
    }
    mprof_arena_drop(&arena);
    return result;
}
