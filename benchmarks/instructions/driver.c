/* SPDX-License-Identifier: MIT */
/* driver.c -- a Python extension that asks the allocators for blocks, so that callgrind counts what each request takes.
 *
 * WHAT    measure(operation, domain, size, loops) repeats an operation. All of it happens in instructions_measured(), at
 *         whose start and end callgrind is told to begin and to write a count; call(function, argument) calls a Python
 *         function in there.
 * WHY     From Python, an allocation is a few instructions among hundreds of the interpreter's. Built by measure.py.
 * LOCKS   the GIL throughout.
 *         REPLACE and RESIZE go round RING blocks that live beside one another: what a table of addresses takes for one
 *         address depends on which it is, and that on the environment, but not for the mean of many.
 * MEMORY  blocks of KEPT live in a static table until the operation ends. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

enum { MALLOC_FREE, CALLOC_FREE, REALLOC, GROW, KEEP, REPLACE, RESIZE, CALL, OPERATIONS };
enum { KEPT = 100000, RING = 1000 };

struct domain {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
};

static const struct domain domains[] = {
    {PyMem_RawMalloc, PyMem_RawCalloc, PyMem_RawRealloc, PyMem_RawFree},
    {PyMem_Malloc, PyMem_Calloc, PyMem_Realloc, PyMem_Free},
    {PyObject_Malloc, PyObject_Calloc, PyObject_Realloc, PyObject_Free},
};

static void *kept[KEPT];

/* Each block grows like a list does: by an eighth, from 64 bytes to `size`. */
static void grow(const struct domain *domain, size_t size)
{
    void *block = domain->malloc(64);
    for (size_t now = 64; now < size; now += now / 8)
        block = domain->realloc(block, now);
    domain->free(block);
}

PyObject *instructions_measured(int operation, const struct domain *domain, size_t size, int loops, PyObject *function);

/* A new reference; no block is NULL, for there is memory enough. */
__attribute__((noinline)) PyObject *instructions_measured(int operation, const struct domain *domain, size_t size,
                                                          int loops, PyObject *function)
{
    switch (operation) {
    case MALLOC_FREE:
        for (int i = 0; i < loops; i++)
            domain->free(domain->malloc(size));
        break;
    case CALLOC_FREE:
        for (int i = 0; i < loops; i++)
            domain->free(domain->calloc(1, size));
        break;
    case REALLOC:
        for (int i = 0; i < loops; i++)
            kept[0] = domain->realloc(kept[0], size);
        break;
    case GROW:
        for (int i = 0; i < loops; i++)
            grow(domain, size);
        break;
    case KEEP:
        for (int i = 0; i < loops; i++)
            kept[i] = domain->malloc(size);
        for (int i = 0; i < loops; i++)
            domain->free(kept[i]);
        break;
    case REPLACE:
        for (int i = 0; i < loops; i++) {
            domain->free(kept[i % RING]);
            kept[i % RING] = domain->malloc(size);
        }
        break;
    case RESIZE:
        for (int i = 0; i < loops; i++)
            kept[i % RING] = domain->realloc(kept[i % RING], size);
        break;
    case CALL:
        return PyObject_CallFunction(function, "i", loops);
    default:
        break;
    }
    Py_RETURN_NONE;
}

static PyObject *measure(PyObject *module, PyObject *arguments)
{
    int operation;
    int domain;
    Py_ssize_t size;
    int loops;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "iini", &operation, &domain, &size, &loops))
        return NULL;
    if (operation < 0 || operation >= CALL || domain < 0 || domain > 2 || size < 1 || loops < 1 || loops > KEPT)
        return PyErr_Format(PyExc_ValueError,
                            "operation %d of 0 to %d, domain %d of 0 to 2, size %zd of 1 or more, loops %d of 1 to %d",
                            operation, CALL - 1, domain, size, loops, KEPT);
    int before = operation == REALLOC ? 1 : operation == REPLACE || operation == RESIZE ? RING : 0;
    for (int i = 0; i < before; i++)
        kept[i] = domains[domain].malloc((size_t)size);
    PyObject *result = instructions_measured(operation, &domains[domain], (size_t)size, loops, NULL);
    for (int i = 0; i < before; i++)
        domains[domain].free(kept[i]);
    return result;
}

static PyObject *call(PyObject *module, PyObject *arguments)
{
    PyObject *function;
    int loops;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "Oi", &function, &loops))
        return NULL;
    return instructions_measured(CALL, domains, 0, loops, function);
}

static PyMethodDef methods[] = {
    {"measure", measure, METH_VARARGS, "measure(operation, domain, size, loops)"},
    {"call", call, METH_VARARGS, "call(function, loops)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "driver", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_driver(void);

PyMODINIT_FUNC PyInit_driver(void)
{
    PyObject *module = PyModule_Create(&definition);
    static const char *const names[] = {"MALLOC_FREE", "CALLOC_FREE", "REALLOC", "GROW",
                                        "KEEP",        "REPLACE",     "RESIZE",  "CALL"};
    for (int i = 0; module && i < OPERATIONS; i++) {
        if (PyModule_AddIntConstant(module, names[i], i) < 0)
            Py_CLEAR(module);
    }
    return module;
}
