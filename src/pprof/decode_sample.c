/* SPDX-License-Identifier: MIT */
/* decode_sample.c -- see decode.h: from the samples of a profile to stacks and blocks.
 *
 * A value in a file is a whole number, an estimate rounded. Where the size s of the blocks and the rate R are known,
 * the number of samples k behind it can be told again, since one sample more or less would change it by s/p >= R:
 *
 *     k = bytes * p / s, rounded      then the estimates are k/p blocks and k*s/p bytes, to the last bit
 *
 * If these are not within 1.5 of the values, the writer counted in another way, and its values stand as they are. */
#include "pprof/decode.h"

#include "pprof/decode_private.h"

#include <inttypes.h>
#include <math.h>

/* Rounding is off by 0.5, and carries 0.5 from the sample before; the rest is for sums of rounded values. */
#define TOLERANCE 1.5

/* In a second. */
#define NANOSECONDS INT64_C(1000000000)

struct sample {
    size_t values;
    int64_t value[MPROF_COLUMNS];
    uint64_t label[MPROF_LABELS];
    bool labelled[MPROF_LABELS];
};

/* ---- reading one sample ---- */

static int add_value(struct mprof_decoder *d, struct sample *sample, uint64_t value, size_t offset)
{
    size_t index = sample->values++;
    for (unsigned c = 0; c < MPROF_COLUMNS; c++) {
        if (!d->columns[c].found || d->columns[c].index != index)
            continue;
        sample->value[c] = (int64_t)value;
        if (sample->value[c] < 0)
            return mprof_decode_fail(
                d, offset, "negative value %" PRId64 " of %s (a difference of two profiles cannot be read as a heap)",
                sample->value[c], mprof_column_name(c));
    }
    return 0;
}

static int add_location(struct mprof_decoder *d, uint64_t id, size_t offset)
{
    uint32_t place = mprof_idmap_find(&d->locations, id);
    if (place == 0)
        return mprof_decode_fail(d, offset, "location id %" PRIu64 " is not defined", id);
    struct mprof_path *path = &d->path;
    if (path->count == path->capacity) {
        size_t capacity = path->capacity ? 2 * path->capacity : 256;
        uint32_t *items =
            mprof_arena_resize(d->arena, path->items, path->capacity * sizeof *items, capacity * sizeof *items);
        if (!items)
            return mprof_decode_no_memory(d);
        path->items = items;
        path->capacity = capacity;
    }
    path->items[path->count++] = place - 1;
    return 0;
}

/* Location ids or values: one in the field, or many packed. */
static int read_numbers(struct mprof_decoder *d, struct sample *sample, const struct mprof_field *field)
{
    bool is_value = field->number == MPROF_SAMPLE_VALUE;
    if (field->type == MPROF_WIRE_VARINT)
        return is_value ? add_value(d, sample, field->value, field->start)
                        : add_location(d, field->value, field->start);
    if (mprof_decode_message(d, field, is_value ? "value of a sample" : "location of a sample") < 0)
        return -1;
    struct mprof_wire packed = field->body;
    while (packed.at < packed.end) {
        size_t offset = packed.at;
        uint64_t number;
        int code = mprof_wire_varint(&packed, &number);
        if (code < 0)
            return mprof_decode_fail(d, offset, "%s", mprof_wire_reason(code));
        if ((is_value ? add_value(d, sample, number, offset) : add_location(d, number, offset)) < 0)
            return -1;
    }
    return 0;
}

