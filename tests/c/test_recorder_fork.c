/* SPDX-License-Identifier: MIT */
/* test_recorder_fork.c -- forked children: hazards 8 and 10.
 *
 * The child of a program with threads may call little more than async-signal-safe functions, so it checks with plain
 * code and reports by its exit status, and what it has drawn through a pipe. */
#define _GNU_SOURCE
#define MPROF_TESTS_MREMAP
#include "addresses.h"
#include "await.h"
#include "fake_source.h"
#include "recorded.h"
#include "sanitizer.h"
#include "tap.h"

#include "core/recorder_private.h"
#include "core/snapshot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 3, KEPT = 100 };

static struct fake_code code;
static _Atomic bool over;

/* The clock of the workers, which the linker brings here (--wrap, tests/meson.build). It stands still, so that no fork is
 * long for them, however busy the machine is; a slow one sets it forward. */
static _Thread_local bool is_worker;
static _Atomic int64_t workers_ns = 1;
static _Atomic unsigned looks; /* of workers at their clock */

int64_t __real_mprof_os_monotonic_ns(void);
int64_t __wrap_mprof_os_monotonic_ns(void);

int64_t __wrap_mprof_os_monotonic_ns(void)
{
    if (!is_worker)
        return __real_mprof_os_monotonic_ns();
    int64_t ns = atomic_load(&workers_ns); /* before the look is told, or it could be of after the step */
    atomic_fetch_add(&looks, 1);
    return ns;
}

static uint64_t lost(void)
{
    return __atomic_load_n(&mprof_recorder.reentered, __ATOMIC_RELAXED);
}

/* What another library does before a fork, while the recorder's lock is held already: it takes more than a tenth of a
 * second, for somebody who waits for the lock. From then on nobody waits, and much is lost. */
static bool slowly;
static uint64_t slow_forks; /* so far */

static void be_slow(void)
{
    if (!slowly)
        return;
    slow_forks++;
    unsigned looked = atomic_load(&looks);
    AWAIT(atomic_load(&looks) != looked);
    uint64_t before = lost();
    atomic_fetch_add(&workers_ns, 150000000);
    AWAIT(lost() >= before + 1000);
}

/* Keeps the lock busy. */
static void *churn(void *number)
{
    uintptr_t base = ((uintptr_t)number + 1) * TEST_REGION;
    is_worker = true;
    fake_call(&code, 2);
    for (uintptr_t i = 0; !atomic_load(&over); i = (i + 1) % 1000) {
        fake_malloc(base + 16 * i, 100);
        fake_free(base + 16 * i);
    }
    return NULL;
}

/* Who meets a fork waits a tenth of a second, then gives up: what it records is dropped, and what it frees is, too, where
 * the list of such frees is full. The one block that each worker had may so stay recorded until its address is used
 * again. */
static uint64_t most_stale(void)
{
    return slow_forks * WORKERS;
}

/* 0: all is well; else which check failed. What the parent has dropped so far is not the child's fault. */
static int child(void)
{
    struct mprof_recorder_totals totals;
    mprof_recorder_totals(&totals);
    uint64_t drops = totals.drops;
    uint64_t stale = most_stale();
    if (!mprof_recorder_active() || totals.live < KEPT || totals.live > KEPT + WORKERS + stale)
        return 1;
    for (uintptr_t i = 0; i < KEPT; i++)
        fake_free(0x1000 + 16 * i);
    mprof_recorder_totals(&totals);
    if (totals.live > WORKERS + stale)
        return 2;
    uint64_t before = totals.live;
    for (uintptr_t i = 0; i < KEPT; i++)
        fake_malloc(0x1000 + 16 * i, 100);
    mprof_recorder_totals(&totals);
    if (totals.live != before + KEPT || totals.drops != drops)
        return 3;
    if (!mprof_recorder_valid())
        return 4;
    struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
    if (!snapshot || mprof_snapshot_block_count(snapshot) != totals.live)
        return 5;
    mprof_snapshot_decref(snapshot);
    mprof_recorder_stop();
    return mprof_recorder_active() ? 6 : 0;
}

