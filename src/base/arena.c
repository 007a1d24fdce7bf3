/* SPDX-License-Identifier: MIT */
/* arena.c -- see arena.h.
 *
 * A large mapping starts with a header of 64 bytes that links it into the arena, so that mprof_arena_drop finds it:
 *
 *     +--------+--------+------+----------+----------------------
 *     | next   | prev   | size | (unused) | the caller's memory
 *     +--------+--------+------+----------+----------------------
 */
#include "base/arena.h"

#include "base/compiler.h"
#include "base/os.h"

#include <string.h>

struct mprof_arena_large {
    struct mprof_arena_large *next;
    struct mprof_arena_large **link; /* the word that points here */
    size_t size;                     /* of the mapping */
    size_t unused[64 / sizeof(size_t) - 3];
};

_Static_assert(sizeof(struct mprof_arena_large) == 64, "header of a large mapping");

void mprof_arena_init(struct mprof_arena *arena, size_t limit)
{
    memset(arena, 0, sizeof *arena);
    arena->limit = limit;
}

static unsigned class_of(size_t size)
{
    unsigned bits = 4; /* 16 bytes at least */
    while (((size_t)1 << bits) < size)
        bits++;
    return bits;
}

/* True if this request is one that a test wants to see refused. */
static bool refused(struct mprof_arena *arena)
{
    arena->requests++;
    return mprof_unlikely(arena->fail_at != 0) && arena->requests >= arena->fail_at &&
           arena->requests - arena->fail_at <= arena->fail_count;
}

static bool over_limit(const struct mprof_arena *arena, size_t more)
{
    return arena->limit != 0 && (more > arena->limit || arena->mapped > arena->limit - more);
}

static size_t large_mapping(size_t size)
{
    size_t need = size + sizeof(struct mprof_arena_large);
    if (need < size || need > SIZE_MAX / 2)
        return 0;
    return (need + MPROF_OS_PAGE - 1) & ~(MPROF_OS_PAGE - 1);
}

static void large_link(struct mprof_arena *arena, struct mprof_arena_large *header)
{
    struct mprof_arena_large *first = arena->large;
    header->next = first;
    header->link = &arena->large;
    if (first)
        first->link = &header->next;
    arena->large = header;
}

static void large_unlink(struct mprof_arena_large *header)
{
    *header->link = header->next;
    if (header->next)
        header->next->link = header->link;
}

/* Smaller mappings hold no huge page. */
static const size_t HUGE_PAGE = (size_t)2 << 20;

static void advise(const struct mprof_arena *arena, void *mapping, size_t size)
{
    if (arena->huge && size >= HUGE_PAGE)
        mprof_os_advise_huge(mapping, size);
}

static void *large_get(struct mprof_arena *arena, size_t size)
{
    size_t mapping = large_mapping(size);
    if (mapping == 0 || over_limit(arena, mapping))
        return NULL;
    struct mprof_arena_large *header = mprof_os_map(mapping);
    if (!header)
        return NULL;
    advise(arena, header, mapping);
    header->size = mapping;
    large_link(arena, header);
    arena->mapped += mapping;
    return header + 1;
}

static void large_put(struct mprof_arena *arena, void *memory)
{
    struct mprof_arena_large *header = (struct mprof_arena_large *)memory - 1;
    large_unlink(header);
    arena->mapped -= header->size;
    mprof_os_unmap(header, header->size);
}

static void *large_resize(struct mprof_arena *arena, void *memory, size_t old_size, size_t new_size)
{
    struct mprof_arena_large *header = (struct mprof_arena_large *)memory - 1;
    size_t old_mapping = header->size;
    size_t new_mapping = large_mapping(new_size);
    if (new_mapping == 0 || (new_mapping > old_mapping && over_limit(arena, new_mapping - old_mapping)))
        return NULL;
    if (new_mapping != old_mapping) {
        large_unlink(header);
        struct mprof_arena_large *moved = mprof_os_remap(header, old_mapping, new_mapping);
        if (!moved) {
            large_link(arena, header);
            return NULL;
        }
        header = moved;
        header->size = new_mapping;
        advise(arena, header, new_mapping);
        large_link(arena, header);
        arena->mapped = arena->mapped - old_mapping + new_mapping;
    }
    char *start = (char *)(header + 1);
    size_t dirty_end = old_mapping - sizeof *header; /* bytes that may hold something from before */
    if (new_size > old_size && dirty_end > old_size)
        memset(start + old_size, 0, (new_size < dirty_end ? new_size : dirty_end) - old_size);
    return start;
}

