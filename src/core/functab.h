/* SPDX-License-Identifier: MIT */
/* functab.h -- interned functions, and which code address is which function.
 *
 * WHAT    Two tables. functions: (name, filename, first line, hash of the line table) -> index; index 0 means none.
 *         codes: address of a code object -> function, with a fingerprint of the object.
 * WHY     Code objects die and others are born at their addresses. Two defences: the recorder watches the address of
 *         every code it knows in its filter, so the free of a code object takes the slow path and ends here in
 *         forget; and a look-up compares the fingerprint, for a death that no hook saw (what record_stack.c has just
 *         remembered of it comes first, though). Equal functions share an index however often their module
 *         is reloaded; a changed body has another line table and another index, so the line that a node of the tree
 *         has resolved stays true.
 * LOCKS   the caller's.
 * MEMORY  the caller's arena. */
#ifndef MPROF_CORE_FUNCTAB_H
#define MPROF_CORE_FUNCTAB_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

struct mprof_funcentry {
    uint64_t lines_hash;
    uint32_t name;
    uint32_t filename;
    uint32_t firstlineno;
    uint32_t next; /* in its bucket, or in the free list: index + 1; 0 ends */
};

struct mprof_codeentry {
    const void *code; /* NULL: free */
    uint64_t fingerprint;
    uint32_t function;
    uint32_t unused;
};

struct mprof_functab {
    struct mprof_funcentry *functions;
    uint32_t used;
    uint32_t capacity;
    uint32_t free;
    uint32_t *buckets;
    uint32_t bucket_count;
    struct mprof_codeentry *codes; /* open addressing, linear probing, backward shift */
    uint32_t code_count;
    uint32_t code_capacity; /* a power of two */
};

/* -1: no memory. */
int mprof_functab_init(struct mprof_functab *table, struct mprof_arena *arena);
int mprof_functab_intern(struct mprof_functab *table, struct mprof_arena *arena, const struct mprof_funcentry *function,
                         uint32_t *index);
/* Function of a known code; 0: not known. */
uint32_t mprof_functab_find(const struct mprof_functab *table, const void *code, uint64_t fingerprint);
/* 1: the address was known (as another code) and now means this one; 0: added; -1: no memory. */
int mprof_functab_learn(struct mprof_functab *table, struct mprof_arena *arena, const void *code, uint64_t fingerprint,
                        uint32_t function);
/* The memory at this address is being freed. True if it was a known code. */
bool mprof_functab_forget(struct mprof_functab *table, const void *code);
/* Drops every function whose byte in `marks` is 0 and that no known code names; sets the marks of those kept. */
void mprof_functab_sweep(struct mprof_functab *table, uint8_t *marks);

#endif
