/* SPDX-License-Identifier: MIT */
/* fuzz_utf8.c -- names of any bytes on their way into a file.
 *
 * WHAT    The input is written as UTF-8. The outcome must be UTF-8 by a reader of its own, stay as it is when written
 *         again, be the input itself if that was UTF-8, and give the input back when its escapes are undone.
 * WHY     One string that is not UTF-8 makes strict readers refuse the whole profile.
 * LOCKS   none.
 * MEMORY  one arena an input. */
#include "fuzz.h"
#include "pprof/utf8.h"

#include <string.h>

/* Decodes a character by its definition. 0: there is none; else its length. */
static size_t character(const unsigned char *at, size_t length)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned count = at[0] < 0x80 ? 1 : at[0] < 0xc0 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf8 ? 4 : 0;
    if (count == 0 || count > length)
        return 0;
    uint32_t value = count == 1 ? at[0] : at[0] & (0x7fu >> count);
    for (unsigned i = 1; i < count; i++) {
        if (at[i] >> 6 != 2)
            return 0;
        value = value << 6 | (at[i] & 0x3fu);
    }
    bool surrogate = value >= 0xd800 && value < 0xe000;
    return value >= least[count] && value <= 0x10ffff && !surrogate ? count : 0;
}

static bool is_utf8(const unsigned char *text, size_t length)
{
    for (size_t at = 0, step; at < length; at += step)
        if ((step = character(text + at, length - at)) == 0)
            return false;
    return true;
}

static struct mprof_out write(struct mprof_arena *arena, const unsigned char *text, size_t length)
{
    struct mprof_out out = {.arena = arena};
    mprof_utf8_write(&out, (const char *)text, length);
    fuzz_require(!out.failed, "no memory for the fuzzer");
    return out;
}

static unsigned digits(const unsigned char *text, unsigned count)
{
    char copy[5] = {0};
    memcpy(copy, text, count);
    return (unsigned)strtoul(copy, NULL, 16);
}

/* Walks both: where they differ, what was written is the escape of what was not UTF-8. */
static void require_undone(const unsigned char *from, size_t length, const struct mprof_out *out)
{
    size_t at = 0;
    for (size_t i = 0; i < length;) {
        size_t step = character(from + i, length - i);
        if (step > 0) {
            fuzz_require(out->length - at >= step && memcmp(out->bytes + at, from + i, step) == 0, "a character");
            i += step;
            at += step;
            continue;
        }
        fuzz_require(out->length - at >= 4 && out->bytes[at] == '\\', "an escape is missing");
        if (out->bytes[at + 1] == 'u') {
            fuzz_require(out->length - at >= 6 && length - i >= 3, "an escape is cut short");
            unsigned value = digits(out->bytes + at + 2, 4);
            unsigned char bytes[3] = {(unsigned char)(0xe0 | value >> 12), (unsigned char)(0x80 | (value >> 6 & 0x3f)),
                                      (unsigned char)(0x80 | (value & 0x3f))};
            fuzz_require(value >= 0xd800 && value < 0xe000 && memcmp(bytes, from + i, 3) == 0, "another surrogate");
            i += 3;
            at += 6;
        } else {
            fuzz_require(out->bytes[at + 1] == 'x' && digits(out->bytes + at + 2, 2) == from[i], "another byte");
            i += 1;
            at += 4;
        }
    }
    fuzz_require(at == out->length, "more was written than there was");
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct mprof_arena arena;
    mprof_arena_init(&arena, 0);
    struct mprof_out once = write(&arena, data, size);
    fuzz_require(is_utf8(once.bytes, once.length), "not UTF-8");
    struct mprof_out twice = write(&arena, once.bytes, once.length);
    fuzz_require(twice.length == once.length && (once.length == 0 || memcmp(twice.bytes, once.bytes, once.length) == 0),
                 "not the same when written again");
    fuzz_require(!is_utf8(data, size) || once.length == size, "UTF-8 was changed");
    require_undone(data, size, &once);
    mprof_arena_drop(&arena);
    return 0;
}
