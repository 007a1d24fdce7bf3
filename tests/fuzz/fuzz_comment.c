/* SPDX-License-Identifier: MIT */
/* fuzz_comment.c -- numbers in the comments of a profile.
 *
 * WHAT    The input's first byte chooses a key, the rest is the text after "mprofile: key=" in a profile made for it.
 *         The text either is a number, as the C library reads it, and within the key's bounds, and is then in the
 *         profile's description; or it is not, and stays a comment.
 * WHY     A comment is anybody's text.
 * LOCKS   none.
 * MEMORY  one arena an input. */
#include "fuzz.h"
#include "pprof/decode.h"
#include "pprof/layout.h"
#include "pprof/wire.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum { MOST_TEXT = 200 };

static const char *const keys[] = {"sample_rate", "max_frames", "drops",     "thinnings",
                                   "start_ns",    "peak_ns",    "recording", "other"};

/* A profile of two columns and one comment, with no sample. */
static void write_profile(struct mprof_out *out, const char *comment, size_t length)
{
    const char *const strings[] = {"", "inuse_objects", "count", "inuse_space", "bytes"};
    for (unsigned column = 0; column < 2; column++) {
        size_t mark = mprof_out_begin(out, MPROF_PROFILE_SAMPLE_TYPE);
        mprof_out_number(out, MPROF_TYPE_NAME, 1 + 2 * column);
        mprof_out_number(out, MPROF_TYPE_UNIT, 2 + 2 * column);
        mprof_out_end(out, mark);
    }
    mprof_out_number(out, MPROF_PROFILE_COMMENT, 5);
    for (unsigned i = 0; i < 5; i++) {
        size_t mark = mprof_out_begin(out, MPROF_PROFILE_STRING);
        mprof_out_raw(out, strings[i], strlen(strings[i]));
        mprof_out_end(out, mark);
    }
    size_t mark = mprof_out_begin(out, MPROF_PROFILE_STRING);
    mprof_out_raw(out, comment, length);
    mprof_out_end(out, mark);
    fuzz_require(!out->failed, "no memory for the fuzzer");
}

struct expected {
    bool number;
    bool negative;
    uint64_t value;
    double exact;
    bool fraction;
};

/* Digits, or digits "." digits, after a "-" or none. */
static struct expected read_number(const char *text, size_t length)
{
    struct expected e = {0};
    char copy[MOST_TEXT + 1];
    if (length > 0)
        memcpy(copy, text, length);
    copy[length] = '\0';
    e.negative = copy[0] == '-';
    const char *digits = copy + e.negative;
    size_t whole = strspn(digits, "0123456789");
    bool point = digits[whole] == '.';
    size_t rest = point ? strspn(digits + whole + 1, "0123456789") : 0;
    if (whole == 0 || (point && rest == 0) || strlen(copy) != length ||
        length != (size_t)e.negative + whole + (size_t)point + rest)
        return e;
    errno = 0;
    e.value = strtoull(digits, NULL, 10);
    e.number = errno == 0;
    e.exact = strtod(digits, NULL);
    e.fraction = point && strspn(digits + whole + 1, "0") != rest;
    return e;
}

static bool within_bounds(unsigned key, const struct expected *e)
{
    if (key == 7 || !e->number)
        return false;
    bool time = key == 4 || key == 5;
    return (time || !e->negative) && (!time || e->value <= INT64_MAX) && (key == 0 || !e->fraction) &&
           (key != 0 || e->value >= 1) && (key != 1 || e->value <= UINT32_MAX);
}

static bool is_in(const struct mprof_meta *meta, unsigned key, const struct expected *e)
{
    int64_t time = e->negative ? -(int64_t)e->value : (int64_t)e->value;
    switch (key) {
    case 0:
        return fabs(meta->sample_rate - e->exact) <= 1e-12 * e->exact;
    case 1:
        return meta->max_frames == e->value;
    case 2:
        return meta->drops == e->value;
    case 3:
        return meta->thinnings == e->value;
    case 4:
        return meta->start_ns == time;
    case 5:
        return meta->peak_ns == time;
    default:
        return meta->recording == e->value;
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct fuzz_input input = {data, data + size};
    unsigned key = fuzz_byte(&input) % 8;
    const char *text = (const char *)input.at;
    size_t length = (size_t)(input.end - input.at);
    if (length > MOST_TEXT)
        return 0;
    char comment[MOST_TEXT + 64];
    size_t before = (size_t)snprintf(comment, sizeof comment, MPROF_COMMENT_PREFIX "%s=", keys[key]);
    if (length > 0)
        memcpy(comment + before, text, length);

    struct mprof_arena arena;
    mprof_arena_init(&arena, 0);
    struct mprof_out out = {.arena = &arena};
    write_profile(&out, comment, before + length);
    struct mprof_snapshot *snapshot;
    struct mprof_decode_error error;
    fuzz_require(mprof_pprof_decode(out.bytes, out.length, &snapshot, &error) == 0,
                 "a comment makes a profile invalid");
    struct expected e = read_number(text, length);
    bool taken = within_bounds(key, &e);
    fuzz_require(mprof_snapshot_comment_count(snapshot) == !taken, "whether it stays a comment");
    if (taken) {
        fuzz_require(is_in(mprof_snapshot_meta(snapshot), key, &e), "another number");
    } else {
        size_t read;
        const char *kept = mprof_snapshot_string(snapshot, mprof_snapshot_comment(snapshot, 0), &read);
        fuzz_require(read == before + length && memcmp(kept, comment, read) == 0, "another comment");
    }
    mprof_snapshot_decref(snapshot);
    mprof_arena_drop(&arena);
    return 0;
}