static int read_label(struct mprof_decoder *d, struct sample *sample, const struct mprof_field *message)
{
    struct mprof_wire wire = message->body;
    struct mprof_field field;
    uint32_t key = 0, unit = 0;
    uint64_t number = 0;
    int more;
    if (mprof_decode_message(d, message, "label of a sample") < 0)
        return -1;
    while ((more = mprof_decode_next(d, &wire, &field)) > 0) {
        int code = 0;
        if (field.number == MPROF_TAG_KEY)
            code = mprof_decode_string(d, &field, "key of a label", &key);
        else if (field.number == MPROF_TAG_NUMBER)
            code = mprof_decode_number(d, &field, "number of a label", &number);
        else if (field.number == MPROF_TAG_UNIT)
            code = mprof_decode_string(d, &field, "unit of a label", &unit);
        if (code < 0)
            return -1;
    }
    if (more < 0)
        return -1;
    unsigned which = 0;
    while (which < MPROF_LABELS && !mprof_decode_is(d, key, mprof_label_name(which)))
        which++;
    if (which == MPROF_LABELS)
        return 0;
    if (which == MPROF_LABEL_AGE && !mprof_decode_is(d, unit, mprof_label_unit(which)))
        return 0; /* somebody else's, in another unit */
    if ((int64_t)number < 0 || (which == MPROF_LABEL_DOMAIN && number > UINT32_MAX))
        return mprof_decode_fail(d, message->start, "label %s is %" PRId64 ", must be 0 to %" PRId64,
                                 mprof_label_name(which), (int64_t)number,
                                 which == MPROF_LABEL_DOMAIN ? (int64_t)UINT32_MAX : INT64_MAX);
    if (which == MPROF_LABEL_BYTES) {
        double scaled = (double)number * mprof_decode_unit(d, unit);
        if (scaled == 0.0 && number != 0)
            return 0; /* not a number of bytes: somebody else's label of this name */
        if (scaled >= 0x1p63)
            return mprof_decode_fail(d, message->start, "label bytes is %g, must be below 2^63", scaled);
        number = scaled == (double)number ? number : (uint64_t)scaled;
    }
    sample->label[which] = number;
    sample->labelled[which] = true;
    return 0;
}

static int read_sample(struct mprof_decoder *d, struct sample *sample, const struct mprof_field *message)
{
    struct mprof_wire wire = message->body;
    struct mprof_field field;
    int more;
    while ((more = mprof_decode_next(d, &wire, &field)) > 0) {
        int code = 0;
        if (field.number == MPROF_SAMPLE_LOCATION || field.number == MPROF_SAMPLE_VALUE)
            code = read_numbers(d, sample, &field);
        else if (field.number == MPROF_SAMPLE_LABEL)
            code = read_label(d, sample, &field);
        if (code < 0)
            return -1;
    }
    if (more == 0 && sample->values != d->type_count)
        return mprof_decode_fail(d, message->start, "sample has %zu values, the profile has %zu sample types",
                                 sample->values, d->type_count);
    return more;
}

/* ---- what it says ---- */

/* The node of the path, made from the root on. */
static int build_node(struct mprof_decoder *d, size_t offset, uint32_t *node)
{
    *node = 0;
    for (size_t i = d->path.count; i > 0; i--) {
        const struct mprof_place *place = &d->places[d->path.items[i - 1]];
        if (place->count > d->frames_left)
            return mprof_decode_fail(d, offset, "samples have too many frames for the size of the profile");
        d->frames_left -= place->count;
        for (uint32_t k = place->count; k > 0; k--) {
            const struct mprof_line *line = &d->lines[place->first + k - 1];
            if (d->path.count == 1 && place->count == 1 && line->function == d->no_frame && line->line == 0)
                return 0;
            struct mprof_node frame = {.parent = *node, .function = line->function, .line = line->line};
            if (mprof_builder_node(d->builder, &frame, node) < 0)
                return mprof_decode_no_memory(d);
        }
    }
    return 0;
}

/* The samples of one stack follow one another, as a rule. */
static int find_node(struct mprof_decoder *d, size_t offset, uint32_t *node)
{
    struct mprof_path path = d->path, last = d->last_path;
    bool known = path.count > 0 && path.count == last.count &&
                 memcmp(path.items, last.items, path.count * sizeof *path.items) == 0;
    if (!known && build_node(d, offset, &d->last_node) < 0)
        return -1;
    *node = d->last_node;
    d->last_path = path;
    d->path = last;
    d->path.count = 0;
    return 0;
}

static double probability(double size, double rate)
{
    return -expm1(-(size > 0.0 ? size : 1.0) / rate);
}

static uint64_t at_least_one(double samples)
{
    return samples >= 1.0 ? (uint64_t)llround(fmin(samples, 0x1p62)) : 1;
}

