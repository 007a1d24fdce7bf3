/* SPDX-License-Identifier: MIT */
/* objects.c -- see objects.h. */
#include "objects.h"

#include "core/recorder.h"

/* Bytes of the collector's links in front of an object. */
#if MPROF_HAVE_PUBLIC_GC_HEAD
static const size_t GC_HEADER = sizeof(PyGC_Head);
#elif MPROF_FREE_THREADED
static const size_t GC_HEADER = 0;
#else
static const size_t GC_HEADER = 2 * sizeof(uintptr_t);
#endif

/* Two more words, for the dict or the weak references, where the interpreter puts them in front too. */
static size_t managed_words(const PyTypeObject *type)
{
#if MPROF_HAVE_MANAGED_WEAKREF
    return type->tp_flags & (Py_TPFLAGS_MANAGED_DICT | Py_TPFLAGS_MANAGED_WEAKREF) ? 2 * sizeof(PyObject *) : 0;
#elif MPROF_HAVE_MANAGED_DICT
    return type->tp_flags & Py_TPFLAGS_MANAGED_DICT ? 2 * sizeof(PyObject *) : 0;
#else
    (void)type;
    return 0;
#endif
}

uintptr_t mprof_objects_block(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    size_t before = managed_words(type) + (PyType_IS_GC(type) ? GC_HEADER : 0);
    return (uintptr_t)object - before;
}

#if MPROF_HAVE_REF_TRACER
static int on_event(PyObject *object, PyRefTracerEvent event, void *data)
{
    (void)data;
    if (event == PyRefTracer_CREATE)
        mprof_recorder_reuse(true, mprof_objects_block(object));
    return 0;
}

#if MPROF_TRACER_IS_READ_MEANWHILE
static int set_tracer_once(PyObject *ignored, void *tracer)
{
    (void)ignored;
    (void)PyRefTracer_SetTracer(*(const PyRefTracer *)tracer, NULL);
    return 0; /* no further object */
}

/* The interpreter looks whether there is a tracer and then calls it, in two steps. Both are over in every thread of
 * this interpreter while the world is stopped. It is for a walk of the collector's objects, of which there always are
 * some, and nothing else that is public stops it. */
static void set_tracer(PyRefTracer tracer)
{
    PyUnstable_GC_VisitObjects(set_tracer_once, &tracer);
}
#else
static void set_tracer(PyRefTracer tracer)
{
    (void)PyRefTracer_SetTracer(tracer, NULL);
}
#endif

void mprof_objects_watch(bool on)
{
    void *data;
    PyRefTracer now = PyRefTracer_GetTracer(&data);
    if (on && !now)
        set_tracer(on_event);
    else if (!on && now == on_event)
        set_tracer(NULL);
}
#else
void mprof_objects_watch(bool on)
{
    (void)on;
}
#endif
