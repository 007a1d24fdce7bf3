/* SPDX-License-Identifier: MIT */
/* decode_header.c -- see decode_private.h: which columns a profile has, its period, its time and its comments. */
#include "pprof/decode_private.h"

#include <stdio.h>

/* ---- types ---- */

static int read_type(struct mprof_decoder *d, struct mprof_wire wire, uint32_t *name, uint32_t *unit)
{
    struct mprof_field field;
    int more;
    *name = *unit = 0;
    while ((more = mprof_decode_next(d, &wire, &field)) > 0) {
        if (field.number == MPROF_TYPE_NAME && mprof_decode_string(d, &field, "type", name) < 0)
            return -1;
        if (field.number == MPROF_TYPE_UNIT && mprof_decode_string(d, &field, "unit", unit) < 0)
            return -1;
    }
    return more;
}

/* `column` is what the sample type is; of two of one name the first counts. */
static int set_column(struct mprof_decoder *d, const struct mprof_field *field, unsigned column, size_t index,
                      uint32_t unit)
{
    bool space = column % 2 == 1;
    double scale = space ? mprof_decode_unit(d, unit) : 1.0;
    char shown[40];
    if (scale == 0.0)
        return mprof_decode_fail(d, field->start, "unit \"%s\" of %s is not one of bytes (bytes, kB, MB, GB, TB)",
                                 mprof_decode_show(d, unit, shown, sizeof shown), mprof_column_name(column));
    if (!d->columns[column].found) {
        d->columns[column].found = true;
        d->columns[column].index = index;
        d->columns[column].scale = scale;
    }
    return 0;
}

/* Says which sample types there are. */
static int no_columns(struct mprof_decoder *d)
{
    char list[120] = "none";
    size_t length = 0;
    struct mprof_wire top = d->input;
    struct mprof_field field;
    while (length < sizeof list - 1 && mprof_wire_next(&top, &field) > 0) {
        char shown[40];
        uint32_t name, unit;
        if (field.number != MPROF_PROFILE_SAMPLE_TYPE)
            continue;
        if (read_type(d, field.body, &name, &unit) < 0)
            return -1;
        int added = snprintf(list + length, sizeof list - length, "%s%s", length ? ", " : "",
                             mprof_decode_show(d, name, shown, sizeof shown));
        length += added > 0 ? (size_t)added : 0;
    }
    return mprof_decode_fail(d, 0, "not a heap profile: sample types are %s; inuse_space or alloc_space is needed",
                             list);
}

static int read_types(struct mprof_decoder *d)
{
    struct mprof_wire top = d->input;
    struct mprof_field field;
    /* Go's first heap profiles had only what is in use, without saying so. */
    struct {
        bool found;
        size_t index;
        uint32_t unit;
        struct mprof_field field;
    } old[2] = {0};
    size_t index = 0;
    int more;
    while ((more = mprof_decode_next(d, &top, &field)) > 0) {
        uint32_t name, unit;
        if (field.number != MPROF_PROFILE_SAMPLE_TYPE)
            continue;
        if (read_type(d, field.body, &name, &unit) < 0)
            return -1;
        for (unsigned c = 0; c < MPROF_COLUMNS; c++)
            if (mprof_decode_is(d, name, mprof_column_name(c)) && set_column(d, &field, c, index, unit) < 0)
                return -1;
        for (unsigned o = 0; o < 2; o++)
            if (mprof_decode_is(d, name, o ? "space" : "objects") && !old[o].found) {
                old[o].found = true;
                old[o].index = index;
                old[o].unit = unit;
                old[o].field = field;
            }
        index++;
    }
    if (more < 0)
        return -1;
    if (!d->columns[MPROF_COLUMN_INUSE].found && !d->columns[MPROF_COLUMN_INUSE + 1].found)
        for (unsigned o = 0; o < 2; o++)
            if (old[o].found && set_column(d, &old[o].field, MPROF_COLUMN_INUSE + o, old[o].index, old[o].unit) < 0)
                return -1;
    for (unsigned c = MPROF_COLUMN_ALLOC; c < MPROF_COLUMNS; c++)
        if (d->columns[c].found)
            return 0;
    return no_columns(d);
}

/* ---- comments and times ---- */

/* digits, or digits.digits; *value is 0 <= x < 2^64. False: something else. */
static bool parse_number(const char *text, size_t length, uint64_t *value, double *fraction)
{
    size_t i = 0;
    uint64_t sum = 0;
    for (; i < length && text[i] >= '0' && text[i] <= '9'; i++) {
        unsigned digit = (unsigned)(text[i] - '0');
        if (sum > (UINT64_MAX - digit) / 10)
            return false;
        sum = 10 * sum + digit;
    }
    *value = sum;
    *fraction = 0.0;
    if (i == length || i == 0)
        return i > 0;
    double place = 0.1;
    size_t point = i;
    if (text[i++] != '.')
        return false;
    for (; i < length && text[i] >= '0' && text[i] <= '9'; i++) {
        *fraction += place * (text[i] - '0');
        place /= 10.0;
    }
    return i == length && i > point + 1;
}

