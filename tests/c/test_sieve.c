/* SPDX-License-Identifier: MIT */
/* test_sieve.c -- core/sieve.h: no false negative, ever; few false positives where programs have their blocks. */
#include "addresses.h"
#include "tap.h"

#include "base/rng.h"
#include "core/sieve.h"

enum { ADDRESSES = 3000, WATCHED = 1000, LOOKS = 200000 };

static union mprof_sieve sieve;

/* Against a set, with many addresses to a byte. */
static void test_random(uint64_t seed, uint64_t among)
{
    static uintptr_t watched[ADDRESSES];
    struct mprof_rng rng;
    mprof_rng_seed(&rng, seed);
    memset(watched, 0, sizeof watched);
    mprof_sieve_fill(&sieve, false);
    bool never_missed = true;
    for (int step = 0; step < 200000 && never_missed; step++) {
        uint64_t i = mprof_rng_next(&rng) % ADDRESSES;
        if (watched[i]) {
            mprof_sieve_remove(&sieve, watched[i]);
            watched[i] = 0;
        } else {
            watched[i] = TEST_HEAP + 16 * (uintptr_t)(mprof_rng_next(&rng) % among);
            mprof_sieve_add(&sieve, watched[i]);
        }
        if (step % 500 == 0) {
            for (int j = 0; j < ADDRESSES; j++)
                never_missed = never_missed && (!watched[j] || mprof_sieve_maybe(&sieve, watched[j]));
        }
    }
    ok(never_missed, "seed %" PRIu64 ", among %" PRIu64 " places: no false negative", seed, among);
    for (int j = 0; j < ADDRESSES; j++) {
        if (watched[j])
            mprof_sieve_remove(&sieve, watched[j]);
    }
    uint32_t left = 0;
    for (uint32_t i = 0; i < MPROF_SIEVE_MARKS; i++)
        left += sieve.marks[i] != 0 && sieve.marks[i] != UINT8_MAX;
    is_uint(left, 0, "seed %" PRIu64 ", among %" PRIu64 " places: empty at the end, but for what was full", seed,
            among);
}

static void test_full(void)
{
    mprof_sieve_fill(&sieve, false);
    for (int i = 0; i < 254; i++)
        mprof_sieve_add(&sieve, 0x1000);
    for (int i = 0; i < 254; i++)
        mprof_sieve_remove(&sieve, 0x1000);
    ok(!mprof_sieve_maybe(&sieve, 0x1000), "254 come and go");
    mprof_sieve_remove(&sieve, 0x1000);
    ok(!mprof_sieve_maybe(&sieve, 0x1000), "an empty byte does not go below 0");
    for (int i = 0; i < 300; i++)
        mprof_sieve_add(&sieve, 0x1000);
    for (int i = 0; i < 300; i++)
        mprof_sieve_remove(&sieve, 0x1000);
    ok(mprof_sieve_maybe(&sieve, 0x1000), "a full byte stays full");
    mprof_sieve_fill(&sieve, true);
    bool all = true;
    for (uintptr_t address = 0; address < (1 << 21); address += 8)
        all = all && mprof_sieve_maybe(&sieve, address);
    ok(all, "everything is watched");
    mprof_sieve_remove(&sieve, 0x2000);
    ok(mprof_sieve_maybe(&sieve, 0x2000), "and stays so");
    mprof_sieve_fill(&sieve, false);
    bool none = true;
    for (uintptr_t address = 0; address < (1 << 21); address += 8)
        none = none && !mprof_sieve_maybe(&sieve, address);
    ok(none, "nothing is watched");
}

/* Where the blocks lie that are watched and freed. */
struct place {
    const char *name;
    uint64_t step;   /* bytes between places */
    uint64_t places; /* how many */
};

/* WATCHED of the places are watched; how many of the others are let through? By chance 1 - exp(-1000/65536) = 1.5 %. */
static void test_false_positives(void)
{
    static const struct place places[] = {
        {"small blocks of a heap of 256 MiB", 16, 1 << 24},
        {"blocks of 48 bytes in 48 MiB", 48, 1 << 20},
        {"whole pages", 4096, 1 << 16},
        {"blocks of 64 KiB", 65536, 1 << 16},
    };
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
        struct mprof_rng rng;
        mprof_rng_seed(&rng, p + 1);
        mprof_sieve_fill(&sieve, false);
        for (int i = 0; i < WATCHED; i++)
            mprof_sieve_add(&sieve,
                            (uintptr_t)(0x7f1200000010 + places[p].step * (mprof_rng_next(&rng) % places[p].places)));
        uint32_t hits = 0;
        for (int i = 0; i < LOOKS; i++)
            hits += mprof_sieve_maybe(
                &sieve, (uintptr_t)(0x7f1200000010 + places[p].step * (mprof_rng_next(&rng) % places[p].places)));
        ok(hits < 0.04 * LOOKS, "%s: %.2f %% let through", places[p].name, 100.0 * hits / LOOKS);
    }
}

int main(void)
{
    test_random(1, 100000);
    test_random(2, 1 << 20);
    test_random(3, 8); /* bytes overflow */
    test_full();
    test_false_positives();
    return done();
}
