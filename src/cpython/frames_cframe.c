/* SPDX-License-Identifier: MIT */
/* frames_cframe.c -- see frames_cframe.h: what most walks do not need. */
#include "frames.h"

#include "base/os.h"

#ifdef MPROF_CPYTHON_FRAMES_CFRAME_H

/* Frames in a row, each where one can be and called by the next: what is no frame does not lead to so many. */
enum { ENOUGH = 4 };

/* Where the callers of a frame may lie. */
struct places {
    const _PyStackChunk *chunk;
    uintptr_t top; /* the end of what is left of the chunk */
    const _PyErr_StackItem *running;
};

static struct places places_of(const PyThreadState *ts)
{
    return (struct places){ts->datastack_chunk, (uintptr_t)ts->datastack_top, ts->exc_info};
}

/* The frame of the generator that the item is part of, if it is part of one. */
static uintptr_t frame_of_item(const _PyErr_StackItem *item)
{
    return (uintptr_t)item + (offsetof(PyGenObject, gi_iframe) - offsetof(PyGenObject, gi_exc_state));
}

/* Whether the frame lies in the data stack or in a generator that runs; then the places become those of its callers. */
static bool is_placed(struct places *places, const void *frame)
{
    if (mprof_likely(mprof_cframe_in_chunk(places->chunk, places->top, frame))) {
        places->top = (uintptr_t)frame;
        return true;
    }
    for (const _PyStackChunk *chunk = places->chunk; chunk && chunk->previous; chunk = chunk->previous) {
        const _PyStackChunk *outer = chunk->previous;
        if (mprof_cframe_in_chunk(outer, (uintptr_t)&outer->data[outer->top], frame)) {
            places->chunk = outer;
            places->top = (uintptr_t)frame;
            return true;
        }
    }
    for (const _PyErr_StackItem *item = places->running; item; item = item->previous_item) {
        if (frame_of_item(item) == (uintptr_t)frame) {
            places->running = item->previous_item;
            return true;
        }
    }
    return false;
}

static bool is_aligned(const void *address)
{
    return (uintptr_t)address % sizeof(void *) == 0;
}

/* Whether it is a frame by what it holds, wherever it lies: system calls tell whether that can be read. The frame of a
 * frame object (PyEval_EvalFrame(), Nuitka), or of a generator into which throw() hands something down. */
static bool is_frame(const _PyInterpreterFrame *frame)
{
    if (!frame || !is_aligned(frame) || !mprof_os_readable(frame) || !mprof_os_readable(frame->localsplus))
        return false;
    const PyObject *code = (const PyObject *)frame->f_code;
    return code && is_aligned(code) && mprof_os_readable(&code->ob_type) && Py_IS_TYPE(code, &PyCode_Type);
}

const void *mprof_cframe_top_elsewhere(const PyThreadState *ts, const void *frame)
{
    struct places places = places_of(ts);
    return mprof_cframe_is_near(ts, frame) || is_placed(&places, frame) || is_frame(frame) ? frame : NULL;
}

bool mprof_layout_sound(const PyThreadState *ts, const void *top, const void *frame)
{
    if (mprof_cframe_is_near(ts, frame))
        return mprof_cframe_is_called(ts, frame);
    if (ts->cframe == &ts->root_cframe)
        return true;
    struct places places = places_of(ts);
    const _PyInterpreterFrame *f = top;
    for (unsigned met = 0; met < ENOUGH; met++) {
        if (mprof_cframe_is_near(ts, f))
            return mprof_cframe_is_called(ts, f);
        bool placed = is_aligned(f) && is_placed(&places, f);
        if (!placed && !is_frame(f))
            return false;
        if (mprof_cframe_is_entry(f)) {
            bool called = mprof_cframe_is_called(ts, f);
            if (called || placed || PY_VERSION_HEX >= 0x030C0000)
                return called;
        }
        f = f->previous;
    }
    return true;
}

#endif
