/* SPDX-License-Identifier: MIT */
/* test_publisher_faults.c -- the publisher without a thread to be had, with a disk that hangs, and with a doomed process.
 *
 * The linker brings some calls here (--wrap, tests/meson.build): pthread_create fails when told to, write hangs when told
 * to, and the clock (published.h) is set forward instead of waiting. */
#define _GNU_SOURCE
#include "published.h"

#include "base/arena.h"
#include "base/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the wrapped calls ---- */

static _Atomic int refusals;   /* so many threads are refused, with */
static _Atomic int refusal;    /* this errno */
static _Atomic int attributes; /* so many times there is no memory for a thread's attributes */
static _Atomic bool hangs;     /* writes do not return */
static _Atomic bool hanging;   /* one has been called */
static _Atomic bool forgetful; /* arenas give nothing */
static _Atomic unsigned asked; /* threads */
static _Atomic bool delays;    /* who gets a thread */
static _Atomic bool delayed;   /* the main thread reads the clock next when a profile has been written */
static _Atomic int64_t jump; /* by so much the clock is set forward when the main thread waits for a disk that hangs */
static _Atomic unsigned waits; /* so often has the publisher's thread begun to wait for its bell, for some time */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *argument);
int __real_pthread_attr_init(pthread_attr_t *attr);
int __wrap_pthread_attr_init(pthread_attr_t *attr);
ssize_t __real_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length);
void __real_mprof_os_wait_for(uint32_t *word, uint32_t expected, int64_t ns);
void __wrap_mprof_os_wait_for(uint32_t *word, uint32_t expected, int64_t ns);
void *__real_mprof_arena_get(struct mprof_arena *arena, size_t size);
void *__wrap_mprof_arena_get(struct mprof_arena *arena, size_t size);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *argument)
{
    atomic_fetch_add(&asked, 1);
    if (atomic_load(&refusals) > 0) {
        atomic_fetch_sub(&refusals, 1);
        return atomic_load(&refusal);
    }
    int result = __real_pthread_create(thread, attr, run, argument);
    atomic_store(&delayed, result == 0 && atomic_load(&delays));
    return result;
}

int __wrap_pthread_attr_init(pthread_attr_t *attr)
{
    if (atomic_load(&attributes) > 0) {
        atomic_fetch_sub(&attributes, 1);
        return ENOMEM;
    }
    return __real_pthread_attr_init(attr);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t length)
{
    while (atomic_load(&hangs)) {
        atomic_store(&hanging, true);
        pause_ms(1);
    }
    atomic_store(&hanging, false);
    return __real_write(fd, bytes, length);
}

static bool is_main(void)
{
    return mprof_os_thread() == (long)getpid();
}

int64_t __wrap_mprof_os_monotonic_ns(void)
{
    if (is_main() && atomic_exchange(&delayed, false))
        published(1);
    return clock_ns();
}

/* Looks at the clock often, for it may have been set forward. */
void __wrap_mprof_os_wait_for(uint32_t *word, uint32_t expected, int64_t ns)
{
    if (word == atomic_load(&bell))
        atomic_fetch_add(&waits, 1);
    else if (is_main() && atomic_load(&hanging))
        atomic_fetch_add(&ahead, atomic_exchange(&jump, 0));
    __real_mprof_os_wait_for(word, expected, ns < SECOND / 200 ? ns : SECOND / 200);
}

void *__wrap_mprof_arena_get(struct mprof_arena *arena, size_t size)
{
    return atomic_load(&forgetful) ? NULL : __real_mprof_arena_get(arena, size);
}

static void refuse_threads(int count, int error)
{
    atomic_store(&refusal, error);
    atomic_store(&refusals, count);
}

static void set_forward(int64_t seconds)
{
    atomic_fetch_add(&ahead, seconds * SECOND);
}

static void stop_clock(void)
{
    atomic_store(&stopped_at, __real_mprof_os_monotonic_ns());
}

static void let_clock_go(void)
{
    atomic_store(&stopped_at, 0);
}

/* ---- helpers ---- */

/* The publisher's thread has seen what was done before, and waits for its time: what made it begin the first of two waits
 * may be older. */
static bool waits_on(void)
{
    unsigned before = atomic_load(&waits);
    AWAIT(atomic_load(&waits) - before >= 2);
    return atomic_load(&waits) - before >= 2;
}

static bool failed(uint64_t failures)
{
    AWAIT(info().failures >= failures);
    return info().failures >= failures;
}

/* Whether the profile at the target is the last, and has so many bytes in use. */
static bool is_final(double bytes)
{
    char text[256];
    return has_comment(target, "mprofile: state=", text) && strcmp(text, "mprofile: state=final") == 0 &&
           bytes_in(target) == bytes;
}

