/* SPDX-License-Identifier: MIT */
/* livetable.c -- see livetable.h.
 *
 * An address has one entry, in a page or in a shard. A page counts the shards' entries at places of its own (`others`),
 * mostly none, so that a block which is put into a page need not look for an older one in a shard.
 *
 * Linear probing with backward shift. The hard case of removal, in a shard that wraps round:
 *
 *      place    0     1     2    ...   6     7
 *      entry   (c)   (d)    -          a     b          homes: a=6 b=6 c=7 d=0
 *      take(a): b moves to 6, c may move to 7 (its home), d may move to 0 (its home), then 1 is free.
 *
 * An entry may move back to the hole exactly if its home does not lie behind the hole, counted round the table. */
#include "core/livetable.h"

#include <string.h>

static uint32_t home_of(const struct mprof_live *entry, uint32_t capacity)
{
    return mprof_livetable_home(mprof_livetable_hash(mprof_live_address(entry)), capacity);
}

/* A quarter to a half as many again, more for a shard of higher number, so that the shards do not grow in step; then as
 * many as the memory for that holds. 0: no larger size. */
static uint32_t next_capacity(const struct mprof_livetable *table, const struct mprof_shard *shard)
{
    uint64_t number = (uint64_t)(shard - table->shards);
    uint64_t old = shard->capacity;
    uint64_t want = old ? old + old / 4 + old * number / (4 * MPROF_LIVE_SHARDS) : 16;
    uint64_t fits = mprof_arena_usable((size_t)want * sizeof *shard->entries) / sizeof *shard->entries;
    return fits < UINT32_MAX / 2 ? (uint32_t)fits : 0;
}

static int grow(struct mprof_livetable *table, struct mprof_arena *arena, struct mprof_shard *shard)
{
    uint32_t capacity = next_capacity(table, shard);
    struct mprof_live *entries = capacity ? mprof_arena_get(arena, capacity * sizeof *entries) : NULL;
    if (!entries)
        return -1;
    struct mprof_shard old = *shard;
    for (uint32_t i = 0; i < old.capacity; i++) {
        if (old.entries[i].key == 0)
            continue;
        uint32_t place = home_of(&old.entries[i], capacity);
        while (entries[place].key != 0)
            place = mprof_livetable_after(place, capacity);
        entries[place] = old.entries[i];
    }
    __atomic_store_n(&shard->entries, entries, __ATOMIC_RELAXED);
    __atomic_store_n(&shard->capacity, capacity, __ATOMIC_RELAXED);
    shard->grow_at = (uint32_t)((uint64_t)capacity * 27 / 32);
    mprof_arena_put(arena, old.entries, old.capacity * sizeof *entries);
    return 0;
}

/* Entries of a shard for whose growth there is no memory. A search that finds nothing then looks at 130 places; with
 * one free place left it would look at all. */
static uint32_t most_entries(const struct mprof_shard *shard)
{
    return shard->capacity - (shard->capacity + 15) / 16;
}

static int put_into_shard(struct mprof_livetable *table, struct mprof_arena *arena, const struct mprof_live *entry,
                          struct mprof_live *replaced)
{
    uintptr_t address = mprof_live_address(entry);
    uint64_t hash = mprof_livetable_hash(address);
    struct mprof_shard *shard = &table->shards[mprof_livetable_shard(hash)];
    bool may_add =
        shard->count < shard->grow_at || grow(table, arena, shard) == 0 || shard->count < most_entries(shard);
    if (shard->capacity == 0)
        return -1;
    uint32_t place = mprof_livetable_probe(shard, hash, address);
    if (mprof_unlikely(!may_add && shard->entries[place].key == 0))
        return -1;
    if (mprof_unlikely(shard->entries[place].key != 0)) {
        *replaced = shard->entries[place];
        shard->entries[place] = *entry;
        return 1;
    }
    shard->entries[place] = *entry;
    shard->count++;
    table->count++;
    return 0;
}

static const struct mprof_live *find_in_shard(const struct mprof_livetable *table, uintptr_t address)
{
    uint64_t hash = mprof_livetable_hash(address);
    const struct mprof_shard *shard = &table->shards[mprof_livetable_shard(hash)];
    if (shard->count == 0)
        return NULL;
    const struct mprof_live *entry = &shard->entries[mprof_livetable_probe(shard, hash, address)];
    return entry->key != 0 ? entry : NULL;
}

