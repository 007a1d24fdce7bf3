/* SPDX-License-Identifier: MIT */
/* frames_312.h -- frame layout of CPython 3.12.
 *
 * WHAT    As in 3.11, with frames that the interpreter pushes for itself: one on the C
 *         stack for each entry into the evaluation loop (FRAME_OWNED_BY_CSTACK,
 *         no globals, a code object of no function), which is skipped unread.
 * WHY     The shim that calls __init__ has a code object whose first traceable
 *         instruction lies past its end: the rule for incomplete frames skips it.
 * LOCKS   None; see frames.h, the only file that includes this one.
 * MEMORY  None. */
#ifndef MPROF_CPYTHON_FRAMES_312_H
#define MPROF_CPYTHON_FRAMES_312_H

#include "frames_cframe.h"

static inline const void *mprof_layout_back(const void *frame)
{
    return ((const _PyInterpreterFrame *)frame)->previous;
}

static inline bool mprof_layout_read(const void *frame, struct mprof_rawframe *out)
{
    const _PyInterpreterFrame *f = frame;
    if (f->owner == FRAME_OWNED_BY_CSTACK)
        return false;
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

#endif /* MPROF_CPYTHON_FRAMES_312_H */
