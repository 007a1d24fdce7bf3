/* SPDX-License-Identifier: MIT */
/* test_strtab.c -- core/strtab.h against a plain list of strings. */
#include "tap.h"

#include "base/rng.h"
#include "core/strtab.h"

static struct mprof_arena arena;
static struct mprof_strtab table;

static uint32_t intern(const char *text, size_t length)
{
    uint32_t index = UINT32_MAX;
    if (mprof_strtab_intern(&table, &arena, text, length, &index) != 0)
        bail("no memory");
    return index;
}

static bool text_is(uint32_t index, const char *text, size_t length)
{
    return table.strings[index].length == length && memcmp(mprof_strtab_text(&table, index), text, length) == 0;
}

static void begin(void)
{
    mprof_arena_init(&arena, 0);
    if (mprof_strtab_init(&table, &arena) != 0)
        bail("no memory");
}

static void test_edges(void)
{
    begin();
    is_uint(intern("", 0), 0, "the empty string is 0");
    uint32_t a = intern("a.py", 4);
    is_uint(intern("a.py", 4), a, "equal text, equal index");
    ok(intern("a.px", 4) != a && intern("a.p", 3) != a && intern("a.py\0", 5) != a, "other text, another");
    uint32_t nul = intern("\0", 1);
    ok(nul != 0 && text_is(nul, "\0", 1), "a NUL is text");
    static char longest[100000];
    memset(longest, 'x', sizeof longest);
    uint32_t l = intern(longest, sizeof longest);
    ok(text_is(l, longest, sizeof longest) && intern(longest, sizeof longest - 1) != l, "long ones, too");
    uint32_t untouched = 77;
    is_int(mprof_strtab_intern(&table, &arena, longest, UINT32_MAX, &untouched), -1, "4 GiB are refused unread");
    is_uint(untouched, 77, "and the output is untouched");
    mprof_arena_drop(&arena);
}

enum { STRINGS = 5000 };

/* Names made of their number; some share prefixes, lengths differ. */
static size_t name(char *text, size_t room, uint64_t number)
{
    return (size_t)snprintf(text, room, "%*s%" PRIu64, (int)(number % 40), "module.", number);
}

/* Random interning, with sweeps that keep a random half. */
static void test_random(uint64_t seed)
{
    static uint32_t index[STRINGS];
    static bool in[STRINGS];
    struct mprof_rng rng;
    char text[64];
    mprof_rng_seed(&rng, seed);
    memset(in, 0, sizeof in);
    begin();
    bool right = true;
    uint32_t most = 0;
    size_t memory = 0;
    for (int round = 0; round < 30 && right; round++) {
        for (int i = 0; i < 4000 && right; i++) {
            uint64_t n = mprof_rng_next(&rng) % STRINGS;
            size_t length = name(text, sizeof text, n);
            uint32_t got = intern(text, length);
            right = check(in[n] ? got == index[n] : got != 0, "index of %s", text) && text_is(got, text, length);
            in[n] = true;
            index[n] = got;
        }
        most = table.used > most ? table.used : most;
        uint8_t *marks = mprof_arena_get(&arena, table.used);
        for (int n = 0; n < STRINGS; n++) {
            in[n] = in[n] && (mprof_rng_next(&rng) & 1);
            if (in[n])
                marks[index[n]] = 1;
        }
        uint32_t used = table.used;
        mprof_strtab_sweep(&table, &arena, marks);
        mprof_arena_put(&arena, marks, used);
        size_t kept = 0;
        for (int n = 0; n < STRINGS && right; n++) {
            size_t length = name(text, sizeof text, (uint64_t)n);
            if (in[n]) {
                right = check(text_is(index[n], text, length) && intern(text, length) == index[n], "kept %s", text);
                kept += length;
            }
        }
        right = right && check(table.text_used == kept, "text is packed: %u bytes, want %zu", table.text_used, kept) &&
                text_is(0, "", 0) && intern("", 0) == 0;
        if (round == 15)
            memory = arena.mapped;
    }
    ok(right, "seed %" PRIu64 ": as a list; those kept keep index and text", seed);
    ok(most <= STRINGS + 1, "seed %" PRIu64 ": free slots are used again", seed);
    ok(arena.mapped <= memory, "seed %" PRIu64 ": memory does not grow from sweep to sweep", seed);
    mprof_arena_drop(&arena);
}

static void test_no_memory(void)
{
    char text[64];
    bool right = true;
    mprof_arena_init(&arena, 0);
    for (uint64_t n = 1; n <= 3; n++) {
        arena.fail_at = arena.requests + n;
        right = right && mprof_strtab_init(&table, &arena) == -1;
    }
    ok(right, "no memory to begin with");
    mprof_arena_drop(&arena);
    uint64_t refused = 0;
    begin();
    arena.fail_count = UINT64_MAX / 2;
    for (uint64_t i = 0; i < 20000; i++) {
        /* Every other thousand of names without memory. */
        arena.fail_at = i / 1000 % 2 ? 1 : 0;
        uint32_t index = UINT32_MAX;
        size_t length = name(text, sizeof text, i);
        if (mprof_strtab_intern(&table, &arena, text, length, &index) == 0)
            right = right && text_is(index, text, length);
        else
            refused++;
    }
    arena.fail_at = 0;
    uint32_t before = table.used;
    for (uint64_t i = 0; i < 20000; i++) {
        size_t length = name(text, sizeof text, i);
        right = right && text_is(intern(text, length), text, length);
    }
    ok(right && refused > 0 && table.used == before + refused, "what was refused left no trace, the rest is there");

    /* No memory to pack the text: it stays as it is. */
    uint8_t *marks = mprof_arena_get(&arena, table.used);
    marks[7] = 1;
    uint32_t kept = table.strings[7].length;
    char copy[64];
    memcpy(copy, mprof_strtab_text(&table, 7), kept);
    arena.fail_at = 1;
    uint32_t text_used = table.text_used;
    mprof_strtab_sweep(&table, &arena, marks);
    ok(table.text_used == text_used && text_is(7, copy, kept),
       "a sweep without memory packs nothing and spoils nothing");
    arena.fail_at = 0;
    mprof_strtab_sweep(&table, &arena, marks);
    ok(table.text_used == kept && text_is(7, copy, kept) && intern(copy, kept) == 7, "the next one does");
    mprof_arena_drop(&arena);
}

int main(void)
{
    test_edges();
    for (uint64_t seed = 1; seed <= 3; seed++)
        test_random(seed);
    test_no_memory();
    return done();
}
