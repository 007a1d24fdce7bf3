/* SPDX-License-Identifier: MIT */
/* decode.c -- see decode.h: the order of the passes, and the tables of strings, functions and locations. */
#include "pprof/decode.h"

#include "core/snapshot_private.h"
#include "pprof/decode_private.h"

#include <inttypes.h>
#include <stdio.h>

/* Most frames of all samples together. A sample names a location in one byte or more, and a location has one line, or a
 * few where functions were inlined; a file made to hurt has a million lines in one location and names it everywhere. */
enum { FRAMES_PER_BYTE = 4, FRAMES_FREE = 65536 };

static uint32_t clamp(uint64_t number)
{
    if ((int64_t)number < 0)
        return 0;
    return number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
}

/* ---- the first pass ---- */

static int count_lines(struct mprof_decoder *d, struct mprof_wire location)
{
    struct mprof_field field;
    size_t before = d->line_count;
    int more;
    while ((more = mprof_decode_next(d, &location, &field)) > 0)
        if (field.number == MPROF_LOCATION_LINE)
            d->line_count++;
    if (d->line_count == before)
        d->line_count++; /* a name is made up for it */
    return more;
}

static int count(struct mprof_decoder *d)
{
    static const char *const names[] = {
        [MPROF_PROFILE_SAMPLE_TYPE] = "sample type", [MPROF_PROFILE_SAMPLE] = "sample",
        [MPROF_PROFILE_MAPPING] = "mapping",         [MPROF_PROFILE_LOCATION] = "location",
        [MPROF_PROFILE_FUNCTION] = "function",       [MPROF_PROFILE_STRING] = "string",
    };
    struct mprof_wire top = d->input;
    struct mprof_field field;
    int more;
    while ((more = mprof_decode_next(d, &top, &field)) > 0) {
        if (field.number <= MPROF_PROFILE_STRING && mprof_decode_message(d, &field, names[field.number]) < 0)
            return -1;
        if (field.number == MPROF_PROFILE_SAMPLE_TYPE)
            d->type_count++;
        else if (field.number == MPROF_PROFILE_MAPPING)
            d->mapping_count++;
        else if (field.number == MPROF_PROFILE_FUNCTION)
            d->function_count++;
        else if (field.number == MPROF_PROFILE_STRING)
            d->string_count++;
        else if (field.number == MPROF_PROFILE_LOCATION) {
            d->location_count++;
            if (count_lines(d, field.body) < 0)
                return -1;
        }
    }
    if (more < 0)
        return -1;
    if (d->string_count > UINT32_MAX - 2 || d->line_count > UINT32_MAX || d->location_count > UINT32_MAX - 1)
        return mprof_decode_fail(d, 0, "more than 2^32 strings, locations or lines");
    return 0;
}

static int make_tables(struct mprof_decoder *d)
{
    d->strings = mprof_arena_get(d->arena, (d->string_count + 1) * sizeof *d->strings);
    d->places = mprof_arena_get(d->arena, (d->location_count + 1) * sizeof *d->places);
    d->lines = mprof_arena_get(d->arena, (d->line_count + 1) * sizeof *d->lines);
    if (!d->strings || !d->places || !d->lines || mprof_idmap_reserve(&d->mappings, d->arena, d->mapping_count) < 0 ||
        mprof_idmap_reserve(&d->functions, d->arena, d->function_count) < 0 ||
        mprof_idmap_reserve(&d->locations, d->arena, d->location_count) < 0)
        return mprof_decode_no_memory(d);
    return 0;
}

static void free_tables(struct mprof_decoder *d)
{
    mprof_arena_put(d->arena, d->strings, (d->string_count + 1) * sizeof *d->strings);
    mprof_arena_put(d->arena, d->places, (d->location_count + 1) * sizeof *d->places);
    mprof_arena_put(d->arena, d->lines, (d->line_count + 1) * sizeof *d->lines);
    mprof_arena_put(d->arena, d->path.items, d->path.capacity * sizeof *d->path.items);
    mprof_arena_put(d->arena, d->last_path.items, d->last_path.capacity * sizeof *d->last_path.items);
    mprof_idmap_free(&d->mappings, d->arena);
    mprof_idmap_free(&d->functions, d->arena);
    mprof_idmap_free(&d->locations, d->arena);
}

static int read_strings(struct mprof_decoder *d)
{
    struct mprof_wire top = d->input;
    struct mprof_field field;
    size_t at = 0;
    int more;
    while ((more = mprof_decode_next(d, &top, &field)) > 0) {
        if (field.number != MPROF_PROFILE_STRING)
            continue;
        if (at == 0 && field.body.at != field.body.end)
            return mprof_decode_fail(d, field.start, "string 0 is not empty");
        d->strings[at++] =
            (struct mprof_text){.start = field.body.at, .length = field.body.end - field.body.at, .interned = 0};
    }
    return more;
}

/* ---- mappings, functions ---- */

