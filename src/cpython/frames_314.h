/* SPDX-License-Identifier: MIT */
/* frames_314.h -- frame layout of CPython 3.14 and 3.15.
 *
 * WHAT    As in 3.13, with two changes. f_executable is a tagged pointer: the two low
 *         bits say who counts the reference. Owners from FRAME_OWNED_BY_INTERPRETER
 *         up are the interpreter's own; in 3.15 the outermost frame is such a
 *         sentinel (ts->base_frame), so the chain ends as in 3.14.
 * WHY     Only the header of the structs is included: the one with the accessors
 *         pulls in half of the interpreter. In free-threaded builds each thread
 *         runs its own copy of the bytecode, and instr_ptr points into that copy:
 *         co_tlbc->entries[tlbc_index]. The array is replaced while others read
 *         it, hence the acquire load; old arrays live as long as a reader may.
 * LOCKS   None; see frames.h, the only file that includes this one.
 * MEMORY  None. */
#ifndef MPROF_CPYTHON_FRAMES_314_H
#define MPROF_CPYTHON_FRAMES_314_H

#ifndef Py_BUILD_CORE
#define Py_BUILD_CORE 1
#include <internal/pycore_interpframe_structs.h>
#undef Py_BUILD_CORE
#else
#include <internal/pycore_interpframe_structs.h>
#endif

static inline const void *mprof_layout_top(const PyThreadState *ts)
{
    return ts->current_frame;
}

static inline const void *mprof_layout_back(const void *frame)
{
    return ((const _PyInterpreterFrame *)frame)->previous;
}

/* First byte of the bytecode that the frame runs, or NULL if there is none. */
static inline const char *mprof_layout_bytecode(const _PyInterpreterFrame *f, const PyCodeObject *code)
{
#if MPROF_THREAD_LOCAL_BYTECODE
    const _PyCodeArray *copies = __atomic_load_n(&code->co_tlbc, __ATOMIC_ACQUIRE);
    if (copies == NULL || f->tlbc_index < 0 || f->tlbc_index >= copies->size)
        return NULL;
    return copies->entries[f->tlbc_index];
#else
    (void)f;
    return code->co_code_adaptive;
#endif
}

static inline bool mprof_layout_read(const void *frame, struct mprof_rawframe *out)
{
    const _PyInterpreterFrame *f = frame;
    if (f->owner >= FRAME_OWNED_BY_INTERPRETER)
        return false;
    const PyObject *executable = (const PyObject *)(f->f_executable.bits & ~(uintptr_t)3);
    if (executable == NULL || !PyCode_Check((PyObject *)executable))
        return false;
    const PyCodeObject *code = (const PyCodeObject *)executable;
    const char *bytecode = mprof_layout_bytecode(f, code);
    if (bytecode == NULL)
        return false;
    ptrdiff_t position = (const char *)f->instr_ptr - bytecode;
    ptrdiff_t first = code->_co_firsttraceable * (ptrdiff_t)sizeof(_Py_CODEUNIT);
    if (position < first && f->owner != FRAME_OWNED_BY_GENERATOR)
        return false;
    out->code = code;
    out->offset = position < 0 ? MPROF_OFFSET_NONE : (uint32_t)position;
    out->place = position < first ? MPROF_PLACE_NONE : frame;
    out->at = (uintptr_t)f->instr_ptr;
    return true;
}

static inline bool mprof_layout_same(const struct mprof_rawframe *last)
{
    const _PyInterpreterFrame *f = last->place;
    return (f->f_executable.bits & ~(uintptr_t)3) == (uintptr_t)last->code && (uintptr_t)f->instr_ptr == last->at;
}

#endif /* MPROF_CPYTHON_FRAMES_314_H */
