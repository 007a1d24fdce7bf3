/* SPDX-License-Identifier: MIT */
/* traces_make.c -- where Traces objects come from: see traces.h.
 *
 * WHAT    _make_traces(traces)          from trace tuples, as tracemalloc has them
 *         _traces_from_pprof(bytes)     from a pprof profile, decompressed
 *         Traces.to_pprof               and back
 * WHY     Trace tuples share their frames tuples: one that was met before is found by its address, so that 10^6 traces
 *         cost 10^6 look-ups and not 10^7 frames.
 * LOCKS   The core's part runs with the interpreter released.
 * MEMORY  The builder's; dropped on every error. */
#define PY_SSIZE_T_CLEAN

#include "cpython/compat.h"
#include "cpython/traces.h"

#include "core/paths.h"
#include "core/selection.h"
#include "pprof/decode.h"
#include "pprof/encode.h"

#include <stdbool.h>
#include <string.h>

/* The text of a str as UTF-8 with surrogates. *owner is to be released after use; it may be NULL. -1: exception. */
static int utf8_of(PyObject *string, const char **text, size_t *length, PyObject **owner)
{
    Py_ssize_t size;
    *owner = NULL;
    *text = PyUnicode_AsUTF8AndSize(string, &size);
    if (!*text) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
            return -1;
        PyErr_Clear();
        *owner = PyUnicode_AsEncodedString(string, "utf-8", "surrogatepass");
        if (!*owner)
            return -1;
        *text = PyBytes_AS_STRING(*owner);
        size = PyBytes_GET_SIZE(*owner);
    }
    *length = (size_t)size;
    return 0;
}

/* ---- from trace tuples ---- */

struct making {
    struct mprof_builder *builder;
    PyTypeObject *frame_type;
    PyObject *stacks; /* dict: address of a frames tuple -> index of its stack */
    PyObject *last;   /* file name looked up last, borrowed, and its index */
    uint32_t last_index;
};

static int no_memory(void)
{
    PyErr_NoMemory();
    return -1;
}

static int make_string(struct making *making, PyObject *string, uint32_t *index)
{
    const char *text;
    size_t length;
    PyObject *owner;
    if (!PyUnicode_Check(string)) {
        PyErr_Format(PyExc_TypeError, "the file name of a frame must be a str, not %.200s", Py_TYPE(string)->tp_name);
        return -1;
    }
    if (string == making->last) {
        *index = making->last_index;
        return 0;
    }
    if (utf8_of(string, &text, &length, &owner) < 0)
        return -1;
    int status = mprof_builder_string(making->builder, text, length, index);
    Py_XDECREF(owner);
    if (status < 0)
        return no_memory();
    making->last = string;
    making->last_index = *index;
    return 0;
}

static int as_uint32(PyObject *number, const char *what, uint32_t *value)
{
    if (!PyLong_Check(number)) {
        PyErr_Format(PyExc_TypeError, "%s must be an int, not %.200s", what, Py_TYPE(number)->tp_name);
        return -1;
    }
    int overflow;
    long long wide = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow || wide < 0 || wide > UINT32_MAX) {
        PyErr_Format(PyExc_ValueError, "%s must be from 0 to 4294967295, not %R", what, number);
        return -1;
    }
    *value = (uint32_t)wide;
    return 0;
}

/* What our own frames know beyond file and line. */
static int make_function(struct making *making, PyObject *frame, struct mprof_function *function)
{
    if (Py_TYPE(frame) != making->frame_type)
        return 0;
    PyObject *name = PyStructSequence_GetItem(frame, 2);
    PyObject *firstlineno = PyStructSequence_GetItem(frame, 3);
    if (name && PyUnicode_Check(name) && make_string(making, name, &function->name) < 0)
        return -1;
    if (firstlineno && PyLong_Check(firstlineno))
        return as_uint32(firstlineno, "the first line of a function", &function->firstlineno);
    return 0;
}

static int make_node(struct making *making, PyObject *frame, uint32_t parent, uint32_t *node)
{
    struct mprof_function function = {0};
    struct mprof_node added = {.parent = parent};
    if (!PyTuple_Check(frame) || PyTuple_GET_SIZE(frame) != 2) {
        PyErr_Format(PyExc_TypeError, "a frame must be a tuple (filename, lineno), not %R", frame);
        return -1;
    }
    if (make_string(making, PyTuple_GET_ITEM(frame, 0), &function.filename) < 0 ||
        as_uint32(PyTuple_GET_ITEM(frame, 1), "the line number of a frame", &added.line) < 0 ||
        make_function(making, frame, &function) < 0)
        return -1;
    if (mprof_builder_function(making->builder, &function, &added.function) < 0 ||
        mprof_builder_node(making->builder, &added, node) < 0)
        return no_memory();
    return 0;
}

