/* SPDX-License-Identifier: MIT */
/* lock.h -- a small mutual-exclusion lock for use inside allocator hooks.
 *
 * WHAT    0 free, 1 held, 2 held and somebody waits. Spins briefly, then sleeps in the kernel. Counts how often.
 * WHY     pthread_mutex_t works too, but costs a call each way, has no known state after fork, and its size and
 *         content differ between libcs. This one is taken with one atomic instruction, released with a plain store (an
 *         atomic instruction costs as much as five others of a hook), and is reset in a forked child by writing 0.
 * LOCKS   itself; not recursive. Its holder must not call anything that may allocate through the hooked allocator.
 * MEMORY  none. */
#ifndef MPROF_BASE_LOCK_H
#define MPROF_BASE_LOCK_H

#include "base/compiler.h"
#include "base/os.h"

#include <stdbool.h>
#include <stdint.h>

struct mprof_lock {
    uint32_t word;
    uint32_t waits; /* times that somebody got it only after waiting; the lock's holder's */
};

#define MPROF_LOCK_INIT                                                                                                \
    {                                                                                                                  \
        0                                                                                                              \
    }

/* How long to wait for a lock whose holder says so: as long as it takes; a tenth of a second at most; not at all. */
enum { MPROF_LOCK_PATIENT, MPROF_LOCK_HURRIED, MPROF_LOCK_REFUSED };

/* Waits; false when *mood, which the lock's holder sets, does not let it. Who has waited in vain turns HURRIED into
 * REFUSED. NULL: patient. */
bool mprof_lock_acquire_slow(struct mprof_lock *lock, uint32_t *mood);

static inline bool mprof_lock_try(struct mprof_lock *lock)
{
    uint32_t expected = 0;
    return __atomic_compare_exchange_n(&lock->word, &expected, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline void mprof_lock_acquire(struct mprof_lock *lock)
{
    if (mprof_unlikely(!mprof_lock_try(lock)))
        (void)mprof_lock_acquire_slow(lock, NULL);
}

/* False: the lock is held, and its holder does not want others to wait for it (any longer). */
static inline bool mprof_lock_acquire_within(struct mprof_lock *lock, uint32_t *mood)
{
    return mprof_likely(mprof_lock_try(lock)) || mprof_lock_acquire_slow(lock, mood);
}

/* The holder has set its mood: those who sleep look at it now. */
static inline void mprof_lock_nudge(struct mprof_lock *lock)
{
    mprof_os_wake_all(&lock->word);
}

/* Who begins to wait between the look and the store is not woken by it; waiters look again every millisecond. */
static inline void mprof_lock_release(struct mprof_lock *lock)
{
    bool somebody_waits = __atomic_load_n(&lock->word, __ATOMIC_RELAXED) == 2;
    __atomic_store_n(&lock->word, 0, __ATOMIC_RELEASE);
    if (mprof_unlikely(somebody_waits))
        mprof_os_wake(&lock->word);
}

/* In a forked child, whose other threads are gone: whatever they held is free again. */
static inline void mprof_lock_reset(struct mprof_lock *lock)
{
    __atomic_store_n(&lock->word, 0, __ATOMIC_RELAXED);
}

#endif
