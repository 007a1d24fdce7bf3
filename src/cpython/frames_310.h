/* SPDX-License-Identifier: MIT */
/* frames_310.h -- frame layout of CPython 3.10.
 *
 * WHAT    As in 3.9, but f_lasti counts code units of two bytes (bpo-27129 made jumps
 *         and positions count instructions). It is -1 before the first one.
 * WHY     The Python attribute frame.f_lasti is in bytes: it hides the difference.
 * LOCKS   None; see frames.h, the only file that includes this one.
 * MEMORY  None. */
#ifndef MPROF_CPYTHON_FRAMES_310_H
#define MPROF_CPYTHON_FRAMES_310_H

#include <frameobject.h>

static inline const void *mprof_layout_top(const PyThreadState *ts)
{
    return ts->frame;
}

static inline const void *mprof_layout_back(const void *frame)
{
    return ((const PyFrameObject *)frame)->f_back;
}

static inline bool mprof_layout_read(const void *frame, struct mprof_rawframe *out)
{
    const PyFrameObject *f = frame;
    out->code = f->f_code;
    out->offset = f->f_lasti < 0 ? MPROF_OFFSET_NONE : (uint32_t)f->f_lasti * (uint32_t)sizeof(_Py_CODEUNIT);
    out->place = frame;
    out->at = (uintptr_t)f->f_lasti;
    return true;
}

static inline bool mprof_layout_same(const struct mprof_rawframe *last)
{
    const PyFrameObject *f = last->place;
    return f->f_code == last->code && (uintptr_t)f->f_lasti == last->at;
}

#endif /* MPROF_CPYTHON_FRAMES_310_H */
