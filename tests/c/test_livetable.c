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

static int put_as(bool paged, uintptr_t address, uint32_t stack, uint32_t size, uint64_t birth,
                  struct mprof_live *replaced)
{
    struct mprof_live entry = {address | birth << MPROF_LIVE_ADDRESS_BITS, stack, size};
    return mprof_livetable_put(&table, &arena, &entry, paged, replaced);
}

static int put(uintptr_t address, uint32_t stack, uint32_t size, uint64_t birth, struct mprof_live *replaced)
{
    return put_as(false, address, stack, size, birth, replaced);
}

/* The entry of an address, until the next look-up. */
static const struct mprof_live *find(uintptr_t address)
{
    static struct mprof_live entry;
    return mprof_livetable_find(&table, address, &entry) ? &entry : NULL;
}

static void test_edges(void)
{
    struct mprof_live entry = {1, 2, 3};
    begin();
    ok(find(0x10) == NULL && !mprof_livetable_take(&table, 0x10, &entry), "empty: nothing");
    mprof_livetable_prefetch(&table, mprof_livetable_hash(0x10));
    is_uint(entry.size, 3, "what is not found is not handed out");
    is_int(put(0x10, 7, 8, 9, &entry), 0, "put");
    const struct mprof_live *found = find(0x10);
    ok(found && found->stack == 7 && found->size == 8 && found->key >> MPROF_LIVE_ADDRESS_BITS == 9, "found");
    ok(find(0x20) == NULL, "another address is not");
    is_int(put(0x10, 70, 80, 90, &entry), 1, "the same address again");
    ok(entry.stack == 7 && entry.size == 8, "hands the old entry out");
    is_uint(table.count, 1, "and takes its place");
    is_int(put(LAST, 1, 2, UINT16_MAX, &entry), 0, "the largest address and birth");
    found = find(LAST);
    ok(found && found->key >> MPROF_LIVE_ADDRESS_BITS == UINT16_MAX, "are told apart");
    uintptr_t beyond = LAST + 0x11; /* on 32 bits there is nothing beyond the last: 0x10 itself */
    ok((find(beyond) != NULL) == (beyond == 0x10), "48 bits beyond are no address of the table");
    ok(mprof_livetable_take(&table, 0x10, &entry) && entry.stack == 70, "taken");
    ok(!mprof_livetable_take(&table, 0x10, &entry), "once");
    ok(mprof_livetable_valid(&table), "valid");
    mprof_arena_drop(&arena);
}

/* What an address should have. */
struct model {
    uintptr_t address;
    struct mprof_live entry;
    bool in;
};

enum { TELLING = 1 << 20 }; /* addresses that are drawn differ in these bits: none is drawn twice */

/* Mode 0: neighbours, mode 1: anywhere, mode 2: all in one shard, which is the hard case of wrapping round and shifting
 * back, mode 3: pools of blocks of one size, some of which are cut anew for another size now and then. */
static int choose_addresses(struct model *model, int mode, struct mprof_rng *rng)
{
    static bool taken[TELLING];
    int used = mode == 2 ? 300 : ADDRESSES;
    memset(taken, 0, sizeof taken);
    for (int i = 0; i < used; i++) {
        uintptr_t address;
        if (mode == 0 || mode == 3)
            address = TEST_HEAP + 16 * (uintptr_t)i;
        else
            do
                address = (uintptr_t)(mprof_rng_next(rng) & MPROF_LIVE_ADDRESS & ~UINT64_C(15)) | 16;
            while (taken[address >> 5 & (TELLING - 1)] ||
                   (mode == 2 && mprof_livetable_shard(mprof_livetable_hash(address)) != 5));
        taken[address >> 5 & (TELLING - 1)] = true;
        model[i] = (struct model){address, {0, 0, 0}, false};
    }
    return used;
}

static bool is_as(const struct mprof_live *entry, const struct mprof_live *wanted)
{
    return entry->key == wanted->key && entry->stack == wanted->stack && entry->size == wanted->size;
}

