/* SPDX-License-Identifier: MIT */
/* snapshot_type.c -- see snapshot_type.h and traces.h. The types, the sequence protocol, and the caches. */
#include "cpython/compat.h"
#include "cpython/traces.h"

#include "core/grouping.h"

#include <stdbool.h>

/* Lib/structseq.h of 3.7 is not part of Python.h. */
#include <structseq.h>

struct mprof_snapshot_types *mprof_traces_types(PyObject *module)
{
    struct mprof_snapshot_types *types = PyModule_GetState(module);
    if (types && types->traces && types->frame)
        return types;
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "the module mprofile._core has been unloaded");
    return NULL;
}

/* ---- the objects of strings, frames and stacks ---- */

/* Puts a new object into a cache slot, unless another thread was faster. Steals `made`, which may be NULL; returns a
 * new reference to what the slot holds. */
static PyObject *keep(PyObject **slot, PyObject *made)
{
    PyObject *kept = NULL;
    if (!made)
        return NULL;
    if (__atomic_compare_exchange_n(slot, &kept, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        kept = made;
    else
        Py_DECREF(made);
    Py_INCREF(kept);
    return kept;
}

static PyObject *kept_in(PyObject **slot)
{
    PyObject *kept = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    Py_XINCREF(kept);
    return kept;
}

PyObject *mprof_traces_decode(const char *text, size_t length)
{
    if (length > (size_t)PY_SSIZE_T_MAX)
        return PyErr_NoMemory();
    PyObject *string = PyUnicode_DecodeUTF8(text, (Py_ssize_t)length, "surrogatepass");
    if (!string && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        string = PyUnicode_DecodeUTF8(text, (Py_ssize_t)length, "backslashreplace");
    }
    return string;
}

PyObject *mprof_traces_string(struct mprof_traces *traces, uint32_t string)
{
    PyObject *kept = kept_in(&traces->strings[string]);
    if (kept)
        return kept;
    size_t length;
    const char *text = mprof_snapshot_string(traces->snapshot, string, &length);
    return keep(&traces->strings[string], mprof_traces_decode(text, length));
}

PyObject *mprof_traces_frame_new(PyTypeObject *type, PyObject *filename, PyObject *line, PyObject *name,
                                 PyObject *firstlineno)
{
    PyObject *frame = filename && line && name && firstlineno ? PyStructSequence_New(type) : NULL;
    if (!frame) {
        Py_XDECREF(filename);
        Py_XDECREF(line);
        Py_XDECREF(name);
        Py_XDECREF(firstlineno);
        return NULL;
    }
    PyStructSequence_SetItem(frame, 0, filename);
    PyStructSequence_SetItem(frame, 1, line);
    PyStructSequence_SetItem(frame, 2, name);
    PyStructSequence_SetItem(frame, 3, firstlineno);
    PyObject_GC_UnTrack(frame); /* strings and numbers: in no cycle, so nothing for the collector to walk */
    return frame;
}

static PyObject *none(void)
{
    Py_INCREF(Py_None);
    return Py_None;
}

/* What is not known is None. */
static PyObject *number_or_none(uint32_t number)
{
    return number ? PyLong_FromUnsignedLong(number) : none();
}

static PyObject *unknown_frame(PyTypeObject *type)
{
    return mprof_traces_frame_new(type, PyUnicode_FromString(MPROF_UNKNOWN_FILE), PyLong_FromLong(0), none(), none());
}

PyObject *mprof_traces_frame(struct mprof_traces *traces, uint32_t node)
{
    PyObject *kept = kept_in(&traces->nodes[node]);
    if (kept)
        return kept;
    if (node == 0)
        return keep(&traces->nodes[0], unknown_frame(traces->frame_type));
    const struct mprof_node *frame = &mprof_snapshot_nodes(traces->snapshot)[node];
    const struct mprof_function *function = &mprof_snapshot_functions(traces->snapshot)[frame->function];
    PyObject *name = function->name ? mprof_traces_string(traces, function->name) : none();
    return keep(&traces->nodes[node],
                mprof_traces_frame_new(traces->frame_type, mprof_traces_string(traces, function->filename),
                                       PyLong_FromUnsignedLong(frame->line), name,
                                       number_or_none(function->firstlineno)));
}

PyObject *mprof_traces_path(struct mprof_traces *traces, uint32_t node, int oldest_first)
{
    const struct mprof_node *nodes = mprof_snapshot_nodes(traces->snapshot);
    Py_ssize_t depth = 0;
    for (uint32_t at = node; at; at = nodes[at].parent)
        depth++;
    PyObject *frames = PyTuple_New(depth ? depth : 1);
    if (!frames)
        return NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(frames); i++, node = nodes[node].parent) {
        PyObject *frame = mprof_traces_frame(traces, node);
        if (!frame) {
            Py_DECREF(frames);
            return NULL;
        }
        PyTuple_SET_ITEM(frames, oldest_first ? PyTuple_GET_SIZE(frames) - 1 - i : i, frame);
    }
    PyObject_GC_UnTrack(frames);
    return frames;
}

PyObject *mprof_traces_frames(struct mprof_traces *traces, uint32_t stack)
{
    PyObject *kept = kept_in(&traces->stacks[stack]);
    if (kept)
        return kept;
    uint32_t node = mprof_snapshot_stacks(traces->snapshot)[stack].node;
    return keep(&traces->stacks[stack], mprof_traces_path(traces, node, false));
}

PyObject *mprof_snapshot_type_frames(PyObject *module, const struct mprof_frame_names *frames, size_t count)
{
    struct mprof_snapshot_types *types = mprof_traces_types(module);
    PyObject *tuple = types ? PyTuple_New(count ? (Py_ssize_t)count : 1) : NULL;
    if (!tuple)
        return NULL;
    for (size_t i = 0; i < (size_t)PyTuple_GET_SIZE(tuple); i++) {
        PyObject *frame;
        if (count == 0)
            frame = unknown_frame(types->frame);
        else
            frame = mprof_traces_frame_new(
                types->frame, mprof_traces_decode(frames[i].filename, frames[i].filename_length),
                PyLong_FromUnsignedLong(frames[i].line),
                frames[i].name_length ? mprof_traces_decode(frames[i].name, frames[i].name_length) : none(),
                number_or_none(frames[i].firstlineno));
        if (!frame) {
            Py_DECREF(tuple);
            return NULL;
        }
        PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, frame);
    }
    return tuple;
}

