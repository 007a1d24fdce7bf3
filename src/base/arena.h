/* SPDX-License-Identifier: MIT */
/* arena.h -- the profiler's own memory.
 *
 * WHAT    Zeroed memory straight from the operating system, in two kinds:
 *
 *           small   below MPROF_ARENA_LARGE: rounded up to a power of two, cut from chunks of 64 KiB, kept on free
 *                   lists when put back
 *           large   a mapping of its own, unmapped when put back, grown in place by mremap
 *
 *
 * WHY     A hook must not call malloc: it may be inside it, and its memory would be counted as the program's. A byte
 *         limit makes "out of memory" an ordinary, testable event; a counter lets a test fail the N-th request.
 * LOCKS   the caller's. An arena has no lock of its own.
 * MEMORY  all of it goes back to the system in mprof_arena_drop. */
#ifndef MPROF_BASE_ARENA_H
#define MPROF_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MPROF_ARENA_LARGE ((size_t)8192)
#define MPROF_ARENA_CHUNK ((size_t)65536)
enum { MPROF_ARENA_CLASSES = 16 };

struct mprof_arena_large;

struct mprof_arena {
    void *chunks; /* list of small chunks, linked through their first word */
    char *next;   /* free rest of the newest chunk */
    char *end;
    void *free[MPROF_ARENA_CLASSES]; /* by power of two */
    struct mprof_arena_large *large; /* list of large mappings, see arena.c */
    size_t mapped;                   /* bytes taken from the system */
    size_t limit;                    /* most bytes to take from the system; 0: no limit */
    bool huge;                       /* set by the owner of what is short-lived: large blocks on huge pages */
    uint64_t requests;               /* served or refused */
    uint64_t fail_at;                /* tests: refuse this request (1 is the first) ...; 0: none */
    uint64_t fail_count;             /* ... and this many after it */
};

void mprof_arena_init(struct mprof_arena *arena, size_t limit);
/* Hands everything that `from` has over to `to`, uninitialised before; `from` is then empty, with the same limit and
 * the same requests still to fail. */
void mprof_arena_move(struct mprof_arena *to, struct mprof_arena *from);
/* Zeroed, aligned to 16 bytes (large: to 64). NULL: limit reached or no memory. size > 0. */
void *mprof_arena_get(struct mprof_arena *arena, size_t size);
/* Room for `count` items, zeroed; also for none, as a NULL would say that there is no memory. */
void *mprof_arena_array(struct mprof_arena *arena, size_t count, size_t item);
/* Bytes that a request of `size` really gets; asking for that many costs nothing more. */
size_t mprof_arena_usable(size_t size);
/* `size` as it was asked for. NULL is allowed. */
void mprof_arena_put(struct mprof_arena *arena, void *memory, size_t size);
/* Keeps the first min(old, new) bytes, zeroes the rest; may move. NULL: the old memory is untouched.
 * memory NULL with old 0 is a plain get. */
void *mprof_arena_resize(struct mprof_arena *arena, void *memory, size_t old_size, size_t new_size);
/* For growing arrays: room for `need` items of `item` bytes each, at least doubling *capacity when it is too small.
 * Returns the array, moved or not; NULL: no memory, the array and *capacity are untouched. */
void *mprof_arena_reserve(struct mprof_arena *arena, void *array, uint32_t *capacity, uint64_t need, size_t item);
void mprof_arena_drop(struct mprof_arena *arena);

#endif
