/* SPDX-License-Identifier: MIT */
/* frames.h -- the Python stack of the calling thread, read from the interpreter.
 *
 * WHAT    Walks the frames of one thread from the innermost outwards and gives
 *         (code object, byte offset of the current instruction) for each:
 *
 *           thread state --top--> frame --back--> frame --back--> ... NULL
 *                                   |               |
 *                               not complete     code, offset
 *                               (skipped)
 *
 *         A frame that has not reached its first traceable instruction, or
 *         that the interpreter pushes for its own use, is not complete: Python
 *         does not show it (sys._getframe() skips it), so the walk skips it.
 *         This file is the only ladder of versions. It includes exactly one
 *         frames_NNN.h, and each of those defines four things:
 *
 *           mprof_layout_top()   innermost frame of a thread state, or NULL
 *           mprof_layout_back()  the frame outside a frame, or NULL
 *           mprof_layout_read()  code and offset; false if not complete
 *           mprof_layout_same()  whether a frame is as it was read
 *
 *         On 3.11 and 3.12, where the innermost frame may be none, three
 *         more, which are in frames_cframe.h, and the first as well:
 *
 *           mprof_layout_sound() whether what the thread points to is a stack
 *           mprof_layout_known() whether a frame is of the code that it was of
 *           mprof_layout_leads() whether a frame that is the same has a caller
 *                                that may be read, though it is another
 *
 *         Nearly all of a stack is as it was when the thread was walked last. A
 *         frame whose address was met then is compared in place, and so is each
 *         caller: the same address, the same code, the same instruction. Once
 *         the outermost is reached so, the rest need not be read:
 *
 *           last walk   main:12  serve:40  parse:9
 *           this walk   main:12  serve:40  render:3      reads render, keeps 2
 *
 * WHY     PyThreadState_GetFrame() and PyFrame_GetBack() return new references,
 *         and from 3.11 on they create frame objects: they allocate, and can run
 *         a collection in the middle of somebody's realloc.
 * LOCKS   None. Reads only the calling thread's own stack, which nobody else
 *         pushes to or pops from. Needs neither the GIL nor an attached state;
 *         no reference count changes and no Python call that can allocate,
 *         lock or raise. That holds without a GIL too: other threads neither
 *         write to these frames nor free them, a collection that has stopped
 *         the world only reads. A signal handler may come between any two
 *         instructions of the processor: where a frame is being pushed it finds
 *         the stack as it was, as it will be, or none.
 * MEMORY  None. The code pointers are borrowed: valid while the frame runs. */
#ifndef MPROF_CPYTHON_FRAMES_H
#define MPROF_CPYTHON_FRAMES_H

#include "compat.h"

#include "base/compiler.h"
#include "core/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Offset, in struct mprof_rawframe, of a frame that has not started. On 3.11 and later an offset may name an inline
 * cache of its instruction. */
#define MPROF_OFFSET_NONE UINT32_MAX

/* Place of a frame that is not known again: one before its first traceable instruction is complete or not for reasons
 * that mprof_layout_same() does not look at. No frame is there. */
#define MPROF_PLACE_NONE ((const void *)(uintptr_t)1)

#if PY_VERSION_HEX < 0x030A0000
#include "frames_37.h"
#elif PY_VERSION_HEX < 0x030B0000
#include "frames_310.h"
#elif PY_VERSION_HEX < 0x030C0000
#include "frames_311.h"
#elif PY_VERSION_HEX < 0x030D0000
#include "frames_312.h"
#elif PY_VERSION_HEX < 0x030E0000
#include "frames_313.h"
#elif PY_VERSION_HEX < 0x03100000
#include "frames_314.h"
#else
#error "mprofile knows the frames of CPython 3.7 to 3.15 only"
#endif

#ifndef MPROF_CPYTHON_FRAMES_CFRAME_H
static inline bool mprof_layout_sound(const PyThreadState *ts, const void *top, const void *frame)
{
    (void)ts;
    (void)top;
    (void)frame;
    return true;
}

