/* SPDX-License-Identifier: MIT */
/* unmaps.c -- a library, preloaded, that calls a function when memory is given back to the system.
 *
 * The profiler does that while it stops, with the lock that start and stop have: a moment that is over too soon to be
 * met by chance. Once, and only in the thread that asked for it. */
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((visibility("default"))) void unmaps_tell(void (*function)(void));

static _Thread_local void (*told)(void);

void unmaps_tell(void (*function)(void))
{
    told = function;
}

__attribute__((visibility("default"))) int munmap(void *address, size_t size)
{
    void (*function)(void) = told;
    told = NULL;
    if (function)
        function();
    return (int)syscall(SYS_munmap, address, size);
}
