/* SPDX-License-Identifier: MIT */
/* recording.c -- see recording.h. */
#define PY_SSIZE_T_CLEAN
#include "recording.h"

#include "compat.h"

#include "publish/publisher.h"

#include <signal.h>

static const double NANOSECONDS = 1e9;
static const int64_t END_TIMEOUT = 30000000000;

static PyObject *none(void)
{
    Py_INCREF(Py_None);
    return Py_None;
}

static int64_t nanoseconds(double seconds)
{
    return seconds < 1e9 ? (int64_t)(seconds * NANOSECONDS) : INT64_MAX / 4;
}

static PyObject *start_recording(PyObject *module, PyObject *args)
{
    struct mprof_publisher_options options;
    Py_ssize_t comments_size, history_size;
    double every;
    unsigned long long history_bytes;
    int child;
    (void)module;
    if (!PyArg_ParseTuple(args, "yddy#z#Kp:_start_recording", &options.publication.target, &every, &options.growth,
                          &options.publication.comments, &comments_size, &options.publication.history, &history_size,
                          &history_bytes, &child))
        return NULL;
    options.publication.child = child;
    options.publication.comments_size = (size_t)comments_size;
    options.publication.history_bytes = history_bytes;
    options.every_ns = nanoseconds(every);

    struct mprof_file_failure failure = {0, ""};
    PyThreadState *state = PyEval_SaveThread();
    int result = mprof_publisher_start(&options, &failure);
    PyEval_RestoreThread(state);

    if (result == MPROF_PUBLISHER_ACTIVE)
        return PyErr_Format(PyExc_RuntimeError, "a recording is running already; stop_recording() ends it");
    if (result == MPROF_PUBLISHER_NO_THREAD) {
        /* The system's own numbers: only the text for others may be in memory that threads share. */
        /* NOLINTNEXTLINE(concurrency-mt-unsafe) */
        PyObject *reason = PyUnicode_FromFormat("%s (%s)", strerror(failure.error), failure.call);
        PyObject *path = PyUnicode_DecodeFSDefault(options.publication.target);
        PyObject *error = reason && path ? Py_BuildValue("iOO", failure.error, reason, path) : NULL;
        if (error)
            PyErr_SetObject(PyExc_OSError, error);
        Py_XDECREF(reason);
        Py_XDECREF(path);
        Py_XDECREF(error);
        return NULL;
    }
    return result == 0 ? none() : Py_BuildValue("is", failure.error, failure.call);
}

static PyObject *stop_recording(PyObject *module, PyObject *args)
{
    double timeout;
    (void)module;
    if (!PyArg_ParseTuple(args, "d:_stop_recording", &timeout))
        return NULL;
    PyThreadState *state = PyEval_SaveThread();
    int result = mprof_publisher_stop(nanoseconds(timeout));
    PyEval_RestoreThread(state);
    return PyLong_FromLong(result);
}

static PyObject *recording_info(PyObject *module, PyObject *ignored)
{
    struct mprof_publisher_info info;
    (void)module;
    (void)ignored;
    mprof_publisher_info(&info);
    const char *call = info.failure.call ? info.failure.call : "";
    const char *reason = info.failure.error ? mprof_file_reason(info.failure.error) : "";
    return Py_BuildValue(
        "{s:N,s:N,s:N,s:y,s:l,s:K,s:K,s:i,s:s,s:s,s:n,s:n,s:d,s:d,s:d,s:d}", "running", PyBool_FromLong(info.running),
        "complete", PyBool_FromLong(info.complete), "gzip", PyBool_FromLong(info.pack), "path", info.path, "thread",
        info.tid, "publications", (unsigned long long)info.publications, "failures", (unsigned long long)info.failures,
        "error", info.failure.error, "call", call, "reason", reason, "plain_bytes", (Py_ssize_t)info.plain_bytes,
        "file_bytes", (Py_ssize_t)info.file_bytes, "snapshot_seconds", (double)info.snapshot_ns / NANOSECONDS,
        "encode_seconds", (double)info.encode_ns / NANOSECONDS, "gzip_seconds", (double)info.pack_ns / NANOSECONDS,
        "write_seconds", (double)info.write_ns / NANOSECONDS);
}

