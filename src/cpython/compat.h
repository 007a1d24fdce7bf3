/* SPDX-License-Identifier: MIT */
/* compat.h -- which interpreter this is, as flags that are always 0 or 1.
 *
 * WHAT    The one place where PY_VERSION_HEX is turned into named facts. Code
 *         asks `#if MPROF_HAVE_CODE_QUALNAME`, never for a version. frames.h
 *         alone selects by version, because there each version is a layout.
 * WHY     A flag that is always defined cannot be misspelt into a silent 0
 *         when the build uses -Wundef, and it names the reason for a branch.
 * LOCKS   None: preprocessor only.
 * MEMORY  None. */
#ifndef MPROF_CPYTHON_COMPAT_H
#define MPROF_CPYTHON_COMPAT_H

#include <Python.h>

#if defined(PYPY_VERSION) || defined(GRAALVM_PYTHON)
#error "mprofile needs CPython: it reads the frames of CPython's own interpreter"
#endif
#if PY_VERSION_HEX < 0x03070000 || PY_VERSION_HEX >= 0x03100000
#error "mprofile supports CPython 3.7, 3.8, 3.9, 3.10, 3.11, 3.12, 3.13, 3.14 and 3.15"
#endif

/* PyStructSequence_NewType() gives a real heap type: since 3.8 (bpo-34784). */
#if PY_VERSION_HEX >= 0x03080000
#define MPROF_HAVE_HEAP_STRUCTSEQ 1
#else
#define MPROF_HAVE_HEAP_STRUCTSEQ 0
#endif

/* tracemalloc's traces say how many frames there were in all: since 3.9
 * (bpo-37961). */
#if PY_VERSION_HEX >= 0x03090000
#define MPROF_TRACE_HAS_TOTAL 1
#else
#define MPROF_TRACE_HAS_TOTAL 0
#endif

/* Py_TPFLAGS_IMMUTABLETYPE and Py_TPFLAGS_DISALLOW_INSTANTIATION: added in
 * 3.10 (bpo-43901, bpo-43916). */
#if PY_VERSION_HEX >= 0x030A0000
#define MPROF_HAVE_TYPE_FLAGS 1
#else
#define MPROF_HAVE_TYPE_FLAGS 0
#endif

/* PyCodeObject.co_qualname: added in 3.11 (bpo-44530). */
#if PY_VERSION_HEX >= 0x030B0000
#define MPROF_HAVE_CODE_QUALNAME 1
#else
#define MPROF_HAVE_CODE_QUALNAME 0
#endif

/* PyCodeObject.co_version, a number given to each new code object: added in
 * 3.12 (gh-98522). */
#if PY_VERSION_HEX >= 0x030C0000
#define MPROF_HAVE_CODE_VERSION 1
#else
#define MPROF_HAVE_CODE_VERSION 0
#endif

/* The current thread state is a thread-local variable, NULL while the thread
 * is detached: since 3.12, with one GIL for each interpreter (PEP 684).
 * Before, it was a process-wide "who holds the GIL". */
#if PY_VERSION_HEX >= 0x030C0000
#define MPROF_THREAD_LOCAL_TSTATE 1
#else
#define MPROF_THREAD_LOCAL_TSTATE 0
#endif

/* PyThreadState_GetUnchecked(): the public name, since 3.13 (gh-108867), of
 * what was _PyThreadState_UncheckedGet(). */
#if PY_VERSION_HEX >= 0x030D0000
#define MPROF_HAVE_TSTATE_GET_UNCHECKED 1
#else
#define MPROF_HAVE_TSTATE_GET_UNCHECKED 0
#endif

/* _PyRuntime.debug_offsets: the interpreter's own table of field offsets,
 * since 3.13 (gh-106597, made for debuggers outside the process). */
#if PY_VERSION_HEX >= 0x030D0000
#define MPROF_HAVE_DEBUG_OFFSETS 1
#else
#define MPROF_HAVE_DEBUG_OFFSETS 0
#endif

