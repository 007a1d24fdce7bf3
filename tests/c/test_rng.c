/* SPDX-License-Identifier: MIT */
/* test_rng.c -- base/rng.h and base/hash.h. Seeds are fixed; thresholds are in standard deviations. */
#include "tap.h"

#include "base/hash.h"
#include "base/rng.h"

enum { DRAWS = 1000000 };

static void test_sequence(void)
{
    struct mprof_rng a;
    struct mprof_rng b;
    mprof_rng_seed(&a, 1);
    mprof_rng_seed(&b, 1);
    bool same = true;
    for (int i = 0; i < 1000; i++)
        same = same && mprof_rng_next(&a) == mprof_rng_next(&b);
    ok(same, "one seed, one sequence");
    mprof_rng_seed(&b, 2);
    int equal = 0;
    for (int i = 0; i < 1000; i++)
        equal += mprof_rng_next(&a) == mprof_rng_next(&b);
    is_int(equal, 0, "neighbouring seeds, other sequences");
    /* SplitMix64's published outputs for the state 1234567. */
    struct mprof_rng c = {1234567};
    is_uint(mprof_rng_next(&c), UINT64_C(6457827717110365317), "first of SplitMix64");
    is_uint(mprof_rng_next(&c), UINT64_C(3203168211198807973), "second of SplitMix64");
}

/* x ^ (x >> shift), undone. */
static uint64_t unshift(uint64_t y, unsigned shift)
{
    uint64_t x = y;
    for (unsigned bits = shift; bits < 64; bits += shift)
        x = y ^ (x >> shift);
    return x;
}

/* Of an odd number modulo 2^64, by Newton's steps. */
static uint64_t inverse(uint64_t odd)
{
    uint64_t x = odd;
    for (int i = 0; i < 6; i++)
        x *= 2 - odd * x;
    return x;
}

static uint64_t unmix64(uint64_t x)
{
    x = unshift(x, 31) * inverse(UINT64_C(0x94d049bb133111eb));
    x = unshift(x, 27) * inverse(UINT64_C(0xbf58476d1ce4e5b9));
    return unshift(x, 30);
}

static void test_uniform(void)
{
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 3);
    double sum = 0;
    double least = 1;
    double most = 0;
    unsigned cells[256] = {0};
    for (int i = 0; i < DRAWS; i++) {
        double u = mprof_rng_uniform(&rng);
        sum += u;
        least = u < least ? u : least;
        most = u > most ? u : most;
        cells[(int)(u * 256)]++;
    }
    ok(least > 0 && most < 1, "strictly between 0 and 1");
    is_near(sum / DRAWS, 0.5, 4 * sqrt(1 / 12.0 / DRAWS), "mean within 4 standard deviations");
    double chi = 0;
    for (int i = 0; i < 256; i++)
        chi += pow(cells[i] - DRAWS / 256.0, 2) / (DRAWS / 256.0);
    is_near(chi, 255, 4 * sqrt(2 * 255.0), "256 cells: chi-square within 4 standard deviations");
    /* The ends: the states before draws of all bits 0 and all bits 1; mix64 is a bijection, and this undoes it. */
    struct mprof_rng low = {unmix64(0) - UINT64_C(0x9e3779b97f4a7c15)};
    struct mprof_rng high = {unmix64(UINT64_MAX) - UINT64_C(0x9e3779b97f4a7c15)};
    struct mprof_rng again = high;
    is_uint(mprof_rng_next(&again), UINT64_MAX, "a state whose draw has all bits set");
    least = mprof_rng_uniform(&low);
    most = mprof_rng_uniform(&high);
    ok(least > 0 && least < 1e-15, "the smallest draw is above 0");
    ok(most < 1 && most > 1 - 1e-15, "the largest is below 1");
}

/* Each input bit of mix64 moves each output bit in half of the cases. */
static void test_mix(void)
{
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 4);
    enum { TRIALS = 10000 };
    static unsigned moved[64][64];
    for (int t = 0; t < TRIALS; t++) {
        uint64_t x = mprof_rng_next(&rng);
        uint64_t y = mprof_mix64(x);
        for (int i = 0; i < 64; i++) {
            uint64_t changed = y ^ mprof_mix64(x ^ (UINT64_C(1) << i));
            for (int j = 0; j < 64; j++)
                moved[i][j] += (unsigned)(changed >> j & 1);
        }
    }
    double worst = 0;
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < 64; j++)
            worst = fmax(worst, fabs(moved[i][j] - TRIALS / 2.0) / sqrt(TRIALS / 4.0));
    ok(worst < 6, "4096 pairs of bits: the worst is %.2f standard deviations from one half", worst);
    is_uint(mprof_mix64(0), 0, "0 is the fixed point, which seeds must not rely on");
}

static void test_hash(void)
{
    unsigned char text[40];
    uint64_t seen[41];
    bool distinct = true;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = 0; /* lengths alone must tell them apart */
    for (size_t n = 0; n <= sizeof text; n++) {
        seen[n] = mprof_hash_bytes(text, n);
        for (size_t m = 0; m < n; m++)
            distinct = distinct && seen[m] != seen[n];
    }
    ok(distinct, "zeros of any length hash differently");
    uint64_t before = mprof_hash_bytes(text, sizeof text);
    bool moves = true;
    for (size_t i = 0; i < 8 * sizeof text; i++) {
        text[i / 8] ^= (unsigned char)(1 << i % 8);
        moves = moves && mprof_hash_bytes(text, sizeof text) != before;
        text[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    ok(moves, "every bit counts");
    unsigned char shifted[48];
    memset(shifted, 7, sizeof shifted);
    ok(mprof_hash_bytes(shifted + 1, 33) == mprof_hash_bytes(shifted + 8, 33), "alignment does not");
}

int main(void)
{
    test_sequence();
    test_uniform();
    test_mix();
    test_hash();
    return done();
}