static int read_mapping(struct mprof_decoder *d, const struct mprof_field *mapping)
{
    struct mprof_wire wire = mapping->body;
    struct mprof_field field;
    uint64_t id = 0;
    uint32_t filename = 0;
    int more;
    while ((more = mprof_decode_next(d, &wire, &field)) > 0) {
        if (field.number == MPROF_MAPPING_ID && mprof_decode_number(d, &field, "id of a mapping", &id) < 0)
            return -1;
        if (field.number == MPROF_MAPPING_FILENAME &&
            mprof_decode_string(d, &field, "file name of a mapping", &filename) < 0)
            return -1;
    }
    if (more < 0)
        return -1;
    uint32_t *value = mprof_idmap_put(&d->mappings, d->arena, id);
    if (!value)
        return mprof_decode_no_memory(d);
    if (id == 0 || *value != 0)
        return mprof_decode_fail(d, mapping->start, "mapping id %" PRIu64 " is %s", id,
                                 id ? "defined twice" : "not valid");
    *value = filename + 1;
    return 0;
}

static int read_function(struct mprof_decoder *d, const struct mprof_field *function)
{
    struct mprof_wire wire = function->body;
    struct mprof_field field;
    uint64_t id = 0, line = 0;
    uint32_t name = 0, system_name = 0, filename = 0;
    int more;
    while ((more = mprof_decode_next(d, &wire, &field)) > 0) {
        int code = 0;
        if (field.number == MPROF_FUNCTION_ID)
            code = mprof_decode_number(d, &field, "id of a function", &id);
        else if (field.number == MPROF_FUNCTION_NAME)
            code = mprof_decode_string(d, &field, "name of a function", &name);
        else if (field.number == MPROF_FUNCTION_SYSTEM_NAME)
            code = mprof_decode_string(d, &field, "system name of a function", &system_name);
        else if (field.number == MPROF_FUNCTION_FILENAME)
            code = mprof_decode_string(d, &field, "file name of a function", &filename);
        else if (field.number == MPROF_FUNCTION_START_LINE)
            code = mprof_decode_number(d, &field, "line of a function", &line);
        if (code < 0)
            return -1;
    }
    if (more < 0)
        return -1;
    uint32_t *value = mprof_idmap_put(&d->functions, d->arena, id);
    if (!value)
        return mprof_decode_no_memory(d);
    if (id == 0 || *value != 0)
        return mprof_decode_fail(d, function->start, "function id %" PRIu64 " is %s", id,
                                 id ? "defined twice" : "not valid");
    struct mprof_function built = {.firstlineno = clamp(line)};
    if (mprof_decode_intern(d, name ? name : system_name, &built.name) < 0 ||
        mprof_decode_intern(d, filename, &built.filename) < 0)
        return -1;
    if (mprof_builder_function(d->builder, &built, value) < 0)
        return mprof_decode_no_memory(d);
    if (line == 0 && mprof_decode_is(d, name, MPROF_NO_FRAME) && mprof_decode_is(d, filename, MPROF_NO_FRAME))
        d->no_frame = *value;
    return 0;
}

static int read_functions(struct mprof_decoder *d)
{
    struct mprof_wire top = d->input;
    struct mprof_field field;
    int more;
    while ((more = mprof_decode_next(d, &top, &field)) > 0) {
        if (field.number == MPROF_PROFILE_MAPPING && read_mapping(d, &field) < 0)
            return -1;
        if (field.number == MPROF_PROFILE_FUNCTION && read_function(d, &field) < 0)
            return -1;
    }
    return more;
}

/* ---- locations ---- */

static int read_line(struct mprof_decoder *d, const struct mprof_field *message, struct mprof_line *line)
{
    struct mprof_field field;
    struct mprof_wire wire = message->body;
    uint64_t id = 0, number = 0;
    int more;
    if (mprof_decode_message(d, message, "line of a location") < 0)
        return -1;
    while ((more = mprof_decode_next(d, &wire, &field)) > 0) {
        if (field.number == MPROF_LINE_FUNCTION && mprof_decode_number(d, &field, "function of a line", &id) < 0)
            return -1;
        if (field.number == MPROF_LINE_NUMBER && mprof_decode_number(d, &field, "number of a line", &number) < 0)
            return -1;
    }
    if (more < 0)
        return -1;
    line->function = mprof_idmap_find(&d->functions, id);
    line->line = clamp(number);
    if (line->function == 0)
        return mprof_decode_fail(d, message->start, "function id %" PRIu64 " is not defined", id);
    return 0;
}

