/* SPDX-License-Identifier: MIT */
/* recorder_fork.c -- the recorder in a process that forks.
 *
 * WHAT    The lock is taken before fork and released after it, so the child's copy of the tables is whole. The child
 *         keeps the parent's live samples, which are its own blocks now, and draws random numbers of its own.
 *
 *             before    forking = hurried, lock    who waits for the lock waits 0.1 s at most, and the next not at all
 *             parent    forking = patient, unlock
 *             child     states of the other threads reclaimed, new random numbers, lock reset, forking = patient
 *
 * WHY     Other libraries have fork handlers too, and some wait in theirs for a thread of their own, which may be on
 *         its way into a hook. If that thread waited for our lock, which the forking thread holds, nobody would ever
 *         move again. So while a fork goes on nobody waits for long: after that a new block is counted as dropped, a
 *         freed one is put on a short list (mprof_recorder_defer) for the next holder of the lock. A signal handler
 *         that interrupted the recorder and forks finds the tables half changed: its child forgets them.
 * LOCKS   the recorder's, from before to after.
 * MEMORY  none. */
#include "core/recorder_private.h"

#include <pthread.h>
#include <unistd.h>

/* Only the forking thread reads and writes it. */
static bool interrupted;

static void before_fork(void)
{
    struct mprof_recorder *r = &mprof_recorder;
    interrupted = mprof_tls.busy != 0;
    if (interrupted)
        return;
    __atomic_store_n(&r->forking, MPROF_LOCK_HURRIED, __ATOMIC_SEQ_CST);
    mprof_recorder_lock(r);
    mprof_lock_nudge(&r->lock);
}

static void after_fork_parent(void)
{
    struct mprof_recorder *r = &mprof_recorder;
    if (interrupted)
        return;
    __atomic_store_n(&r->forking, MPROF_LOCK_PATIENT, __ATOMIC_SEQ_CST);
    mprof_recorder_unlock(r);
}

static void reclaim_threads(struct mprof_recorder *r)
{
    for (struct mprof_thread *thread = r->threads; thread; thread = thread->next) {
        thread->session = 0;
        thread->inside = 0;
        thread->detached = 0;
        thread->id = mprof_os_thread(); /* only our own is left, and has another one now */
        if (thread->tls != &mprof_tls && thread != r->orphan)
            thread->tls = NULL;
        mprof_rng_seed(&thread->rng, mprof_os_entropy() ^ (uint64_t)getpid());
    }
}

static void after_fork_child(void)
{
    struct mprof_recorder *r = &mprof_recorder;
    if (interrupted)
        mprof_recorder_abandon(r);
    else
        reclaim_threads(r);
    r->favoured = NULL;
    r->may_favour = r->may_favour && r->active && r->plain && mprof_recorder_can_favour();
    mprof_rng_seed(&r->rng, mprof_os_entropy() ^ (uint64_t)getpid());
    r->options.seeded = false; /* two children must not sample alike */
    r->recording = mprof_os_entropy() | 1;
    __atomic_store_n(&mprof_tls.countdown, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&r->forking, MPROF_LOCK_PATIENT, __ATOMIC_SEQ_CST);
    mprof_lock_reset(&r->lock);
    mprof_tls.busy = 0;
}

int mprof_recorder_register_fork(void)
{
    return pthread_atfork(before_fork, after_fork_parent, after_fork_child) == 0 ? 0 : -1;
}

/* ---- frees that cannot wait ---- */

void mprof_recorder_defer(struct mprof_recorder *r, uintptr_t address)
{
    for (unsigned i = 0; i < MPROF_DEFERRED; i++) {
        uintptr_t expected = 0;
        if (__atomic_compare_exchange_n(&r->deferred[i], &expected, address, false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED)) {
            __atomic_fetch_add(&r->deferred_count, 1, __ATOMIC_RELEASE);
            return;
        }
    }
    __atomic_fetch_add(&r->reentered, 1, __ATOMIC_RELAXED);
    if (!__atomic_exchange_n(&r->deferred_lost, true, __ATOMIC_RELEASE))
        __atomic_fetch_add(&r->deferred_count, 1, __ATOMIC_RELEASE);
}

void mprof_recorder_drain_locked(struct mprof_recorder *r)
{
    if (__atomic_exchange_n(&r->deferred_lost, false, __ATOMIC_ACQUIRE)) {
        __atomic_fetch_sub(&r->deferred_count, 1, __ATOMIC_RELAXED);
        mprof_recorder_void_captures_locked(r);
    }
    for (unsigned i = 0; i < MPROF_DEFERRED; i++) {
        uintptr_t address = __atomic_exchange_n(&r->deferred[i], 0, __ATOMIC_ACQUIRE);
        if (address == 0)
            continue;
        __atomic_fetch_sub(&r->deferred_count, 1, __ATOMIC_RELAXED);
        if (r->active)
            mprof_recorder_forget_locked(r, address);
    }
}