static bool model_put(struct model *m, bool paged, uint32_t stack, uint32_t size, uint64_t *count)
{
    struct mprof_live replaced = {0, 0, 0};
    struct mprof_live entry = {m->address | (uint64_t)(stack % 65536) << MPROF_LIVE_ADDRESS_BITS, stack, size};
    int result = mprof_livetable_put(&table, &arena, &entry, paged, &replaced);
    if (result != m->in || (m->in && !is_as(&replaced, &m->entry)))
        return false;
    *count += !m->in;
    m->entry = entry;
    m->in = true;
    return true;
}

static bool model_take(struct model *m, uint64_t *count)
{
    struct mprof_live entry = {0, 0, 0};
    if (mprof_livetable_take(&table, m->address, &entry) != m->in || (m->in && !is_as(&entry, &m->entry)))
        return false;
    *count -= m->in;
    m->in = false;
    return true;
}

/* A pool is emptied, or filled with blocks of one size. */
static bool cut_anew(struct model *model, struct mprof_rng *rng, uint32_t step, uint64_t *count)
{
    enum { PLACES = MPROF_PAGE / 16 };
    struct model *pool = model + mprof_rng_next(rng) % (ADDRESSES / PLACES) * PLACES;
    uint32_t places = 1 + (uint32_t)(mprof_rng_next(rng) % 32);
    uint32_t size = 16 * places - (uint32_t)(mprof_rng_next(rng) % 16);
    bool right = true;
    for (int i = 0; i < PLACES; i++)
        right = right && model_take(&pool[i], count);
    if (step % 3 == 0)
        return right;
    for (uint32_t i = (uint32_t)(mprof_rng_next(rng) % places); i < PLACES; i += places)
        right = right && model_put(&pool[i], true, step, size, count);
    return right;
}

/* Random puts, takes and finds, into pages and into shards, at addresses that have an entry and at others. */
static void test_random(uint64_t seed, int mode)
{
    static struct model model[ADDRESSES];
    struct mprof_rng rng;
    mprof_rng_seed(&rng, seed);
    begin();
    int used = choose_addresses(model, mode, &rng);
    uint64_t count = 0;
    bool right = true;
    for (uint32_t step = 0; step < 300000 && right; step++) {
        struct model *m = &model[mprof_rng_next(&rng) % (uint64_t)used];
        bool paged = mode != 2 && mprof_rng_next(&rng) % 4 != 0;
        uint32_t size = (uint32_t)(mprof_rng_next(&rng) % (paged ? MPROF_PAGED_MAX + 1 : 5000));
        if (mode == 3 && step % 64 == 0)
            right = cut_anew(model, &rng, step, &count);
        else if (m->in && mprof_rng_next(&rng) % 8 != 0)
            right = model_take(m, &count);
        else
            right = (m->in || !find(m->address)) && model_put(m, paged, step, size, &count);
        if (right && m->in && step % 16 == 0) {
            mprof_livetable_move(&table, m->address, step + 1);
            m->entry.stack = step + 1;
        }
        right = right && table.count == count;
        if (step % 50000 == 0 || (mode == 2 && step % 100 == 0))
            right = right && mprof_livetable_valid(&table);
        if (step % 100000 == 99999) {
            for (int j = 0; j < used; j++) {
                const struct mprof_live *found = find(model[j].address);
                right = right && (found ? model[j].in && is_as(found, &model[j].entry) : !model[j].in);
            }
        }
    }
    ok(right, "mode %d, seed %" PRIu64 ": as a plain array", mode, seed);
    mprof_arena_drop(&arena);
}

/* Blocks as pymalloc lays them out: each is in a page, whatever the size and wherever a pool begins. */
static void test_pools(void)
{
    struct mprof_live entry;
    bool right = true;
    for (uint32_t apart = MPROF_PAGE_UNIT; apart <= MPROF_PAGED_MAX; apart += MPROF_PAGE_UNIT) {
        uint64_t blocks = 0;
        begin();
        for (uintptr_t pool = 0; pool < 4; pool++) {
            uintptr_t first = TEST_HEAP + pool * 16384 + 48;
            for (uintptr_t at = first; at + apart <= first - 48 + 16384; at += apart)
                right =
                    right && put_as(true, at, apart, apart - (uint32_t)(at / apart % MPROF_PAGE_UNIT), 7, &entry) == 0;
        }
        right = right && mprof_pages_valid(&table.pages, &blocks) && blocks == table.count && table.pages.used == 16;
        for (uintptr_t i = 0; i < 4 * 16384; i++) {
            const struct mprof_live *found = find(TEST_HEAP + i);
            bool wanted = i % 16384 >= 48 && (i % 16384 - 48) % apart == 0 && i % 16384 + apart <= 16384;
            right = right && (found != NULL) == wanted && (!found || found->stack == apart);
        }
        mprof_arena_drop(&arena);
    }
    ok(right, "blocks of one size side by side are in pages, for all sizes");
}

