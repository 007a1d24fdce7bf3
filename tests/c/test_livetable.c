/* SPDX-License-Identifier: MIT */
/* test_livetable.c -- core/livetable.h against a plain array, without memory, and its size. */
#include "addresses.h"
#include "tap.h"

#include "base/rng.h"
#include "core/livetable.h"

enum { ADDRESSES = 20000 };

static const uintptr_t LAST = (uintptr_t)MPROF_LIVE_ADDRESS;

static struct mprof_arena arena;
static struct mprof_livetable table;

static void begin(void)
{
    mprof_arena_init(&arena, 0);
    mprof_livetable_init(&table);
}

static int put(uintptr_t address, uint32_t stack, uint32_t size, uint64_t birth, struct mprof_live *replaced)
{
    struct mprof_live entry = {address | birth << MPROF_LIVE_ADDRESS_BITS, stack, size};
    return mprof_livetable_put(&table, &arena, &entry, replaced);
}

static void test_edges(void)
{
    struct mprof_live entry = {1, 2, 3};
    begin();
    ok(mprof_livetable_find(&table, 0x10) == NULL && !mprof_livetable_take(&table, 0x10, &entry), "empty: nothing");
    mprof_livetable_prefetch(&table, mprof_livetable_hash(0x10));
    is_uint(entry.size, 3, "what is not found is not handed out");
    is_int(put(0x10, 7, 8, 9, &entry), 0, "put");
    const struct mprof_live *found = mprof_livetable_find(&table, 0x10);
    ok(found && found->stack == 7 && found->size == 8 && found->key >> MPROF_LIVE_ADDRESS_BITS == 9, "found");
    ok(mprof_livetable_find(&table, 0x20) == NULL, "another address is not");
    is_int(put(0x10, 70, 80, 90, &entry), 1, "the same address again");
    ok(entry.stack == 7 && entry.size == 8, "hands the old entry out");
    is_uint(table.count, 1, "and takes its place");
    is_int(put(LAST, 1, 2, UINT16_MAX, &entry), 0, "the largest address and birth");
    found = mprof_livetable_find(&table, LAST);
    ok(found && found->key >> MPROF_LIVE_ADDRESS_BITS == UINT16_MAX, "are told apart");
    uintptr_t beyond = LAST + 0x11; /* on 32 bits there is nothing beyond the last: 0x10 itself */
    ok((mprof_livetable_find(&table, beyond) != NULL) == (beyond == 0x10),
       "48 bits beyond are no address of the table");
    ok(mprof_livetable_take(&table, 0x10, &entry) && entry.stack == 70, "taken");
    ok(!mprof_livetable_take(&table, 0x10, &entry), "once");
    ok(mprof_livetable_valid(&table), "valid");
    mprof_arena_drop(&arena);
}

/* Random puts, takes and finds; mode 0: neighbours, mode 1: anywhere, mode 2: all in one shard, which is the hard case
 * of wrapping round and shifting back. */
static void test_random(uint64_t seed, int mode)
{
    static uintptr_t address[ADDRESSES];
    static uint32_t stack[ADDRESSES];
    static bool in[ADDRESSES];
    enum { TELLING = 1 << 20 }; /* no two addresses are alike in these bits: none is drawn twice */
    static bool taken[TELLING];
    struct mprof_rng rng;
    mprof_rng_seed(&rng, seed);
    begin();
    memset(in, 0, sizeof in);
    memset(taken, 0, sizeof taken);
    int used = mode == 2 ? 300 : ADDRESSES;
    for (int i = 0; i < used; i++) {
        if (mode == 0)
            address[i] = TEST_HEAP + 16 * (uintptr_t)i;
        else
            do
                address[i] = (uintptr_t)(mprof_rng_next(&rng) & MPROF_LIVE_ADDRESS & ~UINT64_C(15)) | 16;
            while (taken[address[i] >> 5 & (TELLING - 1)] ||
                   (mode == 2 && mprof_livetable_shard(mprof_livetable_hash(address[i])) != 5));
        taken[address[i] >> 5 & (TELLING - 1)] = true;
    }
    uint64_t count = 0;
    bool right = true;
    for (uint32_t step = 0; step < 300000 && right; step++) {
        uint64_t i = mprof_rng_next(&rng) % (uint64_t)used;
        struct mprof_live entry = {0, 0, 0};
        if (in[i] && mprof_rng_next(&rng) % 8 == 0) {
            right = put(address[i], step, 5, step % 65536, &entry) == 1 && entry.stack == stack[i];
            stack[i] = step;
        } else if (in[i]) {
            right = mprof_livetable_take(&table, address[i], &entry) && entry.stack == stack[i] &&
                    mprof_live_address(&entry) == address[i];
            in[i] = false;
            count--;
        } else {
            right = !mprof_livetable_find(&table, address[i]) && put(address[i], step, 5, step % 65536, &entry) == 0;
            in[i] = true;
            stack[i] = step;
            count++;
        }
        right = right && table.count == count;
        if (step % 50000 == 0 || (mode == 2 && step % 100 == 0))
            right = right && mprof_livetable_valid(&table);
        if (step % 100000 == 99999) {
            for (int j = 0; j < used; j++) {
                const struct mprof_live *found = mprof_livetable_find(&table, address[j]);
                right = right && (found ? in[j] && found->stack == stack[j] : !in[j]);
            }
        }
    }
    ok(right, "mode %d, seed %" PRIu64 ": as a plain array", mode, seed);
    mprof_arena_drop(&arena);
}

