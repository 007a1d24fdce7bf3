/* SPDX-License-Identifier: MIT */
/* module.c -- mprofile._core: arguments in, results out.
 *
 * WHAT    The functions that mprofile/__init__.py re-exports, and the module's life: checked against the running
 *         interpreter at import, told by atexit when the interpreter ends.
 * WHY     The only file that raises Python exceptions for the profiler itself. What it wraps lives in core/recorder.h
 *         and hooks.h.
 * LOCKS   `control` serialises start and stop, of any interpreter and of free-threaded builds. Nothing else here relies
 *         on the GIL: the recorder has its own lock, and what else is shared is read and written in one piece.
 * MEMORY  the module's state; see snapshot_type.h. */
#include "capture.h"
#include "compat.h"
#include "frames.h"
#include "hooks.h"
#include "merge.h"
#include "objects.h"
#include "recording.h"
#include "selftest.h"
#include "snapshot_type.h"

#include "base/arena.h"
#include "base/compiler.h"
#include "base/lock.h"
#include "core/recorder.h"
#include "core/snapshot.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>

static struct mprof_lock control;

/* Its holder has an attached thread state and may let go of it for a moment, in PyMem_SetAllocator or to stop the world.
 * So who waits is not attached: an attached thread that does not move would keep the world from stopping, and the GIL
 * from the holder. And nobody takes the lock before being attached again, for that can last until the process ends. */
static void acquire_control(void)
{
    while (!mprof_lock_try(&control)) {
        PyThreadState *state = PyEval_SaveThread();
        mprof_lock_acquire(&control);
        mprof_lock_release(&control);
        PyEval_RestoreThread(state);
    }
}

/* What the last start asked for; protected by `control` for writing, atomic. */
static int traceback_limit = 128;
static long long sample_rate;

static const long long MAX_SAMPLE_RATE = 1LL << 40;

static PyObject *none(void)
{
    Py_INCREF(Py_None);
    return Py_None;
}

/* Whether our hooks are in place, or are about to be; protected by `control`. Not the same as the recorder being active,
 * which want of memory ends by itself. Set before the recorder starts: without a GIL another thread may fork in between,
 * and the child's stop has to end what it finds. */
static bool hooked;

/* ---- start and stop ---- */

/* 0, or -1 with an exception set. */
static int start(const struct mprof_recorder_options *options, long long rate)
{
    const char *problem = NULL;
    int result = 0;
    acquire_control();
    if (!mprof_recorder_active()) {
        if (mprof_hooks_prepare() != 0) {
            problem = "the allocators of this process have been replaced too often";
        } else {
            bool before = hooked;
            hooked = true;
            result = mprof_recorder_start(options);
            if (result != 0)
                hooked = before;
        }
        if (!problem && result == 0) {
            __atomic_store_n(&traceback_limit, (int)options->max_frames, __ATOMIC_RELAXED);
            __atomic_store_n(&sample_rate, rate, __ATOMIC_RELAXED);
            mprof_hooks_install(rate <= 1);
            mprof_objects_watch(rate <= 1);
        }
    }
    mprof_lock_release(&control);
    if (problem)
        PyErr_SetString(PyExc_RuntimeError, problem);
    else if (result == MPROF_RECORDER_NO_MEMORY)
        PyErr_NoMemory();
    return problem || result == MPROF_RECORDER_NO_MEMORY ? -1 : 0;
}

static void stop_holding_control(void)
{
    if (hooked) {
        mprof_hooks_remove();
        mprof_recorder_stop();
        hooked = false;
    }
}

static void stop(void)
{
    acquire_control();
    mprof_objects_watch(false);
    stop_holding_control();
    mprof_lock_release(&control);
}

/* In a forked child: whoever held the lock is gone. */
static void after_fork_child(void)
{
    mprof_lock_reset(&control);
}

PyDoc_STRVAR(
    start_doc,
    "start(max_frames=128, sample_rate=0, *, seed=None, max_live=None)\n--\n\n"
    "Start recording memory allocations.\n\n"
    "max_frames: most recent frames to keep of each stack, 1 to 65535.\n"
    "sample_rate: mean bytes between samples, 0 to 2**40; 0 and 1 record every allocation.\n"
    "seed: for tests, makes the choice of samples repeatable.\n"
    "max_live: most samples to keep in memory; 0 means no bound. When it is reached the rate doubles.\n"
    "Raises ValueError for a number out of range, RuntimeError if the first start finds that it would misread\n"
    "this interpreter's frames. Does nothing if recording is on already.");