/* A page that has lost its blocks is cut anew; one that holds blocks is not. */
static void test_page_cut_anew(void)
{
    struct mprof_live entry;
    begin();
    put_as(true, TEST_HEAP, 1, 32, 0, &entry);
    put_as(true, TEST_HEAP + 32, 2, 20, 0, &entry);
    put_as(true, TEST_HEAP + 48, 3, 32, 0, &entry);
    put_as(true, TEST_HEAP + 64, 4, 200, 0, &entry);
    uint64_t blocks = 0;
    ok(mprof_pages_valid(&table.pages, &blocks) && mprof_livetable_valid(&table), "valid");
    is_uint(blocks, 2, "neither another distance nor a place between fits");
    is_uint(table.pages.misfits[32 / MPROF_PAGE_UNIT], 2, "both are counted");
    mprof_livetable_take(&table, TEST_HEAP, &entry);
    mprof_livetable_take(&table, TEST_HEAP + 32, &entry);
    put_as(true, TEST_HEAP + 16, 5, 48, 0, &entry);
    is_uint(mprof_pages_find(&table.pages, TEST_HEAP)->apart, 48, "cut anew when empty");
    is_uint(mprof_pages_find(&table.pages, TEST_HEAP)->others, 1, "with one place whose entry is in a shard");
    is_int(put_as(true, TEST_HEAP + 64, 6, 48, 0, &entry), 1, "which is replaced");
    ok(entry.stack == 4 && entry.size == 200 && find(TEST_HEAP + 64)->stack == 6, "and handed out");
    is_uint(mprof_pages_find(&table.pages, TEST_HEAP)->others, 0, "and is in the page now");
    is_int(put(TEST_HEAP + 64, 7, 5000, 0, &entry), 1, "what is no small block replaces one");
    ok(entry.stack == 6 && find(TEST_HEAP + 64)->size == 5000 && mprof_livetable_valid(&table), "in a shard again");
    is_uint(table.count, 3, "nothing is there twice");
    mprof_arena_drop(&arena);
}

/* An allocator that lays blocks of all sizes side by side gets few pages. */
static void test_misfits(void)
{
    struct mprof_rng rng;
    struct mprof_live entry;
    mprof_rng_seed(&rng, 1);
    begin();
    uintptr_t address = TEST_HEAP;
    for (int i = 0; i < 100000; i++) {
        uint32_t size = (uint32_t)(mprof_rng_next(&rng) % MPROF_PAGED_MAX);
        put_as(true, address, 1, size, 0, &entry);
        address += (size + 8 + 15) & ~(uintptr_t)15;
    }
    uint64_t pages = (address - TEST_HEAP) / MPROF_PAGE;
    ok(table.pages.used < pages / 4, "%" PRIu32 " of %" PRIu64 " pages", table.pages.used, pages);
    ok(mprof_livetable_valid(&table), "valid");
    mprof_arena_drop(&arena);
}

/* pymalloc leaves a block in place that realloc shrinks by a quarter at most: it stays in its page, and others come into
 * theirs. */
