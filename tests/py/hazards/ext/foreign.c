/* SPDX-License-Identifier: MIT */
/* foreign.c -- threads that are none of Python's, and allocations without the GIL; for tests.
 *
 * WHAT    Module _hazard_foreign:
 *
 *             detached(size, n)       PyMem_RawMalloc n times in the calling thread, the GIL released
 *             for_ever(size)          PyMem_RawMalloc in the calling thread, the GIL released, until the process ends.
 *                                     Nothing is freed: at its end Python sets another RAW allocator for moments, which
 *                                     must not get what the one before has given
 *             in_thread(size, n)      the same in a thread made by C
 *             in_destructor(size, n)  the same in a destructor of thread-specific data, in each round that there is
 *             in_last_round(size, function)  a thread made by C is in the last round of its destructors while function()
 *                                     is called here; then it allocates a block for the first time, gives it back and
 *                                     ends; its stack and its thread-local storage cannot be touched from then on
 *             release(addresses)      PyMem_RawFree, the GIL released
 *             beside(size, seconds)   the calling thread keeps the GIL and waits until a C thread has allocated and
 *                                     freed a block, at most so long: whether it has
 *             hammer(threads, size)   C threads that allocate, resize, check and free blocks without end
 *             tap(threads, size)      C threads that allocate and free one block without end
 *             turn()                  waits until each of them has come to the end of a round: how many all have done
 *             rest()                  ends them: (rounds, faults)
 *             call(function)          function() from C, in this thread
 *             call_in_thread(function)  function() from a thread made by C
 *             interpreter(code)       runs code in a new interpreter in this thread, with a GIL of its own from 3.12 on:
 *                                     whether it ended without an exception, which is printed
 *
 * WHY     RAW is the one domain that may be used without the GIL, and by threads that Python knows nothing of.
 * LOCKS   as said above.
 * MEMORY  what the test asks for. */
#include <Python.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

struct order {
    size_t size;
    size_t count;
    void **blocks;
    size_t made;
    sem_t *done;
};

static void allocate(struct order *order)
{
    for (size_t i = 0; i < order->count; i++) {
        order->blocks[order->made] = PyMem_RawMalloc(order->size);
        order->made++;
    }
}

static PyObject *addresses_of(struct order *order)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < order->made; i++) {
        PyObject *address = PyLong_FromVoidPtr(order->blocks[i]);
        if (!address || PyList_Append(list, address) != 0)
            Py_CLEAR(list);
        Py_XDECREF(address);
    }
    free(order->blocks);
    return list;
}

/* Room for `rounds` times the blocks asked for. 0, or -1 with an exception set. */
static int parse_order(PyObject *args, size_t rounds, struct order *order)
{
    unsigned long long size;
    Py_ssize_t count;
    memset(order, 0, sizeof *order);
    if (!PyArg_ParseTuple(args, "Kn", &size, &count))
        return -1;
    order->size = (size_t)size;
    order->count = (size_t)count;
    order->blocks = calloc((size_t)count * rounds + 1, sizeof *order->blocks);
    if (!order->blocks)
        PyErr_NoMemory();
    return order->blocks ? 0 : -1;
}

static PyObject *detached(PyObject *module, PyObject *args)
{
    struct order order;
    (void)module;
    if (parse_order(args, 1, &order) != 0)
        return NULL;
    PyThreadState *state = PyEval_SaveThread();
    allocate(&order);
    PyEval_RestoreThread(state);
    return addresses_of(&order);
}

static PyObject *for_ever(PyObject *module, PyObject *args)
{
    unsigned long long size;
    (void)module;
    if (!PyArg_ParseTuple(args, "K", &size))
        return NULL;
    (void)PyEval_SaveThread();
    for (;;)
        (void)PyMem_RawMalloc((size_t)size);
}

static void *run_order(void *context)
{
    allocate(context);
    return NULL;
}