/* Atomic: the first start has found that frames are read rightly; frames that tests have it leave out. */
static bool believed;
static uint32_t misread;

static int believe_frames(void)
{
    char reason[160];
    if (mprof_likely(__atomic_load_n(&believed, __ATOMIC_RELAXED)))
        return 0;
    if (mprof_selftest(__atomic_load_n(&misread, __ATOMIC_RELAXED), reason, sizeof reason) != 0) {
        (void)PyErr_Format(PyExc_RuntimeError, "this interpreter is not what mprofile was built for: %s", reason);
        return -1;
    }
    __atomic_store_n(&believed, true, __ATOMIC_RELAXED);
    return 0;
}

/* The package's classes, which exact mode would otherwise show as the program's memory when they are first needed: once
 * a process. A program that cannot read their files any more, in another root, can record all the same. */
static int load_package(void)
{
    static uint32_t loaded; /* atomic */
    if (__atomic_load_n(&loaded, __ATOMIC_RELAXED))
        return 0;
    PyObject *package = PyImport_ImportModule("mprofile");
    PyObject *snapshot = package ? PyObject_GetAttrString(package, "Snapshot") : NULL;
    Py_XDECREF(package);
    Py_XDECREF(snapshot);
    if (!snapshot && !PyErr_ExceptionMatches(PyExc_ImportError))
        return -1;
    PyErr_Clear();
    __atomic_store_n(&loaded, 1, __ATOMIC_RELAXED);
    return 0;
}

static PyObject *core_start(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"max_frames", "sample_rate", "seed", "max_live", NULL};
    int frames = 128;
    long long rate = 0;
    PyObject *seed = Py_None;
    PyObject *max_live = Py_None;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|iL$OO:start", names, &frames, &rate, &seed, &max_live))
        return NULL;
    if (frames < 1 || frames > MPROF_MAX_FRAMES)
        return PyErr_Format(PyExc_ValueError, "the number of frames must be in range [1; %d], not %d", MPROF_MAX_FRAMES,
                            frames);
    if (rate < 0 || rate > MAX_SAMPLE_RATE)
        return PyErr_Format(PyExc_ValueError, "sample_rate must be in range [0; %lld] bytes, not %lld", MAX_SAMPLE_RATE,
                            rate);
    struct mprof_recorder_options options = {
        .sample_rate = (double)rate,
        .max_frames = (uint32_t)frames,
        .max_live = rate > 1 ? MPROF_DEFAULT_MAX_LIVE : 0,
        .source = &mprof_capture_source,
    };
    if (seed != Py_None) {
        options.seeded = true;
        options.seed = PyLong_AsUnsignedLongLongMask(seed);
        if (PyErr_Occurred())
            return NULL;
    }
    if (max_live != Py_None) {
        options.max_live = PyLong_AsUnsignedLongLong(max_live);
        if (PyErr_Occurred())
            return NULL;
    }
    if (believe_frames() != 0 || (rate <= 1 && load_package() != 0))
        return NULL;
    return start(&options, rate) == 0 ? none() : NULL;
}

PyDoc_STRVAR(
    unsampled_doc,
    "_unsampled(function, argument)\n--\n\n"
    "Call the function and return what it returns; of what this thread allocates meanwhile nothing is sampled.");

/* A block with a record that is resized meanwhile loses it; those of sys.modules and the like, once in a program. */
static PyObject *core_unsampled(PyObject *module, PyObject *args)
{
    PyObject *function, *argument;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO:_unsampled", &function, &argument))
        return NULL;
    uint64_t countdown = mprof_sampler_countdown();
    mprof_sampler_set(MPROF_COUNTDOWN_NEVER);
    PyObject *result = PyObject_CallFunctionObjArgs(function, argument, NULL);
    if (mprof_sampler_countdown() > MPROF_COUNTDOWN_NEVER / 2) /* else another thread has begun a session meanwhile */
        mprof_sampler_set(countdown);
    return result;
}