/* ---- life ---- */

static PyObject **cache(struct mprof_arena *arena, size_t count)
{
    return mprof_arena_get(arena, (count ? count : 1) * sizeof(PyObject *));
}

PyObject *mprof_traces_new(PyTypeObject *type, PyTypeObject *frame_type, struct mprof_snapshot *snapshot)
{
    struct mprof_traces *traces = (struct mprof_traces *)(void *)type->tp_alloc(type, 0);
    if (!traces) {
        mprof_snapshot_decref(snapshot);
        return NULL;
    }
    traces->snapshot = snapshot;
    Py_INCREF(frame_type);
    traces->frame_type = frame_type;
    mprof_arena_init(&traces->arena, 0);
    traces->strings = cache(&traces->arena, mprof_snapshot_string_count(snapshot));
    traces->nodes = cache(&traces->arena, mprof_snapshot_node_count(snapshot));
    traces->stacks = cache(&traces->arena, mprof_snapshot_stack_count(snapshot));
    if (!traces->strings || !traces->nodes || !traces->stacks) {
        Py_DECREF((PyObject *)traces);
        return PyErr_NoMemory();
    }
    return (PyObject *)traces;
}

PyObject *mprof_snapshot_type_wrap(PyObject *module, struct mprof_snapshot *snapshot)
{
    struct mprof_snapshot_types *types = mprof_traces_types(module);
    if (!types) {
        mprof_snapshot_decref(snapshot);
        return NULL;
    }
    return mprof_traces_new(types->traces, types->frame, snapshot);
}

