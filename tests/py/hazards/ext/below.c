/* SPDX-License-Identifier: MIT */
/* below.c -- an allocator that misbehaves on demand, for tests.
 *
 * WHAT    Module _hazard_below. install(domain) puts an allocator into Python's chain. A profiler that starts after it
 *         lies on top of it:
 *
 *             PyMem_RawMalloc --> [profiler] --> [this allocator] --> the one that was there
 *
 *         It counts what reaches it, and can be told:
 *
 *             refuse(size, times)     refuse so many requests for just so many bytes
 *             grudge(address)         realloc(address, 0) frees the block and returns NULL
 *             pretend(on)             serve any request of 2^30 bytes and more with 64 bytes, one that overflows too
 *             hand_over(address, size, domain=RAW)  when the block at `address` comes back by realloc or free, a thread of
 *                                     another make asks `domain` for `size` bytes before realloc or free returns, and
 *                                     gets that very address; a domain but RAW only where there is no GIL
 *             slot(size)              serve a request for just so many bytes with a place of the calling thread's own,
 *                                     without the C library, whose locks fork holds
 *             free_inside(size, address)  while the next request for `size` bytes is served, PyMem_RawFree(address)
 *
 * WHY     These things happen once in a million times with a real allocator.
 * LOCKS   the tests arm it in one thread; the hooks read what was armed.
 * MEMORY  passes everything on. Below PYTHONMALLOC=debug it must not be installed for pretend: debug hooks write the
 *         last bytes of a block. */
#include <Python.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

enum { DOMAINS = 3, PATIENCE = 10 /* seconds */ };

struct counts {
    unsigned long long mallocs;
    unsigned long long callocs;
    unsigned long long reallocs;
    unsigned long long frees;
};

static PyMemAllocatorEx originals[DOMAINS];
static bool is_installed[DOMAINS];
static struct counts counts[DOMAINS];

static size_t refused_size;
static unsigned long long refusals; /* to come */
static void *grudged;
static bool pretending;
static void *to_free; /* by free_inside */
static size_t to_free_at;

static size_t slot_size; /* 0: none */
static _Thread_local char slot[256];

static const size_t HUGE_REQUEST = (size_t)1 << 30;
static const size_t PRETENDED = 64;

/* ---- handing an address to another thread ---- */

static struct {
    void *address; /* armed for this block; NULL: not */
    size_t size;   /* of the other thread's request */
    void *spare;   /* what its request gets */
    void *got;     /* what it got */
    int domain;
    bool late; /* it did not come back in time */
    sem_t done;
} other;

static _Thread_local bool is_other;

static void *other_thread(void *unused)
{
    (void)unused;
    if (other.domain == PYMEM_DOMAIN_RAW) {
        is_other = true;
        other.got = PyMem_RawMalloc(other.size);
    } else {
        PyGILState_STATE state = PyGILState_Ensure();
        is_other = true;
        other.got = other.domain == PYMEM_DOMAIN_MEM ? PyMem_Malloc(other.size) : PyObject_Malloc(other.size);
        is_other = false;
        PyGILState_Release(state);
    }
    sem_post(&other.done);
    return NULL;
}

