/* SPDX-License-Identifier: MIT */
/* functab.c -- see functab.h. */
#include "core/functab.h"

#include "base/hash.h"

static uint64_t content_hash(const struct mprof_funcentry *f)
{
    return mprof_mix64(f->lines_hash ^ mprof_mix64(((uint64_t)f->name << 32 | f->filename) + f->firstlineno));
}

static bool same(const struct mprof_funcentry *a, const struct mprof_funcentry *b)
{
    return a->lines_hash == b->lines_hash && a->name == b->name && a->filename == b->filename &&
           a->firstlineno == b->firstlineno;
}

/* A slot on the free list is marked by a first line that no code has. */
static const uint32_t FREE_LINE = UINT32_MAX;

static int rehash(struct mprof_functab *table, struct mprof_arena *arena, uint32_t bucket_count)
{
    uint32_t *buckets = mprof_arena_get(arena, bucket_count * sizeof *buckets);
    if (!buckets)
        return -1;
    mprof_arena_put(arena, table->buckets, table->bucket_count * sizeof *buckets);
    table->buckets = buckets;
    table->bucket_count = bucket_count;
    for (uint32_t i = 1; i < table->used; i++) {
        struct mprof_funcentry *f = &table->functions[i];
        if (f->firstlineno == FREE_LINE)
            continue;
        uint32_t *bucket = &buckets[content_hash(f) & (bucket_count - 1)];
        f->next = *bucket;
        *bucket = i + 1;
    }
    return 0;
}

int mprof_functab_init(struct mprof_functab *table, struct mprof_arena *arena)
{
    memset(table, 0, sizeof *table);
    table->functions = mprof_arena_get(arena, 64 * sizeof *table->functions);
    table->codes = mprof_arena_get(arena, 64 * sizeof *table->codes);
    if (!table->functions || !table->codes || rehash(table, arena, 64) != 0)
        return -1;
    table->capacity = 64;
    table->code_capacity = 64;
    table->used = 1; /* index 0 means none */
    table->functions[0].firstlineno = FREE_LINE;
    return 0;
}

int mprof_functab_intern(struct mprof_functab *table, struct mprof_arena *arena, const struct mprof_funcentry *function,
                         uint32_t *index)
{
    struct mprof_funcentry wanted = *function;
    if (wanted.firstlineno == FREE_LINE)
        wanted.firstlineno = 0;
    uint64_t hash = content_hash(&wanted);
    for (uint32_t i = table->buckets[hash & (table->bucket_count - 1)]; i != 0; i = table->functions[i - 1].next) {
        if (same(&table->functions[i - 1], &wanted)) {
            *index = i - 1;
            return 0;
        }
    }
    if (table->free == 0) {
        struct mprof_funcentry *functions = mprof_arena_reserve(arena, table->functions, &table->capacity,
                                                                (uint64_t)table->used + 1, sizeof *functions);
        if (!functions)
            return -1;
        table->functions = functions;
    }
    if (table->used >= table->bucket_count)
        (void)rehash(table, arena, table->bucket_count * 2); /* without memory: longer chains */
    uint32_t slot;
    if (table->free != 0) {
        slot = table->free - 1;
        table->free = table->functions[slot].next;
    } else {
        slot = table->used++;
    }
    uint32_t *bucket = &table->buckets[hash & (table->bucket_count - 1)];
    wanted.next = *bucket;
    table->functions[slot] = wanted;
    *bucket = slot + 1;
    *index = slot;
    return 0;
}

/* ---- codes ---- */

static uint32_t code_home(const void *code, uint32_t capacity)
{
    return (uint32_t)(mprof_mix64((uint64_t)(uintptr_t)code) & (capacity - 1));
}

static uint32_t code_probe(const struct mprof_codeentry *codes, uint32_t capacity, const void *code)
{
    uint32_t place = code_home(code, capacity);
    while (codes[place].code && codes[place].code != code)
        place = (place + 1) & (capacity - 1);
    return place;
}

uint32_t mprof_functab_find(const struct mprof_functab *table, const void *code, uint64_t fingerprint)
{
    const struct mprof_codeentry *entry = &table->codes[code_probe(table->codes, table->code_capacity, code)];
    return entry->code && entry->fingerprint == fingerprint ? entry->function : 0;
}

static int grow_codes(struct mprof_functab *table, struct mprof_arena *arena)
{
    uint32_t capacity = table->code_capacity * 2;
    struct mprof_codeentry *codes = capacity ? mprof_arena_get(arena, capacity * sizeof *codes) : NULL;
    if (!codes)
        return -1;
    for (uint32_t i = 0; i < table->code_capacity; i++) {
        if (table->codes[i].code)
            codes[code_probe(codes, capacity, table->codes[i].code)] = table->codes[i];
    }
    mprof_arena_put(arena, table->codes, table->code_capacity * sizeof *codes);
    table->codes = codes;
    table->code_capacity = capacity;
    return 0;
}

int mprof_functab_learn(struct mprof_functab *table, struct mprof_arena *arena, const void *code, uint64_t fingerprint,
                        uint32_t function)
{
    uint32_t place = code_probe(table->codes, table->code_capacity, code);
    int known = table->codes[place].code != NULL;
    if (!known && table->code_count >= table->code_capacity / 2) {
        if (grow_codes(table, arena) != 0)
            return -1;
        place = code_probe(table->codes, table->code_capacity, code);
    }
    table->codes[place] = (struct mprof_codeentry){code, fingerprint, function, 0};
    table->code_count += !known;
    return known;
}

bool mprof_functab_forget(struct mprof_functab *table, const void *code)
{
    uint32_t mask = table->code_capacity - 1;
    uint32_t hole = code_probe(table->codes, table->code_capacity, code);
    if (!table->codes[hole].code)
        return false;
    for (uint32_t place = (hole + 1) & mask; table->codes[place].code; place = (place + 1) & mask) {
        uint32_t home = code_home(table->codes[place].code, table->code_capacity);
        if (((place - home) & mask) >= ((place - hole) & mask)) {
            table->codes[hole] = table->codes[place];
            hole = place;
        }
    }
    table->codes[hole] = (struct mprof_codeentry){NULL, 0, 0, 0};
    table->code_count--;
    return true;
}

void mprof_functab_sweep(struct mprof_functab *table, uint8_t *marks)
{
    for (uint32_t i = 0; i < table->code_capacity; i++) {
        if (table->codes[i].code)
            marks[table->codes[i].function] = 1;
    }
    for (uint32_t i = 1; i < table->used; i++) {
        struct mprof_funcentry *f = &table->functions[i];
        if (marks[i] || f->firstlineno == FREE_LINE)
            continue;
        uint32_t *link = &table->buckets[content_hash(f) & (table->bucket_count - 1)];
        while (*link != i + 1)
            link = &table->functions[*link - 1].next;
        *link = f->next;
        *f = (struct mprof_funcentry){0, 0, 0, FREE_LINE, table->free};
        table->free = i + 1;
    }
}
