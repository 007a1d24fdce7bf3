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

static bool given_up(const uint32_t *unless)
{
    return unless && __atomic_load_n(unless, __ATOMIC_ACQUIRE) != 0;
}

MPROF_COLD bool mprof_lock_acquire_slow(struct mprof_lock *lock, const uint32_t *unless)
{
    for (int i = 0; i < SPINS; i++) {
        pause_cpu();
        if (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) == 0 && mprof_lock_try(lock))
            return true;
    }
    /* From here on the lock is taken as 2: a release then wakes a waiter, at worst one too often. */
    while (__atomic_exchange_n(&lock->word, 2, __ATOMIC_ACQUIRE) != 0) {
        if (given_up(unless))
            return false;
        mprof_os_wait(&lock->word, 2);
    }
    return true;
}
