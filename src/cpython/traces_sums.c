/* SPDX-License-Identifier: MIT */
/* traces_sums.c -- methods of mprofile._core.Traces that compute: see traces.h and core/grouping.h.
 *
 * WHAT    Arguments in, the core's function with the interpreter released, its result out as plain tuples. The package
 *         (mprofile/snapshot.py, profile.py) makes objects of them.
 * WHY     Sums and order are found first, without Python; objects are then made once for each group.
 * LOCKS   The core reads snapshots that never change, so other Python threads run meanwhile.
 * MEMORY  One arena a call, dropped before returning. */
#include "cpython/traces.h"

#include "core/grouping.h"
#include "core/selection.h"

#include <stdbool.h>
#include <string.h>

struct key_name {
    const char *name;
    enum mprof_key key;
};

static const struct key_name statistics_keys[] = {
    {"lineno", MPROF_KEY_LINE}, {"filename", MPROF_KEY_FILE}, {"traceback", MPROF_KEY_TRACEBACK}, {NULL, 0}};
static const struct key_name row_keys[] = {{"line", MPROF_KEY_LINE},
                                           {"file", MPROF_KEY_FILE},
                                           {"function", MPROF_KEY_FUNCTION},
                                           {"stack", MPROF_KEY_STACK},
                                           {NULL, 0}};

static int find_key(const struct key_name *names, const char *name, enum mprof_key *key)
{
    for (; names->name; names++)
        if (strcmp(name, names->name) == 0) {
            *key = names->key;
            return 0;
        }
    PyErr_Format(PyExc_ValueError, "unknown key_type: '%s'", name);
    return -1;
}

/* The frames of a group, oldest first. `of` are the objects of the sources of the paths. */
static PyObject *group_frames(struct mprof_traces *const *of, const struct mprof_paths *paths, uint32_t path)
{
    const struct mprof_path *item = &paths->items[path];
    struct mprof_traces *traces = of[item->source];
    if (paths->key == MPROF_KEY_TRACEBACK || paths->key == MPROF_KEY_STACK)
        return mprof_traces_path(traces, item->node, true);
    PyObject *frame = mprof_traces_frame(traces, item->node);
    if (frame && paths->key == MPROF_KEY_FILE) {
        PyObject *whole = frame;
        PyObject *filename = PyTuple_GET_ITEM(whole, 0);
        Py_INCREF(filename);
        Py_INCREF(Py_None);
        Py_INCREF(Py_None);
        frame = mprof_traces_frame_new(traces->frame_type, filename, PyLong_FromLong(0), Py_None, Py_None);
        Py_DECREF(whole);
    }
    PyObject *frames = frame ? PyTuple_New(1) : NULL;
    if (!frames) {
        Py_XDECREF(frame);
        return NULL;
    }
    PyTuple_SET_ITEM(frames, 0, frame);
    PyObject_GC_UnTrack(frames);
    return frames;
}

/* Values are whole numbers. */
static PyObject *whole_number(double value)
{
    if (value >= -0x1p53 && value <= 0x1p53)
        return PyLong_FromLongLong((long long)value);
    return PyLong_FromDouble(value);
}

/* Where every block was recorded there is no error to tell. */
static bool sampled(const struct mprof_snapshot *snapshot)
{
    return mprof_snapshot_meta(snapshot)->sample_rate > 1.0;
}

/* ---- statistics ---- */

static PyObject *group_to_python(struct mprof_traces *traces, const struct mprof_statistics *statistics, uint32_t index)
{
    const struct mprof_group *group = &statistics->groups[index];
    const struct mprof_figures *f = &group->figures;
    PyObject *figures;
    if (sampled(traces->snapshot)) {
        figures = Py_BuildValue("(dddddd)", f->bytes, f->blocks, f->bytes_var, f->blocks_var, f->seen, f->samples);
    } else {
        figures = Py_None;
        Py_INCREF(figures);
    }
    PyObject *tuple = PyTuple_New(4);
    PyObject *frames = group_frames(&traces, &statistics->paths, group->path);
    PyObject *size = whole_number(group->size);
    PyObject *count = whole_number(group->count);
    if (!tuple || !frames || !size || !count || !figures) {
        Py_XDECREF(tuple);
        Py_XDECREF(frames);
        Py_XDECREF(size);
        Py_XDECREF(count);
        Py_XDECREF(figures);
        return NULL;
    }
    PyTuple_SET_ITEM(tuple, 0, frames);
    PyTuple_SET_ITEM(tuple, 1, size);
    PyTuple_SET_ITEM(tuple, 2, count);
    PyTuple_SET_ITEM(tuple, 3, figures);
    return tuple;
}

