/* SPDX-License-Identifier: MIT */
/* publisher.c -- see publisher.h.
 *
 *                    start                      stop
 *           OFF ---------------->  ON  ---------------------> STOPPING --> OFF, or LOST if the thread does not end
 *                                |  ^                                      (a disk that hangs); OFF when it has
 *                          pause v  | resume
 *                               PAUSED
 *
 *           in a forked child: OFF stays, all others become DORMANT; adopt: ON
 *
 * The bell is one word: what the recorder rings, and what the thread is told. */
#define _GNU_SOURCE
#include "publish/publisher.h"

#include "base/compiler.h"
#include "base/lock.h"
#include "base/os.h"
#include "core/recorder.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum state { OFF, ON, PAUSED, STOPPING, LOST, DORMANT };

/* Bits of the bell beside those of enum MPROF_BELL_. */
enum { LEAVE = 4, FINAL = 8, DOOMED = 16 };

static const size_t STACK = 256 << 10;
static const int64_t PAUSE_TIMEOUT = 100000000;
static const int64_t START_TIMEOUT = 30000000000;
static const int64_t GRACE = 1000000000;
static const int64_t LONGEST_RETRY = 60000000000;
static const double LEAST_GROWTH = 1 << 20;
enum { REST = 4 };

static struct {
    struct mprof_lock lock;
    enum state state;
    bool registered;
    bool joined; /* the thread that was is gone */
    pthread_t thread;
    struct mprof_publisher_info info;
    int first_result;                        /* of the first publication of a start, once it is over, */
    struct mprof_file_failure first_failure; /* and what went wrong */

    uint32_t bell;  /* atomic */
    uint32_t ended; /* atomic; 1 when the thread is about to end; waited for */
    uint32_t first; /* atomic; 1 when the first publication of a start is over; waited for */
    int doom;       /* atomic; the signal that is to end the process; 0: none */

    /* The thread's own, and of whoever starts it. */
    struct mprof_publication publication;
    int64_t every_ns;
    double growth;
    int64_t due;
    int64_t retry_ns;
    double high; /* the largest heap that was published since `high_ns`, which is at most every_ns ago */
    int64_t high_ns;
    int64_t doomed_ns; /* when the thread saw `doom`; 0: it has not */
    int result;        /* of the last publication */
    long pid;          /* of this process */
} publisher;

/* ---- the thread ---- */

static void update_info_locked(long tid)
{
    const struct mprof_publication *p = &publisher.publication;
    struct mprof_publisher_info *info = &publisher.info;
    info->pack = p->pack;
    info->tid = tid;
    info->publications = p->publications;
    info->failures = p->failures;
    info->failure = p->failure;
    info->plain_bytes = p->plain_bytes;
    info->file_bytes = p->file_bytes;
    info->snapshot_ns = p->snapshot_ns;
    info->encode_ns = p->encode_ns;
    info->pack_ns = p->pack_ns;
    info->write_ns = p->write_ns;
}

static void set(uint32_t *word)
{
    __atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
    mprof_os_wake(word);
}

static void publish(long tid, bool final)
{
    int64_t begin = mprof_os_monotonic_ns();
    if (begin - publisher.high_ns >= publisher.every_ns)
        publisher.high = 0;
    mprof_recorder_arm(&publisher.bell, publisher.growth, LEAST_GROWTH, publisher.high * (1 + publisher.growth));
    int result = mprof_publication_publish(&publisher.publication, final);
    if (result == 0 && publisher.publication.heap_bytes > publisher.high) {
        publisher.high = publisher.publication.heap_bytes;
        publisher.high_ns = begin;
    }
    int64_t end = mprof_os_monotonic_ns();
    int64_t rest = end + REST * (end - begin);
    publisher.due = begin + publisher.every_ns;
    if (publisher.due < rest)
        publisher.due = rest;
    if (result < 0) {
        publisher.due = end + publisher.retry_ns;
        publisher.retry_ns = publisher.retry_ns < LONGEST_RETRY / 2 ? 2 * publisher.retry_ns : LONGEST_RETRY;
        __atomic_fetch_or(&publisher.bell, MPROF_BELL_CHANGED, __ATOMIC_SEQ_CST);
    } else {
        publisher.retry_ns = publisher.every_ns;
    }
    bool first = !__atomic_load_n(&publisher.first, __ATOMIC_RELAXED);
    mprof_lock_acquire(&publisher.lock);
    publisher.result = result;
    update_info_locked(tid);
    if (first) {
        publisher.first_result = result;
        publisher.first_failure = publisher.info.failure;
    }
    mprof_lock_release(&publisher.lock);
    if (first)
        set(&publisher.first);
}