/* A page for the entry, whose word for it may be used already. NULL: it goes into a shard. */
static struct mprof_page *page_for(struct mprof_livetable *table, struct mprof_arena *arena,
                                   const struct mprof_live *entry)
{
    uintptr_t address = mprof_live_address(entry);
    struct mprof_page *page;
    if (mprof_pages_word(&table->pages, address, &page) && mprof_page_suits(page, entry->size))
        return page;
    page = mprof_pages_make(&table->pages, arena, address, entry->size);
    for (uint32_t i = 0; page && i < mprof_page_blocks(page); i++)
        page->others = (uint16_t)(page->others + (find_in_shard(table, mprof_page_address(page, i)) != NULL));
    return page;
}

/* The page is one that page_for() has given for the entry. */
static int put_into_page(struct mprof_livetable *table, struct mprof_page *page, const struct mprof_live *entry,
                         struct mprof_live *replaced)
{
    uintptr_t address = mprof_live_address(entry);
    uint64_t *word = &page->words[mprof_page_number(page, address)];
    mprof_assert(word == mprof_page_word(page, address));
    int result = 0;
    if (*word != 0) {
        *replaced = mprof_page_unpack(*word, address);
        result = 1;
    } else {
        if (page->others != 0 && mprof_livetable_take_from_shard(table, address, replaced)) {
            page->others--;
            result = 1;
        }
        page->count++;
        table->count++;
    }
    *word = mprof_page_pack(entry);
    return result;
}

int mprof_livetable_put(struct mprof_livetable *table, struct mprof_arena *arena, const struct mprof_live *entry,
                        bool paged, struct mprof_live *replaced)
{
    uintptr_t address = mprof_live_address(entry);
    struct mprof_page *page = paged ? page_for(table, arena, entry) : NULL;
    if (page)
        return put_into_page(table, page, entry, replaced);
    uint64_t *word = mprof_pages_word(&table->pages, address, &page);
    int result = put_into_shard(table, arena, entry, replaced);
    if (result < 0 && word && entry->size <= MPROF_PAGED_MAX)
        return put_into_page(table, page, entry, replaced); /* its word is there, whatever was wished */
    if (result == 0 && word)
        page->others++;
    if (result == 0 && word && *word != 0) {
        mprof_livetable_take_from_page(table, page, word, address, replaced);
        result = 1;
    }
    return result;
}

bool mprof_livetable_find(const struct mprof_livetable *table, uintptr_t address, struct mprof_live *entry)
{
    struct mprof_page *page;
    const uint64_t *word = mprof_pages_word(&table->pages, address, &page);
    if (word && *word != 0) {
        *entry = mprof_page_unpack(*word, address);
        return true;
    }
    const struct mprof_live *found = find_in_shard(table, address);
    if (found)
        *entry = *found;
    return found != NULL;
}

void mprof_livetable_move(struct mprof_livetable *table, uintptr_t address, uint32_t stack)
{
    struct mprof_page *page;
    uint64_t *word = mprof_pages_word(&table->pages, address, &page);
    if (word && *word != 0) {
        struct mprof_live entry = mprof_page_unpack(*word, address);
        entry.stack = stack;
        *word = mprof_page_pack(&entry);
        return;
    }
    uint64_t hash = mprof_livetable_hash(address);
    struct mprof_shard *shard = &table->shards[mprof_livetable_shard(hash)];
    shard->entries[mprof_livetable_probe(shard, hash, address)].stack = stack;
}

void mprof_livetable_age(struct mprof_livetable *table)
{
    struct mprof_page *page;
    for (uint32_t at = 0; (page = mprof_pages_next(&table->pages, &at)) != NULL;) {
        for (uint32_t i = 0; i < mprof_page_blocks(page); i++) {
            if (page->words[i] != 0) {
                struct mprof_live entry = mprof_page_unpack(page->words[i], mprof_page_address(page, i));
                entry.key = mprof_live_aged(entry.key, 1);
                page->words[i] = mprof_page_pack(&entry);
            }
        }
    }
    for (unsigned s = 0; s < MPROF_LIVE_SHARDS; s++) {
        struct mprof_shard *shard = &table->shards[s];
        for (uint32_t i = 0; i < shard->capacity; i++)
            shard->entries[i].key = mprof_live_aged(shard->entries[i].key, 1);
    }
}

