/* SPDX-License-Identifier: MIT */
/* empty_hook.c -- a Python extension whose hooks do nothing: what any profiler by PyMem_SetAllocator costs at least.
 *
 * WHAT    start() puts functions around the allocators of all three domains that only pass on. There is no stop.
 * WHY     The limit beside our own figures; built by rounds/venvs.py, no part of the package.
 * LOCKS   the GIL, in start.
 * MEMORY  static. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyMemAllocatorEx below[3];

#define DEFINE(name, domain)                                                                                           \
    static void *name##_malloc(void *ctx, size_t size)                                                                 \
    {                                                                                                                  \
        (void)ctx;                                                                                                     \
        return below[domain].malloc(below[domain].ctx, size);                                                          \
    }                                                                                                                  \
    static void *name##_calloc(void *ctx, size_t count, size_t size)                                                   \
    {                                                                                                                  \
        (void)ctx;                                                                                                     \
        return below[domain].calloc(below[domain].ctx, count, size);                                                   \
    }                                                                                                                  \
    static void *name##_realloc(void *ctx, void *old, size_t size)                                                     \
    {                                                                                                                  \
        (void)ctx;                                                                                                     \
        return below[domain].realloc(below[domain].ctx, old, size);                                                    \
    }                                                                                                                  \
    static void name##_free(void *ctx, void *block)                                                                    \
    {                                                                                                                  \
        (void)ctx;                                                                                                     \
        below[domain].free(below[domain].ctx, block);                                                                  \
    }

DEFINE(raw, PYMEM_DOMAIN_RAW)
DEFINE(mem, PYMEM_DOMAIN_MEM)
DEFINE(obj, PYMEM_DOMAIN_OBJ)

#define ENTRY(name)                                                                                                    \
    {                                                                                                                  \
        NULL, name##_malloc, name##_calloc, name##_realloc, name##_free                                                \
    }

static const PyMemAllocatorEx hooks[3] = {ENTRY(raw), ENTRY(mem), ENTRY(obj)};

static PyObject *start(PyObject *module, PyObject *none)
{
    (void)module;
    (void)none;
    for (int i = 0; i < 3; i++) {
        PyMemAllocatorDomain domain = (PyMemAllocatorDomain)i;
        PyMemAllocatorEx hook = hooks[i];
        PyMem_GetAllocator(domain, &below[i]);
        PyMem_SetAllocator(domain, &hook);
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"start", start, METH_NOARGS, "Hooks in."}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "empty_hook", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_empty_hook(void);

PyMODINIT_FUNC PyInit_empty_hook(void)
{
    return PyModule_Create(&definition);
}