/* False: whoever wanted the thread to leave has changed his mind. */
static bool leave(long tid, uint32_t bell)
{
    if (bell & FINAL)
        publish(tid, true);
    mprof_lock_acquire(&publisher.lock);
    bool leaves = (__atomic_load_n(&publisher.bell, __ATOMIC_SEQ_CST) & LEAVE) != 0;
    if (leaves)
        __atomic_store_n(&publisher.ended, 1, __ATOMIC_SEQ_CST);
    mprof_lock_release(&publisher.lock);
    if (leaves)
        mprof_os_wake(&publisher.ended);
    return leaves;
}

/* The default action, as if nobody had a handler: the process is gone, unless it is the first of its container, which
 * the kernel spares; then a program without our handler would live on, too. */
static void end_by(int number)
{
    struct sigaction by_default;
    sigset_t set;
    memset(&by_default, 0, sizeof by_default);
    by_default.sa_handler = SIG_DFL;
    (void)sigaction(number, &by_default, NULL);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, number);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    (void)kill(getpid(), number);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void await_doom(long tid, uint32_t bell)
{
    int number = __atomic_load_n(&publisher.doom, __ATOMIC_SEQ_CST);
    int64_t now = mprof_os_monotonic_ns();
    if (number != 0 && publisher.doomed_ns == 0)
        publisher.doomed_ns = now;
    if (number != 0 && now < publisher.doomed_ns + GRACE) {
        mprof_os_wait_for(&publisher.bell, bell, publisher.doomed_ns + GRACE - now);
        return;
    }
    __atomic_fetch_and(&publisher.bell, ~(uint32_t)DOOMED, __ATOMIC_SEQ_CST);
    publisher.doomed_ns = 0;
    if (number == 0)
        return;
    publish(tid, true);
    if (__atomic_exchange_n(&publisher.doom, 0, __ATOMIC_SEQ_CST) != 0)
        end_by(number);
}

static void *run(void *unused)
{
    long tid = mprof_os_thread();
    (void)unused;
    (void)prctl(PR_SET_NAME, "mprofile");
    mprof_lock_acquire(&publisher.lock);
    publisher.info.tid = tid;
    mprof_lock_release(&publisher.lock);
    for (;;) {
        uint32_t bell = __atomic_load_n(&publisher.bell, __ATOMIC_SEQ_CST);
        if (bell & LEAVE) {
            if (leave(tid, bell))
                return NULL;
            continue;
        }
        if (bell == 0) {
            mprof_os_wait(&publisher.bell, 0);
            continue;
        }
        if (bell & DOOMED) {
            await_doom(tid, bell);
            continue;
        }
        int64_t now = mprof_os_monotonic_ns();
        if (!(bell & MPROF_BELL_GROWN) && now < publisher.due)
            mprof_os_wait_for(&publisher.bell, bell, publisher.due - now);
        else
            publish(tid, false);
    }
}

/* Starts the thread with all signals blocked: they are the program's. */
static struct mprof_file_failure spawn_locked(void)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    int result = pthread_attr_init(&attributes);
    if (result != 0)
        return (struct mprof_file_failure){result, "pthread_attr_init"};
    __atomic_fetch_and(&publisher.bell, ~(uint32_t)(LEAVE | FINAL), __ATOMIC_SEQ_CST);
    __atomic_store_n(&publisher.ended, 0, __ATOMIC_SEQ_CST);
    publisher.joined = false;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    result = pthread_attr_setstacksize(&attributes, STACK);
    if (result == 0)
        result = pthread_create(&publisher.thread, &attributes, run, NULL);
    if (result == EINVAL) /* thread-local storage of the program's libraries does not leave room in a small stack */
        result = pthread_create(&publisher.thread, NULL, run, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    if (result != 0)
        publisher.joined = true;
    return (struct mprof_file_failure){result, "pthread_create"};
}