PyObject *mprof_traces_statistics(PyObject *self, PyObject *arguments)
{
    struct mprof_traces *traces = mprof_traces_of(self);
    const char *name;
    int cumulative;
    enum mprof_key key;
    if (!PyArg_ParseTuple(arguments, "sp:statistics", &name, &cumulative) || find_key(statistics_keys, name, &key) < 0)
        return NULL;
    struct mprof_statistics statistics;
    struct mprof_arena arena;
    int status;
    mprof_arena_init(&arena, 0);
    Py_BEGIN_ALLOW_THREADS;
    status = mprof_grouping_statistics(&statistics, &arena, key, traces->snapshot, cumulative);
    Py_END_ALLOW_THREADS;
    PyObject *list = status < 0 ? PyErr_NoMemory() : PyList_New((Py_ssize_t)statistics.count);
    for (uint32_t i = 0; list && i < statistics.count; i++) {
        PyObject *item = group_to_python(traces, &statistics, i);
        if (item)
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
        else
            Py_CLEAR(list);
    }
    mprof_arena_drop(&arena);
    return list;
}

/* ---- differences ---- */

static PyObject *difference_to_python(struct mprof_traces *const *of, const struct mprof_differences *differences,
                                      uint32_t index)
{
    const struct mprof_difference *group = &differences->groups[index];
    const struct mprof_figures *c = &group->changed;
    PyObject *changed;
    if (sampled(of[0]->snapshot) || sampled(of[1]->snapshot)) {
        changed = Py_BuildValue("(ddd)", c->bytes_var, c->blocks_var, c->samples);
    } else {
        changed = Py_None;
        Py_INCREF(changed);
    }
    PyObject *items[6] = {
        group_frames(of, &differences->paths, group->path),
        whole_number(group->size),
        whole_number(group->size_diff),
        whole_number(group->count),
        whole_number(group->count_diff),
        changed,
    };
    PyObject *tuple = PyTuple_New(6);
    bool complete = tuple != NULL;
    for (int i = 0; i < 6; i++)
        complete = complete && items[i];
    if (!complete) {
        for (int i = 0; i < 6; i++)
            Py_XDECREF(items[i]);
        Py_XDECREF(tuple);
        return NULL;
    }
    for (int i = 0; i < 6; i++)
        PyTuple_SET_ITEM(tuple, i, items[i]);
    return tuple;
}

PyObject *mprof_traces_differences(PyObject *self, PyObject *arguments)
{
    PyObject *old;
    const char *name;
    int cumulative;
    enum mprof_key key;
    if (!PyArg_ParseTuple(arguments, "O!sp:differences", Py_TYPE(self), &old, &name, &cumulative) ||
        find_key(statistics_keys, name, &key) < 0)
        return NULL;
    struct mprof_traces *of[2] = {mprof_traces_of(self), mprof_traces_of(old)};
    struct mprof_differences differences;
    struct mprof_arena arena;
    int status;
    mprof_arena_init(&arena, 0);
    Py_BEGIN_ALLOW_THREADS;
    status = mprof_grouping_differences(&differences, &arena, key, of[0]->snapshot, of[1]->snapshot, cumulative);
    Py_END_ALLOW_THREADS;
    PyObject *list = status < 0 ? PyErr_NoMemory() : PyList_New((Py_ssize_t)differences.count);
    for (uint32_t i = 0; list && i < differences.count; i++) {
        PyObject *item = difference_to_python(of, &differences, i);
        if (item)
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
        else
            Py_CLEAR(list);
    }
    mprof_arena_drop(&arena);
    return list;
}

/* ---- rows and totals ---- */

_Static_assert(sizeof(struct mprof_figures) == 6 * sizeof(double), "figures are six doubles");

static PyObject *row_key(struct mprof_traces *traces, const struct mprof_paths *paths, uint32_t path)
{
    const struct mprof_path *item = &paths->items[path];
    return paths->key == MPROF_KEY_STACK ? mprof_traces_path(traces, item->node, true)
                                         : mprof_traces_frame(traces, item->node);
}

PyObject *mprof_traces_row_figures(const struct mprof_row *rows, uint32_t count)
{
    const size_t half = MPROF_MEASURES * sizeof(struct mprof_figures);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(count * 2 * half));
    for (uint32_t i = 0; bytes && i < count; i++) {
        char *out = PyBytes_AS_STRING(bytes) + i * 2 * half;
        memcpy(out, rows[i].flat, half);
        memcpy(out + half, rows[i].cumulative, half);
    }
    return bytes;
}

