/* SPDX-License-Identifier: MIT */
/* recording.h -- the publisher's thread as functions of mprofile._core.
 *
 * WHAT    _start_recording, _stop_recording, _recording_info, _recording_path, and what stands around a fork. See
 *         _core.pyi for their arguments and mprofile/recording.py for who calls them.
 * WHY     The publisher knows no Python, and Python code must not know its struct.
 * LOCKS   the publisher's, with the GIL released where it may take long.
 * MEMORY  none of its own. */
#ifndef MPROF_CPYTHON_RECORDING_H
#define MPROF_CPYTHON_RECORDING_H

#include <Python.h>

/* For a Py_mod_exec slot. 0, or -1 with an exception set. */
int mprof_recording_add(PyObject *module);

/* Writes a last time, if there is a recording, before the recorder forgets. With a thread state or without. */
void mprof_recording_end(void);

#endif
