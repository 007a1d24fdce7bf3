/* SPDX-License-Identifier: MIT */
/* encode.c -- see encode.h; the layout is in layout.h.
 *
 * One pass over the stacks writes the samples. What they name gets its number in the file when it is first named:
 *
 *     stack -> node -> location (function, line) -> function -> string
 *
 * and is written after the samples, strings last. So a selection of the snapshot holds no name of what was left out. */
#include "pprof/encode.h"

#include "pprof/idmap.h"
#include "pprof/layout.h"
#include "pprof/sizes.h"
#include "pprof/utf8.h"
#include "pprof/wire.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { META_COMMENTS = 7, META_COMMENT_SIZE = 64 };
/* Strings that are not the snapshot's: columns, labels, "", space, count, bytes, seconds, <unknown>, the binary. */
enum { OWN_STRINGS = MPROF_COLUMNS + MPROF_LABELS + 7 + META_COMMENTS };

struct text {
    const char *bytes;
    size_t length;
};

enum { TABLES = 8 };

struct owned {
    void *memory;
    size_t size;
};

struct encoder {
    const struct mprof_snapshot *snapshot;
    const struct mprof_encode_options *options;
    struct mprof_arena *arena;
    struct mprof_out out;
    struct mprof_out path; /* packed location ids of the stack at hand */
    struct mprof_idmap lines;
    struct mprof_sizes sizes;
    uint64_t period;

    /* Numbers in the file by index in the snapshot; 0: not named yet. And back. */
    uint32_t *string_number;
    uint32_t *function_number;
    uint32_t *location_number; /* by node; the root's is the location of no frame */
    struct text *strings;
    uint32_t *functions; /* [number - 1] */
    uint32_t *locations; /* [number - 1]: a node */
    uint32_t string_count;
    uint32_t function_count;
    uint32_t location_count;

    /* Blocks to write, by stack: order[starts[s]] to order[starts[s + 1] - 1]; order NULL: they are in this order. */
    size_t *starts;
    uint32_t *order;
    size_t selected;

    uint32_t label_key[MPROF_LABELS];
    uint32_t bytes_unit;
    uint32_t count_unit;
    uint32_t seconds_unit; /* 0: not named yet */
    uint32_t no_frame;
    double carry_bytes; /* what rounding has left over so far */
    double carry_blocks;
    char meta[META_COMMENTS][META_COMMENT_SIZE];
    struct owned owned[TABLES];
    unsigned owned_count;
};

/* ---- tables ---- */

/* A zeroed table, given back by free_tables. NULL: no memory. */
static void *table(struct encoder *e, size_t count, size_t item_size)
{
    struct owned *owned = &e->owned[e->owned_count];
    owned->size = count * item_size;
    owned->memory = mprof_arena_get(e->arena, owned->size);
    if (owned->memory)
        e->owned_count++;
    return owned->memory;
}

/* ---- numbers ---- */

static int64_t to_integer(double value)
{
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
    double whole = floor(exact);
    double part = exact - whole + *carry;
    double up = floor(part + 0.5);
    *carry = part - up;
    return (int64_t)(whole + up);
}

/* ---- names ---- */

static uint32_t own_string(struct encoder *e, const char *bytes, size_t length)
{
    if (length == 0 && e->string_count > 0)
        return 0;
    e->strings[e->string_count] = (struct text){.bytes = bytes, .length = length};
    return e->string_count++;
}

static uint32_t string(struct encoder *e, uint32_t index)
{
    size_t length;
    const char *bytes = mprof_snapshot_string(e->snapshot, index, &length);
    if (length == 0)
        return 0;
    if (e->string_number[index] == 0)
        e->string_number[index] = own_string(e, bytes, length);
    return e->string_number[index];
}

static uint32_t function(struct encoder *e, uint32_t index)
{
    if (e->function_number[index] == 0) {
        e->functions[e->function_count++] = index;
        e->function_number[index] = e->function_count;
    }
    return e->function_number[index];
}

/* The location of a node: one for each (function, line). 0: no memory. */
static uint32_t location(struct encoder *e, uint32_t node)
{
    if (e->location_number[node] != 0)
        return e->location_number[node];
    const struct mprof_node *it = &mprof_snapshot_nodes(e->snapshot)[node];
    uint32_t *number = mprof_idmap_put(&e->lines, e->arena, (uint64_t)it->function << 32 | it->line);
    if (!number)
        return 0;
    if (*number == 0) {
        e->locations[e->location_count++] = node;
        *number = e->location_count;
    }
    return e->location_number[node] = *number;
}

