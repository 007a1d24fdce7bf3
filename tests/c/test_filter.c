/* SPDX-License-Identifier: MIT */
/* test_filter.c -- core/filter.h: no false negative, ever; few false positives. */
#include "tap.h"

#include "base/rng.h"
#include "core/filter.h"

enum { ADDRESSES = 3000 };

static struct mprof_arena arena;

/* Against a set. Addresses of allocators are multiples of 16, often in runs. */
static void test_random(uint64_t seed, unsigned bits)
{
    static uintptr_t watched[ADDRESSES];
    struct mprof_rng rng;
    mprof_rng_seed(&rng, seed);
    struct mprof_filter *filter = mprof_filter_new(&arena, bits);
    if (!filter)
        bail("no memory");
    memset(watched, 0, sizeof watched);
    bool never_missed = true;
    for (int step = 0; step < 200000 && never_missed; step++) {
        uint64_t i = mprof_rng_next(&rng) % ADDRESSES;
        if (watched[i]) {
            mprof_filter_remove(filter, watched[i]);
            watched[i] = 0;
        } else {
            uint64_t draw = mprof_rng_next(&rng);
            watched[i] = (uintptr_t)(draw % 4 ? 0x7f0000000000 + 16 * (draw % 100000) : draw & ~UINT64_C(15));
            mprof_filter_add(filter, watched[i]);
        }
        if (step % 500 == 0) {
            for (int j = 0; j < ADDRESSES; j++)
                never_missed = never_missed && (!watched[j] || mprof_filter_maybe(filter, watched[j]));
        }
    }
    ok(never_missed, "seed %" PRIu64 ", 2^%u buckets: no false negative", seed, bits);
    for (int j = 0; j < ADDRESSES; j++) {
        if (watched[j])
            mprof_filter_remove(filter, watched[j]);
    }
    uint64_t left = 0;
    uint64_t stuck = 0;
    for (uint64_t b = 0; b < UINT64_C(1) << bits; b++) {
        left += filter->buckets[b] != 0;
        stuck += filter->buckets[b] == UINT8_MAX;
    }
    ok(left == stuck, "seed %" PRIu64 ", 2^%u buckets: empty at the end, but for buckets that were full", seed, bits);
}

/* A byte counts to 255 and then sticks: it cannot know when it is empty again. */
static void test_full_bucket(void)
{
    struct mprof_filter *filter = mprof_filter_new(&arena, 1);
    for (int i = 0; i < 254; i++)
        mprof_filter_add(filter, 0x1000);
    for (int i = 0; i < 254; i++)
        mprof_filter_remove(filter, 0x1000);
    ok(!mprof_filter_maybe(filter, 0x1000), "254 come and go");
    for (int i = 0; i < 300; i++)
        mprof_filter_add(filter, 0x1000);
    for (int i = 0; i < 299; i++)
        mprof_filter_remove(filter, 0x1000);
    ok(mprof_filter_maybe(filter, 0x1000), "of 300 the last one is not forgotten");
    mprof_filter_remove(filter, 0x1000);
    ok(mprof_filter_maybe(filter, 0x1000), "the bucket stays full");
    mprof_filter_clear(filter);
    ok(!mprof_filter_maybe(filter, 0x1000), "until it is cleared");
    mprof_filter_remove(filter, 0x1000);
    ok(!mprof_filter_maybe(filter, 0x1000), "an empty bucket does not go below 0");
}

/* At capacity one bucket in 16 is taken. Fibonacci hashing spreads runs better than chance, other addresses as chance
 * does: 1 - exp(-1/16) = 6.06 %. */
static void test_false_positives(void)
{
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 7);
    for (unsigned bits = MPROF_FILTER_MIN_BITS; bits <= 20; bits += 2) {
        struct mprof_filter *random = mprof_filter_new(&arena, bits);
        struct mprof_filter *run = mprof_filter_new(&arena, bits);
        uint64_t capacity = mprof_filter_capacity(random);
        is_uint(capacity, (UINT64_C(1) << bits) / 16, "2^%u buckets hold a sixteenth as many", bits);
        for (uint64_t i = 0; i < capacity; i++) {
            mprof_filter_add(random, (uintptr_t)(mprof_rng_next(&rng) >> 16));
            mprof_filter_add(run, (uintptr_t)(0x7f1234500000 + 48 * i));
        }
        enum { LOOKS = 200000 };
        double hits[2] = {0, 0};
        for (int i = 0; i < LOOKS; i++) {
            uintptr_t address = (uintptr_t)(mprof_rng_next(&rng) >> 16);
            hits[0] += mprof_filter_maybe(random, address);
            hits[1] += mprof_filter_maybe(run, address);
        }
        double expected = -expm1(-1 / 16.0);
        /* Two sources of chance: which buckets are taken, and which are looked at. */
        double sigma = sqrt(expected * (1 - expected) * (1.0 / LOOKS + 1.0 / (double)(UINT64_C(1) << bits)));
        is_near(hits[0] / LOOKS, expected, 4 * sigma, "2^%u buckets, random addresses: 6 %% false positives", bits);
        ok(hits[1] / LOOKS < 0.0625 + 4 * sigma, "2^%u buckets, a run of addresses: no more (%.4f)", bits,
           hits[1] / LOOKS);
    }
}

int main(void)
{
    mprof_arena_init(&arena, 0);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        test_random(seed, MPROF_FILTER_MIN_BITS);
        test_random(seed, 3); /* buckets overflow */
    }
    test_full_bucket();
    test_false_positives();
    arena.fail_at = arena.requests + 1;
    ok(mprof_filter_new(&arena, MPROF_FILTER_MIN_BITS) == NULL, "no memory, no filter");
    mprof_arena_drop(&arena);
    return done();
}
