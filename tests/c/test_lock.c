/* SPDX-License-Identifier: MIT */
/* test_lock.c -- base/lock.h: exclusion, waiting, waking, reset. */
#define _GNU_SOURCE
#include "tap.h"

#include "base/lock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { THREADS = 8, ROUNDS = 30000 };

/* Brought here by the linker (--wrap, tests/meson.build): who waits does not look by itself. */
static _Atomic bool sleeps_on;

void __real_mprof_os_wait_for(uint32_t *word, uint32_t expected, int64_t ns);
void __wrap_mprof_os_wait_for(uint32_t *word, uint32_t expected, int64_t ns);

void __wrap_mprof_os_wait_for(uint32_t *word, uint32_t expected, int64_t ns)
{
    if (atomic_load(&sleeps_on))
        mprof_os_wait(word, expected);
    else
        __real_mprof_os_wait_for(word, expected, ns);
}

static struct mprof_lock lock = MPROF_LOCK_INIT;
static uint64_t counter; /* under the lock */
static _Atomic unsigned inside;
static _Atomic bool shared;

static void *count(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        mprof_lock_acquire(&lock);
        if (atomic_fetch_add(&inside, 1) != 0)
            atomic_store(&shared, true);
        counter++;
        atomic_fetch_sub(&inside, 1);
        mprof_lock_release(&lock);
    }
    return NULL;
}

static void test_exclusion(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, count, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    is_uint(counter, (uint64_t)THREADS * ROUNDS, "no increment is lost");
    ok(!atomic_load(&shared), "never two inside");
    is_uint(lock.word, 0, "free at the end");
}

static void *hold(void *flag)
{
    mprof_lock_acquire(&lock);
    atomic_store((_Atomic bool *)flag, true);
    mprof_lock_release(&lock);
    return NULL;
}

static void test_states(void)
{
    ok(mprof_lock_try(&lock), "a free lock can be had");
    ok(!mprof_lock_try(&lock), "but not twice");
    is_uint(lock.word, 1, "held, nobody waits");
    _Atomic bool entered = false;
    pthread_t thread;
    atomic_store(&sleeps_on, true);
    pthread_create(&thread, NULL, hold, &entered);
    while (__atomic_load_n(&lock.word, __ATOMIC_RELAXED) != 2) {
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
    ok(!atomic_load(&entered), "a second thread sleeps");
    mprof_lock_release(&lock);
    pthread_join(thread, NULL);
    atomic_store(&sleeps_on, false);
    ok(atomic_load(&entered), "and is woken by the release");
    is_uint(lock.waits, 1, "which counts as one wait");
    mprof_lock_acquire(&lock);
    mprof_lock_reset(&lock);
    ok(mprof_lock_try(&lock), "after a reset it is free");
    mprof_lock_release(&lock);
}

int main(void)
{
    test_states();
    test_exclusion();
    return done();
}
