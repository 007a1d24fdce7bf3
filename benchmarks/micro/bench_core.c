/* SPDX-License-Identifier: MIT */
/* bench_core.c -- what the core costs, piece by piece.
 *
 * WHAT    Nanoseconds of the fast paths, of the live table by size, of add and remove by depth and mode; the time a
 *         snapshot takes and the time the program waits for it; how often the filter sends a free the slow way.
 *
 *             every figure: the least of several rounds, since all that disturbs a round makes it longer
 *
 *         How long a snapshot holds the lock is measured without a hook in the core: the linker puts two functions
 *         between (--wrap). The snapshot maps room right before it takes the lock for the copy, and looks at the clock
 *         as the last thing before it gives it back.
 * WHY     A program that runs for seconds, no asserts: machines differ, and a benchmark that fails on a busy one is
 *         soon ignored.
 * LOCKS   none of its own.
 * MEMORY  addresses are numbers; only the profiler's tables take memory. */
#define _GNU_SOURCE
#include "core/recorder_private.h"
#include "core/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 5, CODES = 1024 };

/* ---- a runtime of fixed stacks ---- */

struct code {
    _Alignas(64) uint32_t number;
};

static struct code codes[CODES];
static uint32_t depth;
static uint32_t leaf;       /* which code is innermost */
static uint32_t change = 1; /* innermost frames that depend on `leaf` */

static struct mprof_walked walk(bool attached, const struct mprof_lastwalk *last, struct mprof_rawframe *frames,
                                uint32_t max)
{
    (void)attached;
    uint32_t all = depth < max ? depth : max;
    struct mprof_walked walked = {last->count == all && change < all ? change : all, 0, NULL};
    walked.kept = all - walked.count;
    for (uint32_t i = 0; i < walked.count; i++)
        frames[i] = (struct mprof_rawframe){
            .code = &codes[(i < change ? leaf + i : i) % CODES], .offset = 2 * i, .place = NULL};
    return walked;
}

static uint32_t count_more(const void *more, uint32_t limit)
{
    (void)more;
    return limit;
}

static uint64_t fingerprint(const void *code)
{
    return mprof_mix64(((const struct code *)code)->number);
}

static void describe(const void *address, struct mprof_description *d)
{
    uint32_t number = ((const struct code *)address)->number;
    d->name_length = (size_t)snprintf(d->name, sizeof d->name, "function_%u", number);
    d->filename_length = (size_t)snprintf(d->filename, sizeof d->filename, "module_%u.py", number / 10);
    d->firstlineno = number;
    d->lines_hash = number;
}

static uint32_t line(const void *code, uint32_t offset)
{
    return ((const struct code *)code)->number + offset / 2;
}

static const struct mprof_source source = {walk, count_more, fingerprint, describe, line};

static void start(double rate)
{
    struct mprof_recorder_options options = {
        .sample_rate = rate, .max_frames = 128, .seeded = true, .seed = 1, .source = &source};
    if (mprof_recorder_start(&options) != 0) {
        fputs("bench_core: no memory\n", stderr);
        exit(1);
    }
}

/* ---- measuring ---- */

static double now(void)
{
    return (double)mprof_os_monotonic_ns();
}

static void report(const char *what, double ns)
{
    printf("%-58s %10.2f ns\n", what, ns);
    fflush(stdout);
}

/* Least time per item over the rounds. */
static double least(double (*round)(void *context), void *context)
{
    double best = round(context);
    for (int i = 1; i < ROUNDS; i++) {
        double time = round(context);
        best = time < best ? time : best;
    }
    return best;
}

static volatile uint64_t sink;

/* ---- fast paths ---- */

enum { LOOPS = 20000000 };

static double pass_round(void *context)
{
    (void)context;
    uint64_t passed = 0;
    mprof_tls.countdown = UINT64_MAX / 2;
    double begin = now();
    for (uint64_t i = 0; i < LOOPS; i++) {
        passed += mprof_sampler_pass(64);
        __asm__ volatile("" ::: "memory"); /* as between two allocations, nothing is known of the countdown */
    }
    sink = passed;
    double time = (now() - begin) / LOOPS;
    mprof_tls.countdown = 0;
    return time;
}

