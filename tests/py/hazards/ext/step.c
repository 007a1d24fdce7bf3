/* SPDX-License-Identifier: MIT */
/* step.c -- a signal handler that allocates, as none should, after each instruction of the processor.
 *
 * WHAT    step_begin() has the processor stop after each of the calling thread's instructions, step_end() ends that and
 *         returns how often it has. The handler asks for 101 bytes and gives them back; the test has those served from a
 *         place of the thread's own (below.c, slot). Loaded through ctypes, by PyDLL: the GIL stays held.
 *         The handler runs on a stack of its own, so what lies where the program's stack will grow stays what the
 *         program left there.
 * WHY     A timer meets a window of twenty instructions once in a million times. This meets each one. */
#include <Python.h>

#include <errno.h>
#include <signal.h>

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

int step_begin(void);
int step_end(void);

#if defined(__x86_64__) || defined(__i386__)
#include <x86intrin.h>

int step_begin(void)
{
    static char stack[1 << 18];
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK};
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    if (sigaltstack(&other, NULL) != 0 || sigaction(SIGTRAP, &action, NULL) != 0)
        return -1;
    count = 0;
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
    (void)handle;
    return -1; /* other processors have no flag for it that a program may set */
}

int step_end(void)
{
    return count;
}
#endif
