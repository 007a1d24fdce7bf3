/* SPDX-License-Identifier: MIT */
/* test_recorder_favour.c -- the thread that need not take the lock, and the others who come all the same.
 *
 * What goes wrong when two are inside at once are the tables, which are compared with what was done to them. A fault
 * that is planted, such as no barrier where favour ends, is found within seconds.
 * Argument or MPROF_TEST_SEED: the seed; it is printed. */
#define _GNU_SOURCE
#define MPROF_TESTS_MREMAP
#include "addresses.h"
#include "fake_source.h"
#include "sanitizer.h"
#include "tap.h"

#include "base/os.h"
#include "core/recorder_private.h"
#include "core/snapshot.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 3, ADDRESSES = 512, BURSTS = 60, MOST_BURSTS = 3000, LONG_BURST = 3 * MPROF_FAVOUR_AFTER };

static struct fake_code code;
static uint64_t seed;
static _Atomic bool over;

/* ---- the wrapped calls: a filter of system calls that the program has put on ---- */

static _Atomic bool filtered;

long __wrap_syscall(long number, ...);
long __real_syscall(long number, ...);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __real_nanosleep(const struct timespec *time, struct timespec *left);

static bool refused(long number)
{
#ifdef SYS_membarrier
    return atomic_load(&filtered) && number == SYS_membarrier;
#else
    return false && number;
#endif
}

