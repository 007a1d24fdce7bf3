/* SPDX-License-Identifier: MIT */
/* test_thin.c -- the bound on live samples: hazard 11.
 *
 * Statements about means use fixed seeds and 3 standard errors. There are thirteen of them, so with another choice of
 * seeds a correct program would fail one in about 1 of 29 cases. */
#define _GNU_SOURCE
#include "addresses.h"
#include "fake_source.h"
#include "recorded.h"
#include "tap.h"

#include "core/recorder_private.h"
#include "core/snapshot.h"

#include <pthread.h>

enum { GROUPS = 3, SEEDS = 1000, BOUND = 60 };

static const double RATE = 2000;
static struct fake_code codes[GROUPS];
static const uint64_t sizes[GROUPS] = {64, 1500, 20000}; /* far below, near and far above the rate */
static const int counts[GROUPS] = {4000, 100, 10};

/* Sums over seeds of what is to be compared with a truth. */
struct mean {
    double sum;
    double squares;
    int count;
};

static void mean_add(struct mean *mean, double x)
{
    mean->sum += x;
    mean->squares += x * x;
    mean->count++;
}

static void mean_is(const struct mean *mean, double truth, const char *what)
{
    double n = mean->count;
    double average = mean->sum / n;
    double error = sqrt((mean->squares / n - average * average) / n);
    ok(fabs(average - truth) <= 3 * error, "%s: mean of %d seeds within 3 standard errors", what, mean->count);
    diag("truth %g, mean %g, standard error %g", truth, average, error);
}

static uint64_t live(void)
{
    struct mprof_recorder_totals totals;
    mprof_recorder_totals(&totals);
    return totals.live;
}

static uintptr_t address(int group, int i)
{
    return (uintptr_t)(group + 1) * TEST_REGION + 32 * (uintptr_t)i;
}

static void allocate(int group, int i)
{
    fake_depth = 0;
    fake_call(&codes[group], 0);
    fake_malloc(address(group, i), sizes[group]);
}

static const struct mprof_stack *stack_of(const struct mprof_snapshot *snapshot, int group)
{
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++) {
        const struct mprof_stack *stack = &mprof_snapshot_stacks(snapshot)[i];
        if (stack->node == 0)
            continue;
        uint32_t function = mprof_snapshot_nodes(snapshot)[stack->node].function;
        if (mprof_snapshot_functions(snapshot)[function].firstlineno == (uint32_t)group + 1)
            return stack;
    }
    static const struct mprof_stack none;
    return &none;
}

static double expected_samples(int group, double rate)
{
    return counts[group] * -expm1(-(double)sizes[group] / rate);
}

