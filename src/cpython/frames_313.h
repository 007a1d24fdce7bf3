/* SPDX-License-Identifier: MIT */
/* frames_313.h -- frame layout of CPython 3.13.
 *
 * WHAT    As in 3.12, but the thread state points to the frame itself, instr_ptr is the
 *         instruction that runs, and f_executable is a Python object that need not
 *         be a code object (None in the interpreter's own frames).
 * WHY     The internal header demands Py_BUILD_CORE; it is defined around that include
 *         only, so that nothing else in the module sees the internal interface.
 *         Free-threaded builds of 3.13 have the same frames: f_executable is a plain pointer there too, and one
 *         bytecode serves all threads, for it is never specialised.
 * LOCKS   None; see frames.h, the only file that includes this one. Without a GIL a frame holds a counted reference to
 *         its code object, so what its own thread reads stays alive while it runs.
 * MEMORY  None. */
#ifndef MPROF_CPYTHON_FRAMES_313_H
#define MPROF_CPYTHON_FRAMES_313_H

#ifndef Py_BUILD_CORE
#define Py_BUILD_CORE 1
#include <internal/pycore_frame.h>
#undef Py_BUILD_CORE
#else
#include <internal/pycore_frame.h>
#endif

static inline const void *mprof_layout_top(const PyThreadState *ts)
{
    return ts->current_frame;
}

static inline const void *mprof_layout_back(const void *frame)
{
    return ((const _PyInterpreterFrame *)frame)->previous;
}

static inline bool mprof_layout_read(const void *frame, struct mprof_rawframe *out)
{
    const _PyInterpreterFrame *f = frame;
    if (f->owner == FRAME_OWNED_BY_CSTACK)
        return false;
    if (f->f_executable == NULL || !PyCode_Check(f->f_executable))
        return false;
    const PyCodeObject *code = (const PyCodeObject *)f->f_executable;
    ptrdiff_t position = (const char *)f->instr_ptr - code->co_code_adaptive;
    ptrdiff_t first = code->_co_firsttraceable * (ptrdiff_t)sizeof(_Py_CODEUNIT);
    if (position < first && f->owner != FRAME_OWNED_BY_GENERATOR)
        return false;
    out->code = code;
    out->offset = position < 0 ? MPROF_OFFSET_NONE : (uint32_t)position;
    out->place = position < first ? MPROF_PLACE_NONE : frame;
    out->at = (uintptr_t)f->instr_ptr;
    return true;
}

/* The instruction lies in its code object, so that is the same, too: when one dies, walks before mean nothing. */
static inline bool mprof_layout_same(const struct mprof_rawframe *last)
{
    const _PyInterpreterFrame *f = last->place;
    return (uintptr_t)f->instr_ptr == last->at;
}

#endif /* MPROF_CPYTHON_FRAMES_313_H */
