/* SPDX-License-Identifier: MIT */
/* utf8.c -- see utf8.h. */
#include "pprof/utf8.h"

/* True if there are `count` continuation bytes after the first. */
static bool continued(const unsigned char *text, size_t length, size_t count)
{
    if (length <= count)
        return false;
    for (size_t i = 1; i <= count; i++)
        if ((text[i] & 0xc0) != 0x80)
            return false;
    return true;
}

static bool surrogate(const unsigned char *text, size_t length)
{
    return text[0] == 0xed && continued(text, length, 2) && text[1] >= 0xa0;
}

/* Bytes of the character at the start of text; 0 if it is none. */
static size_t character(const unsigned char *text, size_t length)
{
    unsigned first = text[0];
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return continued(text, length, 1) ? 2 : 0;
    if (first >= 0xe0 && first <= 0xef) {
        bool overlong = first == 0xe0 && length > 1 && text[1] < 0xa0;
        return continued(text, length, 2) && !overlong && !surrogate(text, length) ? 3 : 0;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        bool overlong = first == 0xf0 && length > 1 && text[1] < 0x90;
        bool beyond = first == 0xf4 && length > 1 && text[1] > 0x8f;
        return continued(text, length, 3) && !overlong && !beyond ? 4 : 0;
    }
    return 0;
}

static void escape(struct mprof_out *out, char kind, unsigned value, unsigned digits)
{
    char text[6] = {'\\', kind};
    for (unsigned i = 0; i < digits; i++)
        text[2 + i] = "0123456789abcdef"[value >> 4 * (digits - 1 - i) & 0xf];
    mprof_out_raw(out, text, 2 + digits);
}

void mprof_utf8_write(struct mprof_out *out, const char *text, size_t length)
{
    const unsigned char *at = (const unsigned char *)text;
    while (length > 0) {
        size_t plain = 0;
        for (size_t step; plain < length && (step = character(at + plain, length - plain)) != 0;)
            plain += step;
        mprof_out_raw(out, at, plain);
        at += plain;
        length -= plain;
        if (length == 0)
            return;
        size_t bad = 1;
        if (surrogate(at, length)) {
            bad = 3;
            escape(out, 'u', 0xd000u | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu), 4);
        } else {
            escape(out, 'x', at[0], 2);
        }
        at += bad;
        length -= bad;
    }
}
