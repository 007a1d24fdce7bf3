/* SPDX-License-Identifier: MIT */
/* test_arena.c -- base/arena.h: zeroed memory, resizing, limits, refusals. */
#include "tap.h"

#include "base/arena.h"
#include "base/rng.h"

static bool all_bytes(const unsigned char *bytes, size_t from, size_t to, unsigned char value)
{
    for (size_t i = from; i < to; i++) {
        if (bytes[i] != value)
            return false;
    }
    return true;
}

static void test_edges(void)
{
    struct mprof_arena arena;
    static const size_t sizes[] = {1,     15,    16,    17,    4095,  4096,  16384,  16385,  32751,
                                   32752, 32767, 32768, 32769, 65472, 65473, 131072, 1 << 20};
    mprof_arena_init(&arena, 0);
    bool zero = true;
    bool aligned = true;
    bool again = true;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *memory = mprof_arena_get(&arena, sizes[i]);
        if (!memory)
            bail("no memory");
        zero = zero && all_bytes(memory, 0, sizes[i], 0);
        aligned = aligned && (uintptr_t)memory % (sizes[i] < MPROF_ARENA_LARGE ? 16 : 64) == 0;
        memset(memory, 0xff, sizes[i]);
        mprof_arena_put(&arena, memory, sizes[i]);
        memory = mprof_arena_get(&arena, sizes[i]);
        again = again && memory && all_bytes(memory, 0, sizes[i], 0);
        size_t usable = mprof_arena_usable(sizes[i]);
        again = again && check(usable >= sizes[i] && (usable < MPROF_ARENA_LARGE) == (sizes[i] < MPROF_ARENA_LARGE),
                               "usable %zu of %zu", usable, sizes[i]);
        mprof_arena_put(&arena, memory, sizes[i]);
        size_t mapped = arena.mapped;
        memory = mprof_arena_get(&arena, sizes[i]);
        size_t with = arena.mapped;
        mprof_arena_put(&arena, memory, sizes[i]);
        memory = mprof_arena_get(&arena, usable);
        again = again && check(arena.mapped == with, "%zu costs more than %zu", usable, sizes[i]);
        mprof_arena_put(&arena, memory, usable);
        again = again && arena.mapped == mapped;
    }
    ok(zero, "memory is zero");
    ok(aligned, "and aligned");
    ok(again, "zero again after it was given back; usable sizes cost nothing more");
    mprof_arena_put(&arena, NULL, 100);
    uint64_t before = arena.requests;
    void *memory = mprof_arena_resize(&arena, NULL, 0, 100);
    ok(memory && arena.requests == before + 1, "resizing nothing is a get");
    mprof_arena_drop(&arena);
    is_uint(arena.mapped, 0, "drop gives everything back");
    mprof_arena_drop(&arena);
    ok(mprof_arena_get(&arena, 10) != NULL, "a dropped arena can be used again");
    mprof_arena_drop(&arena);
}

/* Small pieces put back are used again: the arena does not grow. */
static void test_reuse(void)
{
    struct mprof_arena arena;
    mprof_arena_init(&arena, 0);
    for (int i = 0; i < 10000; i++) {
        void *a = mprof_arena_get(&arena, 1000);
        void *b = mprof_arena_get(&arena, 20000);
        void *c = mprof_arena_get(&arena, 100000);
        mprof_arena_put(&arena, a, 1000);
        mprof_arena_put(&arena, c, 100000);
        mprof_arena_put(&arena, b, 20000);
    }
    ok(arena.mapped <= 3 * 65536, "what is put back is used again (%zu bytes mapped)", arena.mapped);
    mprof_arena_drop(&arena);
}

enum { PIECES = 200 };