PyObject *mprof_traces_rows(PyObject *self, PyObject *arguments)
{
    struct mprof_traces *traces = mprof_traces_of(self);
    const char *name;
    enum mprof_key key;
    if (!PyArg_ParseTuple(arguments, "s:rows", &name) || find_key(row_keys, name, &key) < 0)
        return NULL;
    struct mprof_rows rows;
    struct mprof_arena arena;
    int status;
    mprof_arena_init(&arena, 0);
    Py_BEGIN_ALLOW_THREADS;
    status = mprof_grouping_rows(&rows, &arena, key, traces->snapshot);
    Py_END_ALLOW_THREADS;
    PyObject *keys = status < 0 ? PyErr_NoMemory() : PyList_New((Py_ssize_t)rows.count);
    PyObject *figures = keys ? mprof_traces_row_figures(rows.rows, rows.count) : NULL;
    PyObject *totals = figures ? PyList_New(key == MPROF_KEY_STACK ? (Py_ssize_t)rows.count : 0) : NULL;
    if (!totals)
        Py_CLEAR(figures);
    for (uint32_t i = 0; figures && i < rows.count; i++) {
        PyObject *item = row_key(traces, &rows.paths, rows.rows[i].path);
        if (item)
            PyList_SET_ITEM(keys, (Py_ssize_t)i, item);
        else
            Py_CLEAR(figures);
        if (figures && key == MPROF_KEY_STACK) {
            PyObject *total = PyLong_FromUnsignedLong(rows.rows[i].total_frames);
            if (total)
                PyList_SET_ITEM(totals, (Py_ssize_t)i, total);
            else
                Py_CLEAR(figures);
        }
    }
    mprof_arena_drop(&arena);
    PyObject *result = figures ? PyTuple_Pack(3, keys, figures, totals) : NULL;
    Py_XDECREF(keys);
    Py_XDECREF(figures);
    Py_XDECREF(totals);
    return result;
}

PyObject *mprof_traces_totals(PyObject *self, PyObject *Py_UNUSED(unused))
{
    struct mprof_figures totals[MPROF_MEASURES];
    mprof_grouping_totals(mprof_traces_of(self)->snapshot, totals);
    return PyBytes_FromStringAndSize((const char *)totals, sizeof totals);
}

/* ---- selections ---- */

