/* SPDX-License-Identifier: MIT */
/* interrupt.c -- a signal handler that allocates, as none should, wherever the program is.
 *
 * WHAT    interrupt_begin(microseconds) has the handler run so often; interrupt_count() says how often it ran so far,
 *         interrupt_end() how often in all.
 *         step_begin() has it run after each instruction of the calling thread, where the processor has a flag for that
 *         which a program may set, until step_end(). It runs on a stack of its own then: what lies where the program's
 *         stack will grow stays what the program left there.
 *         It asks for 101 bytes and gives them back. The test has those served from a place of the thread's own
 *         (below.c, slot), for the C library's allocator would hang by itself. Loaded through ctypes, not imported; for
 *         steps by PyDLL, so that the GIL stays held.
 * WHY     A timer meets a window of twenty instructions once in a million times. */
#include <Python.h>

#include <errno.h>
#include <signal.h>
#include <sys/time.h>

enum { SIZE = 101, TRAP = 0x100 };

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
int interrupt_count(void);
int interrupt_end(void);
int step_begin(void);
int step_end(void);

int interrupt_begin(int microseconds)
{
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    struct itimerval every = {{0, microseconds}, {0, microseconds}};
    if (sigaction(SIGALRM, &action, NULL) != 0)
        return -1;
    return setitimer(ITIMER_REAL, &every, NULL);
}

int interrupt_count(void)
{
    return count;
}

int interrupt_end(void)
{
    struct itimerval never = {{0, 0}, {0, 0}};
    (void)setitimer(ITIMER_REAL, &never, NULL);
    return count;
}

#if defined(__x86_64__) || defined(__i386__)
#include <x86intrin.h>

int step_begin(void)
{
    static char stack[1 << 18];
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK};
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    if (sigaltstack(&other, NULL) != 0 || sigaction(SIGTRAP, &action, NULL) != 0)
        return -1;
    __writeeflags(__readeflags() | TRAP);
    return 0;
}

int step_end(void)
{
    __writeeflags(__readeflags() & ~(__typeof__(__readeflags()))TRAP);
    return count;
}
#else
int step_begin(void)
{
    return -1;
}

int step_end(void)
{
    return count;
}
#endif