static PyObject *run(struct order *order, void *(*body)(void *))
{
    pthread_t thread;
    PyThreadState *state = PyEval_SaveThread();
    int result = pthread_create(&thread, NULL, body, order);
    if (result == 0)
        pthread_join(thread, NULL);
    PyEval_RestoreThread(state);
    if (result == 0)
        return addresses_of(order);
    free(order->blocks);
    errno = result;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *in_thread(PyObject *module, PyObject *args)
{
    struct order order;
    (void)module;
    return parse_order(args, 1, &order) == 0 ? run(&order, run_order) : NULL;
}

/* ---- the end of a thread ---- */

enum { ROUNDS = 4 }; /* PTHREAD_DESTRUCTOR_ITERATIONS */

/* One key made when the module is imported, one at each call: destructors run before and after those of a profiler. */
static pthread_key_t early_key;
static pthread_key_t late_key;

struct ending {
    struct order *order;
    pthread_key_t key;
    unsigned rounds;
};

static void at_end(void *value)
{
    struct ending *ending = value;
    allocate(ending->order);
    if (++ending->rounds < ROUNDS)
        pthread_setspecific(ending->key, ending);
}

static void *end_with_order(void *context)
{
    static struct ending early;
    static struct ending late;
    early = (struct ending){context, early_key, 0};
    late = (struct ending){context, late_key, 0};
    PyMem_RawFree(PyMem_RawMalloc(1)); /* the profiler meets the thread now */
    pthread_setspecific(early_key, &early);
    pthread_setspecific(late_key, &late);
    return NULL;
}

static PyObject *in_destructor(PyObject *module, PyObject *args)
{
    struct order order;
    (void)module;
    if (parse_order(args, (size_t)2 * ROUNDS, &order) != 0)
        return NULL;
    if (pthread_key_create(&late_key, at_end) != 0) {
        free(order.blocks);
        return PyErr_Format(PyExc_OSError, "no key for thread-specific data");
    }
    PyObject *list = run(&order, end_with_order);
    pthread_key_delete(late_key);
    return list;
}

struct last_round {
    size_t size;
    pthread_key_t key;
    unsigned rounds;
    sem_t reached;
    sem_t go_on;
};

static void at_last_round(void *value)
{
    struct last_round *last = value;
    if (++last->rounds < ROUNDS) {
        pthread_setspecific(last->key, last);
        return;
    }
    sem_post(&last->reached);
    while (sem_wait(&last->go_on) != 0)
        ;
    PyMem_RawFree(PyMem_RawMalloc(last->size));
}

static void *end_in_last_round(void *context)
{
    struct last_round *last = context;
    pthread_setspecific(last->key, last);
    return NULL;
}

/* The key is made now, so that its destructor comes after that of a profiler in each round. */
static PyObject *in_last_round(PyObject *module, PyObject *args)
{
    const size_t stack_size = 1 << 20;
    struct last_round last = {.rounds = 0};
    unsigned long long size;
    PyObject *function;
    pthread_attr_t attributes;
    pthread_t thread;
    (void)module;
    if (!PyArg_ParseTuple(args, "KO", &size, &function))
        return NULL;
    last.size = (size_t)size;
    sem_init(&last.reached, 0, 0);
    sem_init(&last.go_on, 0, 0);
    void *stack = mmap(NULL, stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED || pthread_key_create(&last.key, at_last_round) != 0)
        return PyErr_NoMemory();
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, stack, stack_size);
    int result = pthread_create(&thread, &attributes, end_in_last_round, &last);
    pthread_attr_destroy(&attributes);
    PyObject *answer = NULL;
    if (result == 0) {
        while (sem_wait(&last.reached) != 0)
            ;
        answer = PyObject_CallObject(function, NULL);
        sem_post(&last.go_on);
        pthread_join(thread, NULL);
    } else {
        PyErr_Format(PyExc_OSError, "no thread: error %d", result);
    }
    (void)mprotect(stack, stack_size, PROT_NONE); /* and not unmapped: nothing else may come to lie there */
    pthread_key_delete(last.key);
    return answer;
}

static PyObject *release(PyObject *module, PyObject *list)
{
    (void)module;
    Py_ssize_t count = PyList_Size(list);
    void **blocks = count < 0 ? NULL : calloc((size_t)count + 1, sizeof *blocks);
    if (!blocks)
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < count; i++)
        blocks[i] = PyLong_AsVoidPtr(PyList_GetItem(list, i));
    if (!PyErr_Occurred()) {
        PyThreadState *state = PyEval_SaveThread();
        for (Py_ssize_t i = 0; i < count; i++)
            PyMem_RawFree(blocks[i]);
        PyEval_RestoreThread(state);
    }
    free(blocks);
    if (PyErr_Occurred())
        return NULL;
    Py_INCREF(Py_None);
    return Py_None;
}

/* ---- beside a thread that keeps the GIL ---- */

static void *allocate_and_tell(void *context)
{
    struct order *order = context;
    PyMem_RawFree(PyMem_RawMalloc(order->size));
    sem_post(order->done);
    return NULL;
}

