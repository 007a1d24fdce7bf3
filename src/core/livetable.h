/* SPDX-License-Identifier: MIT */
/* livetable.h -- address -> live sample.
 *
 * WHAT    Small blocks in exact mode lie in pages (pages.h), as long as their allocator puts blocks of one size side
 *         by side. For all others there are 64 open-addressed tables (shards) of 16-byte entries with linear probing;
 *         the hash of the address picks shard and place.
 *
 *         An entry is a struct mprof_live (live.h). Exact mode needs no more. A sampled block, and one of 2 GiB or
 *         more, has a detail beside it, which its size word names: its full size, an identity and its birth to the
 *         nanosecond.
 * WHY     Entries of 16 bytes in one line instead of a node with pointers: a look-up is one cache miss. A shard grows
 *         by a quarter to a half when 27/32 full, each shard by another factor, so that the table as a whole is
 *         between 56 and 84 % full (19 to 28 bytes a block) and never stops the program to move all of their entries
 *         at once. Removal shifts later entries back, so there are no tombstones and the table stays as fast as it
 *         was.
 * LOCKS   the caller's.
 * MEMORY  the caller's arena. When a shard cannot grow it fills up to 15/16, then put fails. */
#ifndef MPROF_CORE_LIVETABLE_H
#define MPROF_CORE_LIVETABLE_H

#include "base/arena.h"
#include "base/compiler.h"
#include "core/live.h"
#include "core/pages.h"

#include <stdbool.h>
#include <stdint.h>

struct mprof_detail {
    uint64_t size;
    uint64_t id;
    int64_t birth_ns; /* monotonic */
};

enum { MPROF_LIVE_SHARDS = 64 };

struct mprof_shard {
    struct mprof_live *entries;
    uint32_t capacity;
    uint32_t count;
    uint32_t grow_at;
};

struct mprof_livetable {
    struct mprof_pages pages;
    struct mprof_shard shards[MPROF_LIVE_SHARDS];
    struct mprof_detail *details;
    uint32_t details_used; /* high-water mark; freed ones are linked through id */
    uint32_t details_capacity;
    uint32_t details_free; /* first freed one + 1; 0: none */
    uint64_t count;
};

/* Where an address lives: the top bits of a multiplicative hash choose the shard, the 32 below them the place. */
static inline uint64_t mprof_livetable_hash(uintptr_t address)
{
    uint64_t x = (uint64_t)address * UINT64_C(0x9e3779b97f4a7c15);
    return x ^ (x >> 32);
}

static inline uint32_t mprof_livetable_shard(uint64_t hash)
{
    return (uint32_t)(hash >> 58);
}

static inline uint32_t mprof_livetable_home(uint64_t hash, uint32_t capacity)
{
    return (uint32_t)(((hash >> 26 & UINT32_MAX) * capacity) >> 32);
}

/* An empty table. What it held is the caller's to drop. */
static inline void mprof_livetable_init(struct mprof_livetable *table)
{
    for (unsigned s = 0; s < MPROF_LIVE_SHARDS; s++) {
        struct mprof_shard *shard = &table->shards[s];
        __atomic_store_n(&shard->entries, NULL, __ATOMIC_RELAXED); /* atomic for prefetch's sake */
        __atomic_store_n(&shard->capacity, 0, __ATOMIC_RELAXED);
        shard->count = 0;
        shard->grow_at = 0;
    }
    mprof_pages_init(&table->pages);
    table->details = NULL;
    table->details_used = table->details_capacity = table->details_free = 0;
    table->count = 0;
}

/* Starts loading the place of an address with this hash, so that put finds it in the cache. No lock needed when the
 * table's owner keeps shards from being freed under the caller; a stale pointer only prefetches the wrong line. */
static inline void mprof_livetable_prefetch(const struct mprof_livetable *table, uint64_t hash)
{
    const struct mprof_shard *shard = &table->shards[mprof_livetable_shard(hash)];
    const struct mprof_live *entries = __atomic_load_n(&shard->entries, __ATOMIC_RELAXED);
    uint32_t capacity = __atomic_load_n(&shard->capacity, __ATOMIC_RELAXED);
    /* As a number: a shard without memory has no place to point to. */
    uintptr_t place = (uintptr_t)entries + mprof_livetable_home(hash, capacity) * sizeof *entries;
    MPROF_PREFETCH_WRITE((const void *)place);
}

static inline uint32_t mprof_livetable_after(uint32_t place, uint32_t capacity)
{
    return place + 1 == capacity ? 0 : place + 1;
}

/* First place at or after the home that holds the address or is free. The shard has a free place. */
static inline uint32_t mprof_livetable_probe(const struct mprof_shard *shard, uint64_t hash, uintptr_t address)
{
    uint32_t place = mprof_livetable_home(hash, shard->capacity);
    while (shard->entries[place].key != 0 && mprof_live_address(&shard->entries[place]) != address)
        place = mprof_livetable_after(place, shard->capacity);
    return place;
}

/* Adds an entry if that takes no more than a look, as nearly always: there is room, its address is new. `hash` is the
 * address's, and not looked at where `paged`: see put. False: put it is. */
