/* SPDX-License-Identifier: MIT */
/* frames_probe.c -- src/cpython/{frames,lines,names} as an extension, for tests.
 *
 * WHAT    Module _frames_probe. Shows what the code under test reads, beside what
 *         Python itself says at the same instruction, so that a test compares
 *         two lists. record() runs it where it is used: in an allocator hook.
 * WHY     sys._getframe() called from Python runs at another instruction than the
 *         capture beside it. Called from C inside the capture it does not.
 * LOCKS   The GIL, except where capture() says that it lets go of it.
 * MEMORY  malloc; record() fills a static table. */
#define PY_SSIZE_T_CLEAN
#include "cpython/frames.h"
#include "cpython/lines.h"
#include "cpython/names.h"
#include "fake_runtime.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    RECORDS = 8192, /* allocations that record() can hold */
    DEPTH = 6,      /* frames kept for each */
    NAME = 48       /* bytes kept of a name */
};

static PyObject *decoded(const PyObject *str)
{
    size_t needed = mprof_names_copy(str, NULL, 0);
    char *buf = malloc(needed + 1);
    if (buf == NULL)
        return PyErr_NoMemory();
    (void)mprof_names_copy(str, buf, needed);
    PyObject *text = PyUnicode_DecodeUTF8(buf, (Py_ssize_t)needed, "surrogatepass");
    free(buf);
    return text;
}

static PyObject *frame_tuple(const struct mprof_rawframe *raw)
{
    return Py_BuildValue("(NNiiI)", decoded(mprof_code_filename(raw->code)), decoded(mprof_code_qualname(raw->code)),
                         (int)mprof_code_firstlineno(raw->code), (int)mprof_lines_find(raw->code, raw->offset),
                         (unsigned)raw->offset);
}

