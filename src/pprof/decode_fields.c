/* SPDX-License-Identifier: MIT */
/* decode_fields.c -- see decode_private.h: errors, the payloads of fields, strings and units. */
#include "pprof/decode_private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- errors ---- */

int mprof_decode_fail(struct mprof_decoder *d, size_t offset, const char *format, ...)
{
    struct mprof_decode_error *error = d->error;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < sizeof error->text)
        (void)snprintf(error->text + length, sizeof error->text - (size_t)length, " at byte %zu", offset);
    error->memory = false;
    error->offset = offset;
    return -1;
}

int mprof_decode_no_memory(struct mprof_decoder *d)
{
    *d->error = (struct mprof_decode_error){.memory = true, .text = "out of memory"};
    return -1;
}

const char *mprof_decode_show(const struct mprof_decoder *d, uint32_t string, char *buffer, size_t size)
{
    size_t length = string < d->string_count ? d->strings[string].length : 0;
    size_t kept = length < size ? length : size - 1;
    for (size_t i = 0; i < kept; i++) {
        unsigned char byte = d->input.bytes[d->strings[string].start + i];
        buffer[i] = (char)(byte >= 0x20 && byte < 0x7f ? byte : '?');
    }
    buffer[kept] = 0;
    return buffer;
}

/* ---- fields ---- */

int mprof_decode_next(struct mprof_decoder *d, struct mprof_wire *wire, struct mprof_field *field)
{
    int code = mprof_wire_next(wire, field);
    return code >= 0 ? code : mprof_decode_fail(d, field->start, "%s", mprof_wire_reason(code));
}

int mprof_decode_number(struct mprof_decoder *d, const struct mprof_field *field, const char *what, uint64_t *value)
{
    if (field->type != MPROF_WIRE_VARINT)
        return mprof_decode_fail(d, field->start, "%s has wire type %u, must be 0", what, field->type);
    *value = field->value;
    return 0;
}

int mprof_decode_message(struct mprof_decoder *d, const struct mprof_field *field, const char *what)
{
    if (field->type != MPROF_WIRE_LENGTH)
        return mprof_decode_fail(d, field->start, "%s has wire type %u, must be 2", what, field->type);
    return 0;
}

int mprof_decode_string(struct mprof_decoder *d, const struct mprof_field *field, const char *what, uint32_t *index)
{
    uint64_t value = 0;
    if (mprof_decode_number(d, field, what, &value) < 0)
        return -1;
    if (value >= d->string_count && value != 0)
        return mprof_decode_fail(d, field->start, "%s: string index %" PRId64 " out of range (%zu strings)", what,
                                 (int64_t)value, d->string_count);
    *index = (uint32_t)value;
    return 0;
}

bool mprof_decode_is(const struct mprof_decoder *d, uint32_t string, const char *text)
{
    if (string >= d->string_count)
        return *text == 0;
    const struct mprof_text *it = &d->strings[string];
    return it->length == strlen(text) && memcmp(d->input.bytes + it->start, text, it->length) == 0;
}

double mprof_decode_unit(const struct mprof_decoder *d, uint32_t string)
{
    static const char *const names[][4] = {
        {"bytes", "byte", "b", ""},
        {"kilobytes", "kilobyte", "kb", "kib"},
        {"megabytes", "megabyte", "mb", "mib"},
        {"gigabytes", "gigabyte", "gb", "gib"},
        {"terabytes", "terabyte", "tb", "tib"},
    };
    if (string >= d->string_count)
        return 1.0;
    char lower[10];
    const struct mprof_text *text = &d->strings[string];
    if (text->length >= sizeof lower)
        return 0.0;
    for (size_t i = 0; i < text->length; i++) {
        unsigned char byte = d->input.bytes[text->start + i];
        lower[i] = (char)(byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte);
    }
    lower[text->length] = 0;
    double scale = 1.0;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        for (unsigned k = 0; k < 4; k++)
            if (strcmp(lower, names[i][k]) == 0)
                return scale;
        scale *= 1024.0;
    }
    return 0.0;
}

int mprof_decode_intern(struct mprof_decoder *d, uint32_t string, uint32_t *index)
{
    *index = 0;
    if (string >= d->string_count)
        return 0;
    struct mprof_text *text = &d->strings[string];
    if (text->interned == 0 &&
        mprof_builder_string(d->builder, (const char *)d->input.bytes + text->start, text->length, &text->interned) < 0)
        return mprof_decode_no_memory(d);
    *index = text->interned;
    return 0;
}