static PyObject *core_misread_frames(PyObject *module, PyObject *args)
{
    unsigned skip;
    (void)module;
    if (!PyArg_ParseTuple(args, "I:_misread_frames", &skip))
        return NULL;
    __atomic_store_n(&misread, skip, __ATOMIC_RELAXED);
    __atomic_store_n(&believed, false, __ATOMIC_RELAXED);
    return none();
}

static PyObject *core_stop(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    PyThreadState *state = PyEval_SaveThread();
    mprof_recording_end();
    PyEval_RestoreThread(state);
    stop();
    return none();
}

static PyObject *core_is_tracing(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    return PyBool_FromLong(mprof_recorder_active());
}

static PyObject *core_clear_traces(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    if (mprof_recorder_clear() == 0)
        return none();
    stop();
    return PyErr_NoMemory();
}

/* ---- figures ---- */

static PyObject *core_get_traceback_limit(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    return PyLong_FromLong(__atomic_load_n(&traceback_limit, __ATOMIC_RELAXED));
}

static PyObject *core_get_sample_rate(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    return PyLong_FromLongLong(__atomic_load_n(&sample_rate, __ATOMIC_RELAXED));
}

/* Bytes as an int, however many: a few huge blocks that are reserved and never touched pass 2^63. */
static PyObject *whole(double bytes)
{
    return PyLong_FromDouble(round(bytes));
}

static PyObject *core_get_traced_memory(PyObject *module, PyObject *ignored)
{
    struct mprof_recorder_totals totals;
    (void)module;
    (void)ignored;
    mprof_recorder_totals(&totals);
    return Py_BuildValue("NN", whole(totals.bytes), whole(totals.peak_bytes));
}

static PyObject *core_reset_peak(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    mprof_recorder_reset_peak();
    return none();
}

static PyObject *core_get_tracemalloc_memory(PyObject *module, PyObject *ignored)
{
    struct mprof_recorder_totals totals;
    (void)module;
    (void)ignored;
    mprof_recorder_totals(&totals);
    return PyLong_FromSize_t(totals.memory);
}

PyDoc_STRVAR(info_doc,
             "_info()\n--\n\n"
             "State of the recorder as a dict: live samples, drops, thinnings, prunes, nodes and stacks of the\n"
             "tree, bytes of memory, and the sample rate in force (1.0 in exact mode). Of the process since it began:\n"
             "waits, how often a thread had to wait for the recorder's lock; favours, how often one that was alone\n"
             "had to take the lock again because another came.");

static PyObject *core_info(PyObject *module, PyObject *ignored)
{
    struct mprof_recorder_totals t;
    (void)module;
    (void)ignored;
    mprof_recorder_totals(&t);
    return Py_BuildValue("{s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:n,s:d}", "live", (unsigned long long)t.live, "drops",
                         (unsigned long long)t.drops, "thinnings", (unsigned long long)t.thinnings, "prunes",
                         (unsigned long long)t.prunes, "nodes", (unsigned long long)t.nodes, "stacks",
                         (unsigned long long)t.stacks, "waits", (unsigned long long)t.waits, "favours",
                         (unsigned long long)t.favours, "memory", (Py_ssize_t)t.memory, "sample_rate", t.sample_rate);
}

/* ---- stacks and snapshots ---- */

/* Frames copied out of the recorder, under its lock, into an arena. */
struct copied_frames {
    struct mprof_arena arena;
    struct mprof_frame_names *frames;
    uint32_t capacity;
    uint32_t count;
};

static const char *copy_text(struct mprof_arena *arena, const char *text, size_t length)
{
    char *copy = mprof_arena_get(arena, length + 1);
    if (copy)
        memcpy(copy, text, length);
    return copy;
}

