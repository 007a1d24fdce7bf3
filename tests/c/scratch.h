/* SPDX-License-Identifier: MIT */
/* scratch.h -- a directory of a test's own, below TMPDIR or /tmp.
 *
 * WHAT    scratch_directory() makes one with a name that nobody has, or ends the test. scratch_template() is for
 *         mkstemp() and its like.
 * WHY     The tests that write files run beside each other.
 * LOCKS   none.
 * MEMORY  the caller's. Who has it made removes it. */
#ifndef MPROF_TESTS_SCRATCH_H
#define MPROF_TESTS_SCRATCH_H

#include "tap.h"

#include <stdio.h>
#include <stdlib.h>

static inline void scratch_template(char path[256], const char *name)
{
    const char *below = getenv("TMPDIR");
    snprintf(path, 256, "%s/%s-XXXXXX", below ? below : "/tmp", name);
}

static inline void scratch_directory(char path[256], const char *name)
{
    scratch_template(path, name);
    if (!mkdtemp(path))
        bail("cannot make a directory %s", path);
}

#endif