static PyObject *recording_path(PyObject *module, PyObject *args)
{
    const char *target;
    long pid;
    char path[MPROF_FILE_PATH];
    (void)module;
    if (!PyArg_ParseTuple(args, "yl:_recording_path", &target, &pid))
        return NULL;
    if (!mprof_publication_path(target, pid, path))
        return PyErr_Format(PyExc_ValueError, "the path is longer than %d bytes", MPROF_FILE_PATH - 1);
    return PyBytes_FromString(path);
}

/* ---- a signal whose Python handler may never run ---- */

static struct sigaction guarded;

static void on_signal(int number, siginfo_t *info, void *context)
{
    mprof_publisher_doom(number);
    if (guarded.sa_flags & SA_SIGINFO)
        guarded.sa_sigaction(number, info, context);
    else
        guarded.sa_handler(number);
}

/* The interpreter's own handler is called as before; whoever sets another one later replaces ours with it. */
static PyObject *guard_signal(PyObject *module, PyObject *args)
{
    int number;
    (void)module;
    if (!PyArg_ParseTuple(args, "i:_guard_signal", &number))
        return NULL;
    struct sigaction before;
    if (sigaction(number, NULL, &before) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN)
        return PyErr_Format(PyExc_ValueError, "signal %d has no handler to guard", number);
    if ((before.sa_flags & SA_SIGINFO) && before.sa_sigaction == on_signal)
        return none(); /* or our handler would call itself */
    guarded = before;
    struct sigaction ours = guarded;
    ours.sa_flags |= SA_SIGINFO;
    ours.sa_sigaction = on_signal;
    if (sigaction(number, &ours, NULL) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return none();
}

static PyObject *spare(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    mprof_publisher_spare();
    return none();
}

/* ---- around a fork; these keep the GIL ---- */

/* Atomic: two threads may be on their way to fork at once. The world stops for one after the other, and whose turn is
 * later may find that the publisher has been resumed; then it forks with one thread more. */
static bool resume_later;

static PyObject *before_fork(PyObject *module, PyObject *later)
{
    (void)module;
    __atomic_store_n(&resume_later, later == Py_True, __ATOMIC_RELAXED);
    mprof_publisher_pause();
    return none();
}

static int resume(void *ignored)
{
    (void)ignored;
    mprof_publisher_resume();
    return 0;
}

/* Later: when the main thread comes to its next instruction, after os.fork has returned, which from 3.12 on warns if it
 * finds a second thread. */
static PyObject *after_fork_parent(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    if (!__atomic_load_n(&resume_later, __ATOMIC_RELAXED) || Py_AddPendingCall(resume, NULL) != 0)
        mprof_publisher_resume();
    return none();
}

static PyObject *after_fork_child(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    mprof_publisher_adopt();
    return none();
}

/* ---- the module ---- */

void mprof_recording_end(void)
{
    (void)mprof_publisher_stop(END_TIMEOUT);
}

static PyMethodDef functions[] = {
    {"_start_recording", start_recording, METH_VARARGS,
     PyDoc_STR("_start_recording(path, every, growth, comments, history_dir, history_bytes, child) -> None, or errno\n"
               "and system call of the first publication, if it failed")},
    {"_stop_recording", stop_recording, METH_VARARGS,
     PyDoc_STR("_stop_recording(timeout) -> 0: written; 1: there was none; -1: not written; -2: not in time")},
    {"_recording_info", recording_info, METH_NOARGS, PyDoc_STR("_recording_info() -> dict")},
    {"_recording_path", recording_path, METH_VARARGS,
     PyDoc_STR("_recording_path(path, pid) -> the path of another process of the recording")},
    {"_guard_signal", guard_signal, METH_VARARGS,
     PyDoc_STR("_guard_signal(number): if the signal's Python handler has not called _spare() within a second, the\n"
               "recording's thread writes a last time and lets the signal's default action happen")},
    {"_spare", spare, METH_NOARGS, PyDoc_STR("_spare(): the signal's Python handler has begun")},
    {"_recording_before_fork", before_fork, METH_O, PyDoc_STR("_recording_before_fork(later)")},
    {"_recording_after_fork_parent", after_fork_parent, METH_NOARGS, PyDoc_STR("_recording_after_fork_parent()")},
    {"_recording_after_fork_child", after_fork_child, METH_NOARGS, PyDoc_STR("_recording_after_fork_child()")},
    {NULL, NULL, 0, NULL},
};

int mprof_recording_add(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
