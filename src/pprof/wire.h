/* SPDX-License-Identifier: MIT */
/* wire.h -- protocol buffers: the encoding, without any schema.
 *
 * WHAT    A message is a run of fields, each a varint tag and a payload:
 *
 *           tag = number << 3 | type      type 0: varint    1: 8 bytes    2: varint length, bytes    5: 4 bytes
 *
 *         mprof_wire_next reads one field; mprof_out_* write. A nested message is written in place, and its length is
 *         put before it afterwards.
 * WHY     Seven message types of a handful of fields each: a code generator and its library would be larger.
 * LOCKS   none.
 * MEMORY  reading: none. Writing: one buffer in the caller's arena, that doubles; after a failure writes do nothing. */
#ifndef MPROF_PPROF_WIRE_H
#define MPROF_PPROF_WIRE_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { MPROF_WIRE_VARINT = 0, MPROF_WIRE_FIXED64 = 1, MPROF_WIRE_LENGTH = 2, MPROF_WIRE_FIXED32 = 5 };

/* ---- reading ---- */

struct mprof_wire {
    const unsigned char *bytes; /* of the whole input */
    size_t at;
    size_t end;
};

struct mprof_field {
    uint32_t number;
    unsigned type;
    uint64_t value;         /* types 0, 1 and 5 */
    struct mprof_wire body; /* type 2 */
    size_t start;           /* where the tag is */
};

/* Why input cannot be read. */
enum {
    MPROF_WIRE_ENDS = -1,     /* in the middle of a field */
    MPROF_WIRE_LONG = -2,     /* a varint of more than 64 bits */
    MPROF_WIRE_OUTSIDE = -3,  /* a length past the end */
    MPROF_WIRE_BAD_TYPE = -4, /* types 3, 4, 6, 7 */
    MPROF_WIRE_BAD_NUMBER = -5,
};

static inline const char *mprof_wire_reason(int code)
{
    switch (code) {
    case MPROF_WIRE_ENDS:
        return "message ends in the middle of a field";
    case MPROF_WIRE_LONG:
        return "varint of more than 64 bits";
    case MPROF_WIRE_OUTSIDE:
        return "length of a field goes past the end of its message";
    case MPROF_WIRE_BAD_TYPE:
        return "wire type is not 0, 1, 2 or 5";
    default:
        return "field number is not between 1 and 536870911";
    }
}

/* 0, or a reason. */
static inline int mprof_wire_varint(struct mprof_wire *wire, uint64_t *value)
{
    uint64_t sum = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (wire->at >= wire->end)
            return MPROF_WIRE_ENDS;
        unsigned char byte = wire->bytes[wire->at++];
        if (shift == 63 && byte > 1)
            return MPROF_WIRE_LONG;
        sum |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = sum;
            return 0;
        }
    }
    return MPROF_WIRE_LONG;
}

static inline int mprof_wire_fixed(struct mprof_wire *wire, unsigned size, uint64_t *value)
{
    if (wire->end - wire->at < size)
        return MPROF_WIRE_ENDS;
    *value = 0;
    for (unsigned i = 0; i < size; i++)
        *value |= (uint64_t)wire->bytes[wire->at++] << 8 * i;
    return 0;
}

/* 1: a field; 0: the end; negative: a reason. */
static inline int mprof_wire_next(struct mprof_wire *wire, struct mprof_field *field)
{
    if (wire->at >= wire->end)
        return 0;
    field->start = wire->at;
    uint64_t tag, length;
    int code = mprof_wire_varint(wire, &tag);
    if (code < 0)
        return code;
    if (tag >> 3 == 0 || tag >> 3 > 536870911)
        return MPROF_WIRE_BAD_NUMBER;
    field->number = (uint32_t)(tag >> 3);
    field->type = (unsigned)(tag & 7);
    switch (field->type) {
    case MPROF_WIRE_VARINT:
        code = mprof_wire_varint(wire, &field->value);
        break;
    case MPROF_WIRE_FIXED64:
        code = mprof_wire_fixed(wire, 8, &field->value);
        break;
    case MPROF_WIRE_FIXED32:
        code = mprof_wire_fixed(wire, 4, &field->value);
        break;
    case MPROF_WIRE_LENGTH:
        code = mprof_wire_varint(wire, &length);
        if (code == 0 && length > wire->end - wire->at)
            code = MPROF_WIRE_OUTSIDE;
        if (code < 0)
            break;
        field->body = (struct mprof_wire){.bytes = wire->bytes, .at = wire->at, .end = wire->at + (size_t)length};
        wire->at += (size_t)length;
        break;
    default:
        code = MPROF_WIRE_BAD_TYPE;
    }
    return code < 0 ? code : 1;
}

/* ---- writing ---- */

struct mprof_out {
    struct mprof_arena *arena;
    unsigned char *bytes;
    size_t length;
    size_t capacity;
    bool failed;
};

static inline bool mprof_out_room(struct mprof_out *out, size_t more)
{
    if (more <= out->capacity - out->length)
        return !out->failed;
    if (out->failed || more > SIZE_MAX / 4 - out->length)
        return !(out->failed = true);
    size_t capacity = out->capacity ? 2 * out->capacity : 4096;
    while (capacity < out->length + more)
        capacity *= 2;
    unsigned char *bytes = mprof_arena_resize(out->arena, out->bytes, out->capacity, capacity);
    if (!bytes)
        return !(out->failed = true);
    out->bytes = bytes;
    out->capacity = capacity;
    return true;
}

/* Bytes that a varint takes at most. */
enum { MPROF_VARINT = 10 };

/* Writes a varint of up to MPROF_VARINT bytes; returns where it ends. */
static inline unsigned char *mprof_varint_write(unsigned char *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (unsigned char)(value | 0x80);
        value >>= 7;
    }
    *at++ = (unsigned char)value;
    return at;
}

static inline size_t mprof_varint_size(uint64_t value)
{
    size_t size = 1;
    while (value >>= 7)
        size++;
    return size;
}

static inline void mprof_out_varint(struct mprof_out *out, uint64_t value)
{
    if (mprof_out_room(out, MPROF_VARINT))
        out->length = (size_t)(mprof_varint_write(out->bytes + out->length, value) - out->bytes);
}

/* A varint field; 0 is the default and is left out. */
static inline void mprof_out_number(struct mprof_out *out, uint32_t number, uint64_t value)
{
    if (value == 0)
        return;
    mprof_out_varint(out, (uint64_t)number << 3 | MPROF_WIRE_VARINT);
    mprof_out_varint(out, value);
}

static inline void mprof_out_raw(struct mprof_out *out, const void *bytes, size_t length)
{
    if (length == 0 || !mprof_out_room(out, length))
        return;
    memcpy(out->bytes + out->length, bytes, length);
    out->length += length;
}

/* Begins a field of bytes; what is written until mprof_out_end(out, mark) is its content. */
static inline size_t mprof_out_begin(struct mprof_out *out, uint32_t number)
{
    mprof_out_varint(out, (uint64_t)number << 3 | MPROF_WIRE_LENGTH);
    mprof_out_varint(out, 0); /* one byte for the length; end makes room if it takes more */
    return out->length;
}

static inline void mprof_out_end(struct mprof_out *out, size_t mark)
{
    if (!mprof_out_room(out, MPROF_VARINT))
        return;
    size_t length = out->length - mark;
    size_t more = mprof_varint_size(length) - 1;
    if (more)
        memmove(out->bytes + mark + more, out->bytes + mark, length);
    out->length = mark - 1;
    mprof_out_varint(out, length);
    out->length += length;
}

#endif
