/* SPDX-License-Identifier: MIT */
/* names.c -- str objects to UTF-8; see names.h.
 *
 * WHAT    ASCII text is copied as it is. Other text is stored with one, two or
 *         four bytes a character, and is encoded character by character.
 * WHY     See names.h.
 * LOCKS   None.
 * MEMORY  None. */
#include "names.h"

#include <stdint.h>
#include <string.h>

/* Encodes one character into out; returns 1 to 4 bytes. Surrogates are encoded
 * like any other character of their range. */
static size_t mprof_names_encode(uint32_t c, unsigned char out[4])
{
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (unsigned char)(0xC0 | (c >> 6));
        out[1] = (unsigned char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (unsigned char)(0xE0 | (c >> 12));
        out[1] = (unsigned char)(0x80 | ((c >> 6) & 0x3F));
        out[2] = (unsigned char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (unsigned char)(0xF0 | (c >> 18));
    out[1] = (unsigned char)(0x80 | ((c >> 12) & 0x3F));
    out[2] = (unsigned char)(0x80 | ((c >> 6) & 0x3F));
    out[3] = (unsigned char)(0x80 | (c & 0x3F));
    return 4;
}

static uint32_t mprof_names_char(int kind, const void *data, size_t i)
{
    if (kind == PyUnicode_1BYTE_KIND)
        return ((const Py_UCS1 *)data)[i];
    if (kind == PyUnicode_2BYTE_KIND)
        return ((const Py_UCS2 *)data)[i];
    return ((const Py_UCS4 *)data)[i];
}

size_t mprof_names_copy(const PyObject *str, char *buf, size_t size)
{
    PyObject *op = (PyObject *)str; /* the macros below only read */
    if (op == NULL || !PyUnicode_Check(op))
        return 0;
#if MPROF_HAVE_UNREADY_STR
    if (!PyUnicode_IS_READY(op))
        return 0;
#endif
    size_t length = (size_t)PyUnicode_GET_LENGTH(op);
    const void *data = PyUnicode_DATA(op);
    if (PyUnicode_IS_ASCII(op)) {
        size_t fits = length < size ? length : size;
        if (fits != 0)
            memcpy(buf, data, fits);
        return length;
    }
    int kind = (int)PyUnicode_KIND(op);
    size_t needed = 0;
    size_t written = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char bytes[4];
        size_t n = mprof_names_encode(mprof_names_char(kind, data, i), bytes);
        /* Once a character does not fit, written != needed: no later one is taken. */
        if (written == needed && n <= size - written) {
            memcpy(buf + written, bytes, n);
            written += n;
        }
        needed += n;
    }
    size_t end = needed < size ? needed : size;
    if (written < end)
        memset(buf + written, '?', end - written);
    return needed;
}