long __wrap_syscall(long number, ...)
{
    long argument[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        argument[i] = va_arg(arguments, long);
    va_end(arguments);
    if (refused(number)) {
        errno = EPERM;
        return -1;
    }
    return __real_syscall(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    if (atomic_load(&filtered)) {
        errno = EPERM;
        return -1;
    }
    return __real_nanosleep(time, left);
}

static struct mprof_thread *favoured(void)
{
    return __atomic_load_n(&mprof_recorder.favoured, __ATOMIC_RELAXED);
}

/* Whether a thread can be favoured here at all: not under the thread sanitizer, nor with an old system. */
static bool possible(void)
{
    return mprof_recorder.may_favour;
}

/* Makes blocks and frees them until this thread is favoured, as in a program that is alone with the profiler. */
static void alone(uintptr_t base)
{
    for (uintptr_t i = 0; i <= MPROF_FAVOUR_AFTER; i++) {
        fake_malloc(base + 16, 8);
        fake_free(base + 16);
    }
}

static uint64_t live(void)
{
    struct mprof_recorder_totals totals;
    mprof_recorder_totals(&totals);
    return totals.live;
}

/* ---- one thread ---- */

static void test_alone(void)
{
    fake_start(1, 8, seed, 0);
    fake_call(&code, 2);
    alone(TEST_HEAP);
    ok(!possible() || favoured() == mprof_tls.thread, "who is alone is favoured%s",
       possible() ? "" : " (not here: the system has no barrier for it)");
    fake_malloc(TEST_HEAP, 100);
    is_uint(live(), 1, "its blocks are recorded");
    fake_realloc(TEST_HEAP, TEST_HEAP + 160, 200);
    mprof_recorder_reuse(true, TEST_HEAP + 160);
    ok(mprof_recorder_watched(TEST_HEAP + 160) && mprof_recorder_valid(), "resized, used again");
    fake_free(TEST_HEAP + 160);
    is_uint(live(), 0, "and removed");
    mprof_recorder_stop();
    fake_start(4096, 8, seed, 0);
    for (uintptr_t i = 0; i < 100000; i++)
        fake_malloc(TEST_HEAP + 16 * i, 16);
    ok(mprof_recorder_valid() && live() > 100, "the next session may sample");
    mprof_recorder_stop();
    mprof_recorder.favoured = NULL;
    fake_start(1, 8, seed, 0);
    bool may = mprof_recorder.may_favour;
    mprof_recorder.may_favour = false;
    alone(TEST_HEAP);
    ok(!favoured() && mprof_recorder_valid(), "nobody is favoured where the system has no barrier");
    mprof_recorder.may_favour = may;
    mprof_recorder_stop();
    fake_return(1);
}

static void test_barrier(void)
{
    errno = 77;
    bool prepared = mprof_os_prepare_barrier();
    ok(mprof_os_barrier() == prepared, "a barrier in other threads%s", prepared ? "" : " (not here)");
    atomic_store(&filtered, true);
    int64_t begin = mprof_os_monotonic_ns();
    ok(!mprof_os_barrier(), "one that is refused by now");
    ok(mprof_os_monotonic_ns() - begin >= 5000000, "waits for as long as a store may take, though sleeping is refused");
    ok(!mprof_os_prepare_barrier(), "and is not prepared any more");
    is_int(errno, 77, "errno is preserved");
    atomic_store(&filtered, false);
}

/* ---- several ---- */

struct worker {
    uintptr_t base;
    struct mprof_rng rng;
    uint64_t adds;
    bool used[ADDRESSES];
};

static struct worker workers[THREADS];
static _Atomic uint64_t favours; /* ended so far, in the process */

static void step(struct worker *w)
{
    uint64_t i = mprof_rng_next(&w->rng) % ADDRESSES;
    if (w->used[i]) {
        fake_free(w->base + 16 * i);
    } else {
        fake_malloc(w->base + 16 * i, 1 + i);
        w->adds++;
    }
    w->used[i] = !w->used[i];
}

/* Short bursts, during which nobody is favoured for long, and long ones. Between them it sleeps, so that another is
 * alone; on a busy machine that may need more of them. */
static void *work(void *context)
{
    struct worker *w = context;
    uint64_t before = atomic_load(&favours);
    for (uint32_t i = 0; i < 4; i++)
        fake_call(&code, 2 * i);
    for (int burst = 0; burst < BURSTS || (possible() && atomic_load(&favours) == before && burst < MOST_BURSTS);
         burst++) {
        uint64_t steps = mprof_rng_next(&w->rng) % (burst % 3 ? LONG_BURST : 50);
        for (uint64_t i = 0; i < steps; i++) {
            if (i % 64 == 0) {
                fake_return(1);
                fake_call(&code, (uint32_t)(mprof_rng_next(&w->rng) % 32));
            }
            step(w);
        }
        usleep((useconds_t)(mprof_rng_next(&w->rng) % 3000));
    }
    for (uint32_t i = 0; i < ADDRESSES; i++) {
        if (w->used[i])
            fake_free(w->base + 16 * i);
        w->used[i] = false;
    }
    return NULL;
}

static double allocated(void)
{
    struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
    double blocks = 0;
    for (uint32_t i = 0; snapshot && i < mprof_snapshot_stack_count(snapshot); i++)
        blocks += mprof_snapshot_stacks(snapshot)[i].alloc.blocks;
    mprof_snapshot_decref(snapshot);
    return blocks;
}

/* The publisher, more eager than any. Only takes the lock, so it never is favoured. */
static void *interrupt(void *unused)
{
    struct mprof_recorder_totals totals;
    uint64_t times = 0;
    (void)unused;
    while (!atomic_load(&over)) {
        if (times++ % 64 != 0) {
            mprof_recorder_totals(&totals);
            atomic_store(&favours, totals.favours);
        } else if (!mprof_recorder_valid()) {
            abort();
        }
        usleep((useconds_t)(times % 200));
    }
    diag("%llu interruptions", (unsigned long long)times);
    return NULL;
}

static void test_several(void)
{
    struct mprof_recorder_totals totals;
    pthread_t threads[THREADS];
    pthread_t other;
    uint64_t adds = 0;
    fake_start(1, 8, seed, 0);
    mprof_recorder_totals(&totals);
    uint64_t before = totals.favours;
    atomic_store(&favours, before);
    atomic_store(&over, false);
    pthread_create(&other, NULL, interrupt, NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i].base = (i + 1) * TEST_REGION;
        mprof_rng_seed(&workers[i].rng, seed + i);
        pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        adds += workers[i].adds;
    }
    atomic_store(&over, true);
    pthread_join(other, NULL);
    mprof_recorder_totals(&totals);
    ok(!possible() || totals.favours > before, "some were favoured meanwhile: %llu times",
       (unsigned long long)(totals.favours - before));
    is_uint(totals.live, 0, "every block was recorded and removed");
    is_uint(totals.drops, 0, "nothing dropped");
    is_uint((uint64_t)allocated(), adds, "every allocation was counted");
    ok(mprof_recorder_valid(), "invariants");
    mprof_recorder_stop();
}

/* ---- the shortest way into each other: one look each, at the same moment ---- */

static void *be_favoured(void *unused)
{
    (void)unused;
    fake_call(&code, 2);
    while (!atomic_load(&over)) {
        alone(TEST_HEAP);
        for (uintptr_t i = 0; i < 200; i++) {
            fake_malloc(TEST_HEAP + 16 * i, 24);
            fake_free(TEST_HEAP + 16 * i);
        }
    }
    fake_return(1);
    return NULL;
}

static void test_end_of_favour(void)
{
    const uint64_t interruptions = running_on_valgrind() ? 20 : 3000; /* one thread at a time there */
    pthread_t thread;
    struct mprof_rng rng;
    uint64_t ended = 0;
    mprof_rng_seed(&rng, seed);
    fake_start(1, 8, seed, 0);
    fake_call(&code, 4);
    atomic_store(&over, false);
    pthread_create(&thread, NULL, be_favoured, NULL);
    for (uint64_t i = 0; i < interruptions && possible(); i++) {
        while (!favoured())
            usleep(10);
        for (uint64_t wait = mprof_rng_next(&rng) % 3000; wait > 0; wait--)
            __asm__ volatile("" ::: "memory");
        ended += favoured() != NULL;
        fake_malloc(0x1000 + 16 * (i % 100), 8);
        fake_free(0x1000 + 16 * (i % 100));
    }
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    struct mprof_recorder_totals totals;
    mprof_recorder_totals(&totals);
    ok(!possible() || totals.favours >= ended, "which is counted");
    ok(!possible() || ended == interruptions, "favour comes and is ended %u times", (unsigned)ended);
    is_uint(live(), 0, "every block was recorded and removed");
    ok(mprof_recorder_valid(), "invariants");
    mprof_recorder_stop();
    fake_return(1);
}

/* The barrier is refused from some moment on: favour ends once more, rightly, and comes no more. */
static void test_filter(void)
{
    pthread_t thread;
    fake_start(1, 8, seed, 0);
    fake_call(&code, 4);
    atomic_store(&over, false);
    pthread_create(&thread, NULL, be_favoured, NULL);
    while (possible() && !favoured())
        usleep(10);
    atomic_store(&filtered, true);
    fake_malloc(0x1000, 8);
    ok(!mprof_recorder.may_favour && !favoured(), "no favour in a program that has forbidden barriers");
    alone(0x8000);
    ok(!favoured(), "nor later");
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    is_uint(live(), 1, "blocks are recorded as before");
    ok(mprof_recorder_valid(), "invariants");
    mprof_recorder_stop();
    atomic_store(&filtered, false);
    fake_return(1);
}

/* ---- threads that end, children ---- */

static void *alone_and_gone(void *base)
{
    fake_call(&code, 2);
    alone((uintptr_t)base);
    fake_malloc((uintptr_t)base, 100);
    return possible() && favoured() != mprof_tls.thread ? NULL : base;
}

static void test_threads_that_end(void)
{
    void *result = NULL;
    bool good = true;
    fake_start(1, 8, seed, 0);
    fake_call(&code, 4);
    for (uintptr_t i = 1; i <= 5; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, alone_and_gone, (void *)(i * TEST_REGION));
        pthread_join(thread, &result);
        good &= check(result != NULL, "thread %u was favoured", (unsigned)i);
        good &= check(favoured() == NULL, "favour ends with thread %u", (unsigned)i);
        if (i % 2)
            alone(TEST_HEAP);
    }
    ok(good, "favour ends with its thread, and the next one has it");
    is_uint(live(), 5, "their blocks stay");
    ok(mprof_recorder_valid(), "invariants");
    mprof_recorder_stop();
    fake_return(1);
}

