/* SPDX-License-Identifier: MIT */
/* test_sampler.c -- which allocations become samples. Seeds are fixed; thresholds are in standard deviations. */
#include "tap.h"

#include "core/sampler.h"

static void test_pass(void)
{
    mprof_tls.countdown = 100;
    ok(mprof_sampler_pass(60) && mprof_tls.countdown == 40, "what fits in the gap passes and is counted");
    ok(mprof_sampler_pass(40) && mprof_tls.countdown == 0, "to the last byte");
    ok(!mprof_sampler_pass(1) && mprof_tls.countdown == 0, "then a byte is a sample, and leaves the countdown alone");
    ok(!mprof_sampler_pass_any(0), "and so is a request for no bytes");
    mprof_tls.countdown = 2;
    ok(mprof_sampler_pass_any(0) && mprof_tls.countdown == 1, "no bytes count as one");
    ok(!mprof_sampler_pass(UINT64_MAX), "the largest size");
    mprof_tls.countdown = MPROF_COUNTDOWN_NEVER;
    ok(mprof_sampler_pass(UINT64_C(1) << 62) && mprof_sampler_pass(UINT64_C(1) << 62), "never is far away");
    mprof_tls.countdown = 0;
}

static void test_edges(void)
{
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 1);
    ok(mprof_sampler_gap(&rng, 0) == 0 && mprof_sampler_gap(&rng, 1) == 0 && mprof_sampler_gap(&rng, NAN) == 0,
       "rates up to 1: no gap");
    bool capped = true;
    for (int i = 0; i < 1000; i++)
        capped = capped && mprof_sampler_gap(&rng, 1e300) <= UINT64_C(1) << 62;
    ok(capped, "an absurd rate gives no absurd gap");
    is_double(mprof_sampler_probability(0, 1), 1, "exact: p is 1");
    is_double(mprof_sampler_probability(5, 0.5), 1, "exact at rates below 1, too");
    is_double(mprof_sampler_probability(0, 1000), mprof_sampler_probability(1, 1000), "no bytes count as one");
    is_near(mprof_sampler_probability(1, 0x1p60), 0x1p-60, 1e-33, "p of small sizes keeps its digits");
    is_double(mprof_sampler_probability(UINT64_MAX, 1000), 1, "p of huge sizes is 1");
    is_near(mprof_sampler_probability(1000, 131072), 0.0076, 0.0001, "the example of the documentation");
}

/* Kolmogorov and Smirnov: the largest distance between the distribution of n gaps and the exponential one, against
 * 1.63 / sqrt(n), which chance alone exceeds with probability 1 %. The gap is rounded down to whole bytes, so its
 * distribution at g is the exponential's at g + 1. */
static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void test_distribution(double rate)
{
    enum { GAPS = 200000 };
    static uint64_t gaps[GAPS];
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 2);
    double sum = 0;
    for (int i = 0; i < GAPS; i++) {
        gaps[i] = mprof_sampler_gap(&rng, rate);
        sum += (double)gaps[i];
    }
    qsort(gaps, GAPS, sizeof *gaps, compare);
    double distance = 0;
    for (int i = 0; i < GAPS; i++) {
        if (i + 1 < GAPS && gaps[i + 1] == gaps[i])
            continue;
        distance = fmax(distance, fabs((i + 1.0) / GAPS - -expm1(-((double)gaps[i] + 1) / rate)));
    }
    ok(distance < 1.63 / sqrt(GAPS), "rate %g: gaps are exponential (distance %.5f, alpha 1 %%: %.5f)", rate, distance,
       1.63 / sqrt(GAPS));
    double mean = 1 / expm1(1 / rate); /* of the exponential rounded down */
    is_near(sum / GAPS, mean, 4 * rate / sqrt(GAPS), "rate %g: their mean is within 4 standard deviations", rate);
}

/* Mixed sizes in one stream: each size is included with its own p, whatever lies between. */
static void test_inclusion(double rate)
{
    static const uint64_t sizes[] = {0, 1, 16, 64, 1000, 4096, 65536, 524288, 8388608};
    enum { SIZES = sizeof sizes / sizeof *sizes, DRAWS = 3000000 };
    struct mprof_rng rng;
    struct mprof_rng choice;
    double seen[SIZES] = {0};
    double sampled[SIZES] = {0};
    mprof_rng_seed(&rng, 3);
    mprof_rng_seed(&choice, 4);
    mprof_tls.countdown = mprof_sampler_gap(&rng, rate);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t k = mprof_rng_next(&choice) % SIZES;
        seen[k]++;
        if (!mprof_sampler_pass_any(sizes[k])) {
            sampled[k]++;
            mprof_tls.countdown = mprof_sampler_gap(&rng, rate);
        }
    }
    for (int k = 0; k < SIZES; k++) {
        double p = mprof_sampler_probability(sizes[k], rate);
        double sigma = sqrt(seen[k] * p * (1 - p));
        ok(fabs(sampled[k] - seen[k] * p) <= 4 * sigma + 1e-6 * seen[k] * (1 - p),
           "rate %g, %" PRIu64 " bytes: %g of %g sampled, p says %.1f +- %.1f", rate, sizes[k], sampled[k], seen[k],
           seen[k] * p, sigma);
    }
}

/* Redrawing the gap at any moment changes nothing: the exponential has no memory. */
static void test_redraw(void)
{
    enum { DRAWS = 1000000 };
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 5);
    double p = mprof_sampler_probability(100, 5000);
    double sampled = 0;
    mprof_tls.countdown = mprof_sampler_gap(&rng, 5000);
    for (int i = 0; i < DRAWS; i++) {
        if (i % 3 == 0)
            mprof_tls.countdown = mprof_sampler_gap(&rng, 5000);
        if (!mprof_sampler_pass(100)) {
            sampled++;
            mprof_tls.countdown = mprof_sampler_gap(&rng, 5000);
        }
    }
    is_near(sampled, DRAWS * p, 4 * sqrt(DRAWS * p * (1 - p)), "gaps redrawn at will: within 4 standard deviations");
}

static void test_keep(void)
{
    enum { DRAWS = 400000 };
    static const uint64_t sizes[] = {0, 100, 5000, 20000, 1000000};
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 6);
    for (unsigned k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        double ratio = mprof_sampler_probability(sizes[k], 10000) / mprof_sampler_probability(sizes[k], 5000);
        double kept = 0;
        for (int i = 0; i < DRAWS; i++)
            kept += mprof_sampler_keep(&rng, sizes[k], 5000, 10000);
        is_near(kept, DRAWS * ratio, 4 * sqrt(DRAWS * ratio * (1 - ratio)) + 1e-3,
                "%" PRIu64 " bytes: kept as often as p(new) / p(old) says", sizes[k]);
    }
    bool all = true;
    for (int i = 0; i < 1000; i++)
        all = all && mprof_sampler_keep(&rng, UINT64_C(1) << 40, 5000, 10000);
    ok(all, "what is far larger than the rate is always kept");
}

int main(void)
{
    test_pass();
    test_edges();
    test_distribution(524288);
    test_distribution(100);
    test_inclusion(524288);
    test_inclusion(131072);
    test_redraw();
    test_keep();
    return done();
}
