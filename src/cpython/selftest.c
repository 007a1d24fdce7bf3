/* SPDX-License-Identifier: MIT */
/* selftest.c -- see selftest.h. */
#define PY_SSIZE_T_CLEAN
#include "selftest.h"

#include "frames.h"
#include "lines.h"

#include <frameobject.h>
#include <stdio.h>

enum { MOST = 64 };

/* Attribute of a frame; NULL: none. */
static PyObject *attribute(PyObject *frame, const char *name)
{
    PyObject *value = PyObject_GetAttrString(frame, name);
    if (!value)
        PyErr_Clear();
    if (value != Py_None)
        return value;
    Py_DECREF(value);
    return NULL;
}

/* The line of a frame by Python's public means, whatever a tracer has made of f_lineno. 0: none. */
static int line_of(PyObject *frame, PyObject *code)
{
    PyObject *last = attribute(frame, "f_lasti");
    long instruction = last ? PyLong_AsLong(last) : -1;
    Py_XDECREF(last);
    PyErr_Clear();
    int line = instruction < 0 ? 0 : PyCode_Addr2Line((PyCodeObject *)code, (int)instruction);
    return line > 0 ? line : 0;
}

/* Whether what was read is the frame; the reason in buf if not. */
static bool same(uint32_t number, const struct mprof_rawframe *read, PyObject *frame, char *buf, size_t size)
{
    PyObject *code = attribute(frame, "f_code");
    bool result = code && (const void *)code == read->code;
    if (!result) {
        (void)snprintf(buf, size, "frame %u of its stack is read as another", number);
    } else {
        int theirs = line_of(frame, code);
        int32_t ours = read->offset == MPROF_OFFSET_NONE ? theirs : mprof_lines_find(read->code, read->offset);
        result = theirs == 0 || ours == theirs;
        if (!result)
            (void)snprintf(buf, size, "line %d of frame %u of its stack is read as %d", theirs, number, (int)ours);
    }
    Py_XDECREF(code);
    return result;
}

int mprof_selftest(uint32_t skip, char *buf, size_t size)
{
    struct mprof_rawframe walked[MOST];
    const void *more = NULL;
    PyThreadState *ts = mprof_frames_thread_state(true);
    uint32_t count = ts ? mprof_frames_walk(ts, walked, MOST, &more) : 0;
    PyObject *frame = (PyObject *)PyEval_GetFrame();
    Py_XINCREF(frame);
    int result = 0;
    uint32_t i = skip;
    for (; i < count && frame && result == 0; i++) {
        result = same(i - skip + 1, &walked[i], frame, buf, size) ? 0 : -1;
        PyObject *back = attribute(frame, "f_back");
        Py_DECREF(frame);
        frame = back;
    }
    if (result == 0 && (i < count || (frame && count < MOST))) {
        (void)snprintf(buf, size, "its stack is read with %s frames than it has", frame ? "fewer" : "more");
        result = -1;
    }
    Py_XDECREF(frame);
    PyErr_Clear();
    return result;
}
