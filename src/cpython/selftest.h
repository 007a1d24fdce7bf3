/* SPDX-License-Identifier: MIT */
/* selftest.h -- does the walk of frames.h read the stack that Python itself shows?
 *
 * WHAT    Walks the calling thread's stack and compares each frame with what Python's own frame objects say: the same
 *         code object, at the same line.
 * WHY     The second line of defence behind mprofile's check of versions and offsets (frames.h): an interpreter that was
 *         built with other options or patched keeps its version, and may keep its offsets, and still mean something else
 *         by them. Rather no profile than one of garbage, or a crash.
 * LOCKS   the GIL, or an attached thread state. May allocate: not for hooks.
 * MEMORY  the caller's buffer. */
#ifndef MPROF_CPYTHON_SELFTEST_H
#define MPROF_CPYTHON_SELFTEST_H

#include "compat.h"

#include <stddef.h>
#include <stdint.h>

/* 0, or -1 with a reason of one line in buf. `skip`: leaves out so many of the innermost frames that were walked, for
 * tests: then the stacks differ. No exception is set afterwards. */
int mprof_selftest(uint32_t skip, char *buf, size_t size);

#endif