/* The block record behind a pair of values. */
static void infer(double blocks, double bytes, const uint64_t *size, double rate, struct mprof_block *record)
{
    double mean = blocks > 0.0 ? bytes / blocks : 0.0;
    record->rate = rate;
    record->blocks = blocks;
    record->bytes = bytes;
    record->size = size ? *size : (uint64_t)llround(fmin(mean, 0x1p62));
    if (!(rate > 1.0)) {
        record->samples = at_least_one(blocks);
        return;
    }
    double s = size ? (double)*size : mean;
    double p = probability(s, rate);
    record->samples = at_least_one(blocks * p);
    if (!size)
        return;
    double k = round(s > 0.0 ? bytes * p / s : blocks * p);
    if (!(k >= 1.0 && k < 0x1p53))
        return;
    struct mprof_figures figures = {0};
    mprof_figures_add_samples(&figures, *size, rate, (uint64_t)k);
    if (fabs(figures.bytes - bytes) > TOLERANCE || fabs(figures.blocks - blocks) > TOLERANCE)
        return;
    record->samples = (uint64_t)k;
    record->blocks = figures.blocks;
    record->bytes = figures.bytes;
}

/* False: both values are zero. */
static bool column_record(const struct mprof_decoder *d, const struct sample *sample, unsigned column,
                          struct mprof_block *record)
{
    double blocks = (double)sample->value[column];
    double bytes = (double)sample->value[column + 1] * d->columns[column + 1].scale;
    if (!(blocks > 0.0 || bytes > 0.0))
        return false;
    double rate = sample->labelled[MPROF_LABEL_RATE] ? (double)sample->label[MPROF_LABEL_RATE] : d->rate;
    infer(blocks, bytes, sample->labelled[MPROF_LABEL_BYTES] ? &sample->label[MPROF_LABEL_BYTES] : NULL,
          rate > 1.0 ? rate : 1.0, record);
    return true;
}

/* 0: unknown. */
static int64_t birth(const struct mprof_decoder *d, const struct sample *sample)
{
    uint64_t age = sample->label[MPROF_LABEL_AGE];
    int64_t birth_ns;
    if (age == 0 || d->meta.time_ns == 0 || age > INT64_MAX / NANOSECONDS ||
        __builtin_sub_overflow(d->meta.time_ns, (int64_t)age * NANOSECONDS, &birth_ns))
        return 0;
    return birth_ns;
}

/* A total: from our own labels if they are there, else as if it were a record of blocks. */
static void total(const struct mprof_decoder *d, const struct sample *sample, unsigned column, unsigned label,
                  struct mprof_figures *figures)
{
    const uint64_t *details = &sample->label[label];
    struct mprof_block record = {0};
    if (details[MPROF_DETAIL_SAMPLES] == 0) {
        if (column_record(d, sample, column, &record))
            mprof_figures_add_block(figures, &record);
        return;
    }
    double bytes_error = (double)details[MPROF_DETAIL_BYTES_ERROR];
    double blocks_error = (double)details[MPROF_DETAIL_BLOCKS_ERROR];
    figures->blocks = (double)sample->value[column];
    figures->bytes = (double)sample->value[column + 1] * d->columns[column + 1].scale;
    figures->samples = (double)details[MPROF_DETAIL_SAMPLES];
    figures->seen = (double)details[MPROF_DETAIL_SEEN];
    figures->bytes_var = bytes_error * bytes_error;
    figures->blocks_var = blocks_error * blocks_error;
}

int mprof_decode_sample(struct mprof_decoder *d, const struct mprof_field *field)
{
    struct sample sample = {0};
    if (read_sample(d, &sample, field) < 0)
        return -1;
    struct mprof_stack stack = {0};
    if (find_node(d, field->start, &stack.node) < 0)
        return -1;
    uint64_t frames = sample.label[MPROF_LABEL_TOTAL_FRAMES];
    stack.total_frames = frames < UINT32_MAX ? (uint32_t)frames : UINT32_MAX;
    total(d, &sample, MPROF_COLUMN_ALLOC, MPROF_LABEL_ALLOC, &stack.alloc);
    total(d, &sample, MPROF_COLUMN_PEAK, MPROF_LABEL_PEAK, &stack.peak);
    struct mprof_block block = {.domain = (uint32_t)sample.label[MPROF_LABEL_DOMAIN], .birth_ns = birth(d, &sample)};
    if (mprof_builder_stack(d->builder, &stack, &block.stack) < 0)
        return mprof_decode_no_memory(d);
    if (column_record(d, &sample, MPROF_COLUMN_INUSE, &block) && mprof_builder_block(d->builder, &block) < 0)
        return mprof_decode_no_memory(d);
    return 0;
}
