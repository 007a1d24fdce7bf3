/* SPDX-License-Identifier: MIT */
/* test_publisher.c -- the publisher's thread: when it publishes, how it ends, what a fork does to it.
 *
 * The linker brings the publisher's waits here (--wrap, tests/meson.build), to be counted: what the kernel counts has the
 * waits of valgrind's threads for each other in it.
 *
 * Files go into a directory of the test's own, below TMPDIR or /tmp. */
#define _GNU_SOURCE
#define MPROF_TESTS_MREMAP
#include "addresses.h"
#include "published.h"

#include "base/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MILLISECOND INT64_C(1000000)

/* ---- the wrapped calls ---- */

static _Atomic bool idle;         /* the thread is about to sleep until something changes, or does */
static _Atomic unsigned wake_ups; /* so often has it come back from a wait for the bell */

void __real_mprof_os_wait(uint32_t *word, uint32_t expected);
void __wrap_mprof_os_wait(uint32_t *word, uint32_t expected);
void __real_mprof_os_wait_for(uint32_t *word, uint32_t expected, int64_t ns);
void __wrap_mprof_os_wait_for(uint32_t *word, uint32_t expected, int64_t ns);

void __wrap_mprof_os_wait(uint32_t *word, uint32_t expected)
{
    atomic_store(&idle, true);
    __real_mprof_os_wait(word, expected);
    atomic_store(&idle, false);
    atomic_fetch_add(&wake_ups, 1);
}

void __wrap_mprof_os_wait_for(uint32_t *word, uint32_t expected, int64_t ns)
{
    __real_mprof_os_wait_for(word, expected, ns);
    if (word == atomic_load(&bell))
        atomic_fetch_add(&wake_ups, 1);
}

int64_t __wrap_mprof_os_monotonic_ns(void)
{
    return clock_ns();
}

/* ---- helpers ---- */

static unsigned count_files(void)
{
    unsigned count = 0;
    DIR *stream = opendir(directory);
    for (struct dirent *entry; stream && (entry = readdir(stream));)
        count += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(stream);
    return count;
}

/* How often the thread has come back from a wait, now that it sleeps until something changes. */
static unsigned settled(void)
{
    unsigned count = atomic_load(&wake_ups), before = count + 1;
    for (int tries = 0; tries < 250 && (!atomic_load(&idle) || count != before); tries++) {
        before = count;
        pause_ms(200);
        count = atomic_load(&wake_ups);
    }
    return count;
}

/* ---- tests ---- */

static void test_life(void)
{
    char text[256];
    struct stat status;
    fake_start(1, 8, 1, 0);
    fake_malloc(0x1000, 5000);
    is_int(start_publisher(3600 * SECOND), 0, "starts");
    is_double(bytes_in(target), 5000, "the first profile is there when start returns");
    ok(stat(target, &status) == 0 && (status.st_mode & 0777) == 0600, "for its owner only");
    ok(has_comment(target, "mprofile: command=a test", text) && strcmp(text, "mprofile: command=a test") == 0,
       "the first comment");
    ok(has_comment(target, "second", NULL), "the second comment");
    ok(has_comment(target, "mprofile: state=running", NULL), "says that the program runs");
    ok(has_comment(target, "mprofile: history=", NULL), "has a series");
    is_int(start_publisher(SECOND), MPROF_PUBLISHER_ACTIVE, "there is one at a time");
    fake_malloc(0x2000, 70000);
    is_uint(atomic_load(&syncs), 0, "nobody waits for the disk");
    is_int(mprof_publisher_stop(20 * SECOND), 0, "stops");
    is_uint(atomic_load(&syncs), 1, "but for the last profile");
    is_double(bytes_in(target), 75000, "it has everything");
    ok(has_comment(target, "mprofile: state=final", NULL), "says that it is the last");
    is_int(mprof_publisher_stop(20 * SECOND), 1, "there is none to stop");
    ok(!info().running && info().publications == 2 && info().failures == 0, "info");
    is_uint(count_files(), 1, "no temporary file stays");
    mprof_recorder_stop();
    remove_files();
}

static void test_when(void)
{
    fake_start(1, 8, 1, 0);
    fake_malloc(0x1000, 50 << 20);
    start_publisher(300 * MILLISECOND);
    unsigned waked = settled();
    pause_ms(1000);
    ok(atomic_load(&idle) && atomic_load(&wake_ups) == waked, "nothing changes: the thread sleeps on for a second");
    is_uint(info().publications, 1, "and publishes nothing");

    fake_malloc(0x2000, 1000);
    fake_free(0x2000);
    ok(published(2), "a change is published");
    fake_malloc(0x3000, 1000);
    ok(published(3) && atomic_load(&apart_ns) >= 300 * MILLISECOND, "the next one not before its time");
    waked = settled() - waked;
    /* One for the first publication, whose time had come; for the next its time, and the bell if it rang only after the
     * one before. On a busy machine the three changes may be in three publications. */
    ok(waked >= 2 && waked <= 5, "with few wake-ups: %u", waked);
    mprof_publisher_stop(20 * SECOND);

    start_publisher(3600 * SECOND);
    fake_malloc(0x4000, 4 << 20);
    pause_ms(200);
    is_uint(info().publications, 1, "growth by less than a tenth waits");
    fake_malloc(0x5000, 3 << 20);
    ok(published(2), "growth by a tenth does not");
    is_double(bytes_in(target), 1000 + (57 << 20), "and is in the file");
    mprof_publisher_stop(20 * SECOND);
    mprof_recorder_stop();
    remove_files();
}