static int copy_frame(void *context, const struct mprof_frame_view *view)
{
    struct copied_frames *copied = context;
    struct mprof_frame_names *frames = mprof_arena_reserve(&copied->arena, copied->frames, &copied->capacity,
                                                           (uint64_t)copied->count + 1, sizeof *frames);
    if (!frames)
        return -1;
    copied->frames = frames;
    struct mprof_frame_names *frame = &frames[copied->count];
    frame->filename = copy_text(&copied->arena, view->filename, view->filename_length);
    frame->filename_length = view->filename_length;
    frame->name = copy_text(&copied->arena, view->name, view->name_length);
    frame->name_length = view->name_length;
    frame->firstlineno = view->firstlineno;
    frame->line = view->line;
    copied->count++;
    return frame->filename && frame->name ? 0 : -1;
}

static PyObject *core_get_object_traceback(PyObject *module, PyObject *object)
{
    struct copied_frames copied = {.frames = NULL};
    mprof_arena_init(&copied.arena, 0);
    int found = mprof_recorder_stack(mprof_objects_block(object), copy_frame, &copied);
    PyObject *frames = NULL;
    if (found == 0)
        frames = none();
    else if (found > 0)
        frames = mprof_snapshot_type_frames(module, copied.frames, copied.count);
    else
        PyErr_NoMemory();
    mprof_arena_drop(&copied.arena);
    return frames;
}

static PyObject *core_get_traces(PyObject *module, PyObject *ignored)
{
    (void)ignored;
    PyThreadState *state = PyEval_SaveThread();
    struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
    int problem = snapshot ? 0 : errno;
    PyEval_RestoreThread(state);
    if (snapshot)
        return mprof_snapshot_type_wrap(module, snapshot);
    return problem == 0 ? PyList_New(0) : PyErr_NoMemory();
}

/* ---- tests ---- */

PyDoc_STRVAR(fail_doc,
             "_fail(n, count=0)\n--\n\n"
             "For tests: refuse the n-th request for memory of the profile from now on, and `count` after it.");

static PyObject *core_fail(PyObject *module, PyObject *args)
{
    unsigned long long n;
    unsigned long long count = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "K|K:_fail", &n, &count))
        return NULL;
    mprof_recorder_fail(n, count);
    return none();
}

static PyObject *core_valid(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    return PyBool_FromLong(mprof_recorder_valid());
}

/* ---- the module ---- */

static PyObject *core_finalizing(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    acquire_control();
    mprof_objects_watch(false); /* at the very end there is no thread state to do it with */
    mprof_lock_release(&control);
    mprof_recorder_finalizing(true);
    return none();
}

static uint32_t exit_registered; /* atomic */

/* There is no thread state any more. A thread that ends with the runtime may be holding the lock for ever: then the
 * hooks stay, which does no harm. */
static void at_exit(void)
{
    uint32_t mood = MPROF_LOCK_HURRIED;
    __atomic_store_n(&exit_registered, 0, __ATOMIC_RELAXED);
    mprof_recording_end();
    if (!mprof_lock_acquire_within(&control, &mood))
        return;
    stop_holding_control();
    mprof_lock_release(&control);
}

/* The main interpreter tells us that it ends: first by atexit, from when on threads without the GIL may lose their
 * state, then at its very end. */
static int watch_exit(PyObject *module)
{
    if (PyThreadState_Get()->interp != PyInterpreterState_Main())
        return 0;
    if (__atomic_exchange_n(&exit_registered, 1, __ATOMIC_RELAXED) == 0 && Py_AtExit(at_exit) != 0)
        __atomic_store_n(&exit_registered, 0, __ATOMIC_RELAXED);
    PyObject *callback = PyObject_GetAttrString(module, "_finalizing");
    PyObject *atexit = callback ? PyImport_ImportModule("atexit") : NULL;
    PyObject *result = atexit ? PyObject_CallMethod(atexit, "register", "O", callback) : NULL;
    Py_XDECREF(callback);
    Py_XDECREF(atexit);
    Py_XDECREF(result);
    /* An interpreter after another in the same process. Not in start(): a late handler of atexit may call that. */
    if (result)
        mprof_recorder_finalizing(false);
    return result ? 0 : -1;
}