/* What is said on stderr goes nowhere, until unmute() gets the result. */
static int muted(void)
{
    int saved = dup(STDERR_FILENO);
    int sink = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(sink, STDERR_FILENO);
    close(sink);
    return saved;
}

static void unmute(int saved)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
}

static pid_t child(void)
{
    pid_t pid = fork();
    if (pid < 0)
        bail("cannot fork");
    if (pid == 0)
        alarm(60);
    return pid;
}

static void begin(void)
{
    fake_start(1, 8, 1, 0);
    fake_malloc(0x1000, 5000);
}

static void end(void)
{
    mprof_recorder_stop();
    remove_files();
}

/* ---- no thread ---- */

static void test_no_thread(void)
{
    struct mprof_file_failure failure;
    begin();
    refuse_threads(1, EAGAIN);
    is_int(start_with(SECOND, &failure), MPROF_PUBLISHER_NO_THREAD, "no thread to be had");
    ok(failure.error == EAGAIN && strcmp(failure.call, "pthread_create") == 0, "start says why");
    ok(!info().running, "nothing runs");
    is_int(mprof_publisher_stop(SECOND), 1, "there is none to stop");

    atomic_store(&attributes, 1);
    is_int(start_with(SECOND, &failure), MPROF_PUBLISHER_NO_THREAD, "no memory for its attributes");
    ok(failure.error == ENOMEM && strcmp(failure.call, "pthread_attr_init") == 0, "start says so");

    atomic_store(&forgetful, true);
    is_int(start_with(SECOND, &failure), MPROF_PUBLISHER_NO_THREAD, "no memory for the comments");
    ok(failure.error == ENOMEM && strcmp(failure.call, "mmap") == 0, "start says so");
    atomic_store(&forgetful, false);

    refuse_threads(1, EINVAL);
    unsigned before = atomic_load(&asked);
    is_int(start_publisher(SECOND), 0, "a stack that is too small for this program: another size does");
    is_uint(atomic_load(&asked) - before, 2, "by a second try");
    is_int(mprof_publisher_stop(20 * SECOND), 0, "it publishes and stops");
    end();
}

static void test_no_thread_after_a_fork(void)
{
    begin();
    start_publisher(3600 * SECOND);
    pause_publisher();
    refuse_threads(1, EAGAIN);
    mprof_publisher_resume();
    is_int(atomic_load(&refusals), 0, "no thread to be had after a pause");
    fake_malloc(0x2000, 50 << 20);
    pause_ms(50);
    is_uint(info().publications, 1, "nothing is published");
    pause_publisher();
    mprof_publisher_resume();
    fake_malloc(0x3000, 80 << 20);
    ok(published(2), "the next resume tries again");

    pause_publisher();
    refuse_threads(2, EAGAIN);
    mprof_publisher_resume();
    is_int(mprof_publisher_stop(20 * SECOND), 1, "none to stop if there is no thread at the end either");
    is_int(start_publisher(3600 * SECOND), 0, "another start");

    pause_publisher();
    pid_t pid = child();
    if (pid == 0) {
        refuse_threads(1, EAGAIN);
        mprof_publisher_adopt();
        _exit(!info().running && mprof_publisher_stop(20 * SECOND) == 1 && start_publisher(SECOND) == 0 ? 0 : 1);
    }
    mprof_publisher_resume();
    is_int(wait_for(pid), 0, "a child without a thread publishes nothing, and may start anew");
    is_int(mprof_publisher_stop(20 * SECOND), 0, "the parent stops");
    ok(is_final(5000 + (130 << 20)), "with everything in its file");
    end();
}

/* ---- a disk that hangs ---- */

static void hang(void)
{
    atomic_store(&hanging, false);
    atomic_store(&hangs, true);
}

static bool is_hanging(void)
{
    AWAIT(atomic_load(&hanging));
    return atomic_load(&hanging);
}

static void test_start_hangs(void)
{
    struct mprof_file_failure failure;
    begin();
    hang();
    atomic_store(&jump, 31 * SECOND);
    is_int(start_with(SECOND, &failure), MPROF_PUBLISHER_FAILED, "the first profile takes more than half a minute");
    ok(failure.error == ETIMEDOUT && strcmp(failure.call, "write") == 0, "start says so");
    ok(info().running, "the publisher is there");
    atomic_store(&hangs, false);
    ok(published(1), "and publishes when the disk is back");
    is_int(mprof_publisher_stop(20 * SECOND), 0, "it stops");
    end();
}

