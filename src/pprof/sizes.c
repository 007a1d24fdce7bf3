/* SPDX-License-Identifier: MIT */
/* sizes.c -- see sizes.h. */
#include "pprof/sizes.h"

#include "base/os.h"
#include "pprof/idmap.h"
#include "pprof/layout.h"

#include <math.h>
#include <string.h>

void mprof_sizes_init(struct mprof_sizes *sizes, struct mprof_arena *arena, int64_t now_ns)
{
    *sizes = (struct mprof_sizes){.arena = arena, .secret = mprof_os_entropy() | 1, .now_ns = now_ns};
}

void mprof_sizes_free(struct mprof_sizes *sizes)
{
    mprof_arena_put(sizes->arena, sizes->items, sizes->capacity * sizeof *sizes->items);
    mprof_arena_put(sizes->arena, sizes->slots, sizes->slot_count * sizeof *sizes->slots);
    mprof_sizes_init(sizes, sizes->arena, sizes->now_ns);
}

uint64_t mprof_sizes_whole_rate(double rate)
{
    if (!(rate > 1.0))
        return 1;
    return rate < 0x1p62 ? (uint64_t)llround(rate) : UINT64_C(1) << 62;
}

/* The class of ages that a block born then is in. Clocks may be set back: before its birth it is young. */
static uint32_t age_of(int64_t now_ns, int64_t birth_ns)
{
    if (now_ns == 0 || birth_ns == 0 || birth_ns >= now_ns)
        return 0;
    uint64_t seconds = ((uint64_t)now_ns - (uint64_t)birth_ns) / 1000000000;
    uint32_t age = MPROF_AGES - 1;
    while (seconds < mprof_age_bound(age))
        age--;
    return age;
}

/* Slot of the item that has the identity of this one, or the free slot where it would be. */
static uint32_t *probe(const struct mprof_sizes *sizes, const struct mprof_size *wanted)
{
    uint64_t hash = mprof_idmap_fold(wanted->size, sizes->secret);
    hash = mprof_idmap_fold(hash ^ wanted->rate, sizes->secret);
    hash = mprof_idmap_fold(hash ^ ((uint64_t)wanted->age << 32 | wanted->domain), sizes->secret);
    size_t at = (size_t)(hash ^ hash >> 32) & (sizes->slot_count - 1);
    for (; sizes->slots[at] != 0; at = (at + 1) & (sizes->slot_count - 1)) {
        const struct mprof_size *item = &sizes->items[sizes->slots[at] - 1];
        if (item->size == wanted->size && item->rate == wanted->rate && item->domain == wanted->domain &&
            item->age == wanted->age)
            break;
    }
    return &sizes->slots[at];
}

/* Doubles items and slots; slots stay at most half full. */
static int grow(struct mprof_sizes *sizes)
{
    size_t capacity = sizes->capacity ? 2 * sizes->capacity : 64;
    if (capacity > UINT32_MAX / 2)
        return -1;
    uint32_t *slots = mprof_arena_get(sizes->arena, 2 * capacity * sizeof *slots);
    if (!slots)
        return -1;
    struct mprof_size *items =
        mprof_arena_resize(sizes->arena, sizes->items, sizes->capacity * sizeof *items, capacity * sizeof *items);
    if (!items) {
        mprof_arena_put(sizes->arena, slots, 2 * capacity * sizeof *slots);
        return -1;
    }
    mprof_arena_put(sizes->arena, sizes->slots, sizes->slot_count * sizeof *slots);
    sizes->items = items;
    sizes->capacity = capacity;
    sizes->slots = slots;
    sizes->slot_count = 2 * capacity;
    for (size_t i = 0; i < sizes->count; i++) {
        uint32_t *slot = probe(sizes, &items[i]);
        *slot = (uint32_t)i + 1;
        items[i].slot = (uint32_t)(slot - slots);
    }
    return 0;
}