/* A location that nobody has looked up in the program's symbols is named by its address. */
static int name_address(struct mprof_decoder *d, const struct mprof_field *location, uint64_t address, uint64_t mapping,
                        struct mprof_line *line)
{
    char text[24];
    int length = snprintf(text, sizeof text, "0x%" PRIx64, address);
    struct mprof_function function = {.name = 0};
    uint32_t filename = mprof_idmap_find(&d->mappings, mapping);
    if (mapping != 0 && filename == 0)
        return mprof_decode_fail(d, location->start, "mapping id %" PRIu64 " is not defined", mapping);
    if (filename && mprof_decode_intern(d, filename - 1, &function.filename) < 0)
        return -1;
    if (mprof_builder_string(d->builder, text, (size_t)length, &function.name) < 0 ||
        mprof_builder_function(d->builder, &function, &line->function) < 0)
        return mprof_decode_no_memory(d);
    line->line = 0;
    return 0;
}

static int read_location(struct mprof_decoder *d, const struct mprof_field *location, struct mprof_place *place)
{
    struct mprof_wire wire = location->body;
    struct mprof_field field;
    uint64_t id = 0, address = 0, mapping = 0;
    int more;
    while ((more = mprof_decode_next(d, &wire, &field)) > 0) {
        int code = 0;
        if (field.number == MPROF_LOCATION_ID)
            code = mprof_decode_number(d, &field, "id of a location", &id);
        else if (field.number == MPROF_LOCATION_ADDRESS)
            code = mprof_decode_number(d, &field, "address of a location", &address);
        else if (field.number == MPROF_LOCATION_MAPPING)
            code = mprof_decode_number(d, &field, "mapping of a location", &mapping);
        else if (field.number == MPROF_LOCATION_LINE)
            code = read_line(d, &field, &d->lines[place->first + place->count++]);
        if (code < 0)
            return -1;
    }
    if (more < 0)
        return -1;
    if (place->count == 0 && name_address(d, location, address, mapping, &d->lines[place->first + place->count++]) < 0)
        return -1;
    uint32_t *value = mprof_idmap_put(&d->locations, d->arena, id);
    if (!value)
        return mprof_decode_no_memory(d);
    if (id == 0 || *value != 0)
        return mprof_decode_fail(d, location->start, "location id %" PRIu64 " is %s", id,
                                 id ? "defined twice" : "not valid");
    *value = 1 + (uint32_t)(place - d->places);
    return 0;
}

static int read_locations(struct mprof_decoder *d)
{
    struct mprof_wire top = d->input;
    struct mprof_field field;
    struct mprof_place *place = d->places;
    int more;
    while ((more = mprof_decode_next(d, &top, &field)) > 0) {
        if (field.number != MPROF_PROFILE_LOCATION)
            continue;
        if (read_location(d, &field, place) < 0)
            return -1;
        place[1].first = place->first + place->count;
        place++;
    }
    return more;
}

/* ---- all of it ---- */

static int read_samples(struct mprof_decoder *d)
{
    struct mprof_wire top = d->input;
    struct mprof_field field;
    int more;
    while ((more = mprof_decode_next(d, &top, &field)) > 0)
        if (field.number == MPROF_PROFILE_SAMPLE && mprof_decode_sample(d, &field) < 0)
            return -1;
    return more;
}

static int read_profile(struct mprof_decoder *d)
{
    if (count(d) < 0 || make_tables(d) < 0 || read_strings(d) < 0 || mprof_decode_header(d) < 0 ||
        read_functions(d) < 0 || read_locations(d) < 0 || read_samples(d) < 0)
        return -1;
    return 0;
}

int mprof_decode_with(const unsigned char *bytes, size_t length, struct mprof_builder *builder,
                      struct mprof_arena *arena, struct mprof_snapshot **out, struct mprof_decode_error *error)
{
    struct mprof_decoder d = {.builder = builder, .arena = arena, .error = error};
    d.input = (struct mprof_wire){.bytes = bytes, .at = 0, .end = length};
    d.frames_left =
        length < (SIZE_MAX - FRAMES_FREE) / FRAMES_PER_BYTE ? FRAMES_FREE + FRAMES_PER_BYTE * length : SIZE_MAX;
    *error = (struct mprof_decode_error){.text = ""};
    if (!builder)
        return mprof_decode_no_memory(&d);
    int code = read_profile(&d);
    free_tables(&d);
    if (code < 0) {
        mprof_builder_drop(builder);
        return -1;
    }
    *out = mprof_builder_finish(builder, &d.meta);
    return *out ? 0 : mprof_decode_no_memory(&d);
}

int mprof_pprof_decode(const unsigned char *bytes, size_t length, struct mprof_snapshot **out,
                       struct mprof_decode_error *error)
{
    size_t limit = length < (SIZE_MAX - MPROF_DECODE_CONSTANT) / MPROF_DECODE_FACTOR
                       ? MPROF_DECODE_CONSTANT + MPROF_DECODE_FACTOR * length
                       : SIZE_MAX;
    struct mprof_arena arena;
    mprof_arena_init(&arena, limit / 2);
    int code = mprof_decode_with(bytes, length, mprof_builder_new_limited(limit / 2, 0, 0), &arena, out, error);
    mprof_arena_drop(&arena);
    return code;
}