/* Without memory a shard fills up to 15/16, and every entry is still found. */
static void test_no_memory(void)
{
    struct mprof_live entry;
    begin();
    arena.fail_at = 1;
    arena.fail_count = 0;
    is_int(put(0x10, 1, 1, 0, &entry), -1, "no memory for the first shard");
    ok(mprof_livetable_find(&table, 0x10) == NULL && mprof_livetable_valid(&table), "the table is as it was");
    arena.fail_at = 0;
    for (uintptr_t i = 1; i <= 1000; i++)
        put(0x1000 + 16 * i, (uint32_t)i, 0, 0, &entry);
    uint64_t room = 0;
    for (int s = 0; s < MPROF_LIVE_SHARDS; s++)
        room += table.shards[s].capacity - (table.shards[s].capacity + 15) / 16;
    arena.fail_at = arena.requests + 1;
    arena.fail_count = UINT64_MAX / 2;
    static bool in[100001];
    uint64_t refused = 0;
    for (uintptr_t i = 1001; i <= 100000; i++) {
        int result = put(0x1000 + 16 * i, (uint32_t)i, 0, 0, &entry);
        in[i] = result == 0;
        refused += result < 0;
    }
    is_uint(table.count, room, "filled up, but for every sixteenth place");
    is_uint(refused, 100000 - table.count, "the rest was refused");
    bool right = mprof_livetable_valid(&table);
    for (uintptr_t i = 1; i <= 100000; i++) {
        const struct mprof_live *found = mprof_livetable_find(&table, 0x1000 + 16 * i);
        right = right && (i <= 1000 || in[i] ? found && found->stack == i : !found);
    }
    ok(right, "everything that was put is found");
    for (uintptr_t i = 1; i <= 1000; i++)
        right = right && put(0x1000 + 16 * i, (uint32_t)i + 7, 0, 0, &entry) == 1 && entry.stack == i;
    ok(right && table.count == room && mprof_livetable_valid(&table), "what is there is replaced though all is full");
    arena.fail_at = 0;
    for (uintptr_t i = 1; i <= 100000; i++)
        right = right && (i > 1000 && !in[i]) != mprof_livetable_take(&table, 0x1000 + 16 * i, &entry);
    ok(right && table.count == 0 && mprof_livetable_valid(&table), "and can be taken");
    mprof_arena_drop(&arena);
}

static void test_details(void)
{
    uint32_t index[100];
    begin();
    bool right = true;
    for (uint32_t i = 0; i < 100; i++) {
        right = right && mprof_livetable_detail_new(&table, &arena, &index[i]) == 0 && (index[i] & MPROF_LIVE_WIDE);
        *mprof_livetable_detail(&table, index[i]) = (struct mprof_detail){i, i + 1000, 0};
    }
    for (uint32_t i = 0; i < 100; i++)
        right = right && mprof_livetable_detail(&table, index[i])->size == i;
    ok(right, "details keep what they are given");
    for (uint32_t i = 0; i < 100; i += 2)
        mprof_livetable_detail_free(&table, index[i]);
    for (uint32_t i = 0; i < 100; i += 2)
        right = right && mprof_livetable_detail_new(&table, &arena, &index[i]) == 0;
    for (uint32_t i = 0; i < 100; i++)
        for (uint32_t j = 0; j < i; j++)
            right = right && index[i] != index[j];
    is_uint(table.details_used, 100, "freed ones are used again");
    for (uint32_t i = 1; i < 100; i += 2)
        right = right && mprof_livetable_detail(&table, index[i])->id == i + 1000;
    ok(right, "each by one, and the others are untouched");
    arena.fail_at = arena.requests + 1;
    arena.fail_count = UINT64_MAX / 2;
    uint32_t got = 0;
    uint32_t more;
    while (mprof_livetable_detail_new(&table, &arena, &more) == 0)
        got++;
    ok(got == table.details_capacity - 100, "without memory: up to the capacity");
    mprof_arena_drop(&arena);
}

/* What the header promises: 56 to 84 % full as a whole, at every moment from 10^5 entries on. */
static void test_load(void)
{
    struct mprof_live entry;
    begin();
    double least = 1;
    double most = 0;
    for (uintptr_t i = 0; i < 400000; i++) {
        put(TEST_HEAP + 64 * i, 1, 1, 0, &entry);
        if (i < 100000 || i % 1000 != 0)
            continue;
        uint64_t room = 0;
        for (int s = 0; s < MPROF_LIVE_SHARDS; s++)
            room += table.shards[s].capacity;
        double load = (double)table.count / (double)room;
        least = fmin(least, load);
        most = fmax(most, load);
    }
    ok(least > 0.56 && most < 0.844, "between %.0f and %.0f %% full", 100 * least, 100 * most);
    ok(mprof_livetable_valid(&table), "valid");
    mprof_arena_drop(&arena);
}

int main(void)
{
    test_edges();
    for (uint64_t seed = 1; seed <= 2; seed++)
        for (int mode = 0; mode < 3; mode++)
            test_random(seed, mode);
    test_no_memory();
    test_details();
    test_load();
    return done();
}