static PyObject *beside(PyObject *module, PyObject *args)
{
    /* Static: a thread that hangs uses them after this function has returned. */
    static struct order order;
    static sem_t done;
    unsigned long long size;
    int seconds;
    pthread_t thread;
    (void)module;
    if (!PyArg_ParseTuple(args, "Ki", &size, &seconds))
        return NULL;
    order = (struct order){(size_t)size, 1, NULL, 0, &done};
    sem_init(&done, 0, 0);
    int result = pthread_create(&thread, NULL, allocate_and_tell, &order);
    if (result != 0) {
        errno = result;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    pthread_detach(thread);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    while ((result = sem_timedwait(&done, &until)) != 0 && errno == EINTR)
        ;
    return PyBool_FromLong(result == 0);
}

/* ---- threads that allocate without end ---- */

enum { HAMMERS = 16, ANVILS = 8 };

static pthread_t hammers[HAMMERS];
static int hammer_count;
static size_t hammer_size;
static bool hammer_stop;
static struct {
    _Alignas(64) unsigned long rounds; /* each in a cache line of its own */
} hammer_turns[HAMMERS];
static unsigned long long hammer_faults;

static bool filled_with(const unsigned char *block, size_t size, unsigned char value)
{
    for (size_t i = 0; i < size; i++) {
        if (block[i] != value)
            return false;
    }
    return true;
}

/* Keeps a few blocks, each filled with its own byte, and resizes one a round. */
static void *hammer_body(void *number)
{
    uintptr_t me = (uintptr_t)number;
    unsigned long rounds = 0;
    unsigned char *blocks[ANVILS] = {NULL};
    size_t sizes[ANVILS] = {0};
    unsigned long long faults = 0;
    unsigned seed = (unsigned)me + 1;
    while (!__atomic_load_n(&hammer_stop, __ATOMIC_RELAXED)) {
        seed = seed * 1103515245u + 12345u;
        unsigned i = seed >> 16 & (ANVILS - 1);
        size_t size = hammer_size + (seed >> 20 & 63);
        unsigned char value = (unsigned char)(i + 1);
        if (blocks[i] && !filled_with(blocks[i], sizes[i], value))
            faults++;
        if (blocks[i] && (seed >> 28 & 1)) {
            PyMem_RawFree(blocks[i]);
            blocks[i] = NULL;
        } else {
            unsigned char *block = PyMem_RawRealloc(blocks[i], size);
            faults += block == NULL;
            if (block) {
                memset(block, value, size);
                blocks[i] = block;
                sizes[i] = size;
            }
        }
        __atomic_store_n(&hammer_turns[me].rounds, ++rounds, __ATOMIC_RELAXED);
    }
    for (unsigned i = 0; i < ANVILS; i++)
        PyMem_RawFree(blocks[i]);
    __atomic_fetch_add(&hammer_faults, faults, __ATOMIC_RELAXED);
    return NULL;
}

static void *tap_body(void *number)
{
    uintptr_t me = (uintptr_t)number;
    unsigned long rounds = 0;
    unsigned long long faults = 0;
    while (!__atomic_load_n(&hammer_stop, __ATOMIC_RELAXED)) {
        void *block = PyMem_RawMalloc(hammer_size);
        faults += block == NULL;
        PyMem_RawFree(block);
        __atomic_store_n(&hammer_turns[me].rounds, ++rounds, __ATOMIC_RELAXED);
    }
    __atomic_fetch_add(&hammer_faults, faults, __ATOMIC_RELAXED);
    return NULL;
}

static PyObject *begin(PyObject *args, void *(*body)(void *))
{
    unsigned long long size;
    int threads;
    if (!PyArg_ParseTuple(args, "iK", &threads, &size))
        return NULL;
    if (hammer_count != 0 || threads < 1 || threads > HAMMERS)
        return PyErr_Format(PyExc_ValueError, "%d threads: hammers already, or not in [1; %d]", threads, HAMMERS);
    hammer_stop = false;
    hammer_faults = 0;
    memset(hammer_turns, 0, sizeof hammer_turns);
    hammer_size = (size_t)size;
    for (int i = 0; i < threads; i++) {
        if (pthread_create(&hammers[i], NULL, body, (void *)(uintptr_t)i) != 0)
            return PyErr_Format(PyExc_OSError, "no thread");
        hammer_count++;
    }
    Py_INCREF(Py_None);
    return Py_None;
}

static PyObject *hammer(PyObject *module, PyObject *args)
{
    (void)module;
    return begin(args, hammer_body);
}

static PyObject *tap(PyObject *module, PyObject *args)
{
    (void)module;
    return begin(args, tap_body);
}

static unsigned long rounds_of(int number)
{
    return __atomic_load_n(&hammer_turns[number].rounds, __ATOMIC_RELAXED);
}

static unsigned long rounds_of_all(void)
{
    unsigned long sum = 0;
    for (int i = 0; i < HAMMERS; i++)
        sum += rounds_of(i);
    return sum;
}

static PyObject *turn(PyObject *module, PyObject *unused)
{
    const struct timespec step = {.tv_nsec = 100000};
    unsigned long before[HAMMERS];
    (void)module;
    (void)unused;
    PyThreadState *state = PyEval_SaveThread();
    for (int i = 0; i < hammer_count; i++)
        before[i] = rounds_of(i);
    for (int i = 0; i < hammer_count; i++) {
        while (rounds_of(i) == before[i])
            nanosleep(&step, NULL);
    }
    PyEval_RestoreThread(state);
    return PyLong_FromUnsignedLong(rounds_of_all());
}

static PyObject *rest(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    __atomic_store_n(&hammer_stop, true, __ATOMIC_RELAXED);
    PyThreadState *state = PyEval_SaveThread();
    while (hammer_count > 0)
        pthread_join(hammers[--hammer_count], NULL);
    PyEval_RestoreThread(state);
    return Py_BuildValue("(kK)", rounds_of_all(), hammer_faults);
}

/* ---- C that calls Python ---- */

static PyObject *call(PyObject *module, PyObject *function)
{
    (void)module;
    return PyObject_CallObject(function, NULL);
}

struct errand {
    PyObject *function;
    PyObject *result;
};

static void *run_errand(void *context)
{
    struct errand *errand = context;
    PyGILState_STATE state = PyGILState_Ensure();
    errand->result = PyObject_CallObject(errand->function, NULL);
    if (!errand->result)
        PyErr_Print();
    PyGILState_Release(state);
    return NULL;
}

static PyObject *call_in_thread(PyObject *module, PyObject *function)
{
    struct errand errand = {function, NULL};
    pthread_t thread;
    (void)module;
    PyThreadState *state = PyEval_SaveThread();
    if (pthread_create(&thread, NULL, run_errand, &errand) == 0)
        pthread_join(thread, NULL);
    PyEval_RestoreThread(state);
    if (!errand.result)
        return PyErr_Format(PyExc_RuntimeError, "the function raised an exception, or there was no thread");
    return errand.result;
}

static PyThreadState *new_interpreter(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyInterpreterConfig config = {
        .allow_threads = 1,
        .check_multi_interp_extensions = 1,
        .gil = PyInterpreterConfig_OWN_GIL,
    };
    PyThreadState *state = NULL;
    PyStatus status = Py_NewInterpreterFromConfig(&state, &config);
    return PyStatus_Exception(status) ? NULL : state;
#else
    return Py_NewInterpreter();
#endif
}

static PyObject *interpreter(PyObject *module, PyObject *args)
{
    const char *code;
    (void)module;
    if (!PyArg_ParseTuple(args, "s", &code))
        return NULL;
    PyThreadState *here = PyThreadState_Get();
    PyThreadState *there = new_interpreter();
    int result = -1;
    if (there) {
        result = PyRun_SimpleString(code);
        Py_EndInterpreter(there);
    }
    PyThreadState_Swap(here);
    return PyBool_FromLong(result == 0);
}

static PyMethodDef methods[] = {
    {"detached", detached, METH_VARARGS, NULL},
    {"for_ever", for_ever, METH_VARARGS, NULL},
    {"in_thread", in_thread, METH_VARARGS, NULL},
    {"in_destructor", in_destructor, METH_VARARGS, NULL},
    {"in_last_round", in_last_round, METH_VARARGS, NULL},
    {"release", release, METH_O, NULL},
    {"beside", beside, METH_VARARGS, NULL},
    {"hammer", hammer, METH_VARARGS, NULL},
    {"tap", tap, METH_VARARGS, NULL},
    {"turn", turn, METH_NOARGS, NULL},
    {"rest", rest, METH_NOARGS, NULL},
    {"call", call, METH_O, NULL},
    {"call_in_thread", call_in_thread, METH_O, NULL},
    {"interpreter", interpreter, METH_VARARGS, NULL},
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
    .m_name = "_hazard_foreign",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__hazard_foreign(void)
{
    static bool have_key;
    if (!have_key && pthread_key_create(&early_key, at_end) != 0)
        return PyErr_Format(PyExc_OSError, "no key for thread-specific data");
    have_key = true;
    return PyModuleDef_Init(&definition);
}