static inline bool mprof_layout_known(const struct mprof_rawframe *last)
{
    (void)last;
    return true;
}

static inline bool mprof_layout_leads(const PyThreadState *ts, const struct mprof_rawframe *last, const void *caller)
{
    (void)ts;
    (void)last;
    (void)caller;
    return true;
}
#endif

#if !MPROF_THREAD_LOCAL_TSTATE
/* PyThread_get_thread_ident(), asked once a thread: it stays the same, also in a forked child. */
static inline unsigned long mprof_frames_own_ident(void)
{
#if defined(MPROF_TLS_DYNAMIC)
    static _Thread_local unsigned long ident;
#else
    static _Thread_local unsigned long ident __attribute__((tls_model("initial-exec")));
#endif
    if (mprof_unlikely(ident == 0))
        ident = PyThread_get_thread_ident();
    return ident;
}
#endif

/* The thread state whose stack belongs to the calling thread, or NULL (a thread
 * that Python has never seen, or an interpreter that is not running).
 * holds_gil: called from an OBJ or MEM hook, whose callers must hold the GIL.
 * A caller that breaks that rule gets its own stack all the same, never that of
 * the thread that does hold the GIL. Without the GIL the state may be freed once
 * the interpreter finalises: the caller stops asking from its atexit handler on.
 * Up to 3.11 a thread that runs a sub-interpreter and has let go of the GIL gets
 * its stack in the main interpreter: that is the state known for the thread. */
static inline PyThreadState *mprof_frames_thread_state(bool holds_gil)
{
#if MPROF_THREAD_LOCAL_TSTATE
#if MPROF_HAVE_TSTATE_GET_UNCHECKED
    PyThreadState *current = PyThreadState_GetUnchecked();
#else
    PyThreadState *current = _PyThreadState_UncheckedGet();
#endif
    if (current != NULL || holds_gil)
        return current;
#else
    /* The unchecked getter names the holder of the GIL. It is ours only if we
     * hold it, and extensions exist that call PyMem_Malloc() without. */
    if (holds_gil) {
        PyThreadState *holder = _PyThreadState_UncheckedGet();
        if (holder == NULL || holder->thread_id == mprof_frames_own_ident())
            return holder;
    }
#endif
    return PyGILState_GetThisThreadState();
}

/* Walks from the innermost frame outwards and writes at most max complete
 * frames, innermost first. Returns how many were written. *more becomes the
 * first complete frame that did not fit, for mprof_frames_count(), or NULL when
 * the walk reached the outermost one. It is valid while that frame runs. */
static inline uint32_t mprof_frames_walk(PyThreadState *ts, struct mprof_rawframe *out, uint32_t max, const void **more)
{
    const void *frame = mprof_layout_top(ts);
    uint32_t written = 0;
    if (!mprof_layout_sound(ts, frame, frame))
        frame = NULL;
    while (frame != NULL) {
        struct mprof_rawframe raw;
        if (mprof_layout_read(frame, &raw)) {
            if (written == max)
                break;
            out[written++] = raw;
        }
        frame = mprof_layout_back(frame);
    }
    *more = frame;
    return written;
}

/* Whether the frames of the last walk from `from`, which was met on the stack, to
 * the outermost are as they were. If not, *tried becomes the first that was not:
 * from there inwards a search is in vain. */