static void test_failures(void)
{
    struct mprof_file_failure failure;
    char text[256];
    fake_start(1, 8, 1, 0);
    fake_malloc(0x1000, 5000);
    int saved = dup(STDERR_FILENO);
    int ends[2];
    if (pipe(ends) != 0)
        bail("cannot make a pipe");
    dup2(ends[1], STDERR_FILENO);
    mprof_file_fail(1, EROFS);
    is_int(start_with(50 * MILLISECOND, &failure), MPROF_PUBLISHER_FAILED, "the first profile cannot be written");
    ok(failure.error == EROFS && strcmp(failure.call, "open") == 0, "start says why");
    ok(published(1), "the next attempt succeeds, though nothing has changed");
    is_str(has_comment(target, "mprofile: failure=", text) ? text : NULL,
           "mprofile: failure=the file system is read-only (open)", "the file says what went wrong");
    mprof_file_fail(2, ENOSPC);
    fake_malloc(0x2000, 5000);
    ok(published(2), "no space, then space");
    mprof_publisher_stop(20 * SECOND);
    mprof_file_fail(0, 0);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    char said[2048] = "";
    ssize_t length = read(ends[0], said, sizeof said - 1);
    close(ends[0]);
    unsigned lines = 0;
    for (ssize_t i = 0; i < length; i++)
        lines += said[i] == '\n';
    is_uint(lines, 2, "each reason is said once");
    ok(strstr(said, target) && strstr(said, "read-only") && strstr(said, "no space left"), "with path and reason");
    is_uint(info().failures, 2, "two failures");
    is_uint(count_files(), 1, "no temporary file stays");
    mprof_recorder_stop();
    remove_files();

    start_publisher(SECOND);
    is_int(mprof_publisher_stop(20 * SECOND), 0, "nothing is recorded: nothing to publish, no failure");
    is_uint(count_files(), 0, "and no file");
}

static void test_signals(void)
{
    sigset_t none, blocked;
    char path[64], line[256];
    unsigned long long mask = 0;
    fake_start(1, 8, 1, 0);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    start_publisher(SECOND);
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    ok(!sigismember(&blocked, SIGTERM), "the caller's signals are as they were");
    snprintf(path, sizeof path, "/proc/self/task/%ld/status", info().tid);
    FILE *status = fopen(path, "re");
    char name[64] = "";
    while (status && fgets(line, sizeof line, status)) {
        sscanf(line, "SigBlk: %llx", &mask);
        sscanf(line, "Name: %63s", name);
    }
    if (status)
        fclose(status);
    ok(mask >> (SIGTERM - 1) & 1 && mask >> (SIGPROF - 1) & 1 && mask >> (SIGUSR1 - 1) & 1,
       "the thread takes no signals: %llx", mask);
    is_str(name, "mprofile", "its name");
    mprof_publisher_stop(20 * SECOND);
    mprof_recorder_stop();
    remove_files();
}

/* ---- fork ---- */

/* The thread sanitizer and an emulator do not let a child make a thread where its parent's was. */
static pid_t announced_fork(bool patiently)
{
    if (patiently || MPROF_TESTS_TSAN)
        pause_publisher();
    else
        mprof_publisher_pause();
    pid_t pid = fork();
    if (pid < 0)
        bail("cannot fork");
    if (pid == 0) {
        alarm(60);
        mprof_publisher_adopt();
    } else {
        mprof_publisher_resume();
    }
    return pid;
}

static void child_path(pid_t pid, char path[MPROF_FILE_PATH])
{
    if (!mprof_publication_path(target, (long)pid, path))
        bail("no path for %ld", (long)pid);
}