/* ---- samples ---- */

static int find_path(struct encoder *e, uint32_t node)
{
    const struct mprof_node *nodes = mprof_snapshot_nodes(e->snapshot);
    e->path.length = 0;
    do {
        uint32_t number = location(e, node);
        if (number == 0)
            return -1;
        mprof_out_varint(&e->path, number);
        node = nodes[node].parent;
    } while (node != 0);
    return e->path.failed ? -1 : 0;
}

static size_t sample_begin(struct encoder *e, const int64_t *values)
{
    size_t mark = mprof_out_begin(&e->out, MPROF_PROFILE_SAMPLE);
    size_t inner = mprof_out_begin(&e->out, MPROF_SAMPLE_LOCATION);
    mprof_out_raw(&e->out, e->path.bytes, e->path.length);
    mprof_out_end(&e->out, inner);
    inner = mprof_out_begin(&e->out, MPROF_SAMPLE_VALUE);
    for (unsigned i = 0; i < MPROF_COLUMNS; i++)
        mprof_out_varint(&e->out, (uint64_t)values[i]);
    mprof_out_end(&e->out, inner);
    return mark;
}

static uint32_t unit_string(struct encoder *e, const char *unit)
{
    if (unit[0] != 's')
        return unit[0] == 'b' ? e->bytes_unit : e->count_unit;
    if (e->seconds_unit == 0)
        e->seconds_unit = own_string(e, unit, strlen(unit));
    return e->seconds_unit;
}

static void label(struct encoder *e, unsigned which, uint64_t value)
{
    const char *name = mprof_label_name(which);
    const char *unit = mprof_label_unit(which);
    if (e->label_key[which] == 0)
        e->label_key[which] = own_string(e, name, strlen(name));
    size_t mark = mprof_out_begin(&e->out, MPROF_SAMPLE_LABEL);
    mprof_out_number(&e->out, MPROF_TAG_KEY, e->label_key[which]);
    mprof_out_number(&e->out, MPROF_TAG_NUMBER, value);
    if (unit)
        mprof_out_number(&e->out, MPROF_TAG_UNIT, unit_string(e, unit));
    mprof_out_end(&e->out, mark);
}

static void details(struct encoder *e, unsigned which, const struct mprof_figures *figures)
{
    const int64_t values[] = {
        [MPROF_DETAIL_SAMPLES] = to_integer(figures->samples),
        [MPROF_DETAIL_SEEN] = to_integer(figures->seen),
        [MPROF_DETAIL_BYTES_ERROR] = to_integer(sqrt(figures->bytes_var)),
        [MPROF_DETAIL_BLOCKS_ERROR] = to_integer(sqrt(figures->blocks_var)),
    };
    for (unsigned i = 0; i < sizeof values / sizeof *values; i++)
        if (values[i] > 0)
            label(e, which + i, (uint64_t)values[i]);
}

/* What was allocated in all and what was in use at the peak. */
static void base_sample(struct encoder *e, const struct mprof_stack *stack)
{
    const int64_t values[MPROF_COLUMNS] = {
        [MPROF_COLUMN_PEAK] = to_integer(stack->peak.blocks),
        [MPROF_COLUMN_PEAK + 1] = to_integer(stack->peak.bytes),
        [MPROF_COLUMN_ALLOC] = to_integer(stack->alloc.blocks),
        [MPROF_COLUMN_ALLOC + 1] = to_integer(stack->alloc.bytes),
    };
    bool cut = stack->total_frames > stack->frames;
    bool any = cut;
    for (unsigned i = 0; i < MPROF_COLUMNS; i++)
        any = any || values[i] != 0;
    if (!any)
        return;
    size_t mark = sample_begin(e, values);
    if (cut)
        label(e, MPROF_LABEL_TOTAL_FRAMES, stack->total_frames);
    details(e, MPROF_LABEL_ALLOC, &stack->alloc);
    details(e, MPROF_LABEL_PEAK, &stack->peak);
    mprof_out_end(&e->out, mark);
}

