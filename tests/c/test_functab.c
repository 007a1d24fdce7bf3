/* SPDX-License-Identifier: MIT */
/* test_functab.c -- core/functab.h against plain arrays. Addresses of code are numbers here. */
#include "addresses.h"
#include "tap.h"

#include "base/rng.h"
#include "core/functab.h"

static struct mprof_arena arena;
static struct mprof_functab table;

static void begin(void)
{
    mprof_arena_init(&arena, 0);
    if (mprof_functab_init(&table, &arena) != 0)
        bail("no memory");
}

static uint32_t intern(uint64_t lines_hash, uint32_t name, uint32_t filename, uint32_t line)
{
    struct mprof_funcentry entry = {lines_hash, name, filename, line, 99};
    uint32_t index = 0;
    if (mprof_functab_intern(&table, &arena, &entry, &index) != 0)
        bail("no memory");
    return index;
}

static const void *code(uint64_t number)
{
    return (const void *)(TEST_HEAP + 176 * (uintptr_t)number); /* about what a code object takes */
}

static void test_functions(void)
{
    begin();
    uint32_t f = intern(1, 2, 3, 4);
    ok(f != 0, "0 means none");
    is_uint(intern(1, 2, 3, 4), f, "equal content, equal index");
    ok(intern(9, 2, 3, 4) != f && intern(1, 9, 3, 4) != f && intern(1, 2, 9, 4) != f && intern(1, 2, 3, 9) != f,
       "each part tells functions apart");
    ok(intern(1, 3, 2, 4) != f, "name and file are not interchangeable");
    uint32_t none = intern(0, 0, 0, 0);
    ok(none != 0 && intern(0, 0, 0, 0) == none, "a function without names or lines is one, too");
    uint32_t last = intern(5, 5, 5, UINT32_MAX);
    is_uint(intern(5, 5, 5, 0), last, "the largest line is no line");
    mprof_arena_drop(&arena);
}

static void test_codes(void)
{
    begin();
    uint32_t f = intern(1, 2, 3, 4);
    uint32_t g = intern(5, 6, 7, 8);
    is_uint(mprof_functab_find(&table, code(1), 11), 0, "unknown code");
    ok(!mprof_functab_forget(&table, code(1)), "cannot be forgotten");
    is_int(mprof_functab_learn(&table, &arena, code(1), 11, f), 0, "learnt");
    is_uint(mprof_functab_find(&table, code(1), 11), f, "known");
    is_uint(mprof_functab_find(&table, code(1), 12), 0, "but not with another fingerprint");
    is_int(mprof_functab_learn(&table, &arena, code(1), 12, g), 1, "another code at the address");
    is_uint(mprof_functab_find(&table, code(1), 12), g, "is known now");
    is_uint(mprof_functab_find(&table, code(1), 11), 0, "and the old one is not");
    is_uint(table.code_count, 1, "one code");
    ok(mprof_functab_forget(&table, code(1)) && !mprof_functab_forget(&table, code(1)), "forgotten, once");
    is_uint(mprof_functab_find(&table, code(1), 12), 0, "unknown again");
    is_uint(table.code_count, 0, "no code");
    mprof_arena_drop(&arena);
}

/* Every code in the table is found from its home, and the counts agree. */
static bool codes_are_valid(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < table.code_capacity; i++) {
        const struct mprof_codeentry *entry = &table.codes[i];
        if (!entry->code)
            continue;
        count++;
        if (mprof_functab_find(&table, entry->code, entry->fingerprint) != entry->function)
            return false;
    }
    return count == table.code_count && count <= table.code_capacity / 2;
}

enum { CODES = 4000, FUNCTIONS = 3000 };