/* ---- waiting for it ---- */

static bool wait_until_set(uint32_t *word, int64_t timeout_ns)
{
    int64_t end = mprof_os_monotonic_ns() + timeout_ns;
    while (!__atomic_load_n(word, __ATOMIC_SEQ_CST)) {
        int64_t now = mprof_os_monotonic_ns();
        if (now >= end)
            return false;
        mprof_os_wait_for(word, 0, end - now);
    }
    return true;
}

static void tell(uint32_t bits)
{
    __atomic_fetch_or(&publisher.bell, bits, __ATOMIC_SEQ_CST);
    mprof_os_wake(&publisher.bell);
}

void mprof_publisher_doom(int signal)
{
    int saved = errno;
    __atomic_store_n(&publisher.doom, signal, __ATOMIC_SEQ_CST);
    tell(DOOMED);
    errno = saved;
}

void mprof_publisher_spare(void)
{
    __atomic_store_n(&publisher.doom, 0, __ATOMIC_SEQ_CST);
    mprof_os_wake(&publisher.bell);
}

/* The thread has said that it ends: what is left of it is a few instructions. */
static void join_locked(void)
{
    if (!publisher.joined && __atomic_load_n(&publisher.ended, __ATOMIC_SEQ_CST)) {
        (void)pthread_join(publisher.thread, NULL);
        publisher.joined = true;
        publisher.info.tid = 0;
    }
}

/* ---- fork ---- */

static void before_fork(void)
{
    mprof_lock_acquire(&publisher.lock);
    publisher.pid = (long)getpid();
}

static void after_fork_parent(void)
{
    mprof_lock_release(&publisher.lock);
}

static void after_fork_child(void)
{
    if (publisher.state != OFF)
        publisher.state = publisher.state == LOST ? OFF : DORMANT;
    publisher.joined = true;
    publisher.info.running = false;
    publisher.info.tid = 0;
    publisher.doom = 0;
    publisher.doomed_ns = 0;
    mprof_file_after_fork();
    mprof_lock_reset(&publisher.lock);
}

static int register_once(void)
{
    int result = publisher.registered ? 0 : pthread_atfork(before_fork, after_fork_parent, after_fork_child);
    publisher.registered = result == 0;
    return result;
}

/* ---- life cycle ---- */

static struct mprof_file_failure start_locked(const struct mprof_publisher_options *options)
{
    mprof_publication_end(&publisher.publication);
    int error = mprof_publication_begin(&publisher.publication, &options->publication);
    if (error != 0)
        return (struct mprof_file_failure){error, error == ENOMEM ? "mmap" : "open"};
    error = register_once();
    if (error != 0)
        return (struct mprof_file_failure){error, "pthread_atfork"};
    publisher.every_ns = options->every_ns;
    publisher.growth = options->growth;
    publisher.due = 0;
    publisher.retry_ns = options->every_ns;
    publisher.high = 0;
    publisher.result = 0;
    publisher.info = (struct mprof_publisher_info){.running = true};
    memcpy(publisher.info.path, publisher.publication.path, sizeof publisher.info.path);
    __atomic_store_n(&publisher.bell, MPROF_BELL_CHANGED, __ATOMIC_SEQ_CST);
    __atomic_store_n(&publisher.first, 0, __ATOMIC_SEQ_CST);
    struct mprof_file_failure failure = spawn_locked();
    publisher.info.running = failure.error == 0;
    return failure;
}

int mprof_publisher_start(const struct mprof_publisher_options *options, struct mprof_file_failure *failure)
{
    int result = MPROF_PUBLISHER_ACTIVE;
    mprof_lock_acquire(&publisher.lock);
    if (publisher.state == LOST && __atomic_load_n(&publisher.ended, __ATOMIC_SEQ_CST))
        publisher.state = OFF;
    if (publisher.state == OFF) {
        *failure = start_locked(options);
        result = failure->error == 0 ? 0 : MPROF_PUBLISHER_NO_THREAD;
        if (result == 0)
            publisher.state = ON;
    }
    mprof_lock_release(&publisher.lock);
    if (result != 0)
        return result;
    bool over = wait_until_set(&publisher.first, START_TIMEOUT);
    mprof_lock_acquire(&publisher.lock);
    *failure = over ? publisher.first_failure : (struct mprof_file_failure){ETIMEDOUT, "write"};
    if (!over || publisher.first_result < 0)
        result = MPROF_PUBLISHER_FAILED;
    mprof_lock_release(&publisher.lock);
    return result;
}