static void test_shrinking(void)
{
    struct mprof_live entry;
    begin();
    for (uintptr_t i = 0; i < 10000; i++) {
        uintptr_t address = TEST_HEAP + 160 * i;
        put_as(true, address, 1, 160, 0, &entry);
        if (i % 2) {
            mprof_livetable_take(&table, address, &entry);
            put_as(true, address, 1, 128 + (uint32_t)(i % 32), 0, &entry);
        }
    }
    uint64_t blocks = 0;
    ok(mprof_pages_valid(&table.pages, &blocks) && blocks == 10000, "what has shrunk in place is in its page");
    is_uint(table.pages.misfits[160 / MPROF_PAGE_UNIT], 0, "and no misfit");
    put_as(true, TEST_HEAP + TEST_REGION / 2, 1, 512, 0, &entry);
    mprof_livetable_take(&table, TEST_HEAP + TEST_REGION / 2, &entry);
    put_as(true, TEST_HEAP + TEST_REGION / 2, 1, 400, 0, &entry);
    is_uint(mprof_pages_find(&table.pages, TEST_HEAP + TEST_REGION / 2)->apart, 512,
            "a page's only block shrinks, the page does not");
    mprof_livetable_take(&table, TEST_HEAP + TEST_REGION / 2, &entry);
    put_as(true, TEST_HEAP + TEST_REGION / 2, 1, 64, 0, &entry);
    is_uint(mprof_pages_find(&table.pages, TEST_HEAP + TEST_REGION / 2)->apart, 64,
            "a much smaller one is of another pool");
    mprof_arena_drop(&arena);
}

/* After many misfits an allocator that has changed its ways gets pages again. */
static void test_misfits_pass(void)
{
    struct mprof_live entry;
    begin();
    for (uintptr_t i = 0; i < 1000; i++)
        put_as(true, TEST_HEAP + 96 * i + i % 2 * 16, 1, 64, 0, &entry);
    uint32_t used = table.pages.used;
    ok(used < 10, "few pages for blocks at odd places (%" PRIu32 ")", used);
    for (uintptr_t i = 0; i < 64 * 1000; i++)
        put_as(true, TEST_HEAP + 100 * MPROF_PAGE + 64 * i, 1, 64, 0, &entry);
    ok(table.pages.used > 900, "then %" PRIu32 " of 1000", table.pages.used - used);
    mprof_arena_drop(&arena);
}

/* Where there is no memory for a larger directory, it is not asked for with each block. */
static void test_directory_without_memory(void)
{
    struct mprof_live entry;
    begin();
    for (uintptr_t i = 0; i < 20000; i++)
        put_as(true, TEST_HEAP + MPROF_PAGE * i, 1, 512, 0, &entry);
    uint32_t capacity = table.pages.mask + 1;
    uintptr_t next = 20000;
    while (table.pages.used < capacity / 2)
        put_as(true, TEST_HEAP + MPROF_PAGE * next++, 1, 512, 0, &entry);
    for (int s = 0; s < MPROF_LIVE_SHARDS; s++)
        table.shards[s].grow_at = 0; /* full: each put asks for memory once, for its shard */
    uint64_t before = arena.requests;
    arena.fail_at = before + 1;
    arena.fail_count = UINT64_MAX / 2;
    for (int i = 0; i < 1000; i++)
        put_as(true, TEST_HEAP + MPROF_PAGE * next++, 1, 512, 0, &entry);
    is_uint(arena.requests - before, 1001, "asked for once in 1000 puts");
    arena.fail_at = 0;
    for (uint32_t i = 0; i < capacity; i++)
        put_as(true, TEST_HEAP + MPROF_PAGE * next++, 1, 512, 0, &entry);
    ok(table.pages.mask + 1 > capacity && mprof_livetable_valid(&table), "and again some time later");
    mprof_arena_drop(&arena);
}

/* A large block at the address of a small one, without memory: refused, and the small one's record is still whole. */
static void test_replacing_without_memory(void)
{
    struct mprof_live entry;
    begin();
    put_as(true, TEST_HEAP, 1, 32, 0, &entry);
    arena.fail_at = arena.requests + 1;
    arena.fail_count = UINT64_MAX / 2;
    is_int(put(TEST_HEAP, 2, 5000, 0, &entry), -1, "no memory for a shard");
    ok(find(TEST_HEAP) && find(TEST_HEAP)->stack == 1 && table.count == 1, "what was there is there");
    is_int(put(TEST_HEAP, 3, 40, 0, &entry), 1, "a small one takes its word");
    ok(entry.stack == 1 && find(TEST_HEAP)->stack == 3 && mprof_livetable_valid(&table), "as a replacement");
    mprof_livetable_take(&table, TEST_HEAP, &entry);
    is_int(put(TEST_HEAP, 4, 32, 0, &entry), 0, "and comes back where its word is free");
    mprof_arena_drop(&arena);
}