static void test_forks(bool slow)
{
    atomic_store(&over, false);
    pthread_t threads[WORKERS];
    if (fake_start(1, 8, 1, 0) != 0)
        bail("cannot start");
    for (uintptr_t i = 0; i < KEPT; i++)
        fake_malloc(0x1000 + 16 * i, 100);
    for (uintptr_t i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], NULL, churn, (void *)i);
    const int wanted = slow ? 5 : running_on_valgrind() ? 25 : 500; /* a fork takes a second there */
    int forks = 0;
    bool right = true;
    slowly = slow;
    for (; forks < wanted && right; forks++) {
        pid_t pid = fork();
        if (pid < 0)
            bail("cannot fork");
        if (pid == 0) {
            alarm(60); /* a child that waits for a lock for ever fails, too */
            _exit(child());
        }
        int status;
        waitpid(pid, &status, 0);
        right = check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "fork %d: child ended with status %x", forks,
                      (unsigned)status);
    }
    slowly = false;
    atomic_store(&over, true);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    ok(right && forks == wanted,
       "%d %sforks while other threads record: the child has the parent's samples and goes on", forks,
       slow ? "slow " : "");
    struct mprof_recorder_totals totals;
    mprof_recorder_totals(&totals);
    ok(totals.live >= KEPT && totals.live <= KEPT + most_stale(), "the parent has kept its own");
    if (slow)
        ok(totals.drops >= 1000 * slow_forks, "and lost much in each, which is said");
    else
        is_uint(totals.drops, 0, "and lost nothing");
    diag("%" PRIu64 " live, %" PRIu64 " dropped", totals.live, totals.drops);
    ok(mprof_recorder_valid(), "invariants");
    mprof_recorder_stop();
}

/* A thread that has recorded nothing yet in this session, or in this process, takes a block from a free list. */
static struct fake_code reuser;

static int note_name(void *text, const struct mprof_frame_view *frame)
{
    (void)snprintf(text, 16, "%.*s", (int)frame->name_length, frame->name);
    return 1; /* the innermost is enough */
}

static bool reused_by_reuser(uintptr_t address)
{
    char text[16] = "";
    fake_call(&reuser, 4);
    mprof_recorder_reuse(true, address);
    fake_return(1);
    mprof_recorder_stack(address, note_name, text);
    return strcmp(text, "f2") == 0;
}

static void *reuse_first(void *result)
{
    *(bool *)result = reused_by_reuser(0x1000);
    return NULL;
}

static void test_reuse_comes_first(void)
{
    bool right = false;
    int status = -1;
    pthread_t thread;
    reuser = fake_code(2, 2, 1);
    fake_start(1, 8, 1, 0);
    fake_call(&code, 2);
    fake_malloc(0x1000, 10);
    fake_malloc(0x2000, 10);
    pthread_create(&thread, NULL, reuse_first, &right);
    pthread_join(thread, NULL);
    ok(right, "a new thread's first act is to use a block again");
    pid_t pid = fork();
    if (pid == 0)
        _exit(!reused_by_reuser(0x2000));
    waitpid(pid, &status, 0);
    is_int(status, 0, "and that of a child");
    ok(mprof_recorder_valid(), "invariants");
    fake_return(1);
    mprof_recorder_stop();
}

struct drawn {
    uint64_t pattern; /* which of 64 allocations were sampled */
    uint64_t recording;
};

static struct drawn draw(void)
{
    struct drawn drawn = {0, 0};
    for (uintptr_t i = 0; i < 64; i++) {
        fake_malloc(0x100000 + 16 * i, 1000);
        drawn.pattern = drawn.pattern << 1 | is_recorded(0x100000 + 16 * i);
    }
    drawn.recording = mprof_recorder.recording;
    return drawn;
}