static void test_pause_hangs(void)
{
    begin();
    start_publisher(3600 * SECOND);
    hang();
    fake_malloc(0x2000, 50 << 20);
    ok(is_hanging(), "it is writing");
    int64_t before = __real_mprof_os_monotonic_ns();
    mprof_publisher_pause();
    int64_t lasted = __real_mprof_os_monotonic_ns() - before;
    ok(lasted >= SECOND / 10 && lasted < 20 * SECOND, "a pause does not wait for a disk that hangs");
    /* The sanitizer does not let a child make a thread where its parent's was; an emulator ends in such a child. */
    bool no_child = MPROF_TESTS_TSAN || running_emulated();
    pid_t pid = no_child ? -1 : child();
    if (pid == 0) {
        atomic_store(&hangs, false);
        mprof_publisher_adopt();
        fake_malloc(0x3000, 100 << 20);
        _exit(published(1) && mprof_publisher_stop(20 * SECOND) == 0 ? 0 : 1);
    }
    unsigned threads = atomic_load(&asked);
    mprof_publisher_resume();
    is_uint(atomic_load(&asked), threads, "the thread is still the same after it");
    if (pid < 0)
        skip(1, "the thread sanitizer, or an emulator");
    else
        is_int(wait_for(pid), 0, "the child has a thread of its own");
    atomic_store(&hangs, false);
    ok(published(2), "what hung is published");
    fake_malloc(0x3000, 80 << 20);
    ok(published(3), "and what came later");
    is_int(mprof_publisher_stop(20 * SECOND), 0, "it stops");
    ok(is_final(5000 + (130 << 20)), "with everything in its file");
    end();
}

static void test_stop_hangs(void)
{
    begin();
    start_publisher(3600 * SECOND);
    hang();
    is_int(mprof_publisher_stop(SECOND / 20), -2, "stop does not wait longer than asked");
    ok(!info().running && !info().complete, "info");
    is_int(start_publisher(SECOND), MPROF_PUBLISHER_ACTIVE, "while the lost thread lives there is no other");
    is_int(mprof_publisher_stop(SECOND), 1, "nor one to stop");
    ok(is_hanging(), "it is writing");
    pid_t pid = running_emulated() ? -1 : child();
    if (pid == 0) {
        atomic_store(&hangs, false);
        _exit(start_publisher(SECOND) == 0 && mprof_publisher_stop(20 * SECOND) == 0 ? 0 : 1);
    }
    if (pid < 0)
        skip(1, "an emulator ends in a child that starts a thread");
    else
        is_int(wait_for(pid), 0, "a child has not got the lost thread, and starts one");
    atomic_store(&hangs, false);
    int started;
    AWAIT((started = start_publisher(3600 * SECOND)) == 0);
    is_int(started, 0, "when it has ended there is room for another");
    fake_malloc(0x2000, 1000);
    is_int(mprof_publisher_stop(20 * SECOND), 0, "which stops");
    ok(is_final(6000), "with everything in its file");
    end();
}

/* ---- retries ---- */

/* By a clock that stands still, but for the steps of the test. */
static void test_retries(void)
{
    struct mprof_file_failure failure;
    begin();
    int saved = muted();
    stop_clock();
    mprof_file_fail(1, EROFS);
    is_int(start_with(40 * SECOND, &failure), MPROF_PUBLISHER_FAILED, "the first profile cannot be written");
    mprof_file_fail(1, EDQUOT);
    set_forward(39);
    ok(waits_on() && info().failures == 1, "the next attempt is not before its time");
    set_forward(1);
    ok(failed(2), "and fails");
    mprof_file_fail(1, EDQUOT);
    set_forward(59);
    ok(waits_on() && info().failures == 2, "the next waits for a minute, not for twice the time");
    set_forward(1);
    ok(failed(3), "and fails");
    mprof_file_fail(0, 0);
    set_forward(59);
    ok(waits_on() && info().publications == 0, "a minute is the longest");
    set_forward(1);
    ok(published(1), "and not longer");
    fake_malloc(0x2000, 1000);
    set_forward(39);
    ok(waits_on() && info().publications == 1, "after a success the time is as it was");
    set_forward(1);
    ok(published(2), "and not longer");
    mprof_file_fail(1, EIO);
    is_int(mprof_publisher_stop(20 * SECOND), -1, "the last profile cannot be written");
    ok(!info().complete && info().failure.error == EIO, "which info tells");
    mprof_file_fail(0, 0);
    let_clock_go();
    unmute(saved);
    end();
}

