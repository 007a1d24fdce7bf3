/* SPDX-License-Identifier: MIT */
/* await.h -- waiting for what is bound to happen.
 *
 * WHAT    AWAIT(condition) looks every 5 ms until it is so, for 50 s at most: what has not happened then fails a check.
 * WHY     After a publication that took long the publisher rests for four times as long; a busy machine is slower still.
 * LOCKS   none.
 * MEMORY  none. */
#ifndef MPROF_TESTS_AWAIT_H
#define MPROF_TESTS_AWAIT_H

#include <unistd.h>

static void pause_ms(unsigned ms)
{
    usleep(ms * 1000);
}

#define AWAIT(condition)                                                                                               \
    do {                                                                                                               \
        for (int tries = 0; tries < 10000 && !(condition); tries++)                                                    \
            pause_ms(5);                                                                                               \
    } while (0)

#endif