/* Takes "key=value" into meta. False: it is no such thing, but somebody's comment. */
static bool read_meta(struct mprof_meta *meta, const char *text, size_t length)
{
    static const char *const keys[] = {"sample_rate", "max_frames", "drops",    "thinnings",
                                       "start_ns",    "peak_ns",    "recording"};
    const char *equals = memchr(text, '=', length);
    if (!equals)
        return false;
    size_t key_length = (size_t)(equals - text);
    unsigned key = 0;
    while (key < 7 && !(strlen(keys[key]) == key_length && memcmp(keys[key], text, key_length) == 0))
        key++;
    const char *digits = equals + 1;
    size_t digit_count = length - key_length - 1;
    bool negative = digit_count > 0 && *digits == '-';
    uint64_t value;
    double fraction;
    if (key == 7 || !parse_number(digits + negative, digit_count - negative, &value, &fraction))
        return false;
    bool is_time = key == 4 || key == 5;
    if ((negative && !is_time) || (is_time && value > INT64_MAX) || (fraction > 0.0 && key != 0) ||
        (key == 0 && value < 1) || (key == 1 && value > UINT32_MAX))
        return false;
    int64_t time = negative ? -(int64_t)value : (int64_t)value;
    switch (key) {
    case 0:
        meta->sample_rate = (double)value + fraction;
        break;
    case 1:
        meta->max_frames = (uint32_t)value;
        break;
    case 2:
        meta->drops = value;
        break;
    case 3:
        meta->thinnings = value;
        break;
    case 4:
        meta->start_ns = time;
        break;
    case 5:
        meta->peak_ns = time;
        break;
    default:
        meta->recording = value;
    }
    return true;
}

static int add_comment(struct mprof_decoder *d, uint32_t string)
{
    const char *text = "";
    size_t length = 0;
    size_t prefix = sizeof MPROF_COMMENT_PREFIX - 1;
    if (string < d->string_count) {
        text = (const char *)d->input.bytes + d->strings[string].start;
        length = d->strings[string].length;
    }
    if (length > prefix && memcmp(text, MPROF_COMMENT_PREFIX, prefix) == 0 &&
        read_meta(&d->meta, text + prefix, length - prefix))
        return 0;
    return mprof_builder_comment(d->builder, text, length) < 0 ? mprof_decode_no_memory(d) : 0;
}

/* One comment, or several in one field. */
static int read_comments(struct mprof_decoder *d, const struct mprof_field *comments)
{
    struct mprof_field field = *comments;
    uint32_t string;
    if (field.type == MPROF_WIRE_VARINT)
        return mprof_decode_string(d, &field, "comment", &string) < 0 ? -1 : add_comment(d, string);
    if (mprof_decode_message(d, &field, "comment") < 0)
        return -1;
    struct mprof_wire packed = field.body;
    field.type = MPROF_WIRE_VARINT;
    while (packed.at < packed.end) {
        field.start = packed.at;
        int code = mprof_wire_varint(&packed, &field.value);
        if (code < 0)
            return mprof_decode_fail(d, field.start, "comment: %s", mprof_wire_reason(code));
        if (mprof_decode_string(d, &field, "comment", &string) < 0 || add_comment(d, string) < 0)
            return -1;
    }
    return 0;
}

int mprof_decode_header(struct mprof_decoder *d)
{
    if (read_types(d) < 0)
        return -1;
    struct mprof_wire top = d->input;
    struct mprof_field field;
    uint64_t time = 0, period = 0;
    double unit = 0.0;
    int more;
    while ((more = mprof_decode_next(d, &top, &field)) > 0) {
        uint32_t type_name, type_unit;
        int code = 0;
        switch (field.number) {
        case MPROF_PROFILE_TIME:
            code = mprof_decode_number(d, &field, "time", &time);
            break;
        case MPROF_PROFILE_PERIOD:
            code = mprof_decode_number(d, &field, "period", &period);
            break;
        case MPROF_PROFILE_PERIOD_TYPE:
            code = mprof_decode_message(d, &field, "period type");
            if (code == 0 && (code = read_type(d, field.body, &type_name, &type_unit)) == 0)
                unit = type_unit ? mprof_decode_unit(d, type_unit) : 0.0;
            break;
        case MPROF_PROFILE_COMMENT:
            code = read_comments(d, &field);
            break;
        default:
            break;
        }
        if (code < 0)
            return -1;
    }
    double rate = (double)(int64_t)period * unit;
    d->rate = rate > 1.0 ? rate : 1.0;
    if (d->meta.sample_rate == 0.0)
        d->meta.sample_rate = d->rate;
    d->meta.time_ns = (int64_t)time;
    return more;
}