/* 0: all is well. The child's only thread is favoured in its turn. */
static int child(void)
{
    uint64_t before = live();
    if (favoured() != NULL)
        return 1;
    alone(TEST_HEAP + TEST_REGION / 2);
    if (possible() && favoured() != mprof_tls.thread)
        return 2;
    fake_malloc(0x100000, 8);
    if (live() != before + 1)
        return 3;
    return mprof_recorder_valid() ? 0 : 4;
}

static void test_forks(const char *whose, bool by_other)
{
    pthread_t thread;
    int failures = 0;
    fake_start(1, 8, seed, 0);
    fake_call(&code, 4);
    atomic_store(&over, false);
    if (by_other)
        pthread_create(&thread, NULL, be_favoured, NULL);
    const int forks = running_on_valgrind() ? 5 : 30;
    for (int i = 0; i < forks; i++) {
        if (!by_other)
            alone(TEST_HEAP);
        int status = 0;
        pid_t pid = fork();
        if (pid == 0)
            _exit(child());
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
            diag("fork %d: status %#x", i, (unsigned)status);
            failures++;
        }
    }
    atomic_store(&over, true);
    if (by_other)
        pthread_join(thread, NULL);
    is_int(failures, 0, "%d children of %s", forks, whose);
    ok(mprof_recorder_valid(), "invariants");
    mprof_recorder_stop();
    fake_return(1);
}

int main(int argc, char **argv)
{
    const char *text = argc > 1 ? argv[1] : getenv("MPROF_TEST_SEED");
    seed = text ? strtoull(text, NULL, 0) : 7;
    diag("seed %llu", (unsigned long long)seed);
    code = fake_code(1, 1, 10);
    test_barrier();
    test_alone();
    test_several();
    test_end_of_favour();
    test_filter();
    test_threads_that_end();
    test_forks("the favoured thread", false);
    if (MPROF_TESTS_TSAN || running_emulated())
        diag("no forks beside other threads under the thread sanitizer and the emulator");
    else
        test_forks("a thread beside the favoured one", true);
    return done();
}
