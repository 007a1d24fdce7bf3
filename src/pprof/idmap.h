/* SPDX-License-Identifier: MIT */
/* idmap.h -- a map from 64-bit keys to 32-bit indices.
 *
 * WHAT    Open addressing with linear probing, at most half full; the value 0 means "not there".
 * WHY     Ids in a file are any numbers. An array by id would let ten bytes ask for 2^64 entries. The hash is keyed at
 *         random, so that nobody can choose ids that all fall into one place.
 * LOCKS   none.
 * MEMORY  the caller's arena, 32 to 64 bytes a key. */
#ifndef MPROF_PPROF_IDMAP_H
#define MPROF_PPROF_IDMAP_H

#include "base/arena.h"
#include "base/compiler.h"
#include "base/os.h"
#include "base/wide.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mprof_idslot {
    uint64_t key;
    uint32_t value;
};

struct mprof_idmap {
    struct mprof_idslot *slots;
    size_t size; /* a power of two, or 0 */
    size_t used;
    uint64_t secret; /* odd; 0: not drawn yet */
};

/* Both halves of a product with a secret odd number: every bit of the word reaches every bit of the hash. */
static inline uint64_t mprof_idmap_fold(uint64_t word, uint64_t secret)
{
    struct mprof_wide product = mprof_wide_multiply_add(word ^ secret, secret, 0);
    return product.low ^ product.high;
}

/* Where the search for a key begins. */
static inline size_t mprof_idmap_home(const struct mprof_idmap *map, uint64_t key)
{
    uint64_t hash = mprof_idmap_fold(key, map->secret);
    return (size_t)(hash ^ hash >> 32) & (map->size - 1);
}

static inline struct mprof_idslot *mprof_idmap_probe(const struct mprof_idmap *map, uint64_t key)
{
    size_t at = mprof_idmap_home(map, key);
    while (map->slots[at].value != 0 && map->slots[at].key != key)
        at = (at + 1) & (map->size - 1);
    return &map->slots[at];
}

/* Brings the place of a key into the cache. */
static inline void mprof_idmap_prefetch(const struct mprof_idmap *map, uint64_t key)
{
    if (map->size)
        MPROF_PREFETCH_WRITE(&map->slots[mprof_idmap_home(map, key)]);
}

/* 0: not there. */
static inline uint32_t mprof_idmap_find(const struct mprof_idmap *map, uint64_t key)
{
    return map->size ? mprof_idmap_probe(map, key)->value : 0;
}

/* Room for `more` further keys. */
static inline int mprof_idmap_reserve(struct mprof_idmap *map, struct mprof_arena *arena, size_t more)
{
    size_t size = map->size ? map->size : 64;
    if (more > SIZE_MAX / 8 / sizeof *map->slots - map->used)
        return -1;
    while (size < 2 * (map->used + more))
        size *= 2;
    if (size == map->size)
        return 0;
    if (map->secret == 0)
        map->secret = mprof_os_entropy() | 1;
    struct mprof_idmap larger = {.size = size, .used = map->used, .secret = map->secret};
    larger.slots = mprof_arena_get(arena, size * sizeof *larger.slots);
    if (!larger.slots)
        return -1;
    for (size_t i = 0; i < map->size; i++)
        if (map->slots[i].value != 0)
            *mprof_idmap_probe(&larger, map->slots[i].key) = map->slots[i];
    mprof_arena_put(arena, map->slots, map->size * sizeof *map->slots);
    *map = larger;
    return 0;
}

/* The value of a key, for the caller to set to what is not 0 if it is 0. NULL: no memory. */
static inline uint32_t *mprof_idmap_put(struct mprof_idmap *map, struct mprof_arena *arena, uint64_t key)
{
    if (mprof_idmap_reserve(map, arena, 1) < 0)
        return NULL;
    struct mprof_idslot *slot = mprof_idmap_probe(map, key);
    if (slot->value == 0) {
        slot->key = key;
        map->used++;
    }
    return &slot->value;
}

static inline void mprof_idmap_free(struct mprof_idmap *map, struct mprof_arena *arena)
{
    mprof_arena_put(arena, map->slots, map->size * sizeof *map->slots);
    *map = (struct mprof_idmap){0};
}

#endif