static void hand_over(void *block)
{
    pthread_t thread;
    other.address = NULL;
    other.spare = block;
    if (pthread_create(&thread, NULL, other_thread, NULL) != 0) {
        other.late = true;
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE;
    int result;
    while ((result = sem_timedwait(&other.done, &until)) != 0 && errno == EINTR)
        ;
    other.late = result != 0;
    if (other.late)
        pthread_detach(thread);
    else
        pthread_join(thread, NULL);
}

/* ---- the allocator ---- */

static bool refuses(size_t size)
{
    if (refusals == 0 || size != refused_size)
        return false;
    refusals--;
    return true;
}

static void free_one_inside(size_t size)
{
    void *block = to_free;
    if (block && size == to_free_at) {
        to_free = NULL;
        PyMem_RawFree(block);
    }
}

static size_t served(size_t size)
{
    return pretending && size >= HUGE_REQUEST ? PRETENDED : size;
}

static void *below_malloc(void *ctx, size_t size)
{
    int domain = (int)(intptr_t)ctx;
    __atomic_fetch_add(&counts[domain].mallocs, 1, __ATOMIC_RELAXED);
    if (is_other && other.spare) {
        void *spare = other.spare;
        other.spare = NULL;
        return spare;
    }
    if (size == slot_size && size != 0)
        return slot;
    if (refuses(size))
        return NULL;
    free_one_inside(size);
    return originals[domain].malloc(originals[domain].ctx, served(size));
}

static void *below_calloc(void *ctx, size_t count, size_t size)
{
    int domain = (int)(intptr_t)ctx;
    size_t bytes;
    __atomic_fetch_add(&counts[domain].callocs, 1, __ATOMIC_RELAXED);
    if (__builtin_mul_overflow(count, size, &bytes)) {
        if (!pretending)
            return NULL;
        bytes = SIZE_MAX;
    }
    if (refuses(bytes))
        return NULL;
    free_one_inside(bytes);
    return originals[domain].calloc(originals[domain].ctx, 1, served(bytes));
}

static void *below_realloc(void *ctx, void *old, size_t size)
{
    int domain = (int)(intptr_t)ctx;
    const PyMemAllocatorEx *original = &originals[domain];
    __atomic_fetch_add(&counts[domain].reallocs, 1, __ATOMIC_RELAXED);
    if (refuses(size))
        return NULL;
    if (old && size == 0 && old == grudged) {
        original->free(original->ctx, old);
        return NULL;
    }
    if (old && old == other.address) {
        void *block = original->malloc(original->ctx, size);
        hand_over(old);
        return block;
    }
    free_one_inside(size);
    return original->realloc(original->ctx, old, served(size));
}

static void below_free(void *ctx, void *block)
{
    int domain = (int)(intptr_t)ctx;
    __atomic_fetch_add(&counts[domain].frees, 1, __ATOMIC_RELAXED);
    if (block && block == other.address)
        hand_over(block);
    else if (block != slot)
        originals[domain].free(originals[domain].ctx, block);
}

/* ---- the module ---- */

static PyObject *none(void)
{
    Py_INCREF(Py_None);
    return Py_None;
}

static PyObject *install(PyObject *module, PyObject *args)
{
    int domain;
    (void)module;
    if (!PyArg_ParseTuple(args, "i", &domain))
        return NULL;
    if (domain < 0 || domain >= DOMAINS || is_installed[domain])
        return PyErr_Format(PyExc_ValueError, "domain %d is not in [0; 2] or has this allocator already", domain);
    PyMemAllocatorEx ours = {(void *)(intptr_t)domain, below_malloc, below_calloc, below_realloc, below_free};
    PyMem_GetAllocator((PyMemAllocatorDomain)domain, &originals[domain]);
    is_installed[domain] = true;
    PyMem_SetAllocator((PyMemAllocatorDomain)domain, &ours);
    return none();
}

static PyObject *calls(PyObject *module, PyObject *args)
{
    int domain;
    (void)module;
    if (!PyArg_ParseTuple(args, "i", &domain))
        return NULL;
    struct counts now = counts[domain]; /* before the tuple is made */
    return Py_BuildValue("(KKKK)", now.mallocs, now.callocs, now.reallocs, now.frees);
}

static PyObject *refuse(PyObject *module, PyObject *args)
{
    unsigned long long size;
    unsigned long long times = 1;
    (void)module;
    if (!PyArg_ParseTuple(args, "K|K", &size, &times))
        return NULL;
    refused_size = (size_t)size;
    refusals = times;
    return none();
}

static PyObject *grudge(PyObject *module, PyObject *address)
{
    (void)module;
    grudged = PyLong_AsVoidPtr(address);
    return PyErr_Occurred() ? NULL : none();
}

static PyObject *pretend(PyObject *module, PyObject *on)
{
    (void)module;
    pretending = PyObject_IsTrue(on) == 1;
    return none();
}

static PyObject *set_slot(PyObject *module, PyObject *args)
{
    unsigned long long size;
    (void)module;
    if (!PyArg_ParseTuple(args, "K", &size))
        return NULL;
    if (size > sizeof slot)
        return PyErr_Format(PyExc_ValueError, "%llu bytes: the slot has %zu", size, sizeof slot);
    slot_size = (size_t)size;
    return none();
}

static PyObject *arm_hand_over(PyObject *module, PyObject *args)
{
    unsigned long long address;
    unsigned long long size;
    int domain = PYMEM_DOMAIN_RAW;
    (void)module;
    if (!PyArg_ParseTuple(args, "KK|i", &address, &size, &domain))
        return NULL;
    other.domain = domain;
    sem_init(&other.done, 0, 0);
    other.late = false;
    other.got = NULL;
    other.size = (size_t)size;
    other.address = (void *)(uintptr_t)address;
    return none();
}

/* Address that the other thread got, None: nothing was handed over yet. TimeoutError if the thread did not come back.
 */
static PyObject *handed_over(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    if (other.late)
        return PyErr_Format(PyExc_TimeoutError, "the other thread still waits after %d seconds", PATIENCE);
    return other.got ? PyLong_FromVoidPtr(other.got) : none();
}

static PyObject *arm_free_inside(PyObject *module, PyObject *args)
{
    unsigned long long size;
    unsigned long long address;
    (void)module;
    if (!PyArg_ParseTuple(args, "KK", &size, &address))
        return NULL;
    to_free_at = (size_t)size;
    to_free = (void *)(uintptr_t)address;
    return none();
}

static PyMethodDef methods[] = {
    {"install", install, METH_VARARGS, NULL},
    {"calls", calls, METH_VARARGS, NULL},
    {"refuse", refuse, METH_VARARGS, NULL},
    {"grudge", grudge, METH_O, NULL},
    {"pretend", pretend, METH_O, NULL},
    {"slot", set_slot, METH_VARARGS, NULL},
    {"hand_over", arm_hand_over, METH_VARARGS, NULL},
    {"handed_over", handed_over, METH_NOARGS, NULL},
    {"free_inside", arm_free_inside, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_hazard_below",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__hazard_below(void)
{
    return PyModuleDef_Init(&definition);
}