/* Allocates all three groups in a mixed order, frees every fourth block, and looks. */
static void test_unbiased(bool exact)
{
    struct mean bytes[GROUPS] = {{0, 0, 0}};
    struct mean variances[GROUPS] = {{0, 0, 0}};
    struct mean allocated = {0, 0, 0};
    double truth[GROUPS] = {0};
    double all = 0;
    bool bounded = true;
    bool rates = true;
    bool figures = true;
    uint64_t thinnings = 0;
    for (int g = 0; g < GROUPS; g++) {
        truth[g] = (double)sizes[g] * (counts[g] - counts[g] / 4);
        all += (double)sizes[g] * counts[g];
    }
    for (uint64_t seed = 1; seed <= (exact ? SEEDS / 10 : SEEDS); seed++) {
        if (fake_start(exact ? 1 : RATE, 8, seed, BOUND) != 0)
            bail("cannot start");
        for (int i = 0; i < counts[0]; i++) {
            for (int g = 0; g < GROUPS; g++) {
                int every = counts[0] / counts[g];
                if (i % every != 0)
                    continue;
                allocate(g, i / every);
                bounded = bounded && live() <= BOUND;
                if (i / every % 4 == 3)
                    fake_free(address(g, i / every));
            }
        }
        struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
        const struct mprof_meta *meta = mprof_snapshot_meta(snapshot);
        thinnings += meta->thinnings;
        double from = exact ? 1 : RATE;
        double doublings = log2(meta->sample_rate / from);
        rates = rates && doublings >= (double)meta->thinnings && !(fabs(doublings - round(doublings)) > 0);
        double sum = 0;
        for (int g = 0; g < GROUPS; g++) {
            const struct mprof_stack *stack = stack_of(snapshot, g);
            mean_add(&bytes[g], stack->inuse.bytes);
            mean_add(&variances[g],
                     stack->inuse.bytes_var - (stack->inuse.bytes - truth[g]) * (stack->inuse.bytes - truth[g]));
            sum += stack->alloc.bytes;
            /* Weights are those of the new rate. */
            double p = -expm1(-(double)sizes[g] / meta->sample_rate);
            double k = stack->inuse.samples;
            figures = figures && fabs(stack->inuse.bytes - k * (double)sizes[g] / p) <= 1e-9 * (1 + k / p) &&
                      fabs(stack->inuse.blocks - k / p) <= 1e-9 * (1 + k / p);
        }
        mean_add(&allocated, sum);
        bool valid = mprof_recorder_valid();
        figures = figures && valid;
        mprof_snapshot_decref(snapshot);
        mprof_recorder_stop();
    }
    const char *mode = exact ? "exact" : "sampled";
    ok(bounded, "%s: never more than %d live samples", mode, BOUND);
    ok(thinnings > 100, "%s: there was something to thin (%" PRIu64 " times)", mode, thinnings);
    ok(rates, "%s: the rate of the snapshot has doubled at least once a thinning", mode);
    ok(figures, "%s: figures of each stack as for the new rate, invariants hold", mode);
    for (int g = 0; g < GROUPS; g++) {
        char what[64];
        snprintf(what, sizeof what, "%s: bytes of blocks of %" PRIu64, mode, sizes[g]);
        mean_is(&bytes[g], truth[g], what);
        if (exact)
            continue;
        snprintf(what, sizeof what, "%s: variance for blocks of %" PRIu64, mode, sizes[g]);
        mean_is(&variances[g], 0, what);
    }
    mean_is(&allocated, all, exact ? "exact: allocated bytes" : "sampled: allocated bytes");
}

/* What was allocated before a thinning stays as it was counted. */
static void test_allocated_stays(void)
{
    fake_start(1000, 8, 3, 1000);
    fake_depth = 0;
    fake_call(&codes[0], 0);
    double before = 0;
    bool same = true;
    for (int i = 0; i < 20000; i++) {
        uint64_t thinnings = mprof_recorder.thinnings;
        uint64_t had = mprof_recorder.next_id;
        fake_malloc(address(0, i), 100);
        double now = mprof_recorder.trie.stack_used ? mprof_recorder.trie.stacks[0].alloc_bytes : 0;
        double rate = mprof_recorder.thinnings == thinnings ? mprof_recorder.rate : 0;
        if (mprof_recorder.next_id == had)
            same = same && !(now < before) && !(now > before);
        else if (rate > 0)
            same = same && fabs(now - before - 100 / -expm1(-100 / rate)) < 1e-6;
        before = now;
    }
    ok(mprof_recorder.thinnings > 0 && same, "thinning leaves the allocated figures alone");
    mprof_recorder_stop();
}

/* Blocks much larger than the rate carry most of the bytes. */
static void test_large_survive(void)
{
    enum { LARGE = 20 };
    fake_start(1000, 8, 5, 500);
    fake_depth = 0;
    for (int i = 0; i < LARGE; i++)
        fake_malloc(address(1, i), 64 << 20);
    for (int i = 0; i < 100000; i++)
        fake_malloc(address(0, i), 64);
    int found = 0;
    for (int i = 0; i < LARGE; i++)
        found += is_recorded(address(1, i));
    ok(mprof_recorder.thinnings >= 1, "thinned");
    is_int(found, LARGE, "large blocks survive every thinning");
    mprof_recorder_stop();
}

