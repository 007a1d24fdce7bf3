/* SPDX-License-Identifier: MIT */
/* test_wide.c -- base/wide.h. */
#include "tap.h"

#include "base/rng.h"
#include "base/wide.h"

enum { DRAWS = 20000 };

static bool same(struct mprof_wide a, struct mprof_wide b)
{
    return a.high == b.high && a.low == b.low;
}

/* Bit after bit: c, and a shifted to the place of each bit of b. */
static struct mprof_wide slowly(uint64_t a, uint64_t b, uint64_t c)
{
    struct mprof_wide sum = {.high = 0, .low = c};
    for (unsigned bit = 0; bit < 64; bit++) {
        if ((b >> bit & 1) == 0)
            continue;
        uint64_t low = a << bit;
        sum.low += low;
        sum.high += (bit ? a >> (64 - bit) : 0) + (sum.low < low);
    }
    return sum;
}

static bool agree(uint64_t a, uint64_t b, uint64_t c)
{
    struct mprof_wide want = slowly(a, b, c);
    return check(same(mprof_wide_multiply_add(a, b, c), want) && same(mprof_wide_multiply_add_by_halves(a, b, c), want),
                 "%#" PRIx64 " * %#" PRIx64 " + %#" PRIx64, a, b, c);
}

int main(void)
{
    plan(4);
    struct mprof_wide most = mprof_wide_multiply_add(UINT64_MAX, UINT64_MAX, UINT64_MAX);
    is_uint(most.high, UINT64_MAX, "(2^64-1)^2 + 2^64-1 = 2^128 - 2^64: higher half");
    is_uint(most.low, 0, "lower half");

    /* Where digits are 0 or full, and one beside. */
    static const uint64_t ends[] = {
        0,
        1,
        2,
        UINT32_MAX - 1,
        UINT32_MAX,
        UINT64_C(1) << 32,
        (UINT64_C(1) << 32) + 1,
        (UINT64_C(1) << 61) - 1,
        UINT64_C(1) << 63,
        UINT64_MAX - UINT32_MAX,
        UINT64_MAX - 1,
        UINT64_MAX,
    };
    enum { ENDS = sizeof ends / sizeof *ends };
    bool right = true;
    for (unsigned i = 0; i < ENDS * ENDS * ENDS; i++)
        right &= agree(ends[i % ENDS], ends[i / ENDS % ENDS], ends[i / ENDS / ENDS]);
    ok(right, "numbers at the ends of their digits");

    struct mprof_rng rng;
    mprof_rng_seed(&rng, 5);
    right = true;
    for (int i = 0; i < DRAWS; i++) {
        uint64_t a = mprof_rng_next(&rng);
        uint64_t b = mprof_rng_next(&rng);
        right &= agree(a, b, mprof_rng_next(&rng));
    }
    ok(right, "%d numbers drawn", DRAWS);
    return done();
}
