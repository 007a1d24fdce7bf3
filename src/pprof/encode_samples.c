/* SPDX-License-Identifier: MIT */
/* encode_samples.c -- see encode_private.h; the layout is in layout.h. */
#include "pprof/encode_private.h"

#include <math.h>

/* ---- numbers ---- */

static int64_t to_integer(double value)
{
    if (value >= 0 && value < 0x1p51)
        return (int64_t)(value + 0.5);
    if (isnan(value))
        return 0;
    if (value >= 0x1p63)
        return INT64_MAX;
    if (value <= -0x1p63)
        return INT64_MIN;
    return llround(value);
}

/* Rounds with what earlier roundings left over, so that the sum of the results is the rounded sum. A whole number comes
 * back as it is: the carry is in [-0.5, 0.5). */
static int64_t round_carried(double exact, double *carry)
{
    if (!(fabs(exact) < 0x1p52))
        return to_integer(exact);
    int64_t whole = (int64_t)exact;
    double part = exact - (double)whole + *carry; /* in (-1.5, 1.5) */
    int64_t up = part >= 0.5 ? 1 : part < -0.5 ? -1 : 0;
    *carry = part - (double)up;
    return whole + up;
}

/* ---- locations ---- */

static uint64_t line_key(const struct mprof_encoder *e, uint32_t node)
{
    const struct mprof_node *it = &mprof_snapshot_nodes(e->snapshot)[node];
    return (uint64_t)it->function << 32 | it->line;
}

/* The location of a node: one for each (function, line). 0: no memory. */
static uint32_t location(struct mprof_encoder *e, uint32_t node)
{
    if (e->location_number[node] != 0)
        return e->location_number[node];
    uint32_t *number = mprof_idmap_put(&e->lines, e->arena, line_key(e, node));
    if (!number)
        return 0;
    if (*number == 0) {
        e->locations[e->location_count++] = node;
        *number = e->location_count;
    }
    return e->location_number[node] = *number;
}

/* ---- samples ---- */

/* How many stacks ahead the cache is told what will be looked up. */
enum { AHEAD = 2 };

static bool reserve_fresh(struct mprof_encoder *e, uint32_t need)
{
    struct mprof_encode_fresh *fresh = mprof_arena_reserve(e->arena, e->fresh, &e->fresh_capacity, need, sizeof *fresh);
    if (fresh)
        e->fresh = fresh;
    return fresh != NULL;
}

/* The packed path of a stack. All paths end at the root, so behind the first node that has been written before comes
 * what came there. */
static int find_path(struct mprof_encoder *e, const struct mprof_stack *stack)
{
    const struct mprof_node *nodes = mprof_snapshot_nodes(e->snapshot);
    if (!mprof_out_room(&e->path, ((size_t)stack->frames + 1) * MPROF_VARINT) || !reserve_fresh(e, stack->frames + 1))
        return -1;
    unsigned char *at = e->path.bytes;
    uint32_t node = stack->node;
    e->fresh_count = 0;
    do {
        const struct mprof_encode_piece *written = &e->written[node];
        if (written->length != 0) {
            memcpy(at, e->out.bytes + written->start, written->length);
            at += written->length;
            break;
        }
        uint32_t number = location(e, node);
        if (number == 0)
            return -1;
        e->fresh[e->fresh_count++] = (struct mprof_encode_fresh){node, (uint32_t)(at - e->path.bytes)};
        at = mprof_varint_write(at, number);
        node = nodes[node].parent;
    } while (node != 0);
    e->path.length = (size_t)(at - e->path.bytes);
    return 0;
}

/* Remembers where the path's nodes have just been written, from `start` on. */
static void remember_path(struct mprof_encoder *e, size_t start)
{
    bool fits = (uint64_t)start + e->path.length <= UINT32_MAX; /* of a longer file the rest is written out */
    for (uint32_t i = 0; i < e->fresh_count && fits; i++) {
        const struct mprof_encode_fresh *fresh = &e->fresh[i];
        e->written[fresh->node] =
            (struct mprof_encode_piece){(uint32_t)start + fresh->offset, (uint32_t)e->path.length - fresh->offset};
    }
    e->fresh_count = 0;
}