/* A bound so small that chance may leave too many. */
static void test_small_bounds(void)
{
    bool bounded = true;
    for (uint64_t bound = 1; bound <= 5; bound++) {
        for (uint64_t seed = 0; seed < 50; seed++) {
            fake_depth = 0;
            fake_start(100, 8, seed, bound);
            for (int i = 0; i < 500; i++) {
                fake_malloc(address(0, i), 100);
                bounded = bounded && live() <= bound;
            }
            mprof_recorder_stop();
        }
    }
    ok(bounded, "bounds of 1 to 5 samples hold, too");
}

/* ---- other threads still count down gaps of the old rate ---- */

struct hand_over {
    pthread_barrier_t barrier;
    uintptr_t base;
};

static void *old_gap(void *context)
{
    struct hand_over *h = context;
    fake_depth = 0;
    fake_malloc(h->base, 1); /* draws a gap at the first rate */
    pthread_barrier_wait(&h->barrier);
    pthread_barrier_wait(&h->barrier); /* by now the rate is another */
    for (uintptr_t i = 1; i <= 20; i++)
        fake_malloc(h->base + 16 * i, 100);
    return NULL;
}

static void test_old_gaps(void)
{
    struct mean bytes = {0, 0, 0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct hand_over h;
        pthread_t thread;
        pthread_barrier_init(&h.barrier, NULL, 2);
        h.base = TEST_HEAP;
        fake_start(500, 8, seed, 40);
        pthread_create(&thread, NULL, old_gap, &h);
        pthread_barrier_wait(&h.barrier);
        fake_depth = 0;
        for (int i = 0; i < 1000; i++) {
            fake_malloc(address(0, i), 100);
            fake_free(address(0, i - 45));
        }
        for (int i = 955; i < 1000; i++)
            fake_free(address(0, i));
        for (int i = 0; i < 50; i++)
            fake_malloc(address(0, i), 500);
        for (int i = 0; i < 50; i++)
            fake_free(address(0, i));
        pthread_barrier_wait(&h.barrier);
        pthread_join(thread, NULL);
        struct mprof_recorder_totals totals;
        mprof_recorder_totals(&totals);
        mean_add(&bytes, totals.bytes);
        mprof_recorder_stop();
        pthread_barrier_destroy(&h.barrier);
    }
    mean_is(&bytes, 2001, "a thread in the middle of an old gap");
}

/* realloc that fails across a thinning. */
static void test_restore(void)
{
    struct mean bytes = {0, 0, 0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct mprof_taken taken[10];
        fake_depth = 0;
        fake_start(1000, 8, seed, 40);
        for (int i = 0; i < 10; i++)
            fake_malloc(address(1, i), 500);
        for (int i = 0; i < 10; i++)
            mprof_recorder_take(address(1, i), &taken[i]);
        for (int i = 0; i < 100; i++)
            fake_malloc(address(0, i), 1000);
        for (int i = 0; i < 100; i++)
            fake_free(address(0, i));
        for (int i = 0; i < 10; i++)
            mprof_recorder_restore(&taken[i]);
        struct mprof_recorder_totals totals;
        mprof_recorder_totals(&totals);
        mean_add(&bytes, totals.bytes);
        mprof_recorder_stop();
    }
    mean_is(&bytes, 5000, "a block that a failed realloc restores after a thinning");
}

int main(void)
{
    for (uint32_t g = 0; g < GROUPS; g++)
        codes[g] = fake_code(g, 1, g + 1);
    diag("expected samples without a bound: %.0f, %.0f, %.0f", expected_samples(0, RATE), expected_samples(1, RATE),
         expected_samples(2, RATE));
    test_unbiased(false);
    test_unbiased(true);
    test_allocated_stays();
    test_large_survive();
    test_small_bounds();
    test_old_gaps();
    test_restore();
    return done();
}
