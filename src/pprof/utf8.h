/* SPDX-License-Identifier: MIT */
/* utf8.h -- names on their way into a file.
 *
 * WHAT    Writes text as UTF-8 whatever it holds: a lone surrogate (three bytes in a snapshot's string) becomes the
 *         six characters "\udc80", any other byte that is not UTF-8 becomes "\xff".
 * WHY     A file name in Python may hold bytes of any encoding. Protocol buffer strings may not: strict readers refuse
 *         the whole profile for one of them.
 * LOCKS   none.
 * MEMORY  that of the writer. */
#ifndef MPROF_PPROF_UTF8_H
#define MPROF_PPROF_UTF8_H

#include "pprof/wire.h"

#include <stddef.h>

void mprof_utf8_write(struct mprof_out *out, const char *text, size_t length);

#endif
