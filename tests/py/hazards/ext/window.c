/* SPDX-License-Identifier: MIT */
/* window.c -- threads of CPython 3.11 and 3.12 that point to something else than a frame, or to one in an odd place.
 *
 * WHAT    innermost() and entry() are what the calling thread points to: its innermost frame and its _PyCFrame.
 *         in_window(frame, previous, size) allocates with a _PyCFrame that holds these two, as in the middle of an
 *         entry into the evaluation loop, where they are what the C stack held before.
 *         arm() and fire(): the same with the frame that was innermost then, and nothing is allocated between.
 *         on_a_frame_object(code, callable) calls it below the frame of a frame object, as compiled modules do.
 *         Loaded through ctypes, by PyDLL: the GIL stays held.
 * WHY     A signal handler finds the first once in a million times.
 * LOCKS   the GIL.
 * MEMORY  blocks are given back by give_back(). */
#include <Python.h>

#include <frameobject.h>
#include <internal/pycore_frame.h>
#include <sys/mman.h>

void *innermost(void);
void *entry(void);
void *unmapped(void);
void *in_window(void *frame, void *previous, size_t size);
void arm(void);
void fire(void);
void give_back(void *block);
PyObject *on_a_frame_object(PyObject *code, PyObject *callable);

static void *armed;

void *innermost(void)
{
    return PyThreadState_Get()->cframe->current_frame;
}

void *entry(void)
{
    return PyThreadState_Get()->cframe;
}

/* An address where nothing is. */
void *unmapped(void)
{
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)munmap(page, 4096);
    return page;
}

void *in_window(void *frame, void *previous, size_t size)
{
    PyThreadState *ts = PyThreadState_Get();
    _PyCFrame *real = ts->cframe;
    _PyCFrame half = *real;
    half.current_frame = frame;
    half.previous = previous;
    ts->cframe = &half;
    void *block = PyMem_RawMalloc(size);
    ts->cframe = real;
    return block;
}

void arm(void)
{
    armed = innermost();
}

void fire(void)
{
    PyMem_RawFree(in_window(armed, NULL, 101));
}

void give_back(void *block)
{
    PyMem_RawFree(block);
}

PyObject *on_a_frame_object(PyObject *code, PyObject *callable)
{
    PyThreadState *ts = PyThreadState_Get();
    PyFrameObject *object = PyFrame_New(ts, (PyCodeObject *)code, PyEval_GetGlobals(), NULL);
    if (!object)
        return NULL;
    _PyInterpreterFrame *frame = object->f_frame;
    _PyCFrame *cframe = ts->cframe;
    char owner = frame->owner;
    frame->owner = FRAME_OWNED_BY_GENERATOR;
    frame->previous = cframe->current_frame;
    cframe->current_frame = frame;
    PyObject *result = PyObject_CallObject(callable, NULL);
    cframe->current_frame = frame->previous;
    frame->previous = NULL;
    frame->owner = owner;
    Py_DECREF(object);
    return result;
}
