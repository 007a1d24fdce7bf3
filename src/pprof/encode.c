/* SPDX-License-Identifier: MIT */
/* encode.c -- see encode.h; the layout is in layout.h.
 *
 * One pass over the stacks writes the samples. What they name gets its number in the file when it is first named:
 *
 *     stack -> node -> location (function, line) -> function -> string
 *
 * and is written after the samples, strings last. So a selection of the snapshot holds no name of what was left out. */
#include "pprof/encode.h"

#include "pprof/encode_private.h"
#include "pprof/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* ---- tables ---- */

/* A zeroed table, given back by free_tables. NULL: no memory. */
static void *table(struct mprof_encoder *e, size_t count, size_t item_size)
{
    struct mprof_encode_owned *owned = &e->owned[e->owned_count];
    owned->size = count * item_size;
    owned->memory = mprof_arena_get(e->arena, owned->size);
    if (owned->memory)
        e->owned_count++;
    return owned->memory;
}

/* ---- names ---- */

uint32_t mprof_encode_own_string(struct mprof_encoder *e, const char *bytes, size_t length)
{
    if (length == 0 && e->string_count > 0)
        return 0;
    e->strings[e->string_count] = (struct mprof_encode_text){.bytes = bytes, .length = length};
    return e->string_count++;
}

static uint32_t string(struct mprof_encoder *e, uint32_t index)
{
    size_t length;
    const char *bytes = mprof_snapshot_string(e->snapshot, index, &length);
    if (length == 0)
        return 0;
    if (e->string_number[index] == 0)
        e->string_number[index] = mprof_encode_own_string(e, bytes, length);
    return e->string_number[index];
}

static uint32_t function(struct mprof_encoder *e, uint32_t index)
{
    if (e->function_number[index] == 0) {
        e->functions[e->function_count++] = index;
        e->function_number[index] = e->function_count;
    }
    return e->function_number[index];
}

/* ---- selection ---- */

/* The i-th block to write. */
static uint32_t chosen(const struct mprof_encoder *e, size_t i)
{
    return e->options->selection ? e->options->selection[i] : (uint32_t)i;
}

/* Sorts the blocks to write by stack, counting; a snapshot of the recorder has them sorted. -1: no memory. */
static int order_blocks(struct mprof_encoder *e)
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

static bool wanted(const struct mprof_encoder *e, uint32_t stack)
{
    if (e->options->stack_mask)
        return e->options->stack_mask[stack] != 0;
    return !e->options->selection || e->starts[stack + 1] > e->starts[stack];
}

/* ---- the parts of the profile ---- */

static void value_type(struct mprof_encoder *e, uint32_t field, const char *name, uint32_t unit)
{
    size_t mark = mprof_out_begin(&e->out, field);
    mprof_out_number(&e->out, MPROF_TYPE_NAME, mprof_encode_own_string(e, name, strlen(name)));
    mprof_out_number(&e->out, MPROF_TYPE_UNIT, unit);
    mprof_out_end(&e->out, mark);
}

static void header(struct mprof_encoder *e)
{
    const struct mprof_meta *meta = mprof_snapshot_meta(e->snapshot);
    mprof_encode_own_string(e, "", 0);
    e->bytes_unit = mprof_encode_own_string(e, "bytes", 5);
    e->count_unit = mprof_encode_own_string(e, "count", 5);
    e->no_frame = mprof_encode_own_string(e, MPROF_NO_FRAME, sizeof MPROF_NO_FRAME - 1);
    for (unsigned i = 0; i < MPROF_COLUMNS; i++)
        value_type(e, MPROF_PROFILE_SAMPLE_TYPE, mprof_column_name(i), i % 2 ? e->bytes_unit : e->count_unit);
    mprof_out_number(&e->out, MPROF_PROFILE_TIME, (uint64_t)meta->time_ns);
    value_type(e, MPROF_PROFILE_PERIOD_TYPE, "space", e->bytes_unit);
    mprof_out_number(&e->out, MPROF_PROFILE_PERIOD, e->period);
}

/* One mapping, which says that there is nothing to look up elsewhere: without it pprof looks for symbols. */
static void mapping(struct mprof_encoder *e)
{
    size_t mark = mprof_out_begin(&e->out, MPROF_PROFILE_MAPPING);
    mprof_out_number(&e->out, MPROF_MAPPING_ID, 1);
    if (e->options->binary)
        mprof_out_number(&e->out, MPROF_MAPPING_FILENAME,
                         mprof_encode_own_string(e, e->options->binary, e->options->binary_length));
    mprof_out_number(&e->out, MPROF_MAPPING_HAS_FUNCTIONS, 1);
    mprof_out_number(&e->out, MPROF_MAPPING_HAS_FILENAMES, 1);
    mprof_out_number(&e->out, MPROF_MAPPING_HAS_LINES, 1);
    mprof_out_end(&e->out, mark);
}

static void locations(struct mprof_encoder *e)
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
static void functions(struct mprof_encoder *e)
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
        (void)snprintf(text + length, size - (size_t)length, ".%09" PRIu64, billionths);
}

