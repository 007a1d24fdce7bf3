/* SPDX-License-Identifier: MIT */
/* otherstack.c -- Python code on a C stack that is not the thread's own.
 *
 * WHAT    on_another_stack(callable) calls it there and returns what it returns. Loaded through ctypes, by PyDLL: the
 *         GIL stays held.
 * WHY     Libraries of coroutines and other languages' run-times do so. Such a stack lies anywhere.
 * LOCKS   one call at a time: `mine` and `theirs` are the only ones.
 * MEMORY  a stack of a megabyte, given back at the end. */
#include <Python.h>

#include <sys/mman.h>
#include <ucontext.h>

enum { STACK = 1 << 20 };

static ucontext_t mine;
static ucontext_t theirs;
static PyObject *called;
static PyObject *returned;

static void there(void)
{
    returned = PyObject_CallObject(called, NULL);
}

PyObject *on_another_stack(PyObject *callable);

PyObject *on_another_stack(PyObject *callable)
{
    void *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED)
        return PyErr_NoMemory();
    if (getcontext(&theirs) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    theirs.uc_stack.ss_sp = stack;
    theirs.uc_stack.ss_size = STACK;
    theirs.uc_link = &mine;
    called = callable;
    makecontext(&theirs, there, 0);
    if (swapcontext(&mine, &theirs) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    (void)munmap(stack, STACK);
    return returned;
}
