/* SPDX-License-Identifier: MIT */
/* test_recorder_faults.c -- the recorder without memory.
 *
 * One scripted workload (recorder_model.h: adds, frees, reallocs that succeed and fail, snapshots, pruning) is run once
 * undisturbed, to count the requests N of the profile's arena, then again for each n <= N with the n-th request
 * refused, alone and with all that follow. Then the same under limits of the arena, and with the system itself out of
 * memory. */
#define _GNU_SOURCE
#include "recorder_model.h"
#include "sanitizer.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEPS = 600, BULK = 36000 };

static struct model model;
static struct fake_code pool[BULK];

/* A snapshot is right or there is none. */
static bool snapshot_is_right(void)
{
    struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
    bool right = !snapshot || model_matches_snapshot(&model, snapshot);
    mprof_snapshot_decref(snapshot);
    return right;
}

static uint64_t drops(void)
{
    struct mprof_recorder_totals totals;
    mprof_recorder_totals(&totals);
    return totals.drops;
}

static bool all_is_right(uint64_t seed)
{
    return check(mprof_recorder_valid(), "seed %" PRIu64 ": invariants", seed) && model_matches_totals(&model) &&
           check(drops() == model.adds - model.recorded + model.restore_drops,
                 "seed %" PRIu64 ": %" PRIu64 " drops of %" PRIu64 " adds, %" PRIu64 " recorded", seed, drops(),
                 model.adds, model.recorded);
}

/* Random events, then enough new code to prune, then more events. In exact mode every add must be recorded or counted
 * as dropped. */
static bool workload(uint64_t seed, bool prune)
{
    struct mprof_rng rng;
    mprof_rng_seed(&rng, seed);
    for (int i = 0; i < STEPS; i++)
        model_step(&model, &rng);
    if (!all_is_right(seed) || !snapshot_is_right())
        return false;
    if (prune) {
        /* These stacks are none of the model's; all their blocks are freed. */
        uint64_t before = drops();
        uint64_t recorded = 0;
        for (uint32_t i = 0; i < BULK; i++) {
            fake_depth = 0;
            fake_call(&pool[i], 0);
            fake_malloc(0x1000, 0);
            recorded += is_recorded(0x1000);
            fake_free(0x1000);
        }
        if (!check(drops() - before == BULK - recorded, "drops while pruning"))
            return false;
        model.restore_drops += drops() - before;
    }
    for (int i = 0; i < STEPS; i++)
        model_step(&model, &rng);
    return all_is_right(seed);
}

static void begin(uint64_t seed)
{
    model_init(&model, 1);
    if (fake_start(1, 64, seed, 0) != 0)
        bail("cannot start");
}

static void test_each_request(uint64_t seed, bool prune)
{
    begin(seed);
    uint64_t first = mprof_recorder.arena.requests;
    if (!workload(seed, prune) || drops() != 0)
        bail("the workload fails without any fault");
    uint64_t requests = mprof_recorder.arena.requests - first;
    uint64_t prunes = mprof_recorder.prunes;
    mprof_recorder_stop();
    ok(prunes > 1 || !prune, "the workload makes %" PRIu64 " requests and prunes %" PRIu64 " times", requests, prunes);
    for (int from_then_on = 0; from_then_on < 2; from_then_on++) {
        bool right = true;
        uint64_t dropped = 0;
        for (uint64_t n = 1; n <= requests && right; n++) {
            begin(seed);
            mprof_recorder_fail(n, from_then_on ? UINT64_MAX / 2 : 0);
            right = check(workload(seed, prune), "request %" PRIu64, n);
            dropped += drops();
            mprof_recorder_fail(0, 0);
            /* With memory again, everything works again. */
            uint64_t before = drops();
            model_enter(0);
            fake_malloc(0x1000, 0);
            right = right && check(drops() == before, "request %" PRIu64 ": no recovery", n);
            mprof_recorder_stop();
        }
        ok(right, "%s: each of %" PRIu64 " requests refused %s", prune ? "with pruning" : "without pruning", requests,
           from_then_on ? "with all that follow" : "once");
        ok(dropped > 0, "which was not without effect");
    }
}