static void size_sample(struct encoder *e, const struct mprof_size *size)
{
    int64_t values[MPROF_COLUMNS] = {0};
    values[MPROF_COLUMN_INUSE] = round_carried(size->blocks, &e->carry_blocks);
    values[MPROF_COLUMN_INUSE + 1] = round_carried(size->bytes, &e->carry_bytes);
    size_t mark = sample_begin(e, values);
    label(e, MPROF_LABEL_BYTES, size->size);
    if (size->domain != 0)
        label(e, MPROF_LABEL_DOMAIN, size->domain);
    if (size->rate != e->period)
        label(e, MPROF_LABEL_RATE, size->rate);
    if (size->age != 0)
        label(e, MPROF_LABEL_AGE, mprof_age_bound(size->age));
    mprof_out_end(&e->out, mark);
}

static int stack_samples(struct encoder *e, uint32_t index)
{
    const struct mprof_stack *stack = &mprof_snapshot_stacks(e->snapshot)[index];
    if (find_path(e, stack->node) < 0)
        return -1;
    base_sample(e, stack);
    mprof_sizes_clear(&e->sizes);
    for (size_t i = e->starts[index]; i < e->starts[index + 1]; i++) {
        struct mprof_block block;
        mprof_snapshot_block(e->snapshot, e->order ? e->order[i] : i, &block);
        if (mprof_sizes_add(&e->sizes, &block) < 0)
            return -1;
    }
    mprof_sizes_finish(&e->sizes);
    for (size_t i = 0; i < e->sizes.count; i++)
        size_sample(e, &e->sizes.items[i]);
    return e->out.failed ? -1 : 0;
}

/* ---- selection ---- */

/* The i-th block to write. */
static uint32_t chosen(const struct encoder *e, size_t i)
{
    return e->options->selection ? e->options->selection[i] : (uint32_t)i;
}

/* Sorts the blocks to write by stack, counting; a snapshot of the recorder has them sorted. -1: no memory. */
static int order_blocks(struct encoder *e)
{
    uint32_t stacks = mprof_snapshot_stack_count(e->snapshot);
    uint32_t last = 0;
    bool sorted = !e->options->selection;
    for (size_t i = 0; i < e->selected; i++) {
        uint32_t stack = mprof_snapshot_block_stack(e->snapshot, chosen(e, i));
        sorted = sorted && last <= stack;
        last = stack;
        e->starts[stack + 1]++;
    }
    for (uint32_t s = 0; s < stacks; s++)
        e->starts[s + 1] += e->starts[s];
    if (sorted)
        return 0;
    e->order = table(e, e->selected + 1, sizeof *e->order);
    if (!e->order)
        return -1;
    /* Each start moves to its end while its blocks are placed, and then back. */
    for (size_t i = 0; i < e->selected; i++) {
        uint32_t block = chosen(e, i);
        e->order[e->starts[mprof_snapshot_block_stack(e->snapshot, block)]++] = block;
    }
    for (uint32_t s = stacks; s > 0; s--)
        e->starts[s] = e->starts[s - 1];
    e->starts[0] = 0;
    return 0;
}

static bool wanted(const struct encoder *e, uint32_t stack)
{
    if (e->options->stack_mask)
        return e->options->stack_mask[stack] != 0;
    return !e->options->selection || e->starts[stack + 1] > e->starts[stack];
}

/* ---- the parts of the profile ---- */

static void value_type(struct encoder *e, uint32_t field, const char *name, uint32_t unit)
{
    size_t mark = mprof_out_begin(&e->out, field);
    mprof_out_number(&e->out, MPROF_TYPE_NAME, own_string(e, name, strlen(name)));
    mprof_out_number(&e->out, MPROF_TYPE_UNIT, unit);
    mprof_out_end(&e->out, mark);
}

static void header(struct encoder *e)
{
    const struct mprof_meta *meta = mprof_snapshot_meta(e->snapshot);
    own_string(e, "", 0);
    e->bytes_unit = own_string(e, "bytes", 5);
    e->count_unit = own_string(e, "count", 5);
    e->no_frame = own_string(e, MPROF_NO_FRAME, sizeof MPROF_NO_FRAME - 1);
    for (unsigned i = 0; i < MPROF_COLUMNS; i++)
        value_type(e, MPROF_PROFILE_SAMPLE_TYPE, mprof_column_name(i), i % 2 ? e->bytes_unit : e->count_unit);
    mprof_out_number(&e->out, MPROF_PROFILE_TIME, (uint64_t)meta->time_ns);
    value_type(e, MPROF_PROFILE_PERIOD_TYPE, "space", e->bytes_unit);
    mprof_out_number(&e->out, MPROF_PROFILE_PERIOD, e->period);
}

