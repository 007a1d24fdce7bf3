/* SPDX-License-Identifier: MIT */
/* gzip.h -- gzip, where the system has zlib.
 *
 * WHAT    mprof_gzip_load looks for libz.so.1, once; mprof_gzip compresses with it. Without it profiles are written as
 *         they are, which every reader of pprof accepts.
 * WHY     zlib is in nearly every process that runs Python, but not in all. To link with it would make the extension
 *         module unloadable where it is missing; to bring a copy along would be a dependency.
 * LOCKS   load: the caller's thread, for dlopen calls malloc and takes the loader's lock. mprof_gzip: any thread.
 * MEMORY  the given arena only: zlib's own memory (about 270 KiB) comes from there, not from malloc. */
#ifndef MPROF_PUBLISH_GZIP_H
#define MPROF_PUBLISH_GZIP_H

#include "base/arena.h"

#include <stdbool.h>

/* Whether zlib is there. */
bool mprof_gzip_load(void);

/* level: 1 fast to 9 small. The result is in the arena. 0, or -1: no zlib, or no memory; what was taken from the arena
 * by then stays taken until it is dropped. */
int mprof_gzip(const unsigned char *bytes, size_t length, int level, struct mprof_arena *arena, unsigned char **packed,
               size_t *packed_length);

#endif