/* Thinning and details (sampled mode): the model does not follow thinning, so invariants and counts alone. */
static void test_sampled(void)
{
    bool right = true;
    uint64_t dropped = 0;
    uint64_t thinnings = 0;
    for (uint64_t n = 1; n <= 150 && right; n++) {
        fake_start(500, 64, n, 200);
        mprof_recorder_fail(n, n % 2 ? UINT64_MAX / 2 : 0);
        for (int i = 0; i < 3000; i++) {
            model_enter(i % MODEL_STACKS);
            fake_malloc(0x100000 + 32 * (uintptr_t)i, 300);
            if (i % 8 == 0)
                fake_free(0x100000 + 32 * (uintptr_t)(i / 2));
        }
        right = check(mprof_recorder_valid(), "request %" PRIu64 ": invariants", n);
        struct mprof_recorder_totals totals;
        mprof_recorder_totals(&totals);
        dropped += totals.drops;
        thinnings += totals.thinnings;
        right = right && check(totals.live <= 200, "bound");
        mprof_recorder_fail(0, 0);
        struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
        double inuse = 0;
        for (uint32_t i = 0; snapshot && i < mprof_snapshot_stack_count(snapshot); i++)
            inuse += mprof_snapshot_stacks(snapshot)[i].inuse.bytes;
        right = right && check(snapshot && mprof_snapshot_block_count(snapshot) == totals.live &&
                                   fabs(inuse - totals.bytes) <= 1e-9 * totals.bytes,
                               "request %" PRIu64 ": snapshot", n);
        mprof_snapshot_decref(snapshot);
        mprof_recorder_stop();
    }
    ok(right && dropped > 0 && thinnings > 0, "sampled: requests refused (%" PRIu64 " drops, %" PRIu64 " thinnings)",
       dropped, thinnings);
}

/* A byte limit on the profile. Too small to start is an error, not a crash. */
static void test_limits(void)
{
    bool right = true;
    int refused = 0;
    int started = 0;
    for (size_t limit = 4096; limit <= 2 << 20; limit += 16384) {
        struct mprof_recorder_options options = {
            .sample_rate = 1, .max_frames = 64, .memory_limit = limit, .source = &fake_source};
        model_init(&model, 1);
        int result = mprof_recorder_start(&options);
        if (result != 0) {
            refused++;
            right = right && check(result == MPROF_RECORDER_NO_MEMORY && !mprof_recorder_active(), "limit %zu", limit);
            model_enter(3);
            fake_malloc(0x1000, 10);
            fake_free(0x1000);
            continue;
        }
        started++;
        right =
            right && check(workload(limit, limit % 65536 == 4096), "limit %zu", limit) &&
            check(mprof_recorder.arena.mapped <= limit, "limit %zu: %zu mapped", limit, mprof_recorder.arena.mapped);
        right = right && check(mprof_recorder_clear() == 0, "limit %zu: clear", limit);
        mprof_recorder_stop();
    }
    ok(right && refused > 0 && started > 0, "limits of the arena: %d starts refused, %d in little memory", refused,
       started);
}

/* ---- the system's own refusal, in a child ---- */