/* A sample with the path at hand and the labels in `tail`, which is empty afterwards. Nothing moves once written. */
static void write_sample(struct mprof_encoder *e, const int64_t *values)
{
    unsigned char packed[MPROF_COLUMNS * MPROF_VARINT];
    unsigned char *end = packed;
    for (unsigned i = 0; i < MPROF_COLUMNS; i++)
        end = mprof_varint_write(end, (uint64_t)values[i]);
    size_t size = (size_t)(end - packed);
    size_t head = 1 + mprof_varint_size(e->path.length) + e->path.length + 1 + mprof_varint_size(size);
    size_t tail = e->tail_length;
    struct mprof_out *out = &e->out;
    e->tail_length = 0;
    if (!mprof_out_room(out, head + size + tail + 1 + MPROF_VARINT))
        return;
    unsigned char *at = out->bytes + out->length;
    *at++ = MPROF_PROFILE_SAMPLE << 3 | MPROF_WIRE_LENGTH;
    at = mprof_varint_write(at, head + size + tail);
    *at++ = MPROF_SAMPLE_LOCATION << 3 | MPROF_WIRE_LENGTH;
    at = mprof_varint_write(at, e->path.length);
    remember_path(e, (size_t)(at - out->bytes));
    memcpy(at, e->path.bytes, e->path.length);
    at += e->path.length;
    *at++ = MPROF_SAMPLE_VALUE << 3 | MPROF_WIRE_LENGTH;
    at = mprof_varint_write(at, size);
    memcpy(at, packed, size);
    memcpy(at + size, e->tail, tail);
    out->length = (size_t)(at - out->bytes) + size + tail;
}

static uint32_t unit_string(struct mprof_encoder *e, const char *unit)
{
    if (unit[0] != 's')
        return unit[0] == 'b' ? e->bytes_unit : e->count_unit;
    if (e->seconds_unit == 0)
        e->seconds_unit = mprof_encode_own_string(e, unit, strlen(unit));
    return e->seconds_unit;
}

/* What a label has before and after its number is the same each time. */
static void prepare_label(struct mprof_encoder *e, unsigned which)
{
    const char *name = mprof_label_name(which);
    const char *unit = mprof_label_unit(which);
    struct mprof_encode_label *label = &e->labels[which];
    unsigned char *at = label->key;
    *at++ = MPROF_TAG_KEY << 3 | MPROF_WIRE_VARINT;
    at = mprof_varint_write(at, mprof_encode_own_string(e, name, strlen(name)));
    *at++ = MPROF_TAG_NUMBER << 3 | MPROF_WIRE_VARINT;
    label->key_size = (size_t)(at - label->key);
    if (unit) {
        at = label->unit;
        *at++ = MPROF_TAG_UNIT << 3 | MPROF_WIRE_VARINT;
        at = mprof_varint_write(at, unit_string(e, unit));
        label->unit_size = (size_t)(at - label->unit);
    }
}

static void label(struct mprof_encoder *e, unsigned which, uint64_t value)
{
    const struct mprof_encode_label *label = &e->labels[which];
    if (label->key_size == 0)
        prepare_label(e, which);
    unsigned char *at = e->tail + e->tail_length;
    *at++ = MPROF_SAMPLE_LABEL << 3 | MPROF_WIRE_LENGTH;
    unsigned char *length = at++;
    memcpy(at, label->key, MPROF_LABEL_PART);
    at = mprof_varint_write(at + label->key_size, value);
    memcpy(at, label->unit, MPROF_LABEL_PART);
    at += label->unit_size;
    *length = (unsigned char)(at - length - 1);
    e->tail_length = (size_t)(at - e->tail);
}

static void details(struct mprof_encoder *e, unsigned which, const struct mprof_figures *figures)
{
    const int64_t values[MPROF_DETAILS] = {
        [MPROF_DETAIL_SAMPLES] = to_integer(figures->samples),
        [MPROF_DETAIL_SEEN] = to_integer(figures->seen),
        [MPROF_DETAIL_BYTES_ERROR] = to_integer(sqrt(figures->bytes_var)),
        [MPROF_DETAIL_BLOCKS_ERROR] = to_integer(sqrt(figures->blocks_var)),
    };
    for (unsigned i = 0; i < MPROF_DETAILS; i++)
        if (values[i] > 0)
            label(e, which + i, (uint64_t)values[i]);
}