static double look_round(void *context)
{
    (void)context;
    uint64_t seen = 0;
    double begin = now();
    for (uint64_t i = 0; i < LOOPS; i++) {
        seen +=
            mprof_recorder_watched((uintptr_t)(0x7e0000000000 + (mprof_mix64(i) & 0x3fffff0))); /* 64 MiB of blocks */
        __asm__ volatile("" ::: "memory");
    }
    sink = seen;
    return (now() - begin) / LOOPS;
}

static double gap_round(void *context)
{
    struct mprof_rng *rng = context;
    uint64_t sum = 0;
    double begin = now();
    for (int i = 0; i < LOOPS / 10; i++)
        sum += mprof_sampler_gap(rng, 524288);
    sink = sum;
    return (now() - begin) / (LOOPS / 10);
}

static void bench_sampler(void)
{
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 1);
    report("sampler: pass", least(pass_round, NULL));
    report("sampler: draw a gap", least(gap_round, &rng));
}

/* ---- live table ---- */

struct table_run {
    struct mprof_arena arena;
    struct mprof_livetable table;
    uint64_t live;
    uint64_t next;
    struct mprof_rng rng;
    bool random;
    bool paged;
};

static uintptr_t table_address(uint64_t i)
{
    return (uintptr_t)(0x7f0000000000 + 64 * i);
}

/* Takes one block and puts another: neighbours in time are neighbours in memory, or scattered. */
static double table_round(void *context)
{
    struct table_run *run = context;
    enum { OPERATIONS = 500000 };
    struct mprof_live entry = {0, 0, 0};
    double begin = now();
    for (int i = 0; i < OPERATIONS; i++) {
        uint64_t old = run->random ? mprof_mix64(run->next) % run->live : run->next % run->live;
        run->next++;
        (void)mprof_livetable_take(&run->table, table_address(old), &entry);
        entry = (struct mprof_live){table_address(old), 1, 64};
        (void)mprof_livetable_put(&run->table, &run->arena, &entry, run->paged, &entry);
    }
    return (now() - begin) / OPERATIONS;
}

static void bench_table(uint64_t live, bool random, bool paged)
{
    struct table_run run = {.live = live, .random = random, .paged = paged};
    struct mprof_live entry;
    const char *where = paged ? "in pages" : "in shards";
    char what[96];
    mprof_arena_init(&run.arena, 0);
    mprof_livetable_init(&run.table);
    double begin = now();
    for (uint64_t i = 0; i < live; i++) {
        entry = (struct mprof_live){table_address(i), 1, 64};
        (void)mprof_livetable_put(&run.table, &run.arena, &entry, paged, &entry);
    }
    double fill = (now() - begin) / (double)live;
    if (!random) {
        snprintf(what, sizeof what, "live table: fill to %" PRIu64 ", %s (%.1f bytes a block)", live, where,
                 (double)run.arena.mapped / (double)live);
        report(what, fill);
    }
    snprintf(what, sizeof what, "live table: take + put, %" PRIu64 " live, %s, %s", live, where,
             random ? "scattered" : "in order");
    report(what, least(table_round, &run));
    mprof_arena_drop(&run.arena);
}

static void bench_livetable(void)
{
    for (uint64_t live = 10000; live <= 1000000; live *= 10)
        for (int way = 0; way < 4; way++)
            bench_table(live, way & 1, way >= 2);
}

/* ---- recorder ---- */

struct recorder_run {
    bool same_stack;
    uint64_t count;
};

static double recorder_round(void *context)
{
    const struct recorder_run *run = context;
    bool sampled = !mprof_recorder_is_exact();
    double begin = now();
    for (uint64_t i = 0; i < run->count; i++) {
        leaf = run->same_stack ? 0 : (uint32_t)(i * 7 % 500);
        mprof_recorder_add(true, table_address(i % 1000), sampled ? 1 << 30 : 64);
        mprof_recorder_remove(table_address(i % 1000));
    }
    return (now() - begin) / (double)run->count;
}