static int core_exec(PyObject *module)
{
    static uint32_t fork_registered; /* atomic: once a process, whichever interpreter comes first */
    char reason[256];
    if (__atomic_exchange_n(&fork_registered, 1, __ATOMIC_RELAXED) == 0)
        (void)pthread_atfork(NULL, NULL, after_fork_child);
    if (mprof_frames_check(reason, sizeof reason) != 0) {
        PyErr_SetString(PyExc_ImportError, reason);
        return -1;
    }
    return mprof_snapshot_type_add(module) == 0 && mprof_recording_add(module) == 0 && mprof_merge_add(module) == 0 &&
                   watch_exit(module) == 0
               ? 0
               : -1;
}

/* A function that takes keywords has another type than the table says; by way of void (*)(void) no compiler minds. */
#define WITH_KEYWORDS(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef methods[] = {
    {"start", WITH_KEYWORDS(core_start), METH_VARARGS | METH_KEYWORDS, start_doc},
    {"_unsampled", core_unsampled, METH_VARARGS, unsampled_doc},
    {"_misread_frames", core_misread_frames, METH_VARARGS,
     PyDoc_STR("_misread_frames(n): for tests, the next start's look at the stack leaves out its n innermost frames")},
    {"stop", core_stop, METH_NOARGS,
     PyDoc_STR("stop()\n--\n\nStop recording and forget everything recorded. Snapshots stay usable. A recording to a\n"
               "file is ended first, as by stop_recording().")},
    {"is_tracing", core_is_tracing, METH_NOARGS, PyDoc_STR("is_tracing()\n--\n\nTrue while allocations are recorded.")},
    {"clear_traces", core_clear_traces, METH_NOARGS,
     PyDoc_STR("clear_traces()\n--\n\nForget everything recorded so far and go on recording.")},
    {"get_traceback_limit", core_get_traceback_limit, METH_NOARGS,
     PyDoc_STR("get_traceback_limit()\n--\n\nMost frames kept of a stack, as given to start().")},
    {"get_sample_rate", core_get_sample_rate, METH_NOARGS,
     PyDoc_STR("get_sample_rate()\n--\n\nMean bytes between samples, as given to start(); 0 or 1: every allocation.")},
    {"get_traced_memory", core_get_traced_memory, METH_NOARGS,
     PyDoc_STR("get_traced_memory()\n--\n\nBytes in use and at the peak, (current, peak); estimates when sampling.")},
    {"reset_peak", core_reset_peak, METH_NOARGS,
     PyDoc_STR("reset_peak()\n--\n\nMake the bytes in use now the peak so far.")},
    {"get_tracemalloc_memory", core_get_tracemalloc_memory, METH_NOARGS,
     PyDoc_STR("get_tracemalloc_memory()\n--\n\nBytes that the profiler itself has taken from the system.")},
    {"_get_traces", core_get_traces, METH_NOARGS,
     PyDoc_STR("_get_traces()\n--\n\nA sequence of trace tuples; [] when not tracing.")},
    {"_get_object_traceback", core_get_object_traceback, METH_O,
     PyDoc_STR("_get_object_traceback(obj)\n--\n\nFrame tuples, most recent first, or None.")},
    {"_info", core_info, METH_NOARGS, info_doc},
    {"_fail", core_fail, METH_VARARGS, fail_doc},
    {"_valid", core_valid, METH_NOARGS,
     PyDoc_STR("_valid()\n--\n\nFor tests: whether the recorder's tables agree with each other.")},
    {"_finalizing", core_finalizing, METH_NOARGS,
     PyDoc_STR("_finalizing()\n--\n\nCalled by atexit: the interpreter is about to end.")},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, core_exec},
#if MPROF_HAVE_MULTIPLE_INTERPRETERS_SLOT
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if MPROF_HAVE_GIL_SLOT
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static int core_clear(PyObject *module)
{
    mprof_snapshot_type_clear(module);
    return 0;
}

static void core_free(void *module)
{
    mprof_snapshot_type_clear(module);
}

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "mprofile._core",
    .m_doc = "The profiler itself; use the package mprofile.",
    .m_size = sizeof(struct mprof_snapshot_types),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = mprof_snapshot_type_traverse,
    .m_clear = core_clear,
    .m_free = core_free,
};

/* Before 3.9 PyMODINIT_FUNC says nothing of visibility. */
MPROF_EXPORT PyMODINIT_FUNC PyInit__core(void);

MPROF_EXPORT PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