MPROF_INLINE bool mprof_livetable_put_quickly(struct mprof_livetable *table, uint64_t hash, struct mprof_live entry,
                                              bool paged)
{
    uintptr_t address = mprof_live_address(&entry);
    struct mprof_page *page = mprof_pages_find(&table->pages, address);
    if (paged) {
        if (mprof_unlikely(!page) || mprof_unlikely(!mprof_page_suits(page, entry.size) || page->others != 0))
            return false;
        uint64_t *word = mprof_page_word(page, address);
        if (mprof_unlikely(!word || *word != 0))
            return false;
        *word = mprof_page_pack(&entry);
        page->count++;
        table->count++;
        return true;
    }
    struct mprof_shard *shard = &table->shards[mprof_livetable_shard(hash)];
    if (mprof_unlikely(page || shard->count >= shard->grow_at))
        return false;
    uint32_t place = mprof_livetable_probe(shard, hash, address);
    if (mprof_unlikely(shard->entries[place].key != 0))
        return false;
    shard->entries[place] = entry;
    shard->count++;
    table->count++;
    return true;
}

/* Adds an entry. If its address is there already (a free that no hook saw) the old entry is replaced and handed out.
 * `paged`: the block may be put into a page; it has at most MPROF_PAGED_MAX bytes and no detail.
 * 1: replaced; 0: added; -1: no memory, and what the address had is still there. The address has at most 48 bits. */
int mprof_livetable_put(struct mprof_livetable *table, struct mprof_arena *arena, const struct mprof_live *entry,
                        bool paged, struct mprof_live *replaced);
/* Frees a place, and moves later entries back. */
void mprof_livetable_close(struct mprof_shard *shard, uint32_t hole);

MPROF_INLINE bool mprof_livetable_take_from_shard(struct mprof_livetable *table, uintptr_t address,
                                                  struct mprof_live *entry)
{
    uint64_t hash = mprof_livetable_hash(address);
    struct mprof_shard *shard = &table->shards[mprof_livetable_shard(hash)];
    if (mprof_unlikely(shard->count == 0))
        return false;
    uint32_t hole = mprof_livetable_probe(shard, hash, address);
    if (mprof_unlikely(shard->entries[hole].key == 0))
        return false;
    *entry = shard->entries[hole];
    if (mprof_likely(shard->entries[mprof_livetable_after(hole, shard->capacity)].key == 0))
        shard->entries[hole] = (struct mprof_live){0, 0, 0};
    else
        mprof_livetable_close(shard, hole);
    shard->count--;
    table->count--;
    return true;
}

/* `word`, of that page and address, holds an entry. */
MPROF_INLINE void mprof_livetable_take_from_page(struct mprof_livetable *table, struct mprof_page *page, uint64_t *word,
                                                 uintptr_t address, struct mprof_live *entry)
{
    *entry = mprof_page_unpack(*word, address);
    *word = 0;
    page->count--;
    table->count--;
}

MPROF_INLINE bool mprof_livetable_take_inline(struct mprof_livetable *table, uintptr_t address,
                                              struct mprof_live *entry)
{
    struct mprof_page *page;
    uint64_t *word = mprof_pages_word(&table->pages, address, &page);
    if (word && mprof_likely(*word != 0)) {
        mprof_livetable_take_from_page(table, page, word, address, entry);
        return true;
    }
    if (!mprof_livetable_take_from_shard(table, address, entry))
        return false;
    if (mprof_unlikely(word != NULL))
        page->others--;
    return true;
}

/* Removes and hands out the entry of an address; false if there is none. Its detail, if any, stays the caller's. */
bool mprof_livetable_take(struct mprof_livetable *table, uintptr_t address, struct mprof_live *entry);
/* Copies the entry of an address; false if there is none. */
bool mprof_livetable_find(const struct mprof_livetable *table, uintptr_t address, struct mprof_live *entry);
/* Gives the entry of an address, which is there, another stack. */
void mprof_livetable_move(struct mprof_livetable *table, uintptr_t address, uint32_t stack);
/* Halves all births: their units have doubled. */
void mprof_livetable_age(struct mprof_livetable *table);
/* Room that a copy of all entries takes, and the copy, with free places between; returns its end. */
size_t mprof_livetable_room(const struct mprof_livetable *table);
void mprof_livetable_copy(const struct mprof_livetable *table, struct mprof_live *entries);

/* -1: no memory. The index has MPROF_LIVE_WIDE set, ready for an entry's size. */
int mprof_livetable_detail_new(struct mprof_livetable *table, struct mprof_arena *arena, uint32_t *index);
static inline struct mprof_detail *mprof_livetable_detail(const struct mprof_livetable *table, uint32_t index)
{
    return &table->details[index & ~MPROF_LIVE_WIDE];
}
void mprof_livetable_detail_free(struct mprof_livetable *table, uint32_t index);

/* Tests: every entry is found from its home, counts agree. */
bool mprof_livetable_valid(const struct mprof_livetable *table);

#endif