static void bench_recorder(void)
{
    static const uint32_t depths[] = {1, 20, 100};
    for (int sampled = 0; sampled < 2; sampled++) {
        for (int d = 0; d < 3; d++) {
            for (int same = 1; same >= 0; same--) {
                struct recorder_run run = {same, 200000};
                char what[96];
                depth = depths[d];
                change = 1;
                start(sampled ? 524288 : 1);
                snprintf(what, sizeof what, "recorder: add + remove, %s, %u frames, %s", sampled ? "sampled" : "exact",
                         depth, same ? "one stack" : "500 leaves");
                report(what, least(recorder_round, &run));
                mprof_recorder_stop();
            }
        }
        depth = 20;
        change = 20;
        start(sampled ? 524288 : 1);
        struct recorder_run run = {false, 200000};
        report(sampled ? "recorder: add + remove, sampled, 20 frames, all differ"
                       : "recorder: add + remove, exact, 20 frames, all differ",
               least(recorder_round, &run));
        mprof_recorder_stop();
    }
}

/* ---- snapshot ---- */

void *__real_mprof_os_map_present(size_t size);
void *__wrap_mprof_os_map_present(size_t size);
int64_t __real_mprof_os_monotonic_coarse_ns(void);
int64_t __wrap_mprof_os_monotonic_coarse_ns(void);

static int64_t mapped_at;
static int64_t copied_at;
static bool timing;

void *__wrap_mprof_os_map_present(size_t size)
{
    void *memory = __real_mprof_os_map_present(size);
    mapped_at = mprof_os_monotonic_ns();
    return memory;
}

int64_t __wrap_mprof_os_monotonic_coarse_ns(void)
{
    if (timing)
        copied_at = mprof_os_monotonic_ns();
    return __real_mprof_os_monotonic_coarse_ns();
}

static void bench_snapshot(void)
{
    for (uint64_t live = 100000; live <= 1000000; live *= 10) {
        for (int sampled = 0; sampled < 2; sampled++) {
            depth = 20;
            change = 3;
            start(sampled ? 2 : 1);
            for (uint64_t i = 0; i < live; i++) {
                leaf = (uint32_t)(i * 7 % 997);
                mprof_recorder_add(true, table_address(i), sampled ? 1 << 10 : 64);
            }
            double whole = 1e18;
            double held = 1e18;
            for (int i = 0; i < ROUNDS; i++) {
                timing = true;
                double begin = now();
                struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
                double time = now() - begin;
                timing = false;
                mprof_snapshot_decref(snapshot);
                whole = time < whole ? time : whole;
                time = (double)(copied_at - mapped_at);
                held = time < held ? time : held;
            }
            printf("snapshot: %7" PRIu64 " live, %-7s %34.2f ms, lock held %.2f ms\n", live,
                   sampled ? "sampled" : "exact", whole / 1e6, held / 1e6);
            fflush(stdout);
            mprof_recorder_stop();
        }
    }
}

/* A filter stays as large as it once was, so from few addresses to many. */
static void bench_filter(void)
{
    static const uint64_t watched[] = {0, 100, 1000, 10000, 100000, 262144};
    for (unsigned k = 0; k < sizeof watched / sizeof *watched; k++) {
        struct mprof_rng rng;
        char what[96];
        mprof_rng_seed(&rng, 5);
        depth = 1;
        start(2);
        for (uint64_t i = 0; i < watched[k]; i++)
            mprof_recorder_add(true, (uintptr_t)(0x7f0000000000 + 16 * (mprof_rng_next(&rng) % 100000000)), 1 << 20);
        uint64_t hits = 0;
        enum { LOOKS = 1000000 };
        for (int i = 0; i < LOOKS; i++)
            hits += mprof_recorder_watched((uintptr_t)(0x7e0000000000 + 16 * (mprof_rng_next(&rng) % 100000000)));
        snprintf(what, sizeof what, "filter: look, %" PRIu64 " watched, %u KiB, %.2f %% in vain", watched[k],
                 (1U << (64 - mprof_recorder.watched->shift)) >> 10, 100.0 * (double)hits / LOOKS);
        report(what, least(look_round, NULL));
        mprof_recorder_stop();
    }
}

int main(void)
{
    for (uint32_t i = 0; i < CODES; i++)
        codes[i].number = i;
    bench_sampler();
    bench_filter();
    bench_livetable();
    bench_recorder();
    bench_snapshot();
    return 0;
}