static PyObject *frame_list(const struct mprof_rawframe *raw, uint32_t n)
{
    PyObject *list = PyList_New((Py_ssize_t)n);
    for (uint32_t i = 0; list != NULL && i < n; i++) {
        PyObject *item = frame_tuple(&raw[i]);
        if (item == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}

static PyObject *captured(uint32_t max)
{
    struct mprof_rawframe *raw = malloc(max * sizeof(*raw) + 1);
    if (raw == NULL)
        return PyErr_NoMemory();
    const void *more;
    uint32_t n = mprof_frames_walk(mprof_frames_thread_state(true), raw, max, &more);
    PyObject *list = frame_list(raw, n);
    free(raw);
    return list;
}

/* How capture() asks for the thread state. */
enum { ATTACHED = 0, DETACHED = 1, CLAIMS_GIL = 2 };

PyDoc_STRVAR(capture_doc, "capture(max, mode=0) -> list of (filename, qualname, firstlineno, lineno, offset)\n\n"
                          "mode 0: with the GIL. 1: without it, and saying so. 2: without it, claiming\n"
                          "to have it, once another thread holds it (or a tenth of a second is over).");
static PyObject *probe_capture(PyObject *self, PyObject *args)
{
    (void)self;
    unsigned max;
    int mode = ATTACHED;
    if (!PyArg_ParseTuple(args, "I|i", &max, &mode))
        return NULL;
    if (mode == ATTACHED)
        return captured(max);
    struct mprof_rawframe *raw = malloc(max * sizeof(*raw) + 1);
    if (raw == NULL)
        return PyErr_NoMemory();
    const void *more;
    uint32_t n = 0;
    Py_BEGIN_ALLOW_THREADS PyThreadState *ts = NULL;
    if (mode == DETACHED) {
        ts = mprof_frames_thread_state(false);
    } else {
        const struct timespec tick = {0, 100000};
        for (int i = 0; i < 500 && ts == NULL; i++) {
            (void)nanosleep(&tick, NULL);
            ts = mprof_frames_thread_state(true);
        }
    }
    if (ts != NULL)
        n = mprof_frames_walk(ts, raw, max, &more);
    Py_END_ALLOW_THREADS PyObject *list = frame_list(raw, n);
    free(raw);
    return list;
}

PyDoc_STRVAR(count_doc, "count(max, limit) -> (frames written, frames counted beyond them,\n"
                        "whether the walk reached the outermost frame)");
static PyObject *probe_count(PyObject *self, PyObject *args)
{
    (void)self;
    unsigned max;
    unsigned limit;
    if (!PyArg_ParseTuple(args, "II", &max, &limit))
        return NULL;
    struct mprof_rawframe *raw = malloc(max * sizeof(*raw) + 1);
    if (raw == NULL)
        return PyErr_NoMemory();
    const void *more;
    uint32_t n = mprof_frames_walk(mprof_frames_thread_state(true), raw, max, &more);
    free(raw);
    return Py_BuildValue("(IIO)", n, mprof_frames_count(more, limit), more == NULL ? Py_True : Py_False);
}

/* One frame object as frame_tuple() has it, from its Python attributes. */
static PyObject *official_tuple(PyObject *frame)
{
    PyObject *code = PyObject_GetAttrString(frame, "f_code");
    PyObject *line = PyObject_GetAttrString(frame, "f_lineno");
    PyObject *lasti = PyObject_GetAttrString(frame, "f_lasti");
    if (code == NULL || line == NULL || lasti == NULL) {
        Py_XDECREF(code);
        Py_XDECREF(line);
        Py_XDECREF(lasti);
        return NULL;
    }
    PyObject *result = Py_BuildValue("(NNNlI)", PyObject_GetAttrString(code, "co_filename"),
                                     PyObject_GetAttrString(code, MPROF_HAVE_CODE_QUALNAME ? "co_qualname" : "co_name"),
                                     PyObject_GetAttrString(code, "co_firstlineno"),
                                     line == Py_None ? 0 : PyLong_AsLong(line), (unsigned)PyLong_AsLong(lasti));
    Py_DECREF(code);
    Py_DECREF(line);
    Py_DECREF(lasti);
    return result;
}

/* The stack as sys._getframe() and f_back show it. */
static PyObject *official(void)
{
    PyObject *getframe = PySys_GetObject("_getframe"); /* borrowed */
    PyObject *list = PyList_New(0);
    PyObject *frame = getframe == NULL ? NULL : PyObject_CallFunction(getframe, NULL);
    while (list != NULL && frame != NULL && frame != Py_None) {
        PyObject *item = official_tuple(frame);
        if (item == NULL || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
        PyObject *back = PyObject_GetAttrString(frame, "f_back");
        Py_DECREF(frame);
        frame = back;
    }
    if (frame == NULL)
        Py_CLEAR(list);
    Py_XDECREF(frame);
    return list;
}

PyDoc_STRVAR(both_doc, "both(max) -> (capture, the same by sys._getframe(), capture again now\n"
                       "that frame objects exist)");
static PyObject *probe_both(PyObject *self, PyObject *args)
{
    (void)self;
    unsigned max;
    if (!PyArg_ParseTuple(args, "I", &max))
        return NULL;
    PyObject *before = captured(max);
    PyObject *theirs = before == NULL ? NULL : official();
    PyObject *after = theirs == NULL ? NULL : captured(max);
    if (after == NULL) {
        Py_XDECREF(before);
        Py_XDECREF(theirs);
        return NULL;
    }
    return Py_BuildValue("(NNN)", before, theirs, after);
}

PyDoc_STRVAR(line_of_doc, "line_of(code, offset) -> line, or 0");
static PyObject *probe_line_of(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *code;
    unsigned offset;
    if (!PyArg_ParseTuple(args, "O!I", &PyCode_Type, &code, &offset))
        return NULL;
    return PyLong_FromLong(mprof_lines_find((PyCodeObject *)code, offset));
}

PyDoc_STRVAR(compare_lines_doc, "compare_lines(code, beyond) -> None, or (offset, line of line_of, line of\n"
                                "PyCode_Addr2Line)\n\n"
                                "Compares every offset from -1 to so many past the end.");
static PyObject *probe_compare_lines(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *code;
    int beyond;
    if (!PyArg_ParseTuple(args, "O!i", &PyCode_Type, &code, &beyond))
        return NULL;
    PyObject *bytecode = PyObject_GetAttrString(code, "co_code");
    if (bytecode == NULL)
        return NULL;
    int end = (int)PyBytes_GET_SIZE(bytecode) + beyond;
    Py_DECREF(bytecode);
    for (int i = -1; i < end; i++) {
        int ours = mprof_lines_find((PyCodeObject *)code, (uint32_t)i);
        int theirs = PyCode_Addr2Line((PyCodeObject *)code, i);
        if (ours != (theirs < 0 ? 0 : theirs))
            return Py_BuildValue("(iii)", i, ours, theirs);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(table_doc, "table(code) -> the bytes of its line table");
static PyObject *probe_table(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *code;
    if (!PyArg_ParseTuple(args, "O!", &PyCode_Type, &code))
        return NULL;
    size_t size;
    const unsigned char *table = mprof_lines_table((PyCodeObject *)code, &size);
    return PyBytes_FromStringAndSize((const char *)table, (Py_ssize_t)size);
}

PyDoc_STRVAR(find_lines_doc, "find_lines(format, table, first, end) -> [line of offset 0, 1 ... end - 1]\n\n"
                             "format: 'lnotab', 'linetable' or 'locations'. The table is copied to a\n"
                             "block of its very size, so that a checker sees any read outside it.");
static PyObject *probe_find_lines(PyObject *self, PyObject *args)
{
    (void)self;
    const char *format;
    const char *bytes;
    Py_ssize_t size;
    int first;
    unsigned end;
    if (!PyArg_ParseTuple(args, "sy#iI", &format, &bytes, &size, &first, &end))
        return NULL;
    int32_t (*find)(const unsigned char *, size_t, int32_t, uint32_t) =
        strcmp(format, "lnotab") == 0      ? mprof_lines_find_lnotab
        : strcmp(format, "linetable") == 0 ? mprof_lines_find_linetable
                                           : mprof_lines_find_locations;
    unsigned char *table = malloc((size_t)size + (size == 0));
    PyObject *list = PyList_New((Py_ssize_t)end);
    if (table == NULL || list == NULL) {
        free(table);
        Py_XDECREF(list);
        return PyErr_NoMemory();
    }
    memcpy(table, bytes, (size_t)size);
    for (unsigned i = 0; list != NULL && i < end; i++) {
        PyObject *line = PyLong_FromLong(find(table, (size_t)size, first, i));
        if (line == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, line);
    }
    free(table);
    return list;
}

PyDoc_STRVAR(name_bytes_doc, "name_bytes(object, size=None) -> (bytes needed, bytes written)\n\n"
                             "The buffer has exactly size bytes; as many as needed by default.");
static PyObject *probe_name_bytes(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *str;
    Py_ssize_t size = -1;
    if (!PyArg_ParseTuple(args, "O|n", &str, &size))
        return NULL;
    size_t room = size < 0 ? mprof_names_copy(str, NULL, 0) : (size_t)size;
    char *buf = malloc(room + (room == 0));
    if (buf == NULL)
        return PyErr_NoMemory();
    size_t needed = mprof_names_copy(str, buf, room);
    PyObject *result = Py_BuildValue("(ny#)", (Py_ssize_t)needed, buf, (Py_ssize_t)(needed < room ? needed : room));
    free(buf);
    return result;
}

PyDoc_STRVAR(check_doc, "check(version=None, word=-1, size=200) -> None, or the reason of mprof_frames_check()\n\n"
                        "For this interpreter, but with another version, or with one word of its\n"
                        "table of offsets changed. The reason goes to a buffer of size bytes.");
static PyObject *probe_check(PyObject *self, PyObject *args)
{
    (void)self;
    const char *version = NULL;
    int word = -1;
    Py_ssize_t size = 200;
    if (!PyArg_ParseTuple(args, "|zin", &version, &word, &size))
        return NULL;
    fake_runtime_set(version, (unsigned)word);
    char *reason = malloc((size_t)size);
    if (reason == NULL)
        return PyErr_NoMemory();
    int refused = mprof_frames_check(reason, (size_t)size);
    PyObject *result = refused != 0 ? PyUnicode_FromString(reason) : NULL;
    free(reason);
    if (refused != 0)
        return result;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(immortalize_doc, "immortalize(object)\n\n"
                              "It is never freed; where Python has immortal objects it is one of them.");
static PyObject *probe_immortalize(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *object;
    if (!PyArg_ParseTuple(args, "O", &object))
        return NULL;
#ifdef _Py_IMMORTAL_INITIAL_REFCNT
    Py_SET_REFCNT(object, (Py_ssize_t)_Py_IMMORTAL_INITIAL_REFCNT);
#else
    Py_INCREF(object);
#endif
    Py_RETURN_NONE;
}

PyDoc_STRVAR(walk_time_doc, "walk_time(max, rounds) -> (frames, nanoseconds a walk)");
static PyObject *probe_walk_time(PyObject *self, PyObject *args)
{
    (void)self;
    unsigned max;
    unsigned rounds;
    if (!PyArg_ParseTuple(args, "II", &max, &rounds))
        return NULL;
    struct mprof_rawframe *raw = malloc(max * sizeof(*raw) + 1);
    if (raw == NULL)
        return PyErr_NoMemory();
    const void *more;
    uint32_t n = 0;
    struct timespec from;
    struct timespec to;
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    for (unsigned i = 0; i < rounds; i++)
        n = mprof_frames_walk(mprof_frames_thread_state(true), raw, max, &more);
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    free(raw);
    double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
    return Py_BuildValue("(Id)", n, ns / rounds);
}

/* ---- record(): the walk inside an allocator hook ---------------------------------------- */

struct record {
    uint32_t frames;
    struct {
        char name[NAME];
        size_t name_size;
        int32_t line;
        uint32_t offset;
    } frame[DEPTH];
};

static struct record records[RECORDS];
static size_t recorded;
static PyThreadState *recording; /* the thread whose allocations are recorded, or NULL */
static PyMemAllocatorEx base_obj;
static PyMemAllocatorEx base_mem;

static void record_one(void)
{
    PyThreadState *ts = mprof_frames_thread_state(true);
    if (ts == NULL || ts != recording || recorded == RECORDS)
        return;
    struct mprof_rawframe raw[DEPTH];
    const void *more;
    struct record *r = &records[recorded++];
    r->frames = mprof_frames_walk(ts, raw, DEPTH, &more);
    for (uint32_t i = 0; i < r->frames; i++) {
        size_t needed = mprof_names_copy(mprof_code_name(raw[i].code), r->frame[i].name, NAME);
        r->frame[i].name_size = needed < NAME ? needed : NAME;
        r->frame[i].line = mprof_lines_find(raw[i].code, raw[i].offset);
        r->frame[i].offset = raw[i].offset;
    }
}

static void *record_malloc(void *ctx, size_t size)
{
    PyMemAllocatorEx *base = ctx;
    record_one();
    return base->malloc(base->ctx, size);
}

static void *record_calloc(void *ctx, size_t n, size_t size)
{
    PyMemAllocatorEx *base = ctx;
    record_one();
    return base->calloc(base->ctx, n, size);
}

static void *record_realloc(void *ctx, void *ptr, size_t size)
{
    PyMemAllocatorEx *base = ctx;
    record_one();
    return base->realloc(base->ctx, ptr, size);
}

static void record_free(void *ctx, void *ptr)
{
    PyMemAllocatorEx *base = ctx;
    base->free(base->ctx, ptr);
}

static void record_hook(PyMemAllocatorDomain domain, PyMemAllocatorEx *base)
{
    PyMemAllocatorEx hook = {base, record_malloc, record_calloc, record_realloc, record_free};
    PyMem_GetAllocator(domain, base);
    PyMem_SetAllocator(domain, &hook);
}

PyDoc_STRVAR(record_doc, "record(function) -> list of stacks, each a list of (name, line, offset)\n\n"
                         "Calls the function and walks the stack inside each OBJ and MEM allocation that\n"
                         "it makes, as a profiler does. At most 8192 allocations, 6 frames each.");
static PyObject *probe_record(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *function;
    if (!PyArg_ParseTuple(args, "O", &function))
        return NULL;
    recorded = 0;
    record_hook(PYMEM_DOMAIN_OBJ, &base_obj);
    record_hook(PYMEM_DOMAIN_MEM, &base_mem);
    recording = mprof_frames_thread_state(true);
    PyObject *result = PyObject_CallFunction(function, NULL);
    recording = NULL;
    PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &base_mem);
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &base_obj);
    if (result == NULL)
        return NULL;
    Py_DECREF(result);
    PyObject *stacks = PyList_New(0);
    for (size_t i = 0; stacks != NULL && i < recorded; i++) {
        const struct record *r = &records[i];
        PyObject *stack = PyList_New((Py_ssize_t)r->frames);
        for (uint32_t j = 0; stack != NULL && j < r->frames; j++) {
            PyObject *item = Py_BuildValue("(s#iI)", r->frame[j].name, (Py_ssize_t)r->frame[j].name_size,
                                           (int)r->frame[j].line, (unsigned)r->frame[j].offset);
            if (item == NULL)
                Py_CLEAR(stack);
            else
                PyList_SET_ITEM(stack, (Py_ssize_t)j, item);
        }
        if (stack == NULL || PyList_Append(stacks, stack) < 0)
            Py_CLEAR(stacks);
        Py_XDECREF(stack);
    }
    return stacks;
}

static PyMethodDef probe_methods[] = {
    {"capture", probe_capture, METH_VARARGS, capture_doc},
    {"count", probe_count, METH_VARARGS, count_doc},
    {"both", probe_both, METH_VARARGS, both_doc},
    {"line_of", probe_line_of, METH_VARARGS, line_of_doc},
    {"compare_lines", probe_compare_lines, METH_VARARGS, compare_lines_doc},
    {"table", probe_table, METH_VARARGS, table_doc},
    {"find_lines", probe_find_lines, METH_VARARGS, find_lines_doc},
    {"name_bytes", probe_name_bytes, METH_VARARGS, name_bytes_doc},
    {"check", probe_check, METH_VARARGS, check_doc},
    {"immortalize", probe_immortalize, METH_VARARGS, immortalize_doc},
    {"walk_time", probe_walk_time, METH_VARARGS, walk_time_doc},
    {"record", probe_record, METH_VARARGS, record_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef probe_module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_frames_probe",
    .m_doc = "What src/cpython reads of frames, lines and names. For tests.",
    .m_size = -1,
    .m_methods = probe_methods,
};

PyMODINIT_FUNC PyInit__frames_probe(void);

PyMODINIT_FUNC PyInit__frames_probe(void)
{
    PyObject *module = PyModule_Create(&probe_module);
#ifdef Py_GIL_DISABLED
    if (module && PyUnstable_Module_SetGIL(module, Py_MOD_GIL_NOT_USED) < 0)
        Py_CLEAR(module);
#endif
    return module;
}
