/* SPDX-License-Identifier: MIT */
/* objects.h -- Python objects and the memory blocks they live in.
 *
 * WHAT    The address that the allocator gave for an object, and (3.13 and later) notice of objects that a free list
 *         hands out again.
 * WHY     An object of a collected type starts behind its collector's header. Free lists pass no allocator, so only
 *         the interpreter's reference tracer sees such a reuse; it costs a call per object, so exact mode alone asks
 *         for it.
 * LOCKS   the GIL (free-threaded: an attached thread state). watch may stop the world: whoever waits for its caller
 *         must not be attached meanwhile.
 * MEMORY  none. */
#ifndef MPROF_CPYTHON_OBJECTS_H
#define MPROF_CPYTHON_OBJECTS_H

#include "compat.h"

#include <stdbool.h>
#include <stdint.h>

/* Address of the block that holds the object. */
uintptr_t mprof_objects_block(PyObject *object);

/* Starts or ends listening to the reference tracer. Does nothing before 3.13, and where another tracer is set. */
void mprof_objects_watch(bool on);

#endif
