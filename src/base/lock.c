/* SPDX-License-Identifier: MIT */
/* lock.c -- the waiting half of lock.h. */
#include "base/lock.h"

enum { SPINS = 100 };

static inline void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

static const int64_t PATIENCE_NS = 100000000;

/* Longest sleep before another look: see mprof_lock_release. */
static const int64_t LOOK_NS = 1000000;

/* Sleeps until the lock may be free; false when it is time to give up. *deadline is 0 before the first hurried sleep.
 */
static bool sleep_on(struct mprof_lock *lock, uint32_t *mood, int64_t *deadline)
{
    uint32_t now_in = mood ? __atomic_load_n(mood, __ATOMIC_ACQUIRE) : MPROF_LOCK_PATIENT;
    if (now_in == MPROF_LOCK_REFUSED)
        return false;
    if (now_in == MPROF_LOCK_PATIENT) {
        mprof_os_wait_for(&lock->word, 2, LOOK_NS);
        return true;
    }
    int64_t now = mprof_os_monotonic_ns();
    if (*deadline == 0)
        *deadline = now + PATIENCE_NS;
    if (now >= *deadline) {
        uint32_t expected = MPROF_LOCK_HURRIED;
        (void)__atomic_compare_exchange_n(mood, &expected, MPROF_LOCK_REFUSED, false, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED);
        return false;
    }
    mprof_os_wait_for(&lock->word, 2, *deadline - now < LOOK_NS ? *deadline - now : LOOK_NS);
    return true;
}

MPROF_COLD bool mprof_lock_acquire_slow(struct mprof_lock *lock, uint32_t *mood)
{
    int64_t deadline = 0;
    for (int i = 0; i < SPINS; i++) {
        pause_cpu();
        if (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) == 0 && mprof_lock_try(lock)) {
            lock->waits++;
            return true;
        }
    }
    /* From here on the lock is taken as 2: a release then wakes a waiter, at worst one too often. */
    while (__atomic_exchange_n(&lock->word, 2, __ATOMIC_ACQUIRE) != 0) {
        if (!sleep_on(lock, mood, &deadline))
            return false;
    }
    lock->waits++;
    return true;
}