static size_t mapped_now(void)
{
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (!statm || fscanf(statm, "%lu", &pages) != 1)
        pages = 0;
    if (statm)
        fclose(statm);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Runs with `room` bytes more than are mapped now; looks at the result when memory is back. Exit status 0: right; 1:
 * wrong; 2: right, but nothing was dropped; 3: cannot limit; 4: errno has changed, which hooks must not do. */
static int starved_child(size_t room)
{
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 5);
    begin(1);
    struct rlimit limit;
    struct rlimit starved;
    getrlimit(RLIMIT_AS, &limit);
    starved = limit;
    starved.rlim_cur = mapped_now() + room;
    if (setrlimit(RLIMIT_AS, &starved) != 0)
        return 3;
    errno = 77;
    for (int i = 0; i < STEPS; i++)
        model_step(&model, &rng);
    bool kept = errno == 77;
    bool right = snapshot_is_right(); /* says in errno why there is none */
    errno = 77;
    for (uint32_t i = 0; i < BULK; i++) {
        fake_depth = 0;
        fake_call(&pool[i], 0);
        fake_malloc(0x1000, 0);
        model.adds++;
        model.recorded += is_recorded(0x1000);
        fake_free(0x1000);
    }
    for (int i = 0; i < STEPS; i++)
        model_step(&model, &rng);
    kept = kept && errno == 77;
    setrlimit(RLIMIT_AS, &limit);
    if (!right || !all_is_right(5))
        return 1;
    if (!kept)
        return 4;
    return drops() > 0 ? 0 : 2;
}

static void test_system(void)
{
    if (MPROF_TESTS_ASAN || MPROF_TESTS_TSAN || running_on_valgrind()) {
        skip(2, "checkers need address space without limit");
        return;
    }
    if (running_emulated()) {
        skip(2, "the emulator does not hold the program to its limit");
        return;
    }
    static const size_t rooms[] = {0, 65536, 262144, 1 << 20, 1 << 22};
    bool right = true;
    int starved = 0;
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0)
            _exit(starved_child(rooms[i]));
        int status;
        waitpid(pid, &status, 0);
        right = right && check(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 2),
                               "%zu bytes of room: status %x", rooms[i], (unsigned)status);
        starved += WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    ok(right, "a system without memory: samples are dropped, the rest is right");
    ok(starved > 0, "memory did run out");
}

/* A thread whose state cannot be made. */
static void test_no_thread_state(void)
{
    struct mprof_recorder_totals totals;
    begin(1);
    struct mprof_arena *arena = &mprof_recorder.thread_arena;
    arena->fail_at = arena->requests + 1;
    arena->fail_count = UINT64_MAX / 2;
    mprof_recorder_stop();
    struct mprof_recorder_options options = {.sample_rate = 1, .max_frames = 60000, .source = &fake_source};
    is_int(mprof_recorder_start(&options), 0, "the filter is there already");
    model_enter(1);
    fake_malloc(0x1000, 10);
    mprof_recorder_totals(&totals);
    is_uint(totals.drops, 1, "no buffer for the frames: the sample is dropped");
    arena->fail_at = 0;
    fake_malloc(0x1000, 10);
    mprof_recorder_totals(&totals);
    is_uint(totals.live, 1, "with memory again it is not");
    mprof_recorder_stop();
}

/* Filters grow in the arena that is never dropped; a filter that cannot grow lets more through and misses nothing. */
static void test_no_filter(void)
{
    bool watched = true;
    fake_start(2, 8, 1, 0);
    model_enter(1);
    fake_malloc(0x1000, 100);
    struct mprof_arena *arena = &mprof_recorder.thread_arena;
    arena->fail_at = arena->requests + 1;
    arena->fail_count = UINT64_MAX / 2;
    for (uintptr_t i = 0; i < 20000; i++)
        fake_malloc(0x2000 + 48 * i, 100);
    for (uintptr_t i = 0; i < 20000; i++)
        watched = watched && mprof_recorder_watched(0x2000 + 48 * i);
    ok(watched, "a filter that cannot grow still knows every address");
    arena->fail_at = 0;
    for (uintptr_t i = 0; i < 20000; i++)
        fake_free(0x2000 + 48 * i);
    is_uint(mprof_recorder.live.count, 1, "and all are removed");
    ok(mprof_recorder_valid(), "invariants");
    mprof_recorder_stop();
}

int main(void)
{
    for (uint32_t i = 0; i < BULK; i++)
        pool[i] = fake_code(1000 + i, i, 1);
    test_no_thread_state();
    test_no_filter();
    test_each_request(1, false);
    test_each_request(2, true);
    test_sampled();
    test_limits();
    test_system();
    return done();
}