/* Random learning, forgetting, and sweeps that keep a third of the functions besides those that codes name. */
static void test_random(uint64_t seed)
{
    static uint32_t function_of[CODES]; /* its number; 0: unknown code */
    static uint64_t fingerprint[CODES];
    static uint32_t index[FUNCTIONS];
    static bool in[FUNCTIONS];
    struct mprof_rng rng;
    mprof_rng_seed(&rng, seed);
    memset(function_of, 0, sizeof function_of);
    memset(in, 0, sizeof in);
    begin();
    bool right = true;
    uint32_t most = 0;
    for (int step = 1; step <= 100000 && right; step++) {
        uint64_t c = mprof_rng_next(&rng) % CODES;
        if (mprof_rng_next(&rng) % 2) {
            uint32_t f = (uint32_t)(1 + mprof_rng_next(&rng) % (FUNCTIONS - 1));
            uint32_t got = intern(f * UINT64_C(7919), f % 100, f % 10, f);
            right = got != 0 && (!in[f] || index[f] == got);
            in[f] = true;
            index[f] = got;
            uint64_t print = mprof_rng_next(&rng);
            right = right && mprof_functab_learn(&table, &arena, code(c), print, got) == (function_of[c] != 0);
            function_of[c] = f;
            fingerprint[c] = print;
        } else if (mprof_rng_next(&rng) % 2) {
            right = mprof_functab_forget(&table, code(c)) == (function_of[c] != 0);
            function_of[c] = 0;
        } else {
            uint32_t found = mprof_functab_find(&table, code(c), fingerprint[c]);
            right = found == (function_of[c] ? index[function_of[c]] : 0);
        }
        if (step % 10000 == 0) {
            uint8_t *marks = mprof_arena_get(&arena, table.used);
            static bool needed[FUNCTIONS];
            memset(needed, 0, sizeof needed);
            for (int f = 1; f < FUNCTIONS; f++) {
                needed[f] = in[f] && mprof_rng_next(&rng) % 3 == 0;
                if (needed[f])
                    marks[index[f]] = 1;
            }
            for (int k = 0; k < CODES; k++)
                needed[function_of[k]] = true;
            mprof_functab_sweep(&table, marks);
            for (int f = 1; f < FUNCTIONS; f++) {
                right = right && (!in[f] || marks[index[f]] == needed[f]);
                in[f] = in[f] && needed[f];
                right = right && (!in[f] || intern((uint64_t)f * 7919, (uint32_t)f % 100, (uint32_t)f % 10,
                                                   (uint32_t)f) == index[f]);
            }
            mprof_arena_put(&arena, marks, table.used);
            right = right && codes_are_valid();
        }
        most = table.used > most ? table.used : most;
    }
    ok(right, "seed %" PRIu64 ": as plain arrays", seed);
    ok(most <= FUNCTIONS + 1, "seed %" PRIu64 ": free slots are used again", seed);
    mprof_arena_drop(&arena);
}

static void test_no_memory(void)
{
    bool right = true;
    for (uint64_t n = 1; n <= 3; n++) {
        mprof_arena_init(&arena, 0);
        arena.fail_at = n;
        right = right && mprof_functab_init(&table, &arena) == -1;
        mprof_arena_drop(&arena);
    }
    ok(right, "no memory to begin with");
    begin();
    arena.fail_at = arena.requests + 1;
    arena.fail_count = UINT64_MAX / 2;
    uint32_t functions = 0;
    uint32_t codes = 0;
    for (uint32_t i = 1; i <= 1000; i++) {
        struct mprof_funcentry entry = {i, i, i, i, 0};
        uint32_t index = 0;
        functions += mprof_functab_intern(&table, &arena, &entry, &index) == 0;
        codes += mprof_functab_learn(&table, &arena, code(i), i, 1) == 0;
    }
    is_uint(functions, table.capacity - 1, "functions up to the capacity");
    is_uint(codes, table.code_capacity / 2, "codes up to half of theirs, so that a search ends");
    ok(codes_are_valid(), "all of which are found");
    is_int(mprof_functab_learn(&table, &arena, code(1), 77, 1), 1, "a known address needs no memory");
    mprof_arena_drop(&arena);
}

int main(void)
{
    test_functions();
    test_codes();
    for (uint64_t seed = 1; seed <= 3; seed++)
        test_random(seed);
    test_no_memory();
    return done();
}