/* Programs that give their memory back and take other addresses do not leave pages behind. */
static void test_pages_without_blocks(void)
{
    struct mprof_live entry;
    begin();
    size_t mapped = 0;
    bool right = true;
    for (uintptr_t wave = 0; wave < 200 && right; wave++) {
        uintptr_t heap = TEST_HEAP + wave * 256 * MPROF_PAGE;
        for (uintptr_t i = 0; i < 100 * MPROF_PAGE / 64; i++)
            right = right && put_as(true, heap + 64 * i, 1, 64, 0, &entry) == 0;
        for (uintptr_t i = 0; i < 100 * MPROF_PAGE / 64; i++)
            right = right && mprof_livetable_take(&table, heap + 64 * i, &entry);
        if (wave == 20)
            mapped = arena.mapped;
    }
    ok(right && table.count == 0 && mprof_livetable_valid(&table), "waves come and go");
    ok(arena.mapped <= mapped, "%zu bytes after 20 waves, %zu after 200", mapped, arena.mapped);
    mprof_arena_drop(&arena);
}

static void test_ages_and_copies(void)
{
    struct mprof_live entry;
    struct mprof_live copy[64 * 16 + 100]; /* shards begin with 16 places */
    begin();
    for (uintptr_t i = 0; i < 100; i++)
        put_as(i % 2 == 0, TEST_HEAP + 32 * i, (uint32_t)i, 32, 100 * i, &entry);
    mprof_livetable_age(&table);
    mprof_livetable_age(&table);
    size_t room = mprof_livetable_room(&table);
    bool right = room <= sizeof copy / sizeof *copy;
    memset(copy, 0, sizeof copy);
    if (right)
        mprof_livetable_copy(&table, copy);
    bool met[100] = {false};
    size_t count = 0;
    for (size_t i = 0; i < room && right; i++) {
        uint32_t n = copy[i].stack;
        if (copy[i].key == 0)
            continue;
        right = n < 100 && !met[n] && copy[i].size == 32 && mprof_live_address(&copy[i]) == TEST_HEAP + 32 * n &&
                copy[i].key >> MPROF_LIVE_ADDRESS_BITS == 100 * n / 4;
        met[n] = true;
        count++;
    }
    ok(right && count == 100, "a copy has each entry once, aged");
    mprof_arena_drop(&arena);
}

/* Whichever request of a page's is refused, the entry goes elsewhere or is refused, and nothing is lost. */
static void test_pages_without_memory(void)
{
    bool right = true;
    for (uint64_t n = 1; n <= 4; n++) { /* directory, words, larger directories */
        struct mprof_live entry;
        begin();
        arena.fail_at = n;
        bool in[2000];
        uint64_t count = 0;
        for (uintptr_t i = 0; i < 2000; i++) {
            in[i] = put_as(true, TEST_HEAP + 512 * i, (uint32_t)i, 512, 0, &entry) == 0;
            count += in[i];
        }
        right = right && arena.requests >= n && table.count == count && count >= 1999 && mprof_livetable_valid(&table);
        for (uintptr_t i = 0; i < 2000; i++)
            right = right && mprof_livetable_take(&table, TEST_HEAP + 512 * i, &entry) == in[i];
        mprof_arena_drop(&arena);
    }
    ok(right, "without memory for a page");
}

/* Without memory a shard fills up to 15/16, and every entry is still found. */
static void test_no_memory(void)
{
    struct mprof_live entry;
    begin();
    arena.fail_at = 1;
    arena.fail_count = 0;
    is_int(put(0x10, 1, 1, 0, &entry), -1, "no memory for the first shard");
    ok(find(0x10) == NULL && mprof_livetable_valid(&table), "the table is as it was");
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
        const struct mprof_live *found = find(0x1000 + 16 * i);
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
        for (int mode = 0; mode < 4; mode++)
            test_random(seed, mode);
    test_pools();
    test_page_cut_anew();
    test_misfits();
    test_shrinking();
    test_misfits_pass();
    test_directory_without_memory();
    test_replacing_without_memory();
    test_pages_without_blocks();
    test_ages_and_copies();
    test_pages_without_memory();
    test_no_memory();
    test_details();
    test_load();
    return done();
}