PyObject *mprof_traces_filenames(PyObject *self, PyObject *Py_UNUSED(unused))
{
    struct mprof_traces *traces = mprof_traces_of(self);
    const struct mprof_function *functions = mprof_snapshot_functions(traces->snapshot);
    uint32_t function_count = mprof_snapshot_function_count(traces->snapshot);
    uint32_t string_count = mprof_snapshot_string_count(traces->snapshot);
    PyObject *list = PyList_New((Py_ssize_t)string_count + 1);
    if (!list)
        return NULL;
    for (Py_ssize_t i = 0; i < (Py_ssize_t)string_count; i++) {
        Py_INCREF(Py_None);
        PyList_SET_ITEM(list, i, Py_None);
    }
    PyObject *unknown = PyUnicode_FromString(MPROF_UNKNOWN_FILE);
    if (!unknown) {
        Py_DECREF(list);
        return NULL;
    }
    PyList_SET_ITEM(list, (Py_ssize_t)string_count, unknown);
    for (uint32_t i = 1; i < function_count; i++) {
        Py_ssize_t at = (Py_ssize_t)functions[i].filename;
        if (PyList_GET_ITEM(list, at) != Py_None)
            continue;
        PyObject *filename = mprof_traces_string(traces, functions[i].filename);
        if (!filename || PyList_SetItem(list, at, filename) < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

/* A new object over a selection; NULL means that there was no memory for it. */
static PyObject *selected(struct mprof_traces *traces, struct mprof_snapshot *selection)
{
    if (!selection)
        return PyErr_NoMemory();
    return mprof_traces_new(Py_TYPE(traces), traces->frame_type, selection);
}

static int parse_filter(struct mprof_traces *traces, PyObject *item, struct mprof_filter *filter)
{
    int inclusive;
    int all_frames;
    PyObject *files;
    long long line;
    long long domain;
    if (!PyTuple_Check(item)) {
        PyErr_Format(PyExc_TypeError, "a filter must be a tuple, not %.200s", Py_TYPE(item)->tp_name);
        return -1;
    }
    if (!PyArg_ParseTuple(item, "pOLpL:select", &inclusive, &files, &line, &all_frames, &domain))
        return -1;
    Py_ssize_t length = (Py_ssize_t)mprof_snapshot_string_count(traces->snapshot) + 1;
    if (files != Py_None && (!PyBytes_Check(files) || PyBytes_GET_SIZE(files) != length)) {
        PyErr_Format(PyExc_ValueError, "the files of a filter must be None or bytes, %zd of them", length);
        return -1;
    }
    *filter = (struct mprof_filter){
        .inclusive = inclusive,
        .all_frames = all_frames,
        .files = files == Py_None ? NULL : (const uint8_t *)PyBytes_AS_STRING(files),
        .line = line,
        .domain = domain,
    };
    return 0;
}

PyObject *mprof_traces_select(PyObject *self, PyObject *arguments)
{
    struct mprof_traces *traces = mprof_traces_of(self);
    PyObject *given;
    if (!PyArg_ParseTuple(arguments, "O:select", &given))
        return NULL;
    PyObject *items = PySequence_Tuple(given); /* ours: nobody can change it while the interpreter is released */
    if (!items)
        return NULL;
    size_t count = (size_t)PyTuple_GET_SIZE(items);
    struct mprof_filter *filters = PyMem_New(struct mprof_filter, count ? count : 1);
    PyObject *result = filters ? NULL : PyErr_NoMemory();
    bool parsed = filters != NULL;
    for (size_t i = 0; parsed && i < count; i++)
        parsed = parse_filter(traces, PyTuple_GET_ITEM(items, (Py_ssize_t)i), &filters[i]) == 0;
    if (parsed) {
        struct mprof_snapshot *selection;
        Py_BEGIN_ALLOW_THREADS;
        selection = mprof_select(traces->snapshot, filters, count);
        Py_END_ALLOW_THREADS;
        result = selected(traces, selection);
    }
    PyMem_Free(filters);
    Py_DECREF(items);
    return result;
}

PyObject *mprof_traces_select_blocks(PyObject *self, PyObject *arguments)
{
    struct mprof_traces *traces = mprof_traces_of(self);
    PyObject *keep;
    if (!PyArg_ParseTuple(arguments, "S:select_blocks", &keep))
        return NULL;
    if ((size_t)PyBytes_GET_SIZE(keep) != mprof_snapshot_block_count(traces->snapshot))
        return PyErr_Format(PyExc_ValueError, "select_blocks() needs one byte a trace: %zu, not %zd",
                            mprof_snapshot_block_count(traces->snapshot), PyBytes_GET_SIZE(keep));
    struct mprof_snapshot *selection;
    Py_BEGIN_ALLOW_THREADS;
    selection = mprof_select_blocks(traces->snapshot, (const uint8_t *)PyBytes_AS_STRING(keep));
    Py_END_ALLOW_THREADS;
    return selected(traces, selection);
}

/* ---- what else a snapshot holds ---- */

PyObject *mprof_traces_meta(PyObject *self, PyObject *Py_UNUSED(unused))
{
    const struct mprof_meta *meta = mprof_snapshot_meta(mprof_traces_of(self)->snapshot);
    return Py_BuildValue("{sdsIsKsKsLsLsLsK}", "sample_rate", meta->sample_rate, "max_frames", meta->max_frames,
                         "drops", (unsigned long long)meta->drops, "thinnings", (unsigned long long)meta->thinnings,
                         "start_ns", (long long)meta->start_ns, "time_ns", (long long)meta->time_ns, "peak_ns",
                         (long long)meta->peak_ns, "recording", (unsigned long long)meta->recording);
}

PyObject *mprof_traces_comments(PyObject *self, PyObject *Py_UNUSED(unused))
{
    struct mprof_traces *traces = mprof_traces_of(self);
    uint32_t count = mprof_snapshot_comment_count(traces->snapshot);
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (uint32_t i = 0; list && i < count; i++) {
        PyObject *comment = mprof_traces_string(traces, mprof_snapshot_comment(traces->snapshot, i));
        if (comment)
            PyList_SET_ITEM(list, (Py_ssize_t)i, comment);
        else
            Py_CLEAR(list);
    }
    return list;
}

PyObject *mprof_traces_block(PyObject *self, PyObject *arguments)
{
    struct mprof_traces *traces = mprof_traces_of(self);
    Py_ssize_t index;
    if (!PyArg_ParseTuple(arguments, "n:block", &index))
        return NULL;
    Py_ssize_t count = (Py_ssize_t)mprof_snapshot_block_count(traces->snapshot);
    if (index < 0)
        index += count;
    if (index < 0 || index >= count)
        return PyErr_Format(PyExc_IndexError, "trace index %zd out of range: there are %zd traces", index, count);
    struct mprof_block block;
    mprof_snapshot_block(traces->snapshot, (size_t)index, &block);
    return Py_BuildValue("(KdddKLK)", (unsigned long long)block.samples, block.blocks, block.bytes, block.rate,
                         (unsigned long long)block.id, (long long)block.birth_ns, (unsigned long long)block.address);
}
