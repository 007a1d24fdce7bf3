/* SPDX-License-Identifier: MIT */
/* fake_runtime.c -- another interpreter, as far as mprof_frames_check() can see.
 *
 * WHAT    The probe compiles frames_check.c with Py_GetVersion and _PyRuntime
 *         renamed to the two names here. They hold what the real interpreter has
 *         until a test changes the version or one word of the offsets.
 * WHY     A test of "refuses any other interpreter" needs one that differs.
 * LOCKS   The GIL.
 * MEMORY  Static. */
#include "fake_runtime.h"

#include <stdint.h>
#include <string.h>

/* The real ones, declared here and not by Python.h: only their bytes matter. */
extern const char *Py_GetVersion(void);
extern const unsigned char _PyRuntime[];

/* What frames_check.c reads instead. */
const char *fake_version(void);
extern unsigned char fake_runtime[FAKE_RUNTIME_SIZE];

_Alignas(16) unsigned char fake_runtime[FAKE_RUNTIME_SIZE];
static char version[64];

const char *fake_version(void)
{
    return version;
}

void fake_runtime_set(const char *other_version, unsigned word)
{
    const char *wanted = other_version != NULL ? other_version : Py_GetVersion();
    strncpy(version, wanted, sizeof(version) - 1);
    memcpy(fake_runtime, _PyRuntime, sizeof(fake_runtime));
    if (word < FAKE_RUNTIME_SIZE / sizeof(uint64_t))
        fake_runtime[word * sizeof(uint64_t)] ^= 1;
}
