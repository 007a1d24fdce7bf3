/* SPDX-License-Identifier: MIT */
/* fuzz_strtab.c -- the table of strings against a list.
 *
 * WHAT    The input is a list of steps: a text of its own bytes is interned, what is not marked is swept, memory is
 *         refused. A list of texts says which index must come of it.
 * WHY     Sweeping packs the text and reuses slots; the list does neither.
 * LOCKS   none.
 * MEMORY  one arena an input. The texts are the input's. */
#include "core/strtab.h"
#include "fuzz.h"

#include <string.h>

enum { STRINGS = 400, MOST_STEPS = 2048, MOST_LENGTH = 255 };

struct model {
    bool in;
    const unsigned char *text;
    size_t length;
    uint32_t index;
};

static struct model model[STRINGS]; /* [0] is the empty string */
static struct mprof_strtab table;
static struct mprof_arena arena;

static void intern(const unsigned char *text, size_t length)
{
    uint32_t known = 0, place = 0, index = 0;
    while (known < STRINGS && !(model[known].in && model[known].length == length &&
                                (length == 0 || memcmp(model[known].text, text, length) == 0)))
        known++;
    while (place < STRINGS && model[place].in)
        place++;
    if (known == STRINGS && place == STRINGS)
        return;
    int result = mprof_strtab_intern(&table, &arena, (const char *)text, length, &index);
    if (known < STRINGS) {
        fuzz_require(result == 0 && index == model[known].index, "a string was not found, or is another");
        return;
    }
    if (result < 0) {
        fuzz_require(arena.requests <= arena.fail_at + arena.fail_count, "no string, without want of memory");
        return;
    }
    for (uint32_t i = 0; i < STRINGS; i++)
        fuzz_require(!model[i].in || model[i].index != index, "two strings of one index");
    model[place] = (struct model){true, text, length, index};
}

static void sweep(struct fuzz_input *input)
{
    uint8_t *marks = calloc(table.used, 1);
    fuzz_require(marks != NULL, "no memory for the fuzzer");
    uint8_t bits = fuzz_byte(input);
    for (uint32_t i = 1; i < STRINGS; i++) {
        if (!model[i].in)
            continue;
        model[i].in = (bits >> (i % 8) & 1) != 0;
        marks[model[i].index] = model[i].in;
    }
    mprof_strtab_sweep(&table, &arena, marks);
    free(marks);
}

static void compare(void)
{
    for (uint32_t i = 0; i < STRINGS; i++) {
        if (!model[i].in)
            continue;
        fuzz_require(table.strings[model[i].index].length == model[i].length, "length of a string");
        fuzz_require(model[i].length == 0 ||
                         memcmp(mprof_strtab_text(&table, model[i].index), model[i].text, model[i].length) == 0,
                     "text of a string");
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct fuzz_input input = {data, data + size};
    mprof_arena_init(&arena, 0);
    memset(model, 0, sizeof model);
    model[0].in = true;
    fuzz_require(mprof_strtab_init(&table, &arena) == 0, "no memory to begin with");
    for (unsigned steps = 0; fuzz_more(&input) && steps < MOST_STEPS; steps++) {
        uint8_t what = fuzz_byte(&input);
        size_t length = (size_t)(input.end - input.at);
        switch (what % 8) {
        case 0:
            sweep(&input);
            compare();
            break;
        case 1:
            arena.fail_at = arena.requests + 1 + what / 8 % 4;
            arena.fail_count = fuzz_byte(&input) % 8;
            break;
        default:
            if (length > what % 8u * (what / 8u))
                length = what % 8u * (what / 8u);
            intern(input.at, length > MOST_LENGTH ? MOST_LENGTH : length);
            input.at += length;
        }
    }
    compare();
    mprof_arena_drop(&arena);
    return 0;
}
