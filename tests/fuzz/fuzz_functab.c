/* SPDX-License-Identifier: MIT */
/* fuzz_functab.c -- the tables of functions and of code addresses against lists.
 *
 * WHAT    The input is a list of steps: a function is interned, an address learned, looked up or forgotten, what is not
 *         needed is swept, memory is refused. Two lists, of functions and of addresses, say what must come of it.
 * WHY     Both tables reuse places, and the second shifts entries back when one goes.
 * LOCKS   none.
 * MEMORY  one arena an input. */
#include "core/functab.h"
#include "fuzz.h"

#include <string.h>

enum { FUNCTIONS = 300, CODES = 512, MOST_STEPS = 2048 };

struct model_function {
    bool in;
    struct mprof_funcentry entry;
    uint32_t index;
};

struct model_code {
    bool in;
    uint64_t fingerprint;
    uint32_t function; /* in the model */
};

static struct model_function functions[FUNCTIONS];
static struct model_code codes[CODES];
static struct mprof_functab table;
static struct mprof_arena arena;

static const void *address(uint32_t code)
{
    return (const void *)(uintptr_t)(0x7f0000002000 + 0x90 * (uintptr_t)code);
}

static bool same(const struct mprof_funcentry *a, const struct mprof_funcentry *b)
{
    return a->lines_hash == b->lines_hash && a->name == b->name && a->filename == b->filename &&
           a->firstlineno == b->firstlineno;
}

static void intern(const struct mprof_funcentry *wanted)
{
    uint32_t known = 0, place = 0, index = 0;
    while (known < FUNCTIONS && !(functions[known].in && same(&functions[known].entry, wanted)))
        known++;
    while (place < FUNCTIONS && functions[place].in)
        place++;
    if (known == FUNCTIONS && place == FUNCTIONS)
        return;
    int result = mprof_functab_intern(&table, &arena, wanted, &index);
    if (known < FUNCTIONS) {
        fuzz_require(result == 0 && index == functions[known].index, "a function was not found, or is another");
        return;
    }
    if (result < 0) {
        fuzz_require(arena.requests <= arena.fail_at + arena.fail_count, "no function, without want of memory");
        return;
    }
    fuzz_require(index != 0, "index 0 means none");
    for (uint32_t i = 0; i < FUNCTIONS; i++)
        fuzz_require(!functions[i].in || functions[i].index != index, "two functions of one index");
    functions[place] = (struct model_function){true, *wanted, index};
}

static void learn(uint32_t code, uint64_t fingerprint, uint32_t function)
{
    if (!functions[function].in)
        return;
    int result = mprof_functab_learn(&table, &arena, address(code), fingerprint, functions[function].index);
    if (result < 0) {
        fuzz_require(arena.requests <= arena.fail_at + arena.fail_count && !codes[code].in,
                     "not learned, without want of memory");
        return;
    }
    fuzz_require(result == codes[code].in, "whether the address was known");
    codes[code] = (struct model_code){true, fingerprint, function};
}

static void find(uint32_t code, uint64_t fingerprint)
{
    bool known = codes[code].in && codes[code].fingerprint == fingerprint;
    uint32_t expected = known ? functions[codes[code].function].index : 0;
    fuzz_require(mprof_functab_find(&table, address(code), fingerprint) == expected, "another function, or none");
}

static void forget(uint32_t code)
{
    fuzz_require(mprof_functab_forget(&table, address(code)) == codes[code].in,
                 "whether there was something to forget");
    codes[code].in = false;
}

static void sweep(struct fuzz_input *input)
{
    uint8_t *marks = calloc(table.used, 1);
    fuzz_require(marks != NULL, "no memory for the fuzzer");
    uint8_t bits = fuzz_byte(input);
    bool keep[FUNCTIONS] = {false};
    for (uint32_t i = 0; i < FUNCTIONS; i++) {
        keep[i] = functions[i].in && (bits >> (i % 8) & 1) != 0;
        if (keep[i])
            marks[functions[i].index] = 1;
    }
    for (uint32_t i = 0; i < CODES; i++)
        if (codes[i].in)
            keep[codes[i].function] = true;
    mprof_functab_sweep(&table, marks);
    for (uint32_t i = 0; i < FUNCTIONS; i++) {
        if (!functions[i].in)
            continue;
        fuzz_require((marks[functions[i].index] != 0) == keep[i], "the marks of what was kept");
        functions[i].in = keep[i];
    }
    free(marks);
}

static void compare(void)
{
    uint32_t known = 0;
    for (uint32_t i = 0; i < FUNCTIONS; i++)
        if (functions[i].in)
            fuzz_require(same(&table.functions[functions[i].index], &functions[i].entry), "a function has changed");
    for (uint32_t i = 0; i < CODES; i++) {
        find(i, codes[i].fingerprint);
        known += codes[i].in;
    }
    fuzz_require(table.code_count == known, "number of known codes");
}

static void step(struct fuzz_input *input)
{
    uint8_t what = fuzz_byte(input);
    uint32_t code = (uint32_t)fuzz_number(input, 2) % CODES;
    struct mprof_funcentry entry = {0};
    switch (what % 8) {
    case 0:
    case 1:
        entry.name = code;
        entry.filename = fuzz_byte(input) % 4;
        entry.firstlineno = fuzz_byte(input);
        entry.lines_hash = entry.firstlineno / 16;
        intern(&entry);
        break;
    case 2:
    case 3:
        learn(code, fuzz_byte(input), (uint32_t)fuzz_number(input, 2) % FUNCTIONS);
        break;
    case 4:
        for (uint32_t run = fuzz_byte(input); run > 0; run--)
            learn((code + run) % CODES, run, run % 8);
        break;
    case 5:
        for (uint32_t run = 1u + what / 8; run > 0; run--)
            forget((code + run) % CODES);
        break;
    case 6:
        sweep(input);
        compare();
        break;
    default:
        arena.fail_at = arena.requests + 1 + what / 8 % 4;
        arena.fail_count = code % 8;
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct fuzz_input input = {data, data + size};
    mprof_arena_init(&arena, 0);
    memset(functions, 0, sizeof functions);
    memset(codes, 0, sizeof codes);
    fuzz_require(mprof_functab_init(&table, &arena) == 0, "no memory to begin with");
    for (unsigned steps = 0; fuzz_more(&input) && steps < MOST_STEPS; steps++)
        step(&input);
    compare();
    mprof_arena_drop(&arena);
    return 0;
}