static inline bool mprof_frames_unchanged(const PyThreadState *ts, const struct mprof_lastwalk *last, uint32_t from,
                                          uint32_t *tried)
{
    const struct mprof_rawframe *frame = &last->frames[from];
    for (;; frame--) {
        if (!mprof_layout_same(frame))
            break;
        const void *caller = mprof_layout_back(frame->place);
        const void *wanted = frame == last->frames ? NULL : frame[-1].place;
        if (mprof_unlikely(caller != wanted) && !mprof_layout_leads(ts, frame, caller))
            break;
        struct mprof_rawframe skipped; /* frames that are not complete, as a walk skips them */
        while (mprof_unlikely(caller != wanted) && caller != NULL && !mprof_layout_read(caller, &skipped))
            caller = mprof_layout_back(caller);
        if (frame == last->frames) {
            if ((caller != NULL) == last->cut)
                return true;
            break;
        }
        if (caller != wanted)
            break;
    }
    *tried = (uint32_t)(frame - last->frames);
    return false;
}

/* As mprof_frames_walk(), but ends where the rest is as the thread's last walk
 * found it. */
static inline struct mprof_walked mprof_frames_walk_on(PyThreadState *ts, const struct mprof_lastwalk *last,
                                                       struct mprof_rawframe *out, uint32_t max)
{
    const void *top = mprof_layout_top(ts);
    const void *frame = top;
    struct mprof_walked walked = {0, 0, NULL};
    uint32_t tried = last->count;
    bool sound = false;
    while (frame != NULL) {
        uint32_t slot = last->slots[mprof_source_slot(frame)];
        bool met = slot < tried && last->frames[slot].place == frame;
        if (met && mprof_frames_unchanged(ts, last, slot, &tried)) {
            walked.kept = slot + 1;
            break;
        }
        if (!sound && !(met && mprof_layout_known(&last->frames[slot]))) {
            sound = mprof_layout_sound(ts, top, frame);
            if (!sound)
                return (struct mprof_walked){0, 0, NULL};
        }
        struct mprof_rawframe raw;
        if (mprof_layout_read(frame, &raw)) {
            if (walked.count == max)
                break;
            out[walked.count++] = raw;
        }
        frame = mprof_layout_back(frame);
    }
    if (walked.kept == 0) {
        walked.more = frame;
        return walked;
    }
    if (last->cut ? walked.count + walked.kept == max : walked.count + walked.kept <= max) {
        walked.more = last->cut ? mprof_layout_back(last->frames[0].place) : NULL;
        return walked;
    }
    /* What fits into `max` frames now ends elsewhere. */
    walked.kept = 0;
    walked.count = mprof_frames_walk(ts, out, max, &walked.more);
    return walked;
}

/* Counts the complete frames from a continuation of mprof_frames_walk() on, that
 * frame included. Stops at limit; NULL gives 0. */
static inline uint32_t mprof_frames_count(const void *more, uint32_t limit)
{
    uint32_t count = 0;
    for (const void *frame = more; frame != NULL && count < limit; frame = mprof_layout_back(frame)) {
        struct mprof_rawframe raw;
        if (mprof_layout_read(frame, &raw))
            count++;
    }
    return count;
}

/* Checks that the running interpreter is the one this file was compiled for:
 * same major and minor version, same kind (with a GIL or free-threaded), and
 * from 3.13 on the same offsets of every field that is read here.
 * Returns 0, or -1 with a reason of one line in buf, cut to size bytes with the
 * terminating zero. Called once, at import. In frames_check.c. */
int mprof_frames_check(char *buf, size_t size);

/* Fields of a code object: borrowed, never NULL. */
static inline const PyObject *mprof_code_filename(const PyCodeObject *code)
{
    return code->co_filename;
}

static inline const PyObject *mprof_code_name(const PyCodeObject *code)
{
    return code->co_name;
}

/* The qualified name; the plain name before 3.11, which has no other. */
static inline const PyObject *mprof_code_qualname(const PyCodeObject *code)
{
#if MPROF_HAVE_CODE_QUALNAME
    return code->co_qualname;
#else
    return code->co_name;
#endif
}

static inline int32_t mprof_code_firstlineno(const PyCodeObject *code)
{
    return code->co_firstlineno;
}

#endif /* MPROF_CPYTHON_FRAMES_H */