/* Parent and children all draw from the same moment on; each must draw something else. */
static void test_random_numbers(bool seeded)
{
    enum { CHILDREN = 8 };
    struct drawn drawn[CHILDREN + 1];
    const struct mprof_recorder_options options = {
        .sample_rate = 1000, .max_frames = 8, .seeded = seeded, .seed = 7, .source = &fake_source};
    mprof_recorder_start(&options);
    fake_malloc(0x1000, 1);
    for (int i = 0; i < CHILDREN; i++) {
        int ends[2];
        if (pipe(ends) != 0)
            bail("cannot make a pipe");
        pid_t pid = fork();
        if (pid == 0) {
            struct drawn mine = draw();
            _exit(write(ends[1], &mine, sizeof mine) == (ssize_t)sizeof mine ? 0 : 1);
        }
        if (pid < 0 || read(ends[0], &drawn[i], sizeof drawn[i]) != (ssize_t)sizeof drawn[i])
            bail("a child said nothing");
        close(ends[0]);
        close(ends[1]);
        waitpid(pid, NULL, 0);
    }
    drawn[CHILDREN] = draw();
    bool patterns = true;
    bool recordings = true;
    for (int i = 0; i <= CHILDREN; i++) {
        for (int j = 0; j < i; j++) {
            patterns = patterns && drawn[i].pattern != drawn[j].pattern;
            recordings = recordings && drawn[i].recording != drawn[j].recording;
        }
    }
    ok(patterns, "%s: parent and children sample differently", seeded ? "seeded" : "unseeded");
    ok(recordings, "%s: each is a recording of its own", seeded ? "seeded" : "unseeded");
    mprof_recorder_stop();
}

/* A child of a child, and one forked while nothing is recorded. */
static void test_generations(void)
{
    int status;
    fake_start(1, 8, 1, 0);
    for (uintptr_t i = 0; i < KEPT; i++)
        fake_malloc(0x1000 + 16 * i, 100);
    pid_t pid = fork();
    if (pid == 0) {
        pid_t grandchild = fork();
        if (grandchild == 0)
            _exit(child());
        waitpid(grandchild, &status, 0);
        _exit(WIFEXITED(status) && WEXITSTATUS(status) == 0 ? child() : 99);
    }
    waitpid(pid, &status, 0);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child's child");
    mprof_recorder_stop();
    pid = fork();
    if (pid == 0) {
        if (mprof_recorder_active() || fake_start(1, 8, 1, 0) != 0)
            _exit(1);
        for (uintptr_t i = 0; i < KEPT; i++)
            fake_malloc(0x1000 + 16 * i, 100);
        _exit(child());
    }
    waitpid(pid, &status, 0);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child can start for itself");
}

/* Threads' states of the parent are free in the child: new threads take them. */
static void *one_block(void *address)
{
    fake_malloc((uintptr_t)address, 1);
    return NULL;
}

static uint64_t count_states(void)
{
    uint64_t states = 0;
    for (const struct mprof_thread *t = mprof_recorder.threads; t; t = t->next)
        states++;
    return states;
}

static void *fork_in_thread(void *result)
{
    fake_malloc(0x3000, 1);
    uint64_t states = count_states();
    pid_t pid = fork();
    if (pid == 0) {
        fake_malloc(0x4000, 1);
        _exit(count_states() == states && mprof_recorder_valid() ? 0 : 1);
    }
    waitpid(pid, result, 0);
    return NULL;
}

static void test_states(void)
{
    pthread_t thread;
    int status = -1;
    fake_start(1, 8, 1, 0);
    pthread_create(&thread, NULL, one_block, (void *)0x2000);
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, fork_in_thread, &status);
    pthread_join(thread, NULL);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "forking in a thread: it keeps its state, no new one is made");
    mprof_recorder_stop();
}

int main(void)
{
    pthread_atfork(be_slow, NULL, NULL); /* before the recorder's, so called after it */
    code = fake_code(1, 1, 1);
    test_random_numbers(false);
    test_random_numbers(true);
    test_generations();
    test_states();
    test_reuse_comes_first();
    test_forks(false);
    test_forks(true);
    return done();
}
