/* SPDX-License-Identifier: MIT */
/* fake_runtime.h -- see fake_runtime.c. */
#ifndef MPROF_TESTS_FAKE_RUNTIME_H
#define MPROF_TESTS_FAKE_RUNTIME_H

/* The first bytes of _PyRuntime: more than its table of offsets has in any
 * version, fewer than the whole struct has. */
#define FAKE_RUNTIME_SIZE 1024

/* Copies the real interpreter's values, but with another version (NULL: the real
 * one), and with one bit of one 64-bit word turned over (a word past the end: none). */
void fake_runtime_set(const char *other_version, unsigned word);

#endif /* MPROF_TESTS_FAKE_RUNTIME_H */
