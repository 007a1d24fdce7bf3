/* SPDX-License-Identifier: MIT */
/* mem.c -- Python's allocators as Python functions, for tests.
 *
 * WHAT    Module _hazard_mem: malloc, calloc, realloc and free of one domain (0 RAW, 1 MEM, 2 OBJ). Addresses are ints,
 *         NULL is None. With direct=True a request goes to the functions that are installed now, past the checks of
 *         PyMem_Malloc and its relatives, which refuse 2^63 bytes and more themselves.
 *         many(domain, size, n) and release(domain, addresses) make n requests in a row with nothing in between.
 * WHY     A test must say exactly which requests are made; Python code makes more than it shows.
 * LOCKS   the GIL.
 * MEMORY  what the test asks for. */
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

static PyObject *address_of(const void *block)
{
    if (block)
        return PyLong_FromVoidPtr((void *)(uintptr_t)block);
    Py_INCREF(Py_None);
    return Py_None;
}

static PyMemAllocatorEx installed(int domain)
{
    PyMemAllocatorEx allocator;
    PyMem_GetAllocator((PyMemAllocatorDomain)domain, &allocator);
    return allocator;
}

static void *domain_malloc(int domain, size_t size)
{
    return domain == 0 ? PyMem_RawMalloc(size) : domain == 1 ? PyMem_Malloc(size) : PyObject_Malloc(size);
}

static void domain_free(int domain, void *block)
{
    if (domain == 0)
        PyMem_RawFree(block);
    else if (domain == 1)
        PyMem_Free(block);
    else
        PyObject_Free(block);
}

static PyObject *mem_malloc(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"domain", "size", "direct", NULL};
    int domain;
    int direct = 0;
    unsigned long long size;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iK|$p", names, &domain, &size, &direct))
        return NULL;
    PyMemAllocatorEx allocator = installed(domain);
    return address_of(direct ? allocator.malloc(allocator.ctx, (size_t)size) : domain_malloc(domain, (size_t)size));
}

static PyObject *mem_calloc(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"domain", "count", "size", "direct", NULL};
    int domain;
    int direct = 0;
    unsigned long long count;
    unsigned long long size;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iKK|$p", names, &domain, &count, &size, &direct))
        return NULL;
    PyMemAllocatorEx allocator = installed(domain);
    void *block;
    if (direct)
        block = allocator.calloc(allocator.ctx, (size_t)count, (size_t)size);
    else if (domain == 0)
        block = PyMem_RawCalloc((size_t)count, (size_t)size);
    else if (domain == 1)
        block = PyMem_Calloc((size_t)count, (size_t)size);
    else
        block = PyObject_Calloc((size_t)count, (size_t)size);
    return address_of(block);
}

static PyObject *mem_realloc(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"domain", "address", "size", "direct", NULL};
    int domain;
    int direct = 0;
    unsigned long long address;
    unsigned long long size;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iKK|$p", names, &domain, &address, &size, &direct))
        return NULL;
    PyMemAllocatorEx allocator = installed(domain);
    void *old = (void *)(uintptr_t)address;
    void *block;
    if (direct)
        block = allocator.realloc(allocator.ctx, old, (size_t)size);
    else if (domain == 0)
        block = PyMem_RawRealloc(old, (size_t)size);
    else if (domain == 1)
        block = PyMem_Realloc(old, (size_t)size);
    else
        block = PyObject_Realloc(old, (size_t)size);
    return address_of(block);
}

static PyObject *mem_free(PyObject *module, PyObject *args)
{
    int domain;
    unsigned long long address;
    (void)module;
    if (!PyArg_ParseTuple(args, "iK", &domain, &address))
        return NULL;
    domain_free(domain, (void *)(uintptr_t)address);
    return address_of(NULL);
}

static PyObject *mem_many(PyObject *module, PyObject *args)
{
    int domain;
    unsigned long long size;
    Py_ssize_t count;
    (void)module;
    if (!PyArg_ParseTuple(args, "iKn", &domain, &size, &count))
        return NULL;
    void **blocks = calloc((size_t)count + 1, sizeof *blocks);
    PyObject *list = PyList_New(count);
    if (!blocks || !list) {
        free(blocks);
        Py_XDECREF(list);
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < count; i++)
        blocks[i] = domain_malloc(domain, (size_t)size);
    bool failed = false;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = address_of(blocks[i]);
        failed = failed || !item;
        PyList_SetItem(list, i, item);
    }
    free(blocks);
    if (failed)
        Py_CLEAR(list);
    return list;
}

static PyObject *mem_release(PyObject *module, PyObject *args)
{
    int domain;
    PyObject *addresses;
    (void)module;
    if (!PyArg_ParseTuple(args, "iO!", &domain, &PyList_Type, &addresses))
        return NULL;
    Py_ssize_t count = PyList_Size(addresses);
    for (Py_ssize_t i = 0; i < count; i++) {
        void *block = PyLong_AsVoidPtr(PyList_GetItem(addresses, i));
        if (PyErr_Occurred())
            return NULL;
        domain_free(domain, block);
    }
    return address_of(NULL);
}

/* n requests and frees of one block at a time; returns how many failed. Calls nothing else. */
static PyObject *mem_churn(PyObject *module, PyObject *args)
{
    int domain;
    unsigned long long size;
    unsigned long long count;
    unsigned long long failed = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "iKK", &domain, &size, &count))
        return NULL;
    for (unsigned long long i = 0; i < count; i++) {
        void *block = domain_malloc(domain, (size_t)size);
        failed += block == NULL;
        domain_free(domain, block);
    }
    return PyLong_FromUnsignedLongLong(failed);
}

#define WITH_KEYWORDS(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef methods[] = {
    {"malloc", WITH_KEYWORDS(mem_malloc), METH_VARARGS | METH_KEYWORDS, NULL},
    {"calloc", WITH_KEYWORDS(mem_calloc), METH_VARARGS | METH_KEYWORDS, NULL},
    {"realloc", WITH_KEYWORDS(mem_realloc), METH_VARARGS | METH_KEYWORDS, NULL},
    {"free", mem_free, METH_VARARGS, NULL},
    {"many", mem_many, METH_VARARGS, NULL},
    {"release", mem_release, METH_VARARGS, NULL},
    {"churn", mem_churn, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_hazard_mem",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__hazard_mem(void)
{
    return PyModuleDef_Init(&definition);
}