static void *small_get(struct mprof_arena *arena, size_t size)
{
    unsigned bits = class_of(size);
    size_t rounded = (size_t)1 << bits;
    void *memory = arena->free[bits];
    if (memory) {
        arena->free[bits] = *(void **)memory;
        memset(memory, 0, rounded);
        return memory;
    }
    if ((size_t)(arena->end - arena->next) < rounded) {
        if (over_limit(arena, MPROF_ARENA_CHUNK))
            return NULL;
        char *chunk = mprof_os_map(MPROF_ARENA_CHUNK);
        if (!chunk)
            return NULL;
        arena->mapped += MPROF_ARENA_CHUNK;
        *(void **)(void *)chunk = arena->chunks;
        arena->chunks = chunk;
        arena->next = chunk + 16;
        arena->end = chunk + MPROF_ARENA_CHUNK;
    }
    memory = arena->next;
    arena->next += rounded;
    return memory;
}

void *mprof_arena_get(struct mprof_arena *arena, size_t size)
{
    mprof_assert(size > 0);
    if (refused(arena))
        return NULL;
    return size < MPROF_ARENA_LARGE ? small_get(arena, size) : large_get(arena, size);
}

void *mprof_arena_array(struct mprof_arena *arena, size_t count, size_t item)
{
    return mprof_arena_get(arena, (count ? count : 1) * item);
}

size_t mprof_arena_usable(size_t size)
{
    if (size < MPROF_ARENA_LARGE) {
        size_t rounded = (size_t)1 << class_of(size);
        return rounded < MPROF_ARENA_LARGE ? rounded : MPROF_ARENA_LARGE - 1;
    }
    size_t mapping = large_mapping(size);
    return mapping ? mapping - sizeof(struct mprof_arena_large) : size;
}

void mprof_arena_put(struct mprof_arena *arena, void *memory, size_t size)
{
    if (!memory)
        return;
    if (size >= MPROF_ARENA_LARGE) {
        large_put(arena, memory);
        return;
    }
    unsigned bits = class_of(size);
    *(void **)memory = arena->free[bits];
    arena->free[bits] = memory;
}

void *mprof_arena_resize(struct mprof_arena *arena, void *memory, size_t old_size, size_t new_size)
{
    if (!memory)
        return mprof_arena_get(arena, new_size);
    if (old_size >= MPROF_ARENA_LARGE && new_size >= MPROF_ARENA_LARGE)
        return refused(arena) ? NULL : large_resize(arena, memory, old_size, new_size);
    void *moved = mprof_arena_get(arena, new_size);
    if (!moved)
        return NULL;
    memcpy(moved, memory, old_size < new_size ? old_size : new_size);
    mprof_arena_put(arena, memory, old_size);
    return moved;
}

void *mprof_arena_reserve(struct mprof_arena *arena, void *array, uint32_t *capacity, uint64_t need, size_t item)
{
    if (need <= *capacity)
        return array;
    uint64_t wanted = *capacity ? (uint64_t)*capacity * 2 : 64;
    if (wanted < need)
        wanted = need;
    if (wanted > UINT32_MAX || wanted > SIZE_MAX / item)
        return NULL;
    void *moved = mprof_arena_resize(arena, array, *capacity * item, (size_t)wanted * item);
    if (moved)
        *capacity = (uint32_t)wanted;
    return moved;
}

void mprof_arena_move(struct mprof_arena *to, struct mprof_arena *from)
{
    *to = *from;
    if (to->large)
        to->large->link = &to->large;
    mprof_arena_init(from, to->limit);
    from->huge = to->huge;
    from->requests = to->requests;
    from->fail_at = to->fail_at;
    from->fail_count = to->fail_count;
}

void mprof_arena_drop(struct mprof_arena *arena)
{
    while (arena->large)
        large_put(arena, arena->large + 1);
    void *chunk = arena->chunks;
    while (chunk) {
        void *next = *(void **)chunk;
        mprof_os_unmap(chunk, MPROF_ARENA_CHUNK);
        chunk = next;
    }
    memset(arena, 0, sizeof *arena);
}