static void empty(PyObject **slots, size_t count)
{
    for (size_t i = 0; slots && i < count; i++)
        Py_XDECREF(slots[i]);
}

static void traces_dealloc(PyObject *self)
{
    struct mprof_traces *traces = mprof_traces_of(self);
    PyTypeObject *type = Py_TYPE(self);
    empty(traces->stacks, mprof_snapshot_stack_count(traces->snapshot));
    empty(traces->nodes, mprof_snapshot_node_count(traces->snapshot));
    empty(traces->strings, mprof_snapshot_string_count(traces->snapshot));
    mprof_arena_drop(&traces->arena);
    mprof_snapshot_decref(traces->snapshot);
    Py_DECREF(traces->frame_type);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- the sequence ---- */

PyObject *mprof_traces_item(struct mprof_traces *traces, size_t index)
{
    struct mprof_block block;
    mprof_snapshot_block(traces->snapshot, index, &block);
    PyObject *item = PyTuple_New(MPROF_TRACE_HAS_TOTAL ? 4 : 3);
    PyObject *domain = PyLong_FromUnsignedLong(block.domain);
    PyObject *size = PyLong_FromUnsignedLongLong(block.size);
    PyObject *frames = mprof_traces_frames(traces, block.stack);
    if (!item || !domain || !size || !frames)
        goto fail;
#if MPROF_TRACE_HAS_TOTAL
    uint32_t total_frames = mprof_snapshot_stacks(traces->snapshot)[block.stack].total_frames;
    PyObject *total = PyLong_FromUnsignedLong(total_frames ? total_frames : 1); /* "<unknown>" is a frame */
    if (!total)
        goto fail;
    PyTuple_SET_ITEM(item, 3, total);
#endif
    PyTuple_SET_ITEM(item, 0, domain);
    PyTuple_SET_ITEM(item, 1, size);
    PyTuple_SET_ITEM(item, 2, frames);
    PyObject_GC_UnTrack(item);
    return item;
fail:
    Py_XDECREF(item);
    Py_XDECREF(domain);
    Py_XDECREF(size);
    Py_XDECREF(frames);
    return NULL;
}

static Py_ssize_t traces_length(PyObject *self)
{
    return (Py_ssize_t)mprof_snapshot_block_count(mprof_traces_of(self)->snapshot);
}

static PyObject *traces_at(PyObject *self, Py_ssize_t index)
{
    if (index < 0 || index >= traces_length(self)) {
        PyErr_Format(PyExc_IndexError, "trace index %zd out of range: there are %zd traces", index,
                     traces_length(self));
        return NULL;
    }
    return mprof_traces_item(mprof_traces_of(self), (size_t)index);
}

static PyObject *traces_slice(PyObject *self, PyObject *slice)
{
    Py_ssize_t start;
    Py_ssize_t stop;
    Py_ssize_t step;
    if (PySlice_Unpack(slice, &start, &stop, &step) < 0)
        return NULL;
    Py_ssize_t count = PySlice_AdjustIndices(traces_length(self), &start, &stop, step);
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++, start += step) {
        PyObject *item = mprof_traces_item(mprof_traces_of(self), (size_t)start);
        if (!item) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, i, item);
    }
    return list;
}

static PyObject *traces_subscript(PyObject *self, PyObject *key)
{
    if (PySlice_Check(key))
        return traces_slice(self, key);
    Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (index == -1 && PyErr_Occurred())
        return NULL;
    return traces_at(self, index < 0 ? index + traces_length(self) : index);
}