static void comments(struct mprof_encoder *e)
{
    const struct mprof_meta *meta = mprof_snapshot_meta(e->snapshot);
    const struct {
        const char *key;
        uint64_t value;
        bool is_signed;
    } items[MPROF_META_COMMENTS - 1] = {
        {.key = "max_frames", .value = meta->max_frames},
        {.key = "drops", .value = meta->drops},
        {.key = "thinnings", .value = meta->thinnings},
        {.key = "start_ns", .value = (uint64_t)meta->start_ns, .is_signed = true},
        {.key = "peak_ns", .value = (uint64_t)meta->peak_ns, .is_signed = true},
        {.key = "recording", .value = meta->recording},
    };
    write_rate(meta->sample_rate, e->meta[0], MPROF_META_COMMENT_SIZE);
    mprof_out_number(&e->out, MPROF_PROFILE_COMMENT, mprof_encode_own_string(e, e->meta[0], strlen(e->meta[0])));
    for (unsigned i = 0; i < MPROF_META_COMMENTS - 1; i++) {
        char *text = e->meta[i + 1];
        if (items[i].value == 0)
            continue;
        if (items[i].is_signed)
            (void)snprintf(text, MPROF_META_COMMENT_SIZE, MPROF_COMMENT_PREFIX "%s=%" PRId64, items[i].key,
                           (int64_t)items[i].value);
        else
            (void)snprintf(text, MPROF_META_COMMENT_SIZE, MPROF_COMMENT_PREFIX "%s=%" PRIu64, items[i].key,
                           items[i].value);
        mprof_out_number(&e->out, MPROF_PROFILE_COMMENT, mprof_encode_own_string(e, text, strlen(text)));
    }
    for (uint32_t i = 0; i < mprof_snapshot_comment_count(e->snapshot); i++) {
        mprof_out_varint(&e->out, MPROF_PROFILE_COMMENT << 3 | MPROF_WIRE_VARINT); /* also if it is the empty string */
        mprof_out_varint(&e->out, string(e, mprof_snapshot_comment(e->snapshot, i)));
    }
    for (size_t i = 0; i < e->options->comment_count; i++) {
        const struct mprof_encode_comment *comment = &e->options->comments[i];
        mprof_out_varint(&e->out, MPROF_PROFILE_COMMENT << 3 | MPROF_WIRE_VARINT);
        mprof_out_varint(&e->out, mprof_encode_own_string(e, comment->text, comment->length));
    }
}

static void strings(struct mprof_encoder *e)
{
    for (uint32_t i = 0; i < e->string_count; i++) {
        size_t mark = mprof_out_begin(&e->out, MPROF_PROFILE_STRING);
        mprof_utf8_write(&e->out, e->strings[i].bytes, e->strings[i].length);
        mprof_out_end(&e->out, mark);
    }
}

static int write_profile(struct mprof_encoder *e)
{
    if (order_blocks(e) < 0)
        return -1;
    header(e);
    for (uint32_t s = 0; s < mprof_snapshot_stack_count(e->snapshot); s++)
        if (wanted(e, s) && mprof_encode_stack(e, s) < 0)
            return -1;
    mapping(e);
    locations(e);
    functions(e);
    comments(e);
    strings(e);
    return e->out.failed ? -1 : 0;
}

/* ---- begin and end ---- */

static int make_tables(struct mprof_encoder *e)
{
    size_t strings = mprof_snapshot_string_count(e->snapshot);
    size_t functions = mprof_snapshot_function_count(e->snapshot);
    size_t nodes = mprof_snapshot_node_count(e->snapshot);
    size_t stacks = mprof_snapshot_stack_count(e->snapshot);
    bool made = (e->string_number = table(e, strings, sizeof *e->string_number)) &&
                (e->function_number = table(e, functions, sizeof *e->function_number)) &&
                (e->location_number = table(e, nodes, sizeof *e->location_number)) &&
                (e->written = table(e, nodes, sizeof *e->written)) &&
                (e->strings = table(e, strings + MPROF_OWN_STRINGS + e->options->comment_count, sizeof *e->strings)) &&
                (e->functions = table(e, functions, sizeof *e->functions)) &&
                (e->locations = table(e, nodes, sizeof *e->locations)) &&
                (e->starts = table(e, stacks + 1, sizeof *e->starts));
    return made ? 0 : -1;
}

static void free_tables(struct mprof_encoder *e)
{
    while (e->owned_count > 0) {
        struct mprof_encode_owned *owned = &e->owned[--e->owned_count];
        mprof_arena_put(e->arena, owned->memory, owned->size);
    }
    mprof_arena_put(e->arena, e->path.bytes, e->path.capacity);
    mprof_arena_put(e->arena, e->fresh, e->fresh_capacity * sizeof *e->fresh);
    mprof_idmap_free(&e->lines, e->arena);
    mprof_sizes_free(&e->sizes);
}

int mprof_pprof_encode(const struct mprof_snapshot *snapshot, const struct mprof_encode_options *options,
                       struct mprof_arena *arena, unsigned char **bytes, size_t *length)
{
    static const struct mprof_encode_options everything = {0};
    struct mprof_encoder e = {.snapshot = snapshot, .options = options ? options : &everything, .arena = arena};
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
