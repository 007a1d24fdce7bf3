/* SPDX-License-Identifier: MIT */
/* coverage_preload.c -- preloaded into the Python tests of a coverage run (tools/coverage.sh): os._exit() writes counts.
 *
 * WHAT    Forked children of tests end by os._exit(), which calls _exit() from the interpreter: here, then. The shared
 *         objects that are built for coverage have said how their counts are written (tests/c/coverage_exit.c).
 * LOCKS   none: objects are loaded under the dynamic linker's lock.
 * MEMORY  none. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST = 8 };

static void (*writers[MOST])(void);
static int count;

void mprof_coverage_register(void (*write_counts)(void));
void fault_pause(int pause) __attribute__((weak)); /* fault_shim.c, if that is there, too */

void mprof_coverage_register(void (*write_counts)(void))
{
    if (count < MOST)
        writers[count++] = write_counts;
}

void _exit(int status)
{
    if (fault_pause)
        fault_pause(1);
    for (int i = 0; i < count; i++)
        writers[i]();
    for (;;)
        syscall(SYS_exit_group, status);
}