/* str objects whose text is still a wchar_t buffer, not yet in the form of
 * PEP 393: removed in 3.12 (PEP 623). */
#if PY_VERSION_HEX < 0x030C0000
#define MPROF_HAVE_UNREADY_STR 1
#else
#define MPROF_HAVE_UNREADY_STR 0
#endif

/* Format of the line table of a code object.
 *   LNOTAB     co_lnotab, pairs of deltas                   up to 3.9
 *   LINETABLE  co_linetable, pairs with "no line" (PEP 626) 3.10
 *   LOCATIONS  co_linetable with columns (PEP 657)          from 3.11 */
#define MPROF_LINES_LNOTAB (PY_VERSION_HEX < 0x030A0000)
#define MPROF_LINES_LINETABLE (PY_VERSION_HEX >= 0x030A0000 && PY_VERSION_HEX < 0x030B0000)
#define MPROF_LINES_LOCATIONS (PY_VERSION_HEX >= 0x030B0000)

/* Free-threaded build (PEP 703): an optional build of 3.13 and later. */
#ifdef Py_GIL_DISABLED
#define MPROF_FREE_THREADED 1
#else
#define MPROF_FREE_THREADED 0
#endif

/* Each thread runs its own copy of the bytecode (gh-115999): free-threaded
 * builds from 3.14 on. */
#if MPROF_FREE_THREADED && PY_VERSION_HEX >= 0x030E0000
#define MPROF_THREAD_LOCAL_BYTECODE 1
#else
#define MPROF_THREAD_LOCAL_BYTECODE 0
#endif

/* PyGC_Head in Python.h: moved to the internal headers in 3.9 (bpo-35081). */
#if PY_VERSION_HEX < 0x03090000
#define MPROF_HAVE_PUBLIC_GC_HEAD 1
#else
#define MPROF_HAVE_PUBLIC_GC_HEAD 0
#endif

/* Words for a managed dict in front of an object: since 3.11 (bpo-45947); for
 * weak references too: since 3.12 (gh-95245). */
#if PY_VERSION_HEX >= 0x030B0000
#define MPROF_HAVE_MANAGED_DICT 1
#else
#define MPROF_HAVE_MANAGED_DICT 0
#endif
#if PY_VERSION_HEX >= 0x030C0000
#define MPROF_HAVE_MANAGED_WEAKREF 1
#else
#define MPROF_HAVE_MANAGED_WEAKREF 0
#endif

/* PyRefTracer_SetTracer(): added in 3.13 (gh-93502). */
#if PY_VERSION_HEX >= 0x030D0000
#define MPROF_HAVE_REF_TRACER 1
#else
#define MPROF_HAVE_REF_TRACER 0
#endif

/* Whether PyRefTracer_SetTracer() leaves it to its caller that no other thread is just looking at the tracer: there
 * is no GIL, and the function does not stop the world itself before 3.15 (gh-137992). Where it does, it must not be
 * called with the world stopped: that would wait for itself. */
#if MPROF_FREE_THREADED && PY_VERSION_HEX < 0x030F0000
#define MPROF_TRACER_IS_READ_MEANWHILE 1
#else
#define MPROF_TRACER_IS_READ_MEANWHILE 0
#endif

/* Slots of a module definition: interpreters in 3.12 (gh-104108), the GIL in
 * 3.13 (gh-116322). */
#if PY_VERSION_HEX >= 0x030C0000
#define MPROF_HAVE_MULTIPLE_INTERPRETERS_SLOT 1
#else
#define MPROF_HAVE_MULTIPLE_INTERPRETERS_SLOT 0
#endif
#if PY_VERSION_HEX >= 0x030D0000
#define MPROF_HAVE_GIL_SLOT 1
#else
#define MPROF_HAVE_GIL_SLOT 0
#endif

#endif /* MPROF_CPYTHON_COMPAT_H */