/* Random gets, resizes and puts; each piece is filled with its own byte. */
static void test_random(uint64_t seed)
{
    struct mprof_arena arena;
    struct mprof_rng rng;
    unsigned char *piece[PIECES] = {NULL};
    size_t size[PIECES] = {0};
    mprof_rng_seed(&rng, seed);
    mprof_arena_init(&arena, 0);
    bool right = true;
    for (int step = 0; step < 20000 && right; step++) {
        unsigned i = (unsigned)(mprof_rng_next(&rng) % PIECES);
        unsigned char own = (unsigned char)(i + 1);
        size_t wanted = 1 + (size_t)(mprof_rng_next(&rng) % (UINT64_C(1) << (1 + mprof_rng_next(&rng) % 18)));
        if (mprof_rng_next(&rng) % 3 == 0) {
            mprof_arena_put(&arena, piece[i], size[i]);
            piece[i] = NULL;
            size[i] = 0;
            continue;
        }
        unsigned char *moved = mprof_arena_resize(&arena, piece[i], size[i], wanted);
        size_t kept = size[i] < wanted ? size[i] : wanted;
        right = check(moved && all_bytes(moved, 0, kept, own) && all_bytes(moved, kept, wanted, 0),
                      "seed %" PRIu64 ", step %d: %zu to %zu bytes", seed, step, size[i], wanted);
        memset(moved, own, wanted);
        piece[i] = moved;
        size[i] = wanted;
    }
    for (unsigned i = 0; i < PIECES; i++)
        right = right && (!piece[i] || all_bytes(piece[i], 0, size[i], (unsigned char)(i + 1)));
    ok(right, "seed %" PRIu64 ": resizing keeps, zeroes, and overlaps nothing", seed);
    mprof_arena_drop(&arena);
}

static void test_limit(void)
{
    struct mprof_arena arena;
    mprof_arena_init(&arena, 1 << 20);
    void *large = mprof_arena_get(&arena, 600000);
    ok(large != NULL, "within the limit");
    ok(mprof_arena_get(&arena, 600000) == NULL, "beyond it");
    ok(mprof_arena_resize(&arena, large, 600000, 1200000) == NULL, "growing beyond it");
    *(char *)large = 1;
    large = mprof_arena_resize(&arena, large, 600000, 100000);
    ok(large && *(char *)large == 1, "shrinking");
    ok(arena.mapped <= 1 << 20, "never more mapped than allowed");
    size_t got = 0;
    while (mprof_arena_get(&arena, 1000))
        got += 1000;
    ok(got > 500000 && arena.mapped <= 1 << 20, "small pieces up to the limit (%zu)", got);
    mprof_arena_drop(&arena);
    ok(mprof_arena_get(&arena, SIZE_MAX) == NULL && mprof_arena_get(&arena, SIZE_MAX / 2) == NULL, "absurd sizes");
    mprof_arena_drop(&arena);
}

static void test_refusals(void)
{
    struct mprof_arena arena;
    mprof_arena_init(&arena, 0);
    void *a = mprof_arena_get(&arena, 10);
    arena.fail_at = 3;
    arena.fail_count = 1;
    ok(a && mprof_arena_get(&arena, 10) != NULL, "requests before the one that fails are served");
    ok(mprof_arena_get(&arena, 10) == NULL, "the third is refused");
    ok(mprof_arena_resize(&arena, a, 10, 100000) == NULL, "and one more, as asked");
    ok(mprof_arena_get(&arena, 10) != NULL, "then they are served again");
    is_uint(arena.requests, 5, "all are counted");
    mprof_arena_drop(&arena);
}

static void test_reserve(void)
{
    struct mprof_arena arena;
    mprof_arena_init(&arena, 0);
    uint32_t capacity = 0;
    uint64_t *array = mprof_arena_reserve(&arena, NULL, &capacity, 1, sizeof *array);
    ok(array && capacity >= 1, "room for one");
    uint32_t before = capacity;
    bool right = true;
    for (uint32_t i = 0; i < 100000; i++) {
        array = mprof_arena_reserve(&arena, array, &capacity, i + 1, sizeof *array);
        right = right && array && capacity > i && (capacity == before || capacity >= 2 * before);
        before = capacity;
        array[i] = i;
    }
    for (uint32_t i = 0; i < 100000; i++)
        right = right && array[i] == i;
    ok(right, "grows by doubling at least, and keeps what it holds");
    ok(mprof_arena_reserve(&arena, array, &capacity, UINT64_C(1) << 32, sizeof *array) == NULL && capacity == before,
       "more items than 32 bits count: refused, nothing changed");
    arena.fail_at = arena.requests + 1;
    ok(mprof_arena_reserve(&arena, array, &capacity, (uint64_t)capacity + 1, sizeof *array) == NULL &&
           capacity == before && array[99999] == 99999,
       "no memory: nothing changed");
    mprof_arena_drop(&arena);
}

int main(void)
{
    test_edges();
    test_reuse();
    for (uint64_t seed = 1; seed <= 3; seed++)
        test_random(seed);
    test_limit();
    test_refusals();
    test_reserve();
    return done();
}