/* True for what a block without Python frames has: (("<unknown>", 0),). */
static bool is_unknown(PyObject *frames)
{
    PyObject *frame = PyTuple_GET_SIZE(frames) == 1 ? PyTuple_GET_ITEM(frames, 0) : NULL;
    if (!frame || !PyTuple_Check(frame) || PyTuple_GET_SIZE(frame) != 2)
        return false;
    PyObject *filename = PyTuple_GET_ITEM(frame, 0);
    PyObject *line = PyTuple_GET_ITEM(frame, 1);
    return PyUnicode_Check(filename) && PyUnicode_CompareWithASCIIString(filename, MPROF_UNKNOWN_FILE) == 0 &&
           PyLong_CheckExact(line) && PyObject_IsTrue(line) == 0;
}

static int make_stack(struct making *making, PyObject *frames, uint32_t total_frames, uint32_t *index)
{
    if (!PyTuple_Check(frames)) {
        PyErr_Format(PyExc_TypeError, "the traceback of a trace must be a tuple of frames, not %.200s",
                     Py_TYPE(frames)->tp_name);
        return -1;
    }
    PyObject *address = PyLong_FromVoidPtr(frames);
    PyObject *known = address ? PyDict_GetItemWithError(making->stacks, address) : NULL;
    int status = -1;
    if (known) {
        *index = (uint32_t)PyLong_AsUnsignedLong(known);
        status = 0;
    } else if (address && !PyErr_Occurred()) {
        struct mprof_stack stack = {.total_frames = total_frames};
        status = 0;
        if (!is_unknown(frames))
            for (Py_ssize_t i = PyTuple_GET_SIZE(frames); status == 0 && i-- > 0;) /* outermost frame first */
                status = make_node(making, PyTuple_GET_ITEM(frames, i), stack.node, &stack.node);
        if (status == 0 && mprof_builder_stack(making->builder, &stack, index) < 0)
            status = no_memory();
        PyObject *value = status == 0 ? PyLong_FromUnsignedLong(*index) : NULL;
        if (!value || PyDict_SetItem(making->stacks, address, value) < 0)
            status = -1;
        Py_XDECREF(value);
    }
    Py_XDECREF(address);
    return status;
}

static int make_block(struct making *making, PyObject *trace)
{
    struct mprof_block block = {.samples = 1, .blocks = 1.0, .rate = 1.0};
    uint32_t total_frames = 0;
    if (!PyTuple_Check(trace) || PyTuple_GET_SIZE(trace) < 3 || PyTuple_GET_SIZE(trace) > 4) {
        PyErr_Format(PyExc_TypeError, "a trace must be a tuple (domain, size, traceback[, total_nframe]), not %R",
                     trace);
        return -1;
    }
    PyObject *size = PyTuple_GET_ITEM(trace, 1);
    if (!PyLong_Check(size)) {
        PyErr_Format(PyExc_TypeError, "the size of a trace must be an int, not %.200s", Py_TYPE(size)->tp_name);
        return -1;
    }
    block.size = PyLong_AsUnsignedLongLong(size);
    if (block.size == (uint64_t)-1 && PyErr_Occurred())
        return -1;
    if (as_uint32(PyTuple_GET_ITEM(trace, 0), "the domain of a trace", &block.domain) < 0)
        return -1;
    if (PyTuple_GET_SIZE(trace) == 4 && PyTuple_GET_ITEM(trace, 3) != Py_None &&
        as_uint32(PyTuple_GET_ITEM(trace, 3), "the number of frames of a trace", &total_frames) < 0)
        return -1;
    if (make_stack(making, PyTuple_GET_ITEM(trace, 2), total_frames, &block.stack) < 0)
        return -1;
    block.bytes = (double)block.size;
    return mprof_builder_block(making->builder, &block) < 0 ? no_memory() : 0;
}

