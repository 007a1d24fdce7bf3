/* SPDX-License-Identifier: MIT */
/* test_os.c -- the contracts of base/os.h. */
#define _GNU_SOURCE
#include "sanitizer.h"
#include "tap.h"

#include "base/os.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static bool is_zero(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

static void test_map(void)
{
    unsigned char *a = mprof_os_map(MPROF_OS_PAGE);
    unsigned char *b = mprof_os_map_present(4 * MPROF_OS_PAGE);
    if (!ok(a && b, "memory is mapped"))
        bail("no memory");
    ok((uintptr_t)a % 4096 == 0 && (uintptr_t)b % 4096 == 0, "on page boundaries");
    ok(is_zero(a, MPROF_OS_PAGE) && is_zero(b, 4 * MPROF_OS_PAGE), "and zero");
    unsigned char resident[4 * MPROF_OS_PAGE / 4096];
    is_int(mincore(b, 4 * MPROF_OS_PAGE, resident), 0, "mincore answers");
    bool present = true;
    for (size_t i = 0; i < sizeof resident; i++)
        present = present && (resident[i] & 1);
    ok(present, "map_present: all pages are there");
    memset(a, 0x5a, MPROF_OS_PAGE);
    a = mprof_os_remap(a, MPROF_OS_PAGE, 64 * MPROF_OS_PAGE);
    if (!ok(a != NULL, "a mapping grows"))
        bail("no memory");
    ok(a[0] == 0x5a && a[MPROF_OS_PAGE - 1] == 0x5a, "keeping its content");
    ok(is_zero(a + MPROF_OS_PAGE, 63 * MPROF_OS_PAGE), "and the rest is zero");
    unsigned char *smaller = mprof_os_remap(a, 64 * MPROF_OS_PAGE, MPROF_OS_PAGE);
    ok(smaller && smaller[0] == 0x5a, "and shrinks");
    mprof_os_unmap(smaller, MPROF_OS_PAGE);
    mprof_os_unmap(b, 4 * MPROF_OS_PAGE);
}

static void test_refused(void)
{
    /* valgrind stops at sizes that it cannot add to an address. */
    const size_t too_much = sizeof(size_t) == 8 ? SIZE_MAX / 16 + 1 : SIZE_MAX - MPROF_OS_PAGE + 1;
    unsigned char *a = mprof_os_map(MPROF_OS_PAGE);
    a[7] = 7;
    errno = 42;
    ok(mprof_os_map(too_much) == NULL, "too much: NULL");
    ok(mprof_os_map_present(too_much) == NULL, "too much, present: NULL");
    ok(mprof_os_remap(a, MPROF_OS_PAGE, too_much) == NULL && a[7] == 7, "too much to grow: the old mapping stays");
    mprof_os_unmap(a, MPROF_OS_PAGE);
    mprof_os_unmap((void *)1, MPROF_OS_PAGE); /* not a mapping: refused by the system */
    is_int(errno, 42, "errno is preserved");
}

static int64_t coarse_ns(void)
{
    struct timespec time;
    if (clock_gettime(CLOCK_MONOTONIC_COARSE, &time) != 0)
        bail("no coarse clock");
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void test_clocks(void)
{
    int64_t fine = mprof_os_monotonic_ns();
    int64_t later = mprof_os_monotonic_ns();
    ok(later >= fine, "the clock does not go back");
    int64_t before = coarse_ns();
    int64_t coarse = mprof_os_monotonic_coarse_ns();
    ok(before <= coarse && coarse <= coarse_ns(), "the coarse clock is the system's");
    ok(coarse <= mprof_os_monotonic_ns(), "and not ahead of the other");
    int64_t wall = mprof_os_wall_ns();
    ok(wall > INT64_C(1600000000) * 1000000000, "the wall clock is later than 2020");
}

static void test_entropy(void)
{
    uint64_t seen[64];
    bool differ = true;
    uint64_t any = 0;
    uint64_t all = UINT64_MAX;
    for (int i = 0; i < 64; i++) {
        seen[i] = mprof_os_entropy();
        any |= seen[i];
        all &= seen[i];
        for (int j = 0; j < i; j++)
            differ = differ && seen[i] != seen[j];
    }
    ok(differ, "64 numbers, all different");
    ok(any == UINT64_MAX && all == 0, "every bit is sometimes set and sometimes not");
}

static uint32_t word;

static void *sleeper(void *woken)
{
    while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) == 0)
        mprof_os_wait(&word, 0);
    *(bool *)woken = true;
    return NULL;
}

/* It is woken, as the system says, and sleeps again, for the word is as it was. */
static void wait_for_sleeper(void)
{
    const long wake_private = 1 | 128;
    while (syscall(SYS_futex, &word, wake_private, 1, NULL, NULL, 0) != 1)
        sched_yield();
}

static void test_wait(void)
{
    bool woken = false;
    pthread_t thread;
    mprof_os_wait(&word, 1);
    ok(true, "waiting for a word that is not as expected returns at once");
    pthread_create(&thread, NULL, sleeper, &woken);
    wait_for_sleeper();
    __atomic_store_n(&word, 1, __ATOMIC_RELEASE);
    mprof_os_wake(&word);
    pthread_join(thread, NULL);
    ok(woken, "a sleeper is woken");
}

static void *tell_thread(void *id)
{
    *(long *)id = mprof_os_thread();
    return NULL;
}

static void test_threads(void)
{
    pthread_t thread;
    long id = 0;
    ok(mprof_os_thread_lives(mprof_os_thread()), "this thread is there");
    if (pthread_create(&thread, NULL, tell_thread, &id) != 0)
        bail("no thread");
    pthread_join(thread, NULL);
    ok(id != mprof_os_thread(), "another has another number");
    errno = ENOTTY;
    while (mprof_os_thread_lives(id)) /* after the join it is counted for some microseconds */
        sched_yield();
    ok(errno == ENOTTY, "and when it has ended it is not there; errno is preserved");
}

static void test_readable(void)
{
    if (running_on_valgrind()) {
        skip(8, "valgrind reports a system call that is given an address like these");
        return;
    }
    unsigned char *pages = mprof_os_map(2 * MPROF_OS_PAGE);
    if (!pages)
        bail("no memory");
    ok(mprof_os_readable(pages) && mprof_os_readable(pages + MPROF_OS_PAGE), "what is mapped is readable");
    mprof_os_unmap(pages + MPROF_OS_PAGE, MPROF_OS_PAGE);
    sigset_t before;
    sigset_t after;
    sigemptyset(&before);
    sigemptyset(&after);
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    memset(pages, 0xff, MPROF_OS_PAGE); /* every signal, were it taken for a set */
    errno = ENOTTY;
    ok(mprof_os_readable(pages) && mprof_os_readable(pages + MPROF_OS_PAGE - 8), "to its last eight bytes");
    ok(!mprof_os_readable(pages + MPROF_OS_PAGE), "what has been unmapped is not");
    ok(!mprof_os_readable(NULL) && !mprof_os_readable((void *)8), "nor is the first page");
    is_int(mprotect(pages, MPROF_OS_PAGE, PROT_NONE), 0, "a page is closed");
    ok(!mprof_os_readable(pages), "nor is what is mapped without leave to read");
    ok(errno == ENOTTY, "errno is preserved");
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    ok(memcmp(&before, &after, 8) == 0, "and the signals that are blocked are the same");
    mprof_os_unmap(pages, MPROF_OS_PAGE);
}

int main(void)
{
    test_map();
    test_refused();
    test_clocks();
    test_entropy();
    test_wait();
    test_threads();
    test_readable();
    return done();
}
