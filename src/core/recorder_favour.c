/* SPDX-License-Identifier: MIT */
/* recorder_favour.c -- the recorder's lock for a thread that is alone with it.
 *
 * WHAT    In exact mode every block is recorded, and in most programs all by one thread. A thread that has taken the
 *         lock some thousand times, and no other since, is favoured: from then on it says that it is inside, looks
 *         whether it is still favoured, and goes about its work.
 *
 *             favoured thread                     any other, with the lock held
 *             inside = 1                          favoured = NULL
 *             (the compiler moves nothing)        a barrier in every running thread
 *             favoured == me ?                    inside == 0 ? else wait
 *
 *         If the favoured thread has seen itself there after the barrier, it saw the store before it, a contradiction;
 *         if before, then the other sees that it is inside. So at most one of the two goes on.
 * WHY     An atomic instruction for each block made and for each freed was a sixth of exact mode's cost. The barrier,
 *         which takes the system some microseconds, is paid for by who comes seldom: a snapshot, a fork, a thread.
 * LOCKS   `favoured`, `streak` and `streak_of` are written under the lock; `favoured` is read without, as above. Every
 *         way to take the lock ends the favour of another thread (mprof_recorder_entered), so under the lock there
 *         is nobody inside, but for the holder itself. `inside` is its thread's.
 * MEMORY  none. States of threads are never freed, so `inside` may be looked at when its thread is gone. */
#include "core/recorder_private.h"

/* The thread sanitizer does not know barriers in other threads. */
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#define UNDER_TSAN __has_feature(thread_sanitizer)
#else
#define UNDER_TSAN 0
#endif

enum { SPINS = 100 };

/* Nobody wakes who waits. */
static const int64_t LOOK_NS = 50000;

bool mprof_recorder_can_favour(void)
{
    return !UNDER_TSAN && mprof_os_prepare_barrier();
}

MPROF_COLD void mprof_recorder_disfavour_locked(struct mprof_recorder *r)
{
    struct mprof_thread *thread = r->favoured;
    __atomic_store_n(&r->favoured, NULL, __ATOMIC_RELAXED);
    r->streak_of = NULL;
    r->favours++;
    if (!mprof_os_barrier())
        r->may_favour = false; /* too dear from now on */
    for (int i = 0; __atomic_load_n(&thread->inside, __ATOMIC_ACQUIRE) != 0; i++) {
        if (i >= SPINS)
            mprof_os_wait_for(&thread->inside, 1, LOOK_NS);
    }
}