/* Whoever starts may get the processor only after the second attempt. */
static void test_start_is_late(void)
{
    struct mprof_file_failure failure;
    begin();
    int saved = muted();
    mprof_file_fail(1, EROFS);
    atomic_store(&delays, true);
    is_int(start_with(SECOND / 100, &failure), MPROF_PUBLISHER_FAILED, "start tells how the first attempt went");
    atomic_store(&delays, false);
    ok(failure.error == EROFS && strcmp(failure.call, "open") == 0, "and why");
    ok(info().publications >= 1, "though the second one has succeeded meanwhile");
    mprof_file_fail(0, 0);
    unmute(saved);
    is_int(mprof_publisher_stop(20 * SECOND), 0, "it stops");
    ok(is_final(5000), "with everything in its file");
    end();
}

/* ---- doom ---- */

static void test_doom(void)
{
    begin();
    pid_t pid = child();
    if (pid == 0) {
        signal(SIGTERM, SIG_IGN);
        start_publisher(3600 * SECOND);
        fake_malloc(0x2000, 1000);
        stop_clock();
        mprof_publisher_doom(SIGTERM);
        if (!waits_on())
            _exit(2);
        set_forward(1);
        pause_ms(50000);
        _exit(1);
    }
    is_int(wait_for(pid), 1000 + SIGTERM, "after a second of grace the process ends, though it ignores the signal");
    ok(is_final(6000), "and its last profile has everything");
    remove_files();

    pid = child();
    if (pid == 0) {
        start_publisher(3600 * SECOND);
        stop_clock();
        mprof_publisher_doom(SIGTERM);
        if (!waits_on())
            _exit(2);
        mprof_publisher_spare();
        set_forward(2);
        fake_malloc(0x2000, 50 << 20);
        _exit(published(2) && mprof_publisher_stop(20 * SECOND) == 0 ? 0 : 1);
    }
    is_int(wait_for(pid), 0, "a process that is spared goes on, and so does its publisher");

    pid = child();
    if (pid == 0) {
        start_publisher(3600 * SECOND);
        hang();
        stop_clock();
        mprof_publisher_doom(SIGTERM);
        if (!waits_on())
            _exit(2);
        set_forward(1);
        if (!is_hanging())
            _exit(3);
        mprof_publisher_spare();
        atomic_store(&hangs, false);
        _exit(published(2) && mprof_publisher_stop(20 * SECOND) == 0 ? 0 : 1);
    }
    is_int(wait_for(pid), 0, "also when it is spared while its last profile is being written");

    pid = child();
    if (pid == 0) {
        start_publisher(3600 * SECOND);
        stop_clock();
        mprof_publisher_doom(SIGTERM);
        _exit(mprof_publisher_stop(20 * SECOND) == 0 ? 0 : 1);
    }
    is_int(wait_for(pid), 0, "a process that stops the publisher meanwhile ends by itself");
    end();
}

/* ---- what is left by others ---- */

static void touch(const char *stem, char path[600])
{
    snprintf(path, 600, "%s/.%s.2147483000.0123456789abcdef.tmp", directory, stem);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        bail("cannot make %s", path);
    close(fd);
}

/* Temporary files of a process that is gone, by the name of the file that it was writing. */
static void test_left_behind(void)
{
    static const struct {
        const char *stem;
        bool ours;
    } files[] = {
        {"heap.pb.gz", true},
        {"heap.77.pb.gz", true},
        {"heap.4194304.pb.gz", true},
        {"hea", false},
        {"heap", false},
        {"heap.", false},
        {"heap2.pb.gz", false},
        {"heap.pb", false},
        {"heap.7x.pb.gz", false},
        {"heap.077.pb.gz", false},
        {"heap.77", false},
        {"heap.77.pprof", false},
        {"other.pb.gz", false},
        {"heap.12345678901.pb.gz", false},
        {"heap.77.pb.gz.old", false},
        {"heap..pb.gz", false},
        {"heap.-1.pb.gz", false},
        {"20240229T235959.999Z.4711.pb.gz", false},
    };
    enum { COUNT = sizeof files / sizeof *files };
    char paths[COUNT][600];
    begin();
    for (size_t i = 0; i < COUNT; i++)
        touch(files[i].stem, paths[i]);
    is_int(start_publisher(SECOND), 0, "start");
    is_int(mprof_publisher_stop(20 * SECOND), 0, "stop");
    for (size_t i = 0; i < COUNT; i++)
        ok((access(paths[i], F_OK) != 0) == files[i].ours, "%s: %s", files[i].stem, files[i].ours ? "gone" : "stays");
    end();
}

int main(void)
{
    begin_in_scratch();
    test_no_thread();
    test_no_thread_after_a_fork();
    test_start_hangs();
    test_pause_hangs();
    test_stop_hangs();
    test_retries();
    test_start_is_late();
    test_doom();
    test_left_behind();
    rmdir(directory);
    return done();
}