static void test_fork(void)
{
    char path[MPROF_FILE_PATH], text[256], expected[64];
    fake_start(1, 8, 1, 0);
    fake_malloc(0x1000, 5000);
    start_publisher(3600 * SECOND);
    pid_t pid = announced_fork(true);
    if (pid == 0)
        _exit(0);
    is_int(wait_for(pid), 0, "a child that ends at once");
    is_uint(count_files(), 1, "leaves nothing");

    pid = announced_fork(true);
    if (pid == 0) {
        fake_malloc(0x2000, 2000);
        _exit(mprof_publisher_stop(20 * SECOND) == 0 ? 0 : 1);
    }
    is_int(wait_for(pid), 0, "a child that stops its own publisher");
    child_path(pid, path);
    is_double(bytes_in(path), 7000, "has a file of its own, with what it inherited");
    snprintf(expected, sizeof expected, "mprofile: parent=%ld", (long)getpid());
    is_str(has_comment(path, "mprofile: parent=", text) ? text : NULL, expected, "which names the parent");
    snprintf(expected, sizeof expected, "mprofile: pid=%ld", (long)pid);
    is_str(has_comment(path, "mprofile: pid=", text) ? text : NULL, expected, "and the child");
    is_double(bytes_in(target), 5000, "the parent's file is untouched");

    pid = announced_fork(true);
    if (pid == 0) {
        fake_malloc(0x2000, 200 << 20);
        if (!published(1))
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    is_int(wait_for(pid), 1000 + SIGKILL, "a child that grows and is killed");
    child_path(pid, path);
    is_double(bytes_in(path), 5000 + (200 << 20), "has left its file");

    pid = announced_fork(true);
    if (pid == 0) {
        pid = announced_fork(true);
        if (pid == 0)
            _exit(mprof_publisher_stop(20 * SECOND) == 0 ? 0 : 1);
        child_path(pid, path);
        _exit(wait_for(pid) == 0 && bytes_in(path) > 0 && has_comment(path, "mprofile: parent=", NULL) ? 0 : 1);
    }
    is_int(wait_for(pid), 0, "a child's child");

    pid = fork(); /* not announced, not adopted */
    if (pid == 0) {
        alarm(60);
        fake_malloc(0x2000, 200 << 20);
        pause_ms(100);
        int stopped = mprof_publisher_stop(20 * SECOND);
        child_path(getpid(), path);
        _exit(stopped == 1 && access(path, F_OK) != 0 ? 0 : 1);
    }
    is_int(wait_for(pid), 0, "a child that nobody announced publishes nothing and ends in order");

    is_uint(info().publications, 1, "the parent has published once all this time");
    fake_malloc(0x3000, 100 << 20);
    ok(published(2), "and goes on afterwards");
    mprof_publisher_stop(20 * SECOND);
    mprof_recorder_stop();
    remove_files();
}

/* ---- everything at once ---- */

static _Atomic bool over;

static void *churn(void *number)
{
    uintptr_t base = ((uintptr_t)number + 1) * TEST_REGION;
    struct mprof_rng rng;
    mprof_rng_seed(&rng, (uintptr_t)number);
    fake_call(&code, 2);
    for (uint64_t i = 0; !atomic_load(&over); i++) {
        uintptr_t address = base + 16 * (uintptr_t)(mprof_rng_next(&rng) % 1000);
        fake_free(address);
        fake_malloc(address, 1 + mprof_rng_next(&rng) % 100000);
    }
    return NULL;
}

static void test_storm(void)
{
    enum { WORKERS = 3, ROUNDS = 40 };
    pthread_t threads[WORKERS];
    if (running_emulated()) {
        skip(2, "the emulator itself ends with an assertion when a program of several threads forks often");
        return;
    }
    if (MPROF_TESTS_HELGRIND) {
        skip(2, "helgrind takes a parent's threads for running in the child, and is too slow for so many samples");
        return;
    }
    fake_start(1000, 8, 1, 0);
    fake_malloc(0x2000, 100000); /* whoever else gets no processor: sampled, but once in e^100 */
    for (uintptr_t i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], NULL, churn, (void *)i);
    bool right = true;
    for (int round = 0; round < ROUNDS && right; round++) {
        right = check(start_publisher(MILLISECOND) == 0, "round %d: start", round);
        pid_t pid = round % 2 ? announced_fork(false) : fork();
        if (pid < 0)
            bail("cannot fork");
        if (pid == 0) {
            alarm(60);
            int expected = round % 2 ? 0 : 1; /* not announced: there is none to stop */
            fake_malloc(0x1000, 100000);
            _exit(mprof_publisher_stop(20 * SECOND) == expected ? 0 : 1);
        }
        pause_ms((unsigned)round % 5);
        right = check(mprof_publisher_stop(20 * SECOND) == 0, "round %d: stop", round) && right;
        right = check(wait_for(pid) == 0, "round %d: child", round) && right;
        right = check(bytes_in(target) > 0, "round %d: file", round) && right;
    }
    atomic_store(&over, true);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    ok(right, "%d times start, fork and stop while three threads record", ROUNDS);
    ok(mprof_recorder_valid(), "invariants");
    mprof_recorder_stop();
    remove_files();
}

int main(void)
{
    begin_in_scratch();
    test_life();
    test_when();
    test_failures();
    test_signals();
    test_fork();
    test_storm();
    rmdir(directory);
    return done();
}
