/* SPDX-License-Identifier: MIT */
/* strtab.h -- interned byte strings: file names and function names.
 *
 * WHAT    text -> small index; equal text has equal index. Index 0 is "". Bytes of any value, no NUL at the end.
 * WHY     A name is copied once, when its code is first seen: no reference to a Python object is kept.
 * LOCKS   the caller's.
 * MEMORY  the caller's arena. Names that nothing refers to any more are dropped by sweep. */
#ifndef MPROF_CORE_STRTAB_H
#define MPROF_CORE_STRTAB_H

#include "base/arena.h"

#include <stdint.h>

struct mprof_string {
    uint64_t hash;
    uint32_t offset;
    uint32_t length; /* UINT32_MAX: a free slot */
    uint32_t next;   /* in its bucket, or in the free list: index + 1; 0 ends */
    uint32_t unused;
};

struct mprof_strtab {
    char *text;
    uint32_t text_used;
    uint32_t text_capacity;
    struct mprof_string *strings;
    uint32_t used; /* high-water mark */
    uint32_t capacity;
    uint32_t free; /* index + 1 */
    uint32_t *buckets;
    uint32_t bucket_count; /* a power of two */
};

/* -1: no memory. */
int mprof_strtab_init(struct mprof_strtab *table, struct mprof_arena *arena);
int mprof_strtab_intern(struct mprof_strtab *table, struct mprof_arena *arena, const char *text, size_t length,
                        uint32_t *index);
/* Drops every string whose byte in `marks` (one an index, `used` of them) is 0; the others keep their index. When there
 * is no memory to pack the text it stays as it is. */
void mprof_strtab_sweep(struct mprof_strtab *table, struct mprof_arena *arena, const uint8_t *marks);

static inline const char *mprof_strtab_text(const struct mprof_strtab *table, uint32_t index)
{
    return table->text + table->strings[index].offset;
}

#endif