static PyObject *make_traces(PyObject *module, PyObject *given)
{
    struct mprof_snapshot_types *types = mprof_traces_types(module);
    if (!types)
        return NULL;
    if (Py_TYPE(given) == types->traces) {
        Py_INCREF(given);
        return given;
    }
    /* A tuple of our own: it keeps every frames tuple alive, so that an address stands for one. */
    PyObject *items = PySequence_Tuple(given);
    if (!items)
        return NULL;
    struct making making = {
        .builder = mprof_builder_new(),
        .frame_type = types->frame,
        .stacks = PyDict_New(),
    };
    bool good = making.builder && making.stacks;
    if (!making.builder)
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; good && i < PyTuple_GET_SIZE(items); i++)
        good = make_block(&making, PyTuple_GET_ITEM(items, i)) == 0;
    Py_DECREF(items);
    Py_XDECREF(making.stacks);
    if (!good) {
        mprof_builder_drop(making.builder);
        return NULL;
    }
    const struct mprof_meta meta = {.sample_rate = 1.0};
    struct mprof_snapshot *snapshot = mprof_builder_finish(making.builder, &meta);
    return snapshot ? mprof_traces_new(types->traces, types->frame, snapshot) : PyErr_NoMemory();
}

/* ---- pprof ---- */

/* The comments as text that lives as long as `items`, a tuple of bytes. */
static struct mprof_comment *comments_of(PyObject *items)
{
    Py_ssize_t count = PyTuple_GET_SIZE(items);
    struct mprof_comment *comments = PyMem_New(struct mprof_comment, count ? (size_t)count : 1);
    if (!comments) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PyTuple_GET_ITEM(items, i);
        if (!PyBytes_Check(item)) {
            PyErr_Format(PyExc_TypeError, "a comment must be bytes, not %.200s", Py_TYPE(item)->tp_name);
            PyMem_Free(comments);
            return NULL;
        }
        comments[i] = (struct mprof_comment){PyBytes_AS_STRING(item), (size_t)PyBytes_GET_SIZE(item)};
    }
    return comments;
}

PyObject *mprof_traces_to_pprof(PyObject *self, PyObject *arguments)
{
    struct mprof_traces *traces = mprof_traces_of(self);
    PyObject *items;
    const char *binary;
    Py_ssize_t binary_length;
    if (!PyArg_ParseTuple(arguments, "O!y#:to_pprof", &PyTuple_Type, &items, &binary, &binary_length))
        return NULL;
    struct mprof_comment *comments = comments_of(items);
    if (!comments)
        return NULL;
    struct mprof_encode_options options = {
        .binary = binary_length ? binary : NULL,
        .binary_length = (size_t)binary_length,
    };
    struct mprof_arena arena;
    mprof_arena_init(&arena, 0);
    unsigned char *bytes = NULL;
    size_t length = 0;
    int status = -1;
    Py_BEGIN_ALLOW_THREADS;
    struct mprof_snapshot *snapshot = traces->snapshot;
    if (PyTuple_GET_SIZE(items) == 0)
        mprof_snapshot_incref(snapshot);
    else
        snapshot = mprof_select_all(snapshot, comments, (size_t)PyTuple_GET_SIZE(items));
    if (snapshot)
        status = mprof_pprof_encode(snapshot, &options, &arena, &bytes, &length);
    mprof_snapshot_decref(snapshot);
    Py_END_ALLOW_THREADS;
    PyObject *result =
        status < 0 ? PyErr_NoMemory() : PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)length);
    mprof_arena_drop(&arena);
    PyMem_Free(comments);
    return result;
}

static PyObject *traces_from_pprof(PyObject *module, PyObject *bytes)
{
    struct mprof_snapshot_types *types = mprof_traces_types(module);
    if (!types)
        return NULL;
    if (!PyBytes_Check(bytes))
        return PyErr_Format(PyExc_TypeError, "a profile must be bytes, not %.200s", Py_TYPE(bytes)->tp_name);
    struct mprof_snapshot *snapshot;
    struct mprof_decode_error error;
    int status;
    Py_BEGIN_ALLOW_THREADS;
    status = mprof_pprof_decode((const unsigned char *)PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes),
                                &snapshot, &error);
    Py_END_ALLOW_THREADS;
    if (status == 0)
        return mprof_traces_new(types->traces, types->frame, snapshot);
    if (error.memory)
        return PyErr_NoMemory();
    PyErr_SetString(PyExc_ValueError, error.text);
    return NULL;
}

PyMethodDef mprof_traces_functions[] = {
    {"_make_traces", make_traces, METH_O,
     "_make_traces(traces) -> Traces of an iterable of tuples (domain, size, traceback[, total_nframe]), as they are "
     "in\n"
     "tracemalloc: a traceback is a tuple of (filename, lineno), most recent frame first"},
    {"_restore_traces", mprof_traces_restore, METH_VARARGS, "_restore_traces(state, comments) -> Traces, for pickle"},
    {"_traces_from_pprof", traces_from_pprof, METH_O,
     "_traces_from_pprof(bytes) -> Traces of a pprof profile that is not compressed; ValueError says what is wrong"},
    {NULL, NULL, 0, NULL},
};