size_t mprof_livetable_room(const struct mprof_livetable *table)
{
    size_t room = 0;
    size_t in_shards = 0;
    for (unsigned s = 0; s < MPROF_LIVE_SHARDS; s++) {
        room += table->shards[s].capacity;
        in_shards += table->shards[s].count;
    }
    return room + (size_t)table->count - in_shards;
}

void mprof_livetable_copy(const struct mprof_livetable *table, struct mprof_live *entries)
{
    for (unsigned s = 0; s < MPROF_LIVE_SHARDS; s++) {
        const struct mprof_shard *shard = &table->shards[s];
        if (shard->capacity != 0)
            memcpy(entries, shard->entries, shard->capacity * sizeof *entries);
        entries += shard->capacity;
    }
    const struct mprof_page *page;
    for (uint32_t at = 0; (page = mprof_pages_next(&table->pages, &at)) != NULL;) {
        uint32_t blocks = mprof_page_blocks(page);
        uintptr_t address = mprof_page_address(page, 0);
        for (uint32_t i = 0; i < blocks; i++, address += page->apart) {
            if (page->words[i] != 0)
                *entries++ = mprof_page_unpack(page->words[i], address);
        }
    }
}

void mprof_livetable_close(struct mprof_shard *shard, uint32_t hole)
{
    uint32_t capacity = shard->capacity;
    for (uint32_t place = mprof_livetable_after(hole, capacity); shard->entries[place].key != 0;
         place = mprof_livetable_after(place, capacity)) {
        uint32_t home = home_of(&shard->entries[place], capacity);
        /* Distance walked from home to place, against the distance from the hole to place. */
        uint32_t walked = place >= home ? place - home : place + capacity - home;
        uint32_t back = place >= hole ? place - hole : place + capacity - hole;
        if (walked >= back) {
            shard->entries[hole] = shard->entries[place];
            hole = place;
        }
    }
    shard->entries[hole] = (struct mprof_live){0, 0, 0};
}

bool mprof_livetable_take(struct mprof_livetable *table, uintptr_t address, struct mprof_live *entry)
{
    return mprof_livetable_take_inline(table, address, entry);
}

int mprof_livetable_detail_new(struct mprof_livetable *table, struct mprof_arena *arena, uint32_t *index)
{
    if (table->details_free != 0) {
        uint32_t free = table->details_free - 1;
        table->details_free = (uint32_t)table->details[free].id;
        *index = free | MPROF_LIVE_WIDE;
        return 0;
    }
    if (table->details_used == MPROF_LIVE_WIDE)
        return -1;
    struct mprof_detail *details = mprof_arena_reserve(arena, table->details, &table->details_capacity,
                                                       (uint64_t)table->details_used + 1, sizeof *details);
    if (!details)
        return -1;
    table->details = details;
    *index = table->details_used++ | MPROF_LIVE_WIDE;
    return 0;
}

void mprof_livetable_detail_free(struct mprof_livetable *table, uint32_t index)
{
    uint32_t free = index & ~MPROF_LIVE_WIDE;
    table->details[free].id = table->details_free;
    table->details_free = free + 1;
}

bool mprof_livetable_valid(const struct mprof_livetable *table)
{
    uint64_t total = 0;
    for (unsigned s = 0; s < MPROF_LIVE_SHARDS; s++) {
        const struct mprof_shard *shard = &table->shards[s];
        uint32_t count = 0;
        for (uint32_t i = 0; i < shard->capacity; i++) {
            if (shard->entries[i].key == 0)
                continue;
            uintptr_t address = mprof_live_address(&shard->entries[i]);
            uint64_t hash = mprof_livetable_hash(address);
            if (mprof_livetable_shard(hash) != s || mprof_livetable_probe(shard, hash, address) != i)
                return false;
            count++;
        }
        if (count != shard->count)
            return false;
        total += count;
    }
    struct mprof_page *page;
    for (uint32_t at = 0; (page = mprof_pages_next(&table->pages, &at)) != NULL;) {
        uint32_t others = 0;
        for (uint32_t i = 0; i < mprof_page_blocks(page); i++) {
            bool elsewhere = find_in_shard(table, mprof_page_address(page, i)) != NULL;
            others += elsewhere;
            if (elsewhere && page->words[i] != 0)
                return false;
        }
        if (others != page->others)
            return false;
    }
    return mprof_pages_valid(&table->pages, &total) && total == table->count;
}