static bool is_cut(const struct mprof_stack *stack)
{
    return stack->total_frames > stack->frames;
}

/* What was allocated in all and what was in use at the peak; false: there is nothing to say of it. */
static bool base_values(const struct mprof_stack *stack, int64_t values[MPROF_COLUMNS])
{
    memset(values, 0, MPROF_COLUMNS * sizeof *values);
    values[MPROF_COLUMN_PEAK] = to_integer(stack->peak.blocks);
    values[MPROF_COLUMN_PEAK + 1] = to_integer(stack->peak.bytes);
    values[MPROF_COLUMN_ALLOC] = to_integer(stack->alloc.blocks);
    values[MPROF_COLUMN_ALLOC + 1] = to_integer(stack->alloc.bytes);
    bool any = is_cut(stack);
    for (unsigned i = 0; i < MPROF_COLUMNS; i++)
        any = any || values[i] != 0;
    return any;
}

static void base_sample(struct mprof_encoder *e, const struct mprof_stack *stack, const int64_t values[MPROF_COLUMNS])
{
    if (is_cut(stack))
        label(e, MPROF_LABEL_TOTAL_FRAMES, stack->total_frames);
    details(e, MPROF_LABEL_ALLOC, &stack->alloc);
    details(e, MPROF_LABEL_PEAK, &stack->peak);
    write_sample(e, values);
}

static void size_sample(struct mprof_encoder *e, const struct mprof_size *size)
{
    int64_t values[MPROF_COLUMNS] = {0};
    values[MPROF_COLUMN_INUSE] = round_carried(size->blocks, &e->carry_blocks);
    values[MPROF_COLUMN_INUSE + 1] = round_carried(size->bytes, &e->carry_bytes);
    label(e, MPROF_LABEL_BYTES, size->size);
    if (size->domain != 0)
        label(e, MPROF_LABEL_DOMAIN, size->domain);
    if (size->rate != e->period)
        label(e, MPROF_LABEL_RATE, size->rate);
    if (size->age != 0)
        label(e, MPROF_LABEL_AGE, mprof_age_bound(size->age));
    write_sample(e, values);
}

int mprof_encode_stack(struct mprof_encoder *e, uint32_t index)
{
    const struct mprof_stack *stack = &mprof_snapshot_stacks(e->snapshot)[index];
    if (index + AHEAD < mprof_snapshot_stack_count(e->snapshot)) {
        uint32_t ahead = stack[AHEAD].node;
        mprof_idmap_prefetch(&e->lines, line_key(e, ahead));
        mprof_idmap_prefetch(&e->lines, line_key(e, mprof_snapshot_nodes(e->snapshot)[ahead].parent));
    }
    struct mprof_block block;
    int64_t base[MPROF_COLUMNS];
    bool has_base = base_values(stack, base);
    size_t first = e->starts[index];
    size_t end = e->starts[index + 1];
    if (!has_base && first == end)
        return 0;
    if (find_path(e, stack) < 0)
        return -1;
    if (has_base)
        base_sample(e, stack, base);
    if (end - first == 1) {
        struct mprof_size alone;
        mprof_snapshot_block(e->snapshot, e->order ? e->order[first] : first, &block);
        mprof_sizes_one(&e->sizes, &block, &alone);
        size_sample(e, &alone);
        return e->out.failed ? -1 : 0;
    }
    mprof_sizes_clear(&e->sizes);
    for (size_t i = first; i < end; i++) {
        mprof_snapshot_block(e->snapshot, e->order ? e->order[i] : i, &block);
        if (mprof_sizes_add(&e->sizes, &block) < 0)
            return -1;
    }
    mprof_sizes_finish(&e->sizes);
    for (size_t i = 0; i < e->sizes.count; i++)
        size_sample(e, &e->sizes.items[i]);
    return e->out.failed ? -1 : 0;
}
