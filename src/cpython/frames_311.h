/* SPDX-License-Identifier: MIT */
/* frames_311.h -- frame layout of CPython 3.11.
 *
 * WHAT    Frames are structs in a stack of chunks, not objects. The thread state points
 *         to a _PyCFrame in the C stack, and that to the innermost frame.
 *         prev_instr is the code unit before the next one to run: the current
 *         instruction or the last of its inline caches.
 * WHY     A frame is incomplete until RESUME (_co_firsttraceable), while it makes its
 *         cells or its generator. A generator's own frame is past that point.
 *         3.11.0 unlinks a frame only after clearing it (gh-99729, mended in
 *         3.11.1): a destructor run by that shows the frame as still active,
 *         and sys._getframe() shows the same.
 * LOCKS   None; see frames.h, the only file that includes this one.
 * MEMORY  None. */
#ifndef MPROF_CPYTHON_FRAMES_311_H
#define MPROF_CPYTHON_FRAMES_311_H

#include "frames_cframe.h"

static inline const void *mprof_layout_back(const void *frame)
{
    return ((const _PyInterpreterFrame *)frame)->previous;
}

static inline bool mprof_layout_read(const void *frame, struct mprof_rawframe *out)
{
    const _PyInterpreterFrame *f = frame;
    const PyCodeObject *code = f->f_code;
    ptrdiff_t position = (const char *)f->prev_instr - code->co_code_adaptive;
    ptrdiff_t first = code->_co_firsttraceable * (ptrdiff_t)sizeof(_Py_CODEUNIT);
    if (position < first && f->owner != FRAME_OWNED_BY_GENERATOR)
        return false;
    out->code = code;
    out->offset = position < 0 ? MPROF_OFFSET_NONE : (uint32_t)position;
    out->place = position < first ? MPROF_PLACE_NONE : frame;
    out->at = (uintptr_t)f->prev_instr;
    return true;
}

/* The instruction lies in its code object, so that is the same, too: when one dies, walks before mean nothing. */
static inline bool mprof_layout_same(const struct mprof_rawframe *last)
{
    const _PyInterpreterFrame *f = last->place;
    return (uintptr_t)f->prev_instr == last->at;
}

#endif /* MPROF_CPYTHON_FRAMES_311_H */
