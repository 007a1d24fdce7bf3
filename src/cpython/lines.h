/* SPDX-License-Identifier: MIT */
/* lines.h -- line number of an instruction, from the code object's own table.
 *
 * WHAT    Own parsers of the three formats that CPython 3.7 to 3.15 use:
 *
 *           up to 3.9  co_lnotab     (bytes forward, signed line delta) pairs;
 *                                    a line holds until the next pair
 *           3.10       co_linetable  (bytes covered, signed line delta) pairs;
 *                                    delta -128: these bytes have no line
 *           from 3.11  co_linetable  entries of 1 to about 25 bytes, the first
 *                                    of each with its top bit set:
 *                                    1 kkkk nnn   n + 1 code units of kind k,
 *                                    then deltas and columns by kind
 *
 * WHY     PyCode_Addr2Line() takes a critical section on free-threaded builds,
 *         and a deadlock inside a hook was real (gh-144763). The table itself is
 *         an immutable bytes object: parsing it is pure.
 * LOCKS   None.
 * MEMORY  None. Linear in the size of the table: ask once for a position. */
#ifndef MPROF_CPYTHON_LINES_H
#define MPROF_CPYTHON_LINES_H

#include "compat.h"

#include <stddef.h>
#include <stdint.h>

/* Line number of a byte offset in code: what PyCode_Addr2Line() gives, but 0
 * where that gives no line (it returns -1) or a line below zero.
 * MPROF_OFFSET_NONE (a frame that has not started) gives co_firstlineno. */
int32_t mprof_lines_find(const PyCodeObject *code, uint32_t offset);

/* The line table of a code object: *size bytes, borrowed from it. */
const unsigned char *mprof_lines_table(const PyCodeObject *code, size_t *size);

/* The parsers by themselves, all of them in every build. table holds size bytes
 * and nothing outside it is read, whatever it contains. first is the line that
 * the deltas start from. Returns a line, or 0 as above. */
int32_t mprof_lines_find_lnotab(const unsigned char *table, size_t size, int32_t first, uint32_t offset);
int32_t mprof_lines_find_linetable(const unsigned char *table, size_t size, int32_t first, uint32_t offset);
int32_t mprof_lines_find_locations(const unsigned char *table, size_t size, int32_t first, uint32_t offset);

#endif /* MPROF_CPYTHON_LINES_H */
