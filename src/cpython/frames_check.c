/* SPDX-License-Identifier: MIT */
/* frames_check.c -- is the running interpreter the one we were compiled for?
 *
 * WHAT    mprof_frames_check(): compares version, kind of build and, from 3.13
 *         on, the offsets that the interpreter publishes about itself.
 * WHY     The walk reads structs that are the same for all patch releases of a
 *         minor version, by promise of their header and not of the C API. Better
 *         to refuse at import, with a reason, than to read wrong fields.
 * LOCKS   None. Called once, at import, with the GIL.
 * MEMORY  None. */
#include "frames.h"

#include <stdio.h>
#include <string.h>

#if MPROF_HAVE_DEBUG_OFFSETS
#ifndef Py_BUILD_CORE
#define Py_BUILD_CORE 1
#include <internal/pycore_runtime.h>
#undef Py_BUILD_CORE
#else
#include <internal/pycore_runtime.h>
#endif

/* One field: what we compiled, and what the interpreter says. */
struct mprof_frames_field {
    const char *name;
    uint64_t ours;
    uint64_t theirs;
};

static int mprof_frames_check_offsets(char *buf, size_t size)
{
    const _Py_DebugOffsets *told = &_PyRuntime.debug_offsets;
    if (memcmp(told->cookie, _Py_Debug_Cookie, sizeof(told->cookie)) != 0) {
        (void)snprintf(buf, size,
                       "this interpreter does not publish its offsets (_PyRuntime.debug_offsets "
                       "starts with other bytes than \"%s\")",
                       _Py_Debug_Cookie);
        return -1;
    }
    if (told->free_threaded != MPROF_FREE_THREADED) {
        (void)snprintf(buf, size, "compiled for a %s build of Python, but this is a %s build",
                       MPROF_FREE_THREADED ? "free-threaded" : "GIL",
                       told->free_threaded != 0 ? "free-threaded" : "GIL");
        return -1;
    }
    const struct mprof_frames_field fields[] = {
        {"PyThreadState.current_frame", offsetof(PyThreadState, current_frame), told->thread_state.current_frame},
        {"_PyInterpreterFrame.previous", offsetof(_PyInterpreterFrame, previous), told->interpreter_frame.previous},
        {"_PyInterpreterFrame.f_executable", offsetof(_PyInterpreterFrame, f_executable),
         told->interpreter_frame.executable},
        {"_PyInterpreterFrame.instr_ptr", offsetof(_PyInterpreterFrame, instr_ptr), told->interpreter_frame.instr_ptr},
        {"_PyInterpreterFrame.owner", offsetof(_PyInterpreterFrame, owner), told->interpreter_frame.owner},
        {"PyCodeObject.co_filename", offsetof(PyCodeObject, co_filename), told->code_object.filename},
        {"PyCodeObject.co_name", offsetof(PyCodeObject, co_name), told->code_object.name},
        {"PyCodeObject.co_qualname", offsetof(PyCodeObject, co_qualname), told->code_object.qualname},
        {"PyCodeObject.co_linetable", offsetof(PyCodeObject, co_linetable), told->code_object.linetable},
        {"PyCodeObject.co_firstlineno", offsetof(PyCodeObject, co_firstlineno), told->code_object.firstlineno},
        {"PyCodeObject.co_code_adaptive", offsetof(PyCodeObject, co_code_adaptive), told->code_object.co_code_adaptive},
#if MPROF_THREAD_LOCAL_BYTECODE
        {"PyCodeObject.co_tlbc", offsetof(PyCodeObject, co_tlbc), told->code_object.co_tlbc},
        {"_PyInterpreterFrame.tlbc_index", offsetof(_PyInterpreterFrame, tlbc_index),
         told->interpreter_frame.tlbc_index},
#endif
        {"PyObject.ob_type", offsetof(PyObject, ob_type), told->pyobject.ob_type},
        {"PyBytesObject.ob_sval", offsetof(PyBytesObject, ob_sval), told->bytes_object.ob_sval},
        {"PyASCIIObject.state", offsetof(PyASCIIObject, state), told->unicode_object.state},
        {"PyASCIIObject.length", offsetof(PyASCIIObject, length), told->unicode_object.length},
        {"sizeof(PyASCIIObject)", sizeof(PyASCIIObject), told->unicode_object.asciiobject_size},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (fields[i].ours != fields[i].theirs) {
            (void)snprintf(buf, size, "compiled for %s at %llu, but this interpreter has it at %llu", fields[i].name,
                           (unsigned long long)fields[i].ours, (unsigned long long)fields[i].theirs);
            return -1;
        }
    }
    return 0;
}
#endif /* MPROF_HAVE_DEBUG_OFFSETS */

int mprof_frames_check(char *buf, size_t size)
{
    const char *version = Py_GetVersion();
    int major = 0;
    int minor = 0;
    /* NOLINTNEXTLINE(cert-err34-c): the interpreter's own version is no number that overflows */
    if (sscanf(version, "%d.%d", &major, &minor) != 2 || major != PY_MAJOR_VERSION || minor != PY_MINOR_VERSION) {
        (void)snprintf(buf, size, "compiled for Python %d.%d, but this is Python %.40s", PY_MAJOR_VERSION,
                       PY_MINOR_VERSION, version);
        return -1;
    }
#if MPROF_HAVE_DEBUG_OFFSETS
    return mprof_frames_check_offsets(buf, size);
#else
    return 0;
#endif
}