/* One mapping, which says that there is nothing to look up elsewhere: without it pprof looks for symbols. */
static void mapping(struct encoder *e)
{
    size_t mark = mprof_out_begin(&e->out, MPROF_PROFILE_MAPPING);
    mprof_out_number(&e->out, MPROF_MAPPING_ID, 1);
    if (e->options->binary)
        mprof_out_number(&e->out, MPROF_MAPPING_FILENAME, own_string(e, e->options->binary, e->options->binary_length));
    mprof_out_number(&e->out, MPROF_MAPPING_HAS_FUNCTIONS, 1);
    mprof_out_number(&e->out, MPROF_MAPPING_HAS_FILENAMES, 1);
    mprof_out_number(&e->out, MPROF_MAPPING_HAS_LINES, 1);
    mprof_out_end(&e->out, mark);
}

static void locations(struct encoder *e)
{
    for (uint32_t i = 0; i < e->location_count; i++) {
        const struct mprof_node *node = &mprof_snapshot_nodes(e->snapshot)[e->locations[i]];
        size_t mark = mprof_out_begin(&e->out, MPROF_PROFILE_LOCATION);
        mprof_out_number(&e->out, MPROF_LOCATION_ID, i + 1);
        mprof_out_number(&e->out, MPROF_LOCATION_MAPPING, 1);
        size_t line = mprof_out_begin(&e->out, MPROF_LOCATION_LINE);
        mprof_out_number(&e->out, MPROF_LINE_FUNCTION, function(e, node->function));
        mprof_out_number(&e->out, MPROF_LINE_NUMBER, node->line);
        mprof_out_end(&e->out, line);
        mprof_out_end(&e->out, mark);
    }
}

/* Without system_name: where it equals the name, pprof takes the name for C++ and cuts out what is in angle brackets,
 * so that <module> becomes nothing at all. */
static void functions(struct encoder *e)
{
    for (uint32_t i = 0; i < e->function_count; i++) {
        const struct mprof_function *it = &mprof_snapshot_functions(e->snapshot)[e->functions[i]];
        bool no_frame = e->functions[i] == 0;
        size_t mark = mprof_out_begin(&e->out, MPROF_PROFILE_FUNCTION);
        mprof_out_number(&e->out, MPROF_FUNCTION_ID, i + 1);
        mprof_out_number(&e->out, MPROF_FUNCTION_NAME, no_frame ? e->no_frame : string(e, it->name));
        mprof_out_number(&e->out, MPROF_FUNCTION_FILENAME, no_frame ? e->no_frame : string(e, it->filename));
        mprof_out_number(&e->out, MPROF_FUNCTION_START_LINE, it->firstlineno);
        mprof_out_end(&e->out, mark);
    }
}

/* snprintf's %g writes the decimal point of the locale. */
static void write_rate(double rate, char *text, size_t size)
{
    double exact = rate >= 1.0 ? fmin(rate, 0x1p62) : 1.0;
    double whole = floor(exact);
    uint64_t billionths = (uint64_t)((exact - whole) * 1e9);
    int length = snprintf(text, size, MPROF_COMMENT_PREFIX "sample_rate=%" PRIu64, (uint64_t)whole);
    if (billionths)
        snprintf(text + length, size - (size_t)length, ".%09" PRIu64, billionths);
}

static void comments(struct encoder *e)
{
    const struct mprof_meta *meta = mprof_snapshot_meta(e->snapshot);
    const struct {
        const char *key;
        uint64_t value;
        bool is_signed;
    } items[META_COMMENTS - 1] = {
        {.key = "max_frames", .value = meta->max_frames},
        {.key = "drops", .value = meta->drops},
        {.key = "thinnings", .value = meta->thinnings},
        {.key = "start_ns", .value = (uint64_t)meta->start_ns, .is_signed = true},
        {.key = "peak_ns", .value = (uint64_t)meta->peak_ns, .is_signed = true},
        {.key = "recording", .value = meta->recording},
    };
    write_rate(meta->sample_rate, e->meta[0], META_COMMENT_SIZE);
    mprof_out_number(&e->out, MPROF_PROFILE_COMMENT, own_string(e, e->meta[0], strlen(e->meta[0])));
    for (unsigned i = 0; i < META_COMMENTS - 1; i++) {
        char *text = e->meta[i + 1];
        if (items[i].value == 0)
            continue;
        if (items[i].is_signed)
            snprintf(text, META_COMMENT_SIZE, MPROF_COMMENT_PREFIX "%s=%" PRId64, items[i].key,
                     (int64_t)items[i].value);
        else
            snprintf(text, META_COMMENT_SIZE, MPROF_COMMENT_PREFIX "%s=%" PRIu64, items[i].key, items[i].value);
        mprof_out_number(&e->out, MPROF_PROFILE_COMMENT, own_string(e, text, strlen(text)));
    }
    for (uint32_t i = 0; i < mprof_snapshot_comment_count(e->snapshot); i++) {
        mprof_out_varint(&e->out, MPROF_PROFILE_COMMENT << 3 | MPROF_WIRE_VARINT); /* also if it is the empty string */
        mprof_out_varint(&e->out, string(e, mprof_snapshot_comment(e->snapshot, i)));
    }
    for (size_t i = 0; i < e->options->comment_count; i++) {
        const struct mprof_encode_comment *comment = &e->options->comments[i];
        mprof_out_varint(&e->out, MPROF_PROFILE_COMMENT << 3 | MPROF_WIRE_VARINT);
        mprof_out_varint(&e->out, own_string(e, comment->text, comment->length));
    }
}

