/* SPDX-License-Identifier: MIT */
/* strtab.c -- see strtab.h. */
#include "core/strtab.h"

#include "base/hash.h"

enum { FREE_SLOT = -1 };

static int rehash(struct mprof_strtab *table, struct mprof_arena *arena, uint32_t bucket_count)
{
    uint32_t *buckets = mprof_arena_get(arena, bucket_count * sizeof *buckets);
    if (!buckets)
        return -1;
    mprof_arena_put(arena, table->buckets, table->bucket_count * sizeof *buckets);
    table->buckets = buckets;
    table->bucket_count = bucket_count;
    for (uint32_t i = 0; i < table->used; i++) {
        struct mprof_string *string = &table->strings[i];
        if (string->length == (uint32_t)FREE_SLOT)
            continue;
        uint32_t *bucket = &buckets[string->hash & (bucket_count - 1)];
        string->next = *bucket;
        *bucket = i + 1;
    }
    return 0;
}

int mprof_strtab_init(struct mprof_strtab *table, struct mprof_arena *arena)
{
    memset(table, 0, sizeof *table);
    uint32_t empty;
    if (rehash(table, arena, 64) != 0)
        return -1;
    return mprof_strtab_intern(table, arena, "", 0, &empty);
}

/* Room for `length` more bytes of text, and never NULL afterwards. */
static int reserve_text(struct mprof_strtab *table, struct mprof_arena *arena, size_t length)
{
    uint64_t need = (uint64_t)table->text_used + length;
    char *text = mprof_arena_reserve(arena, table->text, &table->text_capacity, need ? need : 1, 1);
    if (!text)
        return -1;
    table->text = text;
    return 0;
}

static int reserve_slot(struct mprof_strtab *table, struct mprof_arena *arena)
{
    if (table->free != 0)
        return 0;
    struct mprof_string *strings =
        mprof_arena_reserve(arena, table->strings, &table->capacity, (uint64_t)table->used + 1, sizeof *strings);
    if (!strings)
        return -1;
    table->strings = strings;
    return 0;
}

int mprof_strtab_intern(struct mprof_strtab *table, struct mprof_arena *arena, const char *text, size_t length,
                        uint32_t *index)
{
    if (length >= UINT32_MAX)
        return -1;
    uint64_t hash = mprof_hash_bytes(text, length);
    for (uint32_t i = table->buckets[hash & (table->bucket_count - 1)]; i != 0; i = table->strings[i - 1].next) {
        const struct mprof_string *string = &table->strings[i - 1];
        if (string->hash == hash && string->length == length &&
            memcmp(table->text + string->offset, text, length) == 0) {
            *index = i - 1;
            return 0;
        }
    }
    if (reserve_text(table, arena, length) != 0 || reserve_slot(table, arena) != 0)
        return -1;
    if (table->used >= table->bucket_count)
        (void)rehash(table, arena, table->bucket_count * 2); /* without memory: longer chains */
    uint32_t slot;
    if (table->free != 0) {
        slot = table->free - 1;
        table->free = table->strings[slot].next;
    } else {
        slot = table->used++;
    }
    struct mprof_string *string = &table->strings[slot];
    uint32_t *bucket = &table->buckets[hash & (table->bucket_count - 1)];
    *string = (struct mprof_string){hash, table->text_used, (uint32_t)length, *bucket, 0};
    *bucket = slot + 1;
    memcpy(table->text + table->text_used, text, length);
    table->text_used += (uint32_t)length;
    *index = slot;
    return 0;
}

static void unlink_string(struct mprof_strtab *table, uint32_t index)
{
    uint32_t *link = &table->buckets[table->strings[index].hash & (table->bucket_count - 1)];
    while (*link != index + 1)
        link = &table->strings[*link - 1].next;
    *link = table->strings[index].next;
}

static void pack_text(struct mprof_strtab *table, struct mprof_arena *arena, uint32_t wanted)
{
    uint64_t capacity = 4096;
    while (capacity < wanted)
        capacity *= 2;
    char *text = capacity <= UINT32_MAX ? mprof_arena_get(arena, (size_t)capacity) : NULL;
    if (!text)
        return;
    uint32_t used = 0;
    for (uint32_t i = 0; i < table->used; i++) {
        struct mprof_string *string = &table->strings[i];
        if (string->length == (uint32_t)FREE_SLOT)
            continue;
        memcpy(text + used, table->text + string->offset, string->length);
        string->offset = used;
        used += string->length;
    }
    mprof_arena_put(arena, table->text, table->text_capacity);
    table->text = text;
    table->text_used = used;
    table->text_capacity = (uint32_t)capacity;
}

void mprof_strtab_sweep(struct mprof_strtab *table, struct mprof_arena *arena, const uint8_t *marks)
{
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < table->used; i++) {
        struct mprof_string *string = &table->strings[i];
        if (string->length == (uint32_t)FREE_SLOT)
            continue;
        if (marks[i] || i == 0) {
            wanted += string->length;
            continue;
        }
        unlink_string(table, i);
        string->length = (uint32_t)FREE_SLOT;
        string->next = table->free;
        table->free = i + 1;
    }
    if (wanted < table->text_used)
        pack_text(table, arena, wanted);
}
