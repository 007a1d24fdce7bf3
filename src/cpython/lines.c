/* SPDX-License-Identifier: MIT */
/* lines.c -- parsers of CPython's line tables; see lines.h.
 *
 * WHAT    One function a format. Each steps through the entries with an address
 *         and a line until the entry that covers the offset.
 * WHY     Tables can be anything: code.replace() takes any bytes. So lines are
 *         summed modulo 2^32, and every read is checked against the end.
 * LOCKS   None: pure functions.
 * MEMORY  None. */
#include "lines.h"

#include "frames.h"

/* Size of a code unit, the step of addresses from 3.11 on. */
#define MPROF_UNIT 2u

/* Line deltas are added modulo 2^32; what comes out below zero is no line. */
static int32_t mprof_lines_result(uint32_t line)
{
    return line > (uint32_t)INT32_MAX ? 0 : (int32_t)line;
}

/* A byte as the signed delta that it stands for, modulo 2^32. */
static uint32_t mprof_lines_signed(unsigned char byte)
{
    return byte < 128 ? byte : (uint32_t)byte - 256u;
}

int32_t mprof_lines_find_lnotab(const unsigned char *table, size_t size, int32_t first, uint32_t offset)
{
    uint32_t line = (uint32_t)first;
    uint64_t address = 0;
    for (size_t i = 0; i + 1 < size; i += 2) {
        address += table[i];
        if (address > offset)
            break;
        line += mprof_lines_signed(table[i + 1]);
    }
    return mprof_lines_result(line);
}

int32_t mprof_lines_find_linetable(const unsigned char *table, size_t size, int32_t first, uint32_t offset)
{
    const unsigned char no_line = 0x80; /* -128 */
    uint32_t line = (uint32_t)first;
    uint64_t end = 0;
    for (size_t i = 0; i + 1 < size; i += 2) {
        end += table[i];
        if (table[i + 1] != no_line)
            line += mprof_lines_signed(table[i + 1]);
        /* An entry of no bytes ends where it starts, so it never answers. */
        if (offset < end)
            return table[i + 1] == no_line ? 0 : mprof_lines_result(line);
    }
    return 0;
}

/* Reads a signed number of the location table at *pos: six bits a byte, low bits
 * first, bit 6 set if more follow; the lowest bit of the whole is the sign.
 * A number cut short by the end of the table is what was there. */
static uint32_t mprof_lines_varint(const unsigned char *table, size_t size, size_t pos)
{
    uint32_t value = 0;
    for (unsigned shift = 0; pos < size; pos++, shift += 6) {
        if (shift < 32)
            value |= (uint32_t)(table[pos] & 63u) << shift;
        if ((table[pos] & 64u) == 0)
            break;
        if (shift > 36)
            break; /* longer than any int: not a table of the compiler */
    }
    return (value & 1u) != 0 ? 0u - (value >> 1) : value >> 1;
}

int32_t mprof_lines_find_locations(const unsigned char *table, size_t size, int32_t first, uint32_t offset)
{
    /* Kinds of entry (PEP 657): 0 to 9 short form and same line, 10 to 12 the
     * line grows by 0 to 2, 13 and 14 a delta follows, 15 no location. */
    enum { ONE_LINE0 = 10, ONE_LINE2 = 12, NO_COLUMNS = 13, LONG_FORM = 14, NO_LOCATION = 15 };
    uint32_t line = (uint32_t)first;
    uint64_t end = 0;
    size_t i = 0;
    while (i < size) {
        unsigned kind = (table[i] >> 3) & 15u;
        end += ((table[i] & 7u) + 1u) * MPROF_UNIT;
        if (kind >= ONE_LINE0 && kind <= ONE_LINE2)
            line += kind - ONE_LINE0;
        else if (kind == NO_COLUMNS || kind == LONG_FORM)
            line += mprof_lines_varint(table, size, i + 1);
        if (offset < end)
            return kind == NO_LOCATION ? 0 : mprof_lines_result(line);
        do
            i++;
        while (i < size && (table[i] & 128u) == 0);
    }
    return 0;
}

const unsigned char *mprof_lines_table(const PyCodeObject *code, size_t *size)
{
#if MPROF_LINES_LNOTAB
    PyObject *table = code->co_lnotab;
#else
    PyObject *table = code->co_linetable;
#endif
    *size = (size_t)PyBytes_GET_SIZE(table);
    return (const unsigned char *)PyBytes_AS_STRING(table);
}

int32_t mprof_lines_find(const PyCodeObject *code, uint32_t offset)
{
    int32_t first = mprof_code_firstlineno(code);
    if (offset == MPROF_OFFSET_NONE)
        return mprof_lines_result((uint32_t)first);
    size_t size;
    const unsigned char *table = mprof_lines_table(code, &size);
#if MPROF_LINES_LNOTAB
    return mprof_lines_find_lnotab(table, size, first, offset);
#elif MPROF_LINES_LINETABLE
    return mprof_lines_find_linetable(table, size, first, offset);
#else
    return mprof_lines_find_locations(table, size, first, offset);
#endif
}