void mprof_sizes_one(const struct mprof_sizes *sizes, const struct mprof_block *block, struct mprof_size *size)
{
    *size = (struct mprof_size){.size = block->size,
                                .rate = mprof_sizes_whole_rate(block->rate),
                                .domain = block->domain,
                                .age = age_of(sizes->now_ns, block->birth_ns),
                                .bytes = block->bytes,
                                .blocks = block->blocks};
}

int mprof_sizes_add(struct mprof_sizes *sizes, const struct mprof_block *block)
{
    if (sizes->count == sizes->capacity && grow(sizes) < 0)
        return -1;
    struct mprof_size wanted;
    mprof_sizes_one(sizes, block, &wanted);
    uint32_t *slot = probe(sizes, &wanted);
    if (*slot == 0) {
        wanted.slot = (uint32_t)(slot - sizes->slots);
        sizes->items[sizes->count] = wanted;
        *slot = (uint32_t)++sizes->count;
        return 0;
    }
    struct mprof_size *item = &sizes->items[*slot - 1];
    item->bytes += block->bytes;
    item->blocks += block->blocks;
    return 0;
}

static bool before(const struct mprof_size *a, const struct mprof_size *b)
{
    if (a->domain != b->domain)
        return a->domain < b->domain;
    if (a->rate != b->rate)
        return a->rate < b->rate;
    if (a->age != b->age)
        return a->age < b->age;
    return a->size < b->size;
}

/* Lets the item at `at` sink in a heap whose largest item is at 0. */
static void sink(struct mprof_size *items, size_t at, size_t count)
{
    struct mprof_size item = items[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && before(&items[child], &items[child + 1]))
            child++;
        if (!before(&item, &items[child]))
            break;
        items[at] = items[child];
    }
    items[at] = item;
}

/* Heap sort: no recursion, no memory, no bad case. (qsort may call malloc.) */
static void sort(struct mprof_size *items, size_t count)
{
    for (size_t i = count / 2; i > 0; i--)
        sink(items, i - 1, count);
    for (size_t last = count; last > 1; last--) {
        struct mprof_size largest = items[0];
        items[0] = items[last - 1];
        items[last - 1] = largest;
        sink(items, 0, last - 1);
    }
}

static unsigned class_of(uint64_t size)
{
    unsigned class = 0;
    for (; size > 0; size >>= 1)
        class ++;
    return class;
}

static bool same_class(const struct mprof_size *a, const struct mprof_size *b)
{
    return a->rate == 1 && b->rate == 1 && a->domain == b->domain && a->age == b->age &&
           class_of(a->size) == class_of(b->size);
}

/* Sums neighbours of one class into the first of them. */
static void sum_classes(struct mprof_sizes *sizes)
{
    size_t kept = 0;
    for (size_t i = 0; i < sizes->count;) {
        struct mprof_size sum = sizes->items[i++];
        bool mixed = false;
        while (i < sizes->count && same_class(&sum, &sizes->items[i])) {
            sum.bytes += sizes->items[i].bytes;
            sum.blocks += sizes->items[i].blocks;
            mixed = true;
            i++;
        }
        double mean = sum.bytes / sum.blocks;
        if (mixed && mean >= 0.0 && mean < 0x1p63)
            sum.size = (uint64_t)llround(mean);
        sizes->items[kept++] = sum;
    }
    sizes->count = kept;
}

void mprof_sizes_finish(struct mprof_sizes *sizes)
{
    size_t exact[MPROF_AGES] = {0};
    bool many = false;
    for (size_t i = 0; i < sizes->count; i++) {
        const struct mprof_size *item = &sizes->items[i];
        sizes->slots[item->slot] = 0;
        many = (item->rate == 1 && ++exact[item->age] > MPROF_SIZES_EXACT) || many;
    }
    sort(sizes->items, sizes->count);
    if (many)
        sum_classes(sizes);
}

void mprof_sizes_clear(struct mprof_sizes *sizes)
{
    sizes->count = 0;
}