static void strings(struct encoder *e)
{
    for (uint32_t i = 0; i < e->string_count; i++) {
        size_t mark = mprof_out_begin(&e->out, MPROF_PROFILE_STRING);
        mprof_utf8_write(&e->out, e->strings[i].bytes, e->strings[i].length);
        mprof_out_end(&e->out, mark);
    }
}

static int write_profile(struct encoder *e)
{
    if (order_blocks(e) < 0)
        return -1;
    header(e);
    for (uint32_t s = 0; s < mprof_snapshot_stack_count(e->snapshot); s++)
        if (wanted(e, s) && stack_samples(e, s) < 0)
            return -1;
    mapping(e);
    locations(e);
    functions(e);
    comments(e);
    strings(e);
    return e->out.failed ? -1 : 0;
}

/* ---- begin and end ---- */

static int make_tables(struct encoder *e)
{
    size_t strings = mprof_snapshot_string_count(e->snapshot);
    size_t functions = mprof_snapshot_function_count(e->snapshot);
    size_t nodes = mprof_snapshot_node_count(e->snapshot);
    size_t stacks = mprof_snapshot_stack_count(e->snapshot);
    bool made = (e->string_number = table(e, strings, sizeof *e->string_number)) &&
                (e->function_number = table(e, functions, sizeof *e->function_number)) &&
                (e->location_number = table(e, nodes, sizeof *e->location_number)) &&
                (e->strings = table(e, strings + OWN_STRINGS + e->options->comment_count, sizeof *e->strings)) &&
                (e->functions = table(e, functions, sizeof *e->functions)) &&
                (e->locations = table(e, nodes, sizeof *e->locations)) &&
                (e->starts = table(e, stacks + 1, sizeof *e->starts));
    return made ? 0 : -1;
}

static void free_tables(struct encoder *e)
{
    while (e->owned_count > 0) {
        struct owned *owned = &e->owned[--e->owned_count];
        mprof_arena_put(e->arena, owned->memory, owned->size);
    }
    mprof_arena_put(e->arena, e->path.bytes, e->path.capacity);
    mprof_idmap_free(&e->lines, e->arena);
    mprof_sizes_free(&e->sizes);
}

int mprof_pprof_encode(const struct mprof_snapshot *snapshot, const struct mprof_encode_options *options,
                       struct mprof_arena *arena, unsigned char **bytes, size_t *length)
{
    static const struct mprof_encode_options everything = {0};
    struct encoder e = {.snapshot = snapshot, .options = options ? options : &everything, .arena = arena};
    e.out.arena = e.path.arena = arena;
    e.period = mprof_sizes_whole_rate(mprof_snapshot_meta(snapshot)->sample_rate);
    e.selected = e.options->selection ? e.options->selected : mprof_snapshot_block_count(snapshot);
    mprof_sizes_init(&e.sizes, arena, mprof_snapshot_meta(snapshot)->time_ns);
    int code = e.selected > UINT32_MAX || make_tables(&e) < 0 || write_profile(&e) < 0 ? -1 : 0;
    free_tables(&e);
    if (code == 0) {
        *bytes = mprof_arena_resize(arena, e.out.bytes, e.out.capacity, e.out.length);
        *length = e.out.length;
        code = *bytes ? 0 : -1;
    }
    if (code < 0)
        mprof_arena_put(arena, e.out.bytes, e.out.capacity);
    return code;
}