/* The size that a trace must have to equal `value`, if that can be said without making tuples. */
static bool size_sought(PyObject *value, uint64_t *size)
{
    if (!PyTuple_CheckExact(value) || PyTuple_GET_SIZE(value) < 2 || !PyLong_CheckExact(PyTuple_GET_ITEM(value, 1)))
        return false;
    *size = PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(value, 1));
    if (*size == (uint64_t)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    return true;
}

/* Calls found = 1 for the first equal trace from *at on, below stop; *at is its index then. -1: exception. */
static int traces_find(PyObject *self, PyObject *value, Py_ssize_t *at, Py_ssize_t stop)
{
    struct mprof_traces *traces = mprof_traces_of(self);
    uint64_t size;
    bool by_size = size_sought(value, &size);
    for (; *at < stop; ++*at) {
        if (by_size) {
            struct mprof_block block;
            mprof_snapshot_block(traces->snapshot, (size_t)*at, &block);
            if (block.size != size)
                continue;
        }
        PyObject *item = mprof_traces_item(traces, (size_t)*at);
        if (!item)
            return -1;
        int same = PyObject_RichCompareBool(item, value, Py_EQ);
        Py_DECREF(item);
        if (same)
            return same;
    }
    return 0;
}

static int traces_contains(PyObject *self, PyObject *value)
{
    Py_ssize_t at = 0;
    return traces_find(self, value, &at, traces_length(self));
}

static PyObject *traces_index(PyObject *self, PyObject *arguments)
{
    PyObject *value;
    Py_ssize_t bounds[2] = {0, PY_SSIZE_T_MAX};
    if (!PyArg_ParseTuple(arguments, "O|nn:index", &value, &bounds[0], &bounds[1]))
        return NULL;
    Py_ssize_t length = traces_length(self);
    for (int i = 0; i < 2; i++) {
        if (bounds[i] < 0)
            bounds[i] = bounds[i] + length < 0 ? 0 : bounds[i] + length;
        if (bounds[i] > length)
            bounds[i] = length;
    }
    int found = traces_find(self, value, &bounds[0], bounds[1]);
    if (found < 0)
        return NULL;
    if (!found)
        return PyErr_Format(PyExc_ValueError, "%R is not among the traces", value);
    return PyLong_FromSsize_t(bounds[0]);
}

static PyObject *traces_count(PyObject *self, PyObject *value)
{
    Py_ssize_t count = 0;
    Py_ssize_t length = traces_length(self);
    for (Py_ssize_t at = 0; at < length; at++) {
        int found = traces_find(self, value, &at, length);
        if (found < 0)
            return NULL;
        count += found;
    }
    return PyLong_FromSsize_t(count);
}

static PyObject *traces_copy(PyObject *self, PyObject *Py_UNUSED(unused))
{
    struct mprof_traces *traces = mprof_traces_of(self);
    mprof_snapshot_incref(traces->snapshot);
    return mprof_traces_new(Py_TYPE(self), traces->frame_type, traces->snapshot);
}

static PyObject *traces_sizeof(PyObject *self, PyObject *Py_UNUSED(unused))
{
    struct mprof_traces *traces = mprof_traces_of(self);
    return PyLong_FromSize_t(sizeof *traces + traces->arena.mapped + mprof_snapshot_memory(traces->snapshot));
}

