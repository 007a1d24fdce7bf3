/* SPDX-License-Identifier: MIT */
/* test_recorder_threads.c -- many threads in the recorder at once, and threads at their ends.
 *
 * Blocks of a thread are its own, as in a program; some are handed to the next thread through a mailbox, which frees
 * them. A data race is for the thread sanitizer to see; without it the test looks at invariants and sums.
 * Argument or MPROF_TEST_SEED: the seed; it is printed. */
#define _GNU_SOURCE
#define MPROF_TESTS_MREMAP
#include "addresses.h"
#include "fake_source.h"
#include "sanitizer.h"
#include "tap.h"

#include "core/recorder_private.h"
#include "core/snapshot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { THREADS = 8, CODES = 64, BLOCKS = 256, ROUNDS = 20000 };

static struct fake_code codes[CODES];
static uint64_t seed;
static _Atomic uintptr_t mailbox[THREADS];
static _Atomic bool over;
static _Atomic unsigned sessions, taken; /* and snapshots */
static pthread_t threads[THREADS];

struct worker {
    unsigned number;
    struct mprof_rng rng;
    uintptr_t blocks[BLOCKS];
    uintptr_t next;
    uint64_t adds;
};

static struct worker workers[THREADS];

static uint64_t draw(struct worker *w, uint64_t below)
{
    return mprof_rng_next(&w->rng) % below;
}

static void enter_stack(struct worker *w)
{
    fake_depth = 0;
    uint64_t depth = draw(w, 12);
    for (uint64_t i = 0; i < depth; i++)
        fake_call(&codes[draw(w, CODES)], (uint32_t)draw(w, 8));
}

/* Addresses are never used twice at a time, but again after a free. */
static uintptr_t new_address(struct worker *w)
{
    w->next = (w->next + 1) % 4096;
    return (uintptr_t)(w->number + 1) * TEST_REGION + 16 * w->next;
}

static bool in_use(const struct worker *w, uintptr_t address)
{
    for (int i = 0; i < BLOCKS; i++) {
        if (w->blocks[i] == address)
            return true;
    }
    return false;
}

static void work_step(struct worker *w)
{
    uintptr_t *slot = &w->blocks[draw(w, BLOCKS)];
    uintptr_t address = new_address(w);
    while (in_use(w, address) || atomic_load(&mailbox[w->number]) == address)
        address = new_address(w);
    enter_stack(w);
    switch (draw(w, 8)) {
    case 0: /* hand a block on */
        if (*slot) {
            uintptr_t none = 0;
            if (atomic_compare_exchange_strong(&mailbox[w->number], &none, *slot))
                *slot = 0;
        }
        break;
    case 1: { /* free what another thread handed on */
        uintptr_t theirs = atomic_load(&mailbox[(w->number + 1) % THREADS]);
        if (theirs) {
            fake_free(theirs);
            atomic_store(&mailbox[(w->number + 1) % THREADS], 0);
        }
        break;
    }
    case 2:
        if (*slot) {
            bool refused = draw(w, 2);
            fake_realloc(*slot, refused ? 0 : address, draw(w, 5000));
            if (!refused) {
                *slot = address;
                w->adds++;
            }
        }
        break;
    case 3:
        if (*slot)
            mprof_recorder_reuse(true, *slot);
        break;
    case 4:
        if (*slot)
            fake_free(*slot);
        *slot = 0;
        break;
    default:
        if (*slot)
            fake_free(*slot);
        fake_malloc(address, draw(w, 5000));
        w->adds++;
        *slot = address;
    }
}

static void *work(void *context)
{
    struct worker *w = context;
    mprof_rng_seed(&w->rng, seed + w->number);
    w->adds = 0;
    for (int i = 0; i < ROUNDS; i++)
        work_step(w);
    for (int i = 0; i < BLOCKS; i++) {
        if (w->blocks[i])
            fake_free(w->blocks[i]);
        w->blocks[i] = 0;
    }
    return NULL;
}

