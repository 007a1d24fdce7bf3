/* SPDX-License-Identifier: MIT */
/* capture.h -- Python as the recorder's source of stacks.
 *
 * WHAT    The five functions of struct mprof_source over frames.h, lines.h and names.h.
 * WHY     The only file that knows both the core and the interpreter's frames.
 * LOCKS   see source.h. No function here takes the GIL, changes a reference count or calls a Python API that can.
 * MEMORY  none. */
#ifndef MPROF_CPYTHON_CAPTURE_H
#define MPROF_CPYTHON_CAPTURE_H

#include "core/source.h"

extern const struct mprof_source mprof_capture_source;

#endif