/* 1, 0, or -1 with an exception set. */
static int same_as_traces(PyObject *self, PyObject *other)
{
    struct mprof_arena arena;
    bool same = false;
    int status;
    mprof_arena_init(&arena, 0);
    Py_BEGIN_ALLOW_THREADS;
    status =
        mprof_grouping_same_traces(mprof_traces_of(self)->snapshot, mprof_traces_of(other)->snapshot, &arena, &same);
    mprof_arena_drop(&arena);
    Py_END_ALLOW_THREADS;
    if (status < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return same;
}

static int same_as_list(PyObject *self, PyObject *other)
{
    if (PySequence_Size(other) != traces_length(self))
        return PyErr_Occurred() ? -1 : 0;
    for (Py_ssize_t i = 0; i < traces_length(self); i++) {
        PyObject *theirs = PySequence_GetItem(other, i);
        PyObject *ours = theirs ? mprof_traces_item(mprof_traces_of(self), (size_t)i) : NULL;
        int same = ours ? PyObject_RichCompareBool(ours, theirs, Py_EQ) : -1;
        Py_XDECREF(ours);
        Py_XDECREF(theirs);
        if (same <= 0)
            return same;
    }
    return 1;
}

static PyObject *traces_compare(PyObject *self, PyObject *other, int operation)
{
    int same;
    if (operation != Py_EQ && operation != Py_NE)
        Py_RETURN_NOTIMPLEMENTED;
    if (Py_TYPE(other) == Py_TYPE(self))
        same = same_as_traces(self, other);
    else if (PyList_Check(other) || PyTuple_Check(other))
        same = same_as_list(self, other);
    else
        Py_RETURN_NOTIMPLEMENTED;
    return same < 0 ? NULL : PyBool_FromLong(same == (operation == Py_EQ));
}

static PyObject *traces_repr(PyObject *self)
{
    return PyUnicode_FromFormat("<Traces len=%zd>", traces_length(self));
}

/* ---- the types ---- */

static PyMethodDef traces_methods[] = {
    {"index", traces_index, METH_VARARGS, "index(trace, start=0, stop=len) -> position of the first equal trace"},
    {"count", traces_count, METH_O, "count(trace) -> number of equal traces"},
    {"copy", traces_copy, METH_NOARGS, "copy() -> a second object over the same traces, which never change"},
    {"statistics", mprof_traces_statistics, METH_VARARGS,
     "statistics(key_type, cumulative) -> [(frames, size, count, figures)], sorted; key_type is 'lineno', 'filename'\n"
     "or 'traceback'; frames are oldest first; figures are floats (bytes, blocks, bytes_var, blocks_var, seen,\n"
     "samples), or None where every block was recorded"},
    {"differences", mprof_traces_differences, METH_VARARGS,
     "differences(old, key_type, cumulative) -> [(frames, size, size_diff, count, count_diff, changed)], sorted;\n"
     "changed is (bytes_var, blocks_var, samples) of the samples born or died, or None"},
    {"rows", mprof_traces_rows, METH_VARARGS,
     "rows(by) -> (keys, figures, frames); by is 'line', 'function', 'file' or 'stack'; a key is a FrameTuple, or for\n"
     "'stack' a tuple of them, oldest first; figures are 36 native doubles a key: in use, allocated, at peak, flat "
     "and\n"
     "then cumulative, of bytes, blocks, bytes_var, blocks_var, seen, samples; frames: how many a stack had"},
    {"functions", mprof_traces_list_functions, METH_NOARGS, "functions() -> [(name or None, filename, firstlineno)]"},
    {"sums", mprof_traces_sums, METH_VARARGS, "sums(group of each function, groups) -> figures of each, as of rows"},
    {"fold", mprof_traces_fold, METH_VARARGS,
     "fold(numbers, old, old_numbers, folded, threshold, most): core/folding.h"},
    {"totals", mprof_traces_totals, METH_NOARGS, "totals() -> 18 native doubles: as rows, flat, of everything"},
    {"filenames", mprof_traces_filenames, METH_NOARGS,
     "filenames() -> by string, its text if it names a file, else None; one more for '<unknown>'"},
    {"select", mprof_traces_select, METH_VARARGS,
     "select(filters) -> Traces; a filter is (inclusive, files, line, all_frames, domain), files one byte for each of\n"
     "filenames() or None for any, line and domain -1 for any, -2 for none"},
    {"select_blocks", mprof_traces_select_blocks, METH_VARARGS, "select_blocks(bytes) -> Traces; one byte a trace"},
    {"meta", mprof_traces_meta, METH_NOARGS, "meta() -> dict: how the profile was recorded"},
    {"comments", mprof_traces_comments, METH_NOARGS, "comments() -> [str]"},
    {"block", mprof_traces_block, METH_VARARGS,
     "block(index) -> (samples, blocks, bytes, rate, id, birth_ns, address) of a trace"},
    {"to_pprof", mprof_traces_to_pprof, METH_VARARGS,
     "to_pprof(comments, binary) -> bytes of a pprof profile, not compressed"},
    {"__reduce__", mprof_traces_reduce, METH_NOARGS, "for pickle"},
    {"__sizeof__", traces_sizeof, METH_NOARGS, "bytes held, those outside Python's heap included"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot traces_slots[] = {
    {Py_tp_dealloc, traces_dealloc},
    {Py_tp_repr, traces_repr},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {Py_tp_richcompare, traces_compare},
    {Py_tp_methods, traces_methods},
    {Py_tp_iter, PySeqIter_New},
    {Py_sq_length, traces_length},
    {Py_sq_item, traces_at},
    {Py_sq_contains, traces_contains},
    {Py_mp_length, traces_length},
    {Py_mp_subscript, traces_subscript},
    {Py_tp_doc,
     "A sequence of trace tuples (domain, size, frames[, total_nframe]) over a snapshot that never changes."},
    {0, NULL},
};

static PyType_Spec traces_spec = {
    .name = "mprofile._core.Traces",
    .basicsize = sizeof(struct mprof_traces),
#if MPROF_HAVE_TYPE_FLAGS
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
#else
    .flags = Py_TPFLAGS_DEFAULT,
#endif
    .slots = traces_slots,
};

static PyStructSequence_Field frame_fields[] = {
    {"filename", "file name of the code"},
    {"lineno", "line number, 0 if unknown"},
    {"name", "qualified name of the function, None if unknown"},
    {"firstlineno", "line where the function begins, None if unknown"},
    {NULL, NULL},
};

static PyStructSequence_Desc frame_desc = {
    .name = "mprofile._core.FrameTuple",
    .doc = "A tuple (filename, lineno) with further attributes.",
    .fields = frame_fields,
    .n_in_sequence = 2,
};

/* A new reference. */
static PyTypeObject *make_frame_type(void)
{
#if MPROF_HAVE_HEAP_STRUCTSEQ
    return PyStructSequence_NewType(&frame_desc);
#else
    static PyTypeObject type;
    static bool made;
    if (!made && PyStructSequence_InitType2(&type, &frame_desc) < 0)
        return NULL;
    made = true;
    Py_INCREF(&type);
    return &type;
#endif
}

static int add_type(PyObject *module, const char *name, PyTypeObject *type)
{
    Py_INCREF(type);
    if (PyModule_AddObject(module, name, (PyObject *)type) == 0)
        return 0;
    Py_DECREF(type);
    return -1;
}

int mprof_snapshot_type_add(PyObject *module)
{
    struct mprof_snapshot_types *types = PyModule_GetState(module);
    if (!(types->frame = make_frame_type()))
        return -1;
    types->traces = (PyTypeObject *)PyType_FromSpec(&traces_spec);
    if (!types->traces)
        return -1;
#if !MPROF_HAVE_TYPE_FLAGS
    types->traces->tp_new = NULL; /* an object without a snapshot must not exist */
#endif
    if (add_type(module, "Traces", types->traces) < 0 || add_type(module, "FrameTuple", types->frame) < 0)
        return -1;
    return PyModule_AddFunctions(module, mprof_traces_functions);
}

int mprof_snapshot_type_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct mprof_snapshot_types *types = PyModule_GetState(module);
    if (types) {
        Py_VISIT(types->traces);
        Py_VISIT(types->frame);
    }
    return 0;
}

void mprof_snapshot_type_clear(PyObject *module)
{
    struct mprof_snapshot_types *types = PyModule_GetState(module);
    if (types) {
        Py_CLEAR(types->traces);
        Py_CLEAR(types->frame);
    }
}
