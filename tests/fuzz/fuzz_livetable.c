/* SPDX-License-Identifier: MIT */
/* fuzz_livetable.c -- the live table against an array.
 *
 * WHAT    The input is a list of steps: put, take, find, runs of them, details, refused memory. After each the table
 *         must say what an array with one place for each address says.
 * WHY     Half of the addresses lie side by side, as blocks do, in two pages of the table; the other half fall into one
 *         shard, which is the hard case of wrapping round and of shifting back. Entries are put into pages or into
 *         shards as the input says, so that they displace each other.
 * LOCKS   none.
 * MEMORY  one arena an input. */
#include "core/livetable.h"
#include "fuzz.h"

enum { ADDRESSES = 1024, NEIGHBOURS = 512, SHARD = 5, MOST_STEPS = 4096 };

struct model {
    struct mprof_live entry; /* key 0: the address is not in the table */
    uint64_t detail_id;      /* if the entry has a detail */
};

static uintptr_t addresses[ADDRESSES];
static struct model model[ADDRESSES];
static struct mprof_livetable table;
static struct mprof_arena arena;
static uint64_t count;

static void choose_addresses(void)
{
    if (addresses[0] != 0)
        return;
    unsigned chosen = 0;
    for (; chosen < NEIGHBOURS; chosen++)
        addresses[chosen] = 0x7f0000001000 + 16 * (uintptr_t)chosen;
    for (uintptr_t address = 0x550000000010; chosen < ADDRESSES; address += 16)
        if (mprof_livetable_shard(mprof_livetable_hash(address)) == SHARD)
            addresses[chosen++] = address;
}

static bool same(const struct mprof_live *a, const struct mprof_live *b)
{
    return a->key == b->key && a->stack == b->stack && a->size == b->size;
}

static bool refusing(void)
{
    return arena.fail_at != 0 && arena.requests <= arena.fail_at + arena.fail_count;
}

/* An entry has left the table: its detail must be the one it was given. */
static void give_back(unsigned i, const struct mprof_live *entry)
{
    fuzz_require(same(entry, &model[i].entry), "another entry was handed out than was put");
    if (entry->size & MPROF_LIVE_WIDE) {
        fuzz_require(mprof_livetable_detail(&table, entry->size)->size == model[i].detail_id, "another entry's detail");
        mprof_livetable_detail_free(&table, entry->size);
    }
}

static void put(unsigned i, uint32_t value)
{
    uint32_t size = value & ~MPROF_LIVE_WIDE;
    if (value & 1) {
        if (mprof_livetable_detail_new(&table, &arena, &size) < 0) {
            fuzz_require(refusing(), "no detail, without want of memory");
            return;
        }
        fuzz_require((size & MPROF_LIVE_WIDE) != 0, "a detail's index without its mark");
        *mprof_livetable_detail(&table, size) = (struct mprof_detail){.size = value, .id = value};
    }
    bool paged = (value & 3) == 2;
    if (paged)
        size = (value >> 8) % (MPROF_PAGED_MAX + 1);
    struct mprof_live entry = {addresses[i] | (uint64_t)(value & 0xffff) << MPROF_LIVE_ADDRESS_BITS, value >> 3, size};
    struct mprof_live replaced = {0};
    int result = mprof_livetable_put(&table, &arena, &entry, paged, &replaced);
    if (result < 0) {
        /* What lies in a page gives no room to what does not. */
        fuzz_require(refusing() && (model[i].entry.key == 0 || model[i].entry.size <= MPROF_PAGED_MAX),
                     "not put, without want of memory, or though it was there");
        if (size & MPROF_LIVE_WIDE)
            mprof_livetable_detail_free(&table, size);
        return;
    }
    fuzz_require(result == (model[i].entry.key != 0), "replaced what was not there, or did not what was");
    if (result == 1)
        give_back(i, &replaced);
    else
        count++;
    model[i] = (struct model){entry, value};
}

static void take(unsigned i)
{
    struct mprof_live entry = {0};
    bool taken = mprof_livetable_take(&table, addresses[i], &entry);
    fuzz_require(taken == (model[i].entry.key != 0), "took what was not there, or did not what was");
    if (!taken)
        return;
    give_back(i, &entry);
    model[i].entry.key = 0;
    count--;
}

static void find(unsigned i)
{
    struct mprof_live entry = {0};
    bool found = mprof_livetable_find(&table, addresses[i], &entry);
    fuzz_require(found == (model[i].entry.key != 0), "found what was not there, or did not what was");
    fuzz_require(!found || same(&entry, &model[i].entry), "found another entry than was put");
}

static void step(struct fuzz_input *input)
{
    uint8_t what = fuzz_byte(input);
    unsigned i = (unsigned)fuzz_number(input, 2) % ADDRESSES;
    unsigned run;
    switch (what % 8) {
    case 0:
    case 1:
        put(i, (uint32_t)fuzz_number(input, 4));
        break;
    case 2:
    case 3:
        take(i);
        break;
    case 4:
        find(i);
        break;
    case 5:
        for (run = fuzz_byte(input); run > 0; run--, i = (i + 1 + what / 8) % ADDRESSES)
            put(i, run * 0x01010101u + what / 32);
        break;
    case 6:
        for (run = fuzz_byte(input); run > 0; run--, i = (i + 1) % ADDRESSES)
            take(i);
        break;
    default:
        arena.fail_at = arena.requests + 1 + what / 8 % 4;
        arena.fail_count = fuzz_byte(input) % 8;
    }
    fuzz_require(table.count == count, "another number of entries");
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct fuzz_input input = {data, data + size};
    choose_addresses();
    mprof_arena_init(&arena, 0);
    mprof_livetable_init(&table);
    for (unsigned i = 0; i < ADDRESSES; i++)
        model[i].entry.key = 0;
    count = 0;
    for (unsigned steps = 0; fuzz_more(&input) && steps < MOST_STEPS; steps++)
        step(&input);
    fuzz_require(mprof_livetable_valid(&table), "not valid");
    for (unsigned i = 0; i < ADDRESSES; i++) {
        find(i);
        take(i);
    }
    fuzz_require(table.count == 0 && mprof_livetable_valid(&table), "not empty");
    mprof_arena_drop(&arena);
    return 0;
}
