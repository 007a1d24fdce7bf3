/* SPDX-License-Identifier: MIT */
/* names.h -- the text of a str object, without Python's help.
 *
 * WHAT    Reads the characters where PEP 393 puts them and writes UTF-8.
 * WHY     PyUnicode_AsUTF8() allocates and caches, and it raises for a lone
 *         surrogate, which file names hold (os.fsdecode() makes them).
 * LOCKS   None: str objects are immutable.
 * MEMORY  None: the caller's buffer. */
#ifndef MPROF_CPYTHON_NAMES_H
#define MPROF_CPYTHON_NAMES_H

#include "compat.h"

#include <stddef.h>

/* Copies the text of str as UTF-8 into buf of size bytes, without a terminating
 * zero. A lone surrogate becomes the three bytes that 'surrogatepass' decodes
 * back. Returns the number of bytes that the whole text needs. If that is more
 * than size, the text is cut between two characters and the up to three bytes
 * left over become '?': min(result, size) bytes are always written, and decode.
 * Gives 0 for NULL, for an object that is no str, and before 3.12 for a str that
 * is not in the form of PEP 393 yet, which no code object holds. */
size_t mprof_names_copy(const PyObject *str, char *buf, size_t size);

#endif /* MPROF_CPYTHON_NAMES_H */