int mprof_publisher_stop(int64_t timeout_ns)
{
    mprof_publisher_resume();
    mprof_lock_acquire(&publisher.lock);
    if (publisher.state == DORMANT || publisher.state == PAUSED) /* paused: there was no thread to be had */
        publisher.state = OFF;
    bool stops = publisher.state == ON;
    if (stops)
        publisher.state = STOPPING;
    mprof_lock_release(&publisher.lock);
    if (!stops)
        return 1;
    tell(LEAVE | FINAL);
    bool ended = wait_until_set(&publisher.ended, timeout_ns);
    mprof_lock_acquire(&publisher.lock);
    int result = ended ? -(publisher.result < 0) : -2;
    publisher.state = ended ? OFF : LOST;
    publisher.info.running = false;
    publisher.info.complete = result == 0;
    if (ended)
        join_locked();
    else
        (void)pthread_detach(publisher.thread);
    mprof_lock_release(&publisher.lock);
    mprof_recorder_arm(NULL, 0, 0, 0);
    return result;
}

/* A thread that has been joined is still counted by the kernel for some microseconds; if the machine is busy, for
 * milliseconds. */
static void wait_until_gone(long tid)
{
    const struct timespec step = {0, 20000};
    int64_t end = mprof_os_monotonic_ns() + PAUSE_TIMEOUT;
    while (tid != 0 && mprof_os_thread_lives(tid) && mprof_os_monotonic_ns() < end)
        (void)nanosleep(&step, NULL);
}

void mprof_publisher_pause(void)
{
    mprof_lock_acquire(&publisher.lock);
    bool pauses = publisher.state == ON;
    if (pauses)
        publisher.state = PAUSED;
    mprof_lock_release(&publisher.lock);
    if (!pauses)
        return;
    tell(LEAVE);
    (void)wait_until_set(&publisher.ended, PAUSE_TIMEOUT);
    mprof_lock_acquire(&publisher.lock);
    long tid = publisher.info.tid;
    join_locked();
    bool joined = publisher.joined;
    mprof_lock_release(&publisher.lock);
    if (joined)
        wait_until_gone(tid);
}

/* No thread to be had: the next pause and resume, or stop, tries again. */
void mprof_publisher_resume(void)
{
    mprof_lock_acquire(&publisher.lock);
    if (publisher.state == PAUSED) {
        join_locked();
        if (!publisher.joined) {
            __atomic_fetch_and(&publisher.bell, ~(uint32_t)LEAVE, __ATOMIC_SEQ_CST);
            publisher.state = ON;
        } else if (spawn_locked().error == 0) {
            publisher.state = ON;
        }
    }
    mprof_lock_release(&publisher.lock);
}

void mprof_publisher_adopt(void)
{
    mprof_lock_acquire(&publisher.lock);
    if (publisher.state == DORMANT) {
        mprof_publication_adopt(&publisher.publication, publisher.pid);
        memcpy(publisher.info.path, publisher.publication.path, sizeof publisher.info.path);
        update_info_locked(0);
        publisher.info.complete = false;
        publisher.due = mprof_os_monotonic_ns() + publisher.every_ns;
        publisher.retry_ns = publisher.every_ns;
        __atomic_store_n(&publisher.bell, MPROF_BELL_CHANGED, __ATOMIC_SEQ_CST);
        publisher.info.running = spawn_locked().error == 0;
        publisher.state = publisher.info.running ? ON : OFF;
    }
    mprof_lock_release(&publisher.lock);
}

void mprof_publisher_info(struct mprof_publisher_info *info)
{
    mprof_lock_acquire(&publisher.lock);
    *info = publisher.info;
    mprof_lock_release(&publisher.lock);
}
