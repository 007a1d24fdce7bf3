/* SPDX-License-Identifier: MIT */
/* frames_cframe.h -- whether the innermost frame of CPython 3.11 and 3.12 is one.
 *
 * WHAT    The thread state points to a _PyCFrame on the C stack, one for each time that C has entered the evaluation
 *         loop, and that points to the innermost frame. Nearly every frame that runs lies in one of three places:
 *
 *           data stack  [ chunk: frame frame frame top... ]     below the top, and its callers below it
 *           generator   [ _PyErr_StackItem ... frame ]          the item is in the thread's list while it runs
 *           C stack     [ _PyCFrame ... entry frame ]           3.12 only: the outermost one of an entry
 *
 *         and the outermost one of an entry is called by the innermost of the entry before. What lies elsewhere is
 *         looked at with care. A walk reads codes only where all frames are as the last walk met them, or once this
 *         is seen to be true of the innermost frames, to the end of their entry or for some in a row.
 * WHY     The loop publishes its _PyCFrame before it has written it: for some twenty instructions that holds what the
 *         stack held there before. A signal handler that allocates just then would be led anywhere. The walk gives up
 *         instead, and the block has no stack. What may pass is a frame that has just ended, with callers that
 *         have not: then the stack is the one of a moment ago.
 * LOCKS   None; see frames.h. All that is read is the calling thread's own.
 * MEMORY  None. */
#ifndef MPROF_CPYTHON_FRAMES_CFRAME_H
#define MPROF_CPYTHON_FRAMES_CFRAME_H

#include <internal/pycore_frame.h>

#include "base/compiler.h"
#include "base/os.h"
#include "core/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline bool mprof_cframe_in_chunk(const _PyStackChunk *chunk, uintptr_t top, const void *frame)
{
    return (uintptr_t)frame - (uintptr_t)chunk < top - (uintptr_t)chunk;
}

/* Whether the frame lies where the innermost entry frame does, as a rule: next to its _PyCFrame, and another entry is
 * further away. 3.11 has none. */
static inline bool mprof_cframe_is_near(const PyThreadState *ts, const void *frame)
{
    const uintptr_t near = 256;
    return PY_VERSION_HEX >= 0x030C0000 && (uintptr_t)frame - (uintptr_t)ts->cframe + near < 2 * near;
}

/* Whether the frame is the outermost of an entry, or was when it ran last. */
static inline bool mprof_cframe_is_entry(const _PyInterpreterFrame *frame)
{
#if PY_VERSION_HEX < 0x030C0000
    unsigned char is;
    memcpy(&is, &frame->is_entry, sizeof is); /* what is no frame may hold another value than false and true */
    return is != 0;
#else
    return frame->owner == FRAME_OWNED_BY_CSTACK;
#endif
}

/* Whether the frame is the outermost of the innermost entry: what called it is the innermost frame of the entry before,
 * whose _PyCFrame is further up the C stack, unless a program has made itself another. */
static inline bool mprof_cframe_is_called(const PyThreadState *ts, const void *frame)
{
    const uintptr_t far = 64 << 20;
    const uintptr_t no_address = (uintptr_t)-4096; /* from here on; with 32 bits the stack may lie right below */
    const _PyCFrame *before = ts->cframe->previous;
    const _PyInterpreterFrame *f = frame;
    if (((uintptr_t)before | (uintptr_t)frame) % sizeof(void *) != 0 || !mprof_cframe_is_entry(f))
        return false;
    uintptr_t there = (uintptr_t)before;
    uintptr_t here = (uintptr_t)ts->cframe;
    if (mprof_unlikely(there <= here || there - here >= far || there >= no_address) && before != &ts->root_cframe &&
        !mprof_os_readable(before))
        return false;
    return before->current_frame == f->previous;
}

/* The innermost frame if it lies elsewhere than in the innermost chunk, or NULL. In frames_cframe.c. */
const void *mprof_cframe_top_elsewhere(const PyThreadState *ts, const void *frame);

static inline const void *mprof_layout_top(const PyThreadState *ts)
{
    const void *frame = ts->cframe->current_frame;
    if (mprof_likely(mprof_cframe_in_chunk(ts->datastack_chunk, (uintptr_t)ts->datastack_top, frame)))
        return frame;
    return mprof_cframe_top_elsewhere(ts, frame);
}

/* `frame` is where a walk has come to by frames known from the last one. In frames_cframe.c. */
bool mprof_layout_sound(const PyThreadState *ts, const void *top, const void *frame);

/* What overwrites the frame of a call that has ended does so from its beginning, where the code is. */
static inline bool mprof_layout_known(const struct mprof_rawframe *last)
{
    return ((const _PyInterpreterFrame *)last->place)->f_code == last->code;
}

static inline bool mprof_layout_leads(const PyThreadState *ts, const struct mprof_rawframe *last, const void *caller)
{
    return mprof_layout_known(last) && (!mprof_cframe_is_near(ts, caller) || mprof_cframe_is_called(ts, caller));
}

#endif /* MPROF_CPYTHON_FRAMES_CFRAME_H */
