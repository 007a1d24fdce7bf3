/* SPDX-License-Identifier: MIT */
/* recorded.h -- whether the recorder has a block.
 *
 * LOCKS   none taken: no other thread records.
 * MEMORY  none. */
#ifndef MPROF_TESTS_RECORDED_H
#define MPROF_TESTS_RECORDED_H

#include "core/recorder_private.h"

static inline bool is_recorded(uintptr_t address)
{
    struct mprof_live entry;
    return mprof_livetable_find(&mprof_recorder.live, address, &entry);
}

#endif
