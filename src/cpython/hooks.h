/* SPDX-License-Identifier: MIT */
/* hooks.h -- Python's allocators, with the recorder beside them.
 *
 * WHAT    Puts our functions in front of the allocators of the RAW, MEM and OBJ domains, and takes them out again:
 *
 *             PyObject_Malloc --> [hook] --> pymalloc --(more than 512 bytes)--> PyMem_RawMalloc --> [hook] --> malloc
 *                                    counted here                                     part of the same block: not
 *         counted
 *
 * WHY     PyMem_SetAllocator is the one place where every allocation of Python and of extensions that use its
 *         interface passes.
 * LOCKS   prepare, install and remove are called under the module's lock; prepare with the GIL held as well (without
 *         one: an attached thread state), for it allocates. The hooks themselves run in any thread, in many at once, at
 *         any time, also after remove, and take no lock but the recorder's.
 * MEMORY  none. */
#ifndef MPROF_CPYTHON_HOOKS_H
#define MPROF_CPYTHON_HOOKS_H

#include <stdbool.h>

/* Before mprof_recorder_start: finds out what lies below. 0; -1: it has been another allocator each time, too often (32
 * times). */
int mprof_hooks_prepare(void);
/* After mprof_recorder_start. */
void mprof_hooks_install(bool exact);
/* Before mprof_recorder_stop. Where another tool has put its hooks on top of ours, ours stay below it and pass
 * everything on. */
void mprof_hooks_remove(void);

#endif
