/* SPDX-License-Identifier: MIT */
/* frames_37.h -- frame layout of CPython 3.7, 3.8 and 3.9.
 *
 * WHAT    Frames are Python objects in a list: ts->frame, f_back. f_lasti counts bytes
 *         and is -1 before the first instruction. Every frame is complete: cells
 *         and generators are made before the frame is linked.
 * WHY     f_lineno is not read: it is right only while a trace function is set.
 * LOCKS   None; see frames.h, the only file that includes this one.
 * MEMORY  None. */
#ifndef MPROF_CPYTHON_FRAMES_37_H
#define MPROF_CPYTHON_FRAMES_37_H

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
    out->offset = f->f_lasti < 0 ? MPROF_OFFSET_NONE : (uint32_t)f->f_lasti;
    out->place = frame;
    out->at = (uintptr_t)f->f_lasti;
    return true;
}

static inline bool mprof_layout_same(const struct mprof_rawframe *last)
{
    const PyFrameObject *f = last->place;
    return f->f_code == last->code && (uintptr_t)f->f_lasti == last->at;
}

#endif /* MPROF_CPYTHON_FRAMES_37_H */