static void run_workers(void)
{
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i].number = i;
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0)
            bail("cannot create thread %u", i);
    }
}

static void join_workers(void)
{
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        uintptr_t left = atomic_exchange(&mailbox[i], 0);
        if (left)
            fake_free(left);
    }
}

/* In exact mode nothing may be lost. */
static void test_exact(void)
{
    struct mprof_recorder_totals totals;
    fake_start(1, 10, seed, 0);
    run_workers();
    join_workers();
    mprof_recorder_totals(&totals);
    is_uint(totals.live, 0, "exact: every block was recorded and removed");
    is_uint(totals.drops, 0, "exact: nothing dropped");
    struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
    double allocated = 0;
    uint64_t adds = 0;
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++)
        allocated += mprof_snapshot_stacks(snapshot)[i].alloc.blocks;
    for (unsigned i = 0; i < THREADS; i++)
        adds += workers[i].adds;
    is_uint((uint64_t)allocated, adds, "exact: every allocation was counted");
    mprof_snapshot_decref(snapshot);
    ok(mprof_recorder_valid(), "exact: invariants");
    mprof_recorder_stop();
}

static void *snapshots(void *unused)
{
    (void)unused;
    while (!atomic_load(&over)) {
        struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
        if (snapshot) {
            double inuse = 0;
            for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++)
                inuse += mprof_snapshot_stacks(snapshot)[i].inuse.samples;
            if ((uint64_t)inuse != mprof_snapshot_block_count(snapshot))
                abort();
            atomic_fetch_add(&taken, 1);
        }
        mprof_snapshot_decref(snapshot);
        if (!mprof_recorder_valid())
            abort();
    }
    return NULL;
}

/* Hazard 9. The rate and the depth change from one session to the next while others are in the middle of an add. */
static void *starts_and_stops(void *unused)
{
    (void)unused;
    static const double rates[] = {1, 2000, 100, 1, 50000};
    struct mprof_rng rng;
    mprof_rng_seed(&rng, ~seed);
    while (!atomic_load(&over)) {
        unsigned number = atomic_load(&sessions);
        double rate = rates[number % 5];
        uint32_t max_frames = number % 3 == 0 ? 2000 : 3;
        if (fake_start(rate, max_frames, seed + number, number % 2 ? 300 : 0) != 0)
            abort();
        usleep((useconds_t)(mprof_rng_next(&rng) % 500));
        if (number % 4 == 0 && mprof_recorder_clear() != 0)
            abort();
        usleep((useconds_t)(mprof_rng_next(&rng) % 500));
        mprof_recorder_reset_peak();
        mprof_recorder_stop();
        atomic_fetch_add(&sessions, 1);
    }
    return NULL;
}

static void test_everything_at_once(void)
{
    pthread_t controller;
    pthread_t observer;
    atomic_store(&over, false);
    pthread_create(&controller, NULL, starts_and_stops, NULL);
    pthread_create(&observer, NULL, snapshots, NULL);
    for (int round = 0; round == 0 || (round < 100 && (atomic_load(&sessions) < 10 || atomic_load(&taken) < 10));
         round++) {
        run_workers();
        join_workers();
    }
    atomic_store(&over, true);
    pthread_join(controller, NULL);
    pthread_join(observer, NULL);
    ok(sessions >= 10 && taken >= 10, "%u sessions, %u snapshots", sessions, taken);
    ok(!mprof_recorder_active(), "start, stop, clear and snapshots under load");
    ok(mprof_recorder_valid(), "invariants");
}

/* ---- threads that end ---- */

enum { LAST_BLOCKS = 10, LAST_SIZE = 1000 };

static pthread_key_t last_key;
static _Atomic uintptr_t last_address;

static void allocate_some(void)
{
    for (int i = 0; i < LAST_BLOCKS; i++)
        fake_malloc(atomic_fetch_add(&last_address, 16), LAST_SIZE);
}

