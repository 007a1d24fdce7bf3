/* SPDX-License-Identifier: MIT */
/* interrupt.c -- a signal handler that allocates, as none should, wherever the program is.
 *
 * WHAT    interrupt_begin(microseconds) has the handler run so often; interrupt_end() returns how often it ran. It asks
 *         for 101 bytes and gives them back. The test has those served from a place of the thread's own (below.c, slot),
 *         for the C library's allocator would hang by itself. Loaded through ctypes, not imported. */
#include <Python.h>

#include <errno.h>
#include <signal.h>
#include <sys/time.h>

enum { SIZE = 101 };

static volatile sig_atomic_t count;

static void handle(int number)
{
    int saved = errno;
    (void)number;
    PyMem_RawFree(PyMem_RawMalloc(SIZE));
    count++;
    errno = saved;
}

int interrupt_begin(int microseconds);
int interrupt_end(void);

int interrupt_begin(int microseconds)
{
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    struct itimerval every = {{0, microseconds}, {0, microseconds}};
    if (sigaction(SIGALRM, &action, NULL) != 0)
        return -1;
    return setitimer(ITIMER_REAL, &every, NULL);
}

int interrupt_end(void)
{
    struct itimerval never = {{0, 0}, {0, 0}};
    (void)setitimer(ITIMER_REAL, &never, NULL);
    return count;
}