/* Runs again in each round of destructors that the system grants, so also after the recorder's own. */
static void last_words(void *round)
{
    allocate_some();
    if ((uintptr_t)round < 3)
        pthread_setspecific(last_key, (void *)((uintptr_t)round + 1));
}

static void *short_life(void *unused)
{
    (void)unused;
    fake_depth = 0;
    pthread_setspecific(last_key, (void *)1);
    allocate_some();
    return NULL;
}

static void spawn(int count)
{
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, short_life, NULL) != 0)
            bail("cannot create a thread");
        pthread_join(thread, NULL);
    }
}

/* Hazard 16. Four lots of blocks a thread: one while it lives, three while it is torn down. */
static void test_last_allocations(void)
{
    struct mprof_recorder_totals totals;
    pthread_key_create(&last_key, last_words);
    atomic_store(&last_address, UINT64_C(0x100000));
    fake_start(1, 8, seed, 0);
    spawn(50);
    mprof_recorder_totals(&totals);
    is_uint(totals.live, 50 * 4 * LAST_BLOCKS, "what a thread allocates at its end is recorded");
    is_uint(totals.drops, 0, "and nothing dropped");
    mprof_recorder_stop();

    uint64_t states = 0;
    for (const struct mprof_thread *t = mprof_recorder.threads; t; t = t->next)
        states++;
    ok(states <= THREADS + 4, "states of ended threads are used again (%" PRIu64 ")", states);

    double truth = 400.0 * 4 * LAST_BLOCKS * LAST_SIZE;
    fake_start(20000, 8, seed, 0);
    spawn(400);
    mprof_recorder_totals(&totals);
    double error = sqrt(truth * 20000); /* (1-p)/p of a block is R/s at most */
    is_near(totals.bytes, truth, 4 * error, "sampled: the estimate is within 4 standard errors");
    diag("truth %g, estimate %g, standard error %g", truth, totals.bytes, error);
    ok(mprof_recorder_valid(), "invariants");
    mprof_recorder_stop();
    pthread_key_delete(last_key);
}

static void *allocate_in_session(void *context)
{
    pthread_barrier_t *barrier = context;
    fake_depth = 0;
    pthread_barrier_wait(barrier); /* before start */
    pthread_barrier_wait(barrier);
    for (uintptr_t i = 0; i < 100; i++)
        fake_malloc(UINT64_C(0x900000) + 16 * i, 100);
    pthread_barrier_wait(barrier); /* after the second start */
    pthread_barrier_wait(barrier);
    for (uintptr_t i = 0; i < 100; i++)
        fake_malloc(UINT64_C(0xa00000) + 16 * i, 100);
    pthread_barrier_wait(barrier);
    return NULL;
}

/* A thread that was there before start and lives through several sessions. */
static void test_old_thread(void)
{
    struct mprof_recorder_totals totals;
    pthread_t thread;
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, allocate_in_session, &barrier);
    pthread_barrier_wait(&barrier);
    fake_start(1e9, 8, seed, 0);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    mprof_recorder_stop();
    fake_start(50, 8, seed, 0); /* the old gap of a gigabyte must not go on */
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    mprof_recorder_totals(&totals);
    is_near((double)totals.live, 100 * (1 - exp(-2)), 4 * sqrt(100 * exp(-2)), "each session draws its own gaps");
    mprof_recorder_stop();
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&barrier);
}

int main(int argc, char **argv)
{
    const char *given = argc > 1 ? argv[1] : getenv("MPROF_TEST_SEED");
    seed = given ? strtoull(given, NULL, 0) : 1;
    diag("seed %" PRIu64, seed);
    for (uint32_t i = 0; i < CODES; i++)
        codes[i] = fake_code(i, i % 3, i);
    test_exact();
    test_everything_at_once();
    test_last_allocations();
    test_old_thread();
    return done();
}
