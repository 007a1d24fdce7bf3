/* SPDX-License-Identifier: MIT */
/* pages.h -- small blocks of an allocator that keeps blocks of one size side by side.
 *
 * WHAT    A directory of pages of 4 KiB, and for each an array with a word for every block that fits into it:
 *
 *             directory                                            words of page 0x7f00a3
 *             hash(0x7f00a3) -> | 0x7f00a3 | 48 bytes apart |  ->  | stack birth size | 0 | stack birth size | ...
 *                                                                    block 0            1   block 2
 *
 *         A page's first block tells how far apart its blocks are, its own size rounded up as allocators do, and where
 *         they begin. A block that begins elsewhere, or is larger, is a misfit, and not kept here: so nothing depends on
 *         the allocator, but that few are. A smaller one is none, for realloc may leave a block that shrinks in place.
 * WHY     Pools of pymalloc are so. A program that fills pages one after the other meets the words one after the other,
 *         eight in a line of the cache; in a hash table of blocks each is a line of its own. A look-up has no chain to
 *         follow within a page, and the directory is small enough to stay in the cache. A block takes 8 to 10 bytes in
 *         a page full of blocks of 64 bytes, 16 to 24 with blocks of 512.
 *
 *         Words are there for the whole page, though it may have one block only, as when recording begins late in a
 *         heap full of holes: at most an eighth of what such pages hold with blocks of 64 bytes, half with 16.
 *         Where misfits are many, as with an allocator that mixes sizes, no such pages are made for a while.
 * LOCKS   the caller's.
 * MEMORY  the caller's arena. Words of a page without blocks are used again when the directory is made anew, which
 *         happens when it is half full, and at once by the next block in the page. Making it anew moves all of it: some
 *         milliseconds for half a gigabyte of pages. */
#ifndef MPROF_CORE_PAGES_H
#define MPROF_CORE_PAGES_H

#include "base/arena.h"
#include "base/compiler.h"
#include "core/live.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    MPROF_PAGE_BITS = 12,
    MPROF_PAGE = 1 << MPROF_PAGE_BITS,
    MPROF_PAGED_MAX = 512, /* bytes of the largest block */
    MPROF_PAGE_UNIT = sizeof(void *) == 8 ? 16 : 8,
    MPROF_PAGE_SIZES = MPROF_PAGED_MAX / MPROF_PAGE_UNIT + 1,
};

struct mprof_page {
    uintptr_t tag;    /* 1 + address >> MPROF_PAGE_BITS; 0: free */
    uint64_t *words;  /* | stack 32 | birth 16 | size + 1 16 |; 0: no block */
    uint32_t inverse; /* 2^22 / apart, rounded up */
    uint16_t apart;   /* bytes from block to block */
    uint16_t phase;   /* bytes from the page's begin to its first block, modulo `apart` */
    uint16_t count;
    uint16_t others; /* blocks that lie as the first one says, but whose records are elsewhere; the owner's */
    uint32_t unused;
};

struct mprof_pages {
    struct mprof_page *directory; /* never NULL: one free entry at least */
    unsigned shift;               /* 64 minus the bits of its capacity */
    uint32_t mask;                /* capacity - 1 */
    uint32_t used;
    uint64_t *free[MPROF_PAGE_SIZES]; /* words of no page, by size; linked through their first */
    uint64_t *next;                   /* rest of the newest chunk */
    uint64_t *end;
    uint32_t wait;                      /* misses until a larger directory is asked for again, after a refusal */
    uint32_t made[MPROF_PAGE_SIZES];    /* pages of a size, and misfits in such, since it was last tried ... */
    uint32_t misfits[MPROF_PAGE_SIZES]; /* ... and blocks that got no page because of those */
    uint32_t refused[MPROF_PAGE_SIZES];
};

void mprof_pages_init(struct mprof_pages *pages);

MPROF_INLINE uintptr_t mprof_page_tag(uintptr_t address)
{
    return (address >> MPROF_PAGE_BITS) + 1;
}

MPROF_INLINE uint32_t mprof_page_home(const struct mprof_pages *pages, uintptr_t tag)
{
    return (uint32_t)((uint64_t)tag * UINT64_C(0x9e3779b97f4a7c15) >> pages->shift) & pages->mask;
}

/* The page of an address; NULL: none. */
MPROF_INLINE struct mprof_page *mprof_pages_find(const struct mprof_pages *pages, uintptr_t address)
{
    uintptr_t tag = mprof_page_tag(address);
    uint32_t i = mprof_page_home(pages, tag);
    while (mprof_unlikely(pages->directory[i].tag != tag)) {
        if (pages->directory[i].tag == 0)
            return NULL;
        i = (i + 1) & pages->mask;
    }
    return &pages->directory[i];
}

/* Number of the word of a block of this page.
 * offset * inverse >> 22 is offset / apart, rounded down: `inverse` is too large by less than 1, so with an offset below
 * 2^12 the quotient is by less than 2^-10; from a quotient to the next whole number it is 1 / apart >= 2^-9 at least. */
MPROF_INLINE uint32_t mprof_page_number(const struct mprof_page *page, uintptr_t address)
{
    return (uint32_t)(address & (MPROF_PAGE - 1)) * page->inverse >> 22;
}

/* Word of an address of this page; NULL: no block of the page's begins there. */
MPROF_INLINE uint64_t *mprof_page_word(const struct mprof_page *page, uintptr_t address)
{
    uint32_t offset = (uint32_t)(address & (MPROF_PAGE - 1));
    uint32_t i = mprof_page_number(page, address);
    return mprof_likely(offset - i * page->apart == page->phase) ? &page->words[i] : NULL;
}

/* The same from the directory on; *page: that of the address, or NULL. */
MPROF_INLINE uint64_t *mprof_pages_word(const struct mprof_pages *pages, uintptr_t address, struct mprof_page **page)
{
    *page = mprof_pages_find(pages, address);
    return *page ? mprof_page_word(*page, address) : NULL;
}

/* How far apart an allocator is expected to put blocks of `size` bytes. */
MPROF_INLINE uint32_t mprof_page_apart(uint32_t size)
{
    return (size + (size == 0) + MPROF_PAGE_UNIT - 1) & ~(uint32_t)(MPROF_PAGE_UNIT - 1);
}

/* Whether a block of `size` bytes may be one of the page's, if it begins where one does. In a page without blocks only
 * one that realloc has shrunk in place may have another distance than the page's: pymalloc lets it shrink by a quarter. */
MPROF_INLINE bool mprof_page_suits(const struct mprof_page *page, uint32_t size)
{
    return mprof_likely(page->apart == mprof_page_apart(size)) ||
           (size <= page->apart && (page->count != 0 || 4 * size > 3 * (uint32_t)page->apart));
}

MPROF_INLINE uint64_t mprof_page_pack(const struct mprof_live *entry)
{
    return (uint64_t)entry->stack << 32 | entry->key >> MPROF_LIVE_ADDRESS_BITS << 16 | (entry->size + 1);
}

MPROF_INLINE struct mprof_live mprof_page_unpack(uint64_t word, uintptr_t address)
{
    return (struct mprof_live){
        .key = address | (word >> 16 & UINT16_MAX) << MPROF_LIVE_ADDRESS_BITS,
        .stack = (uint32_t)(word >> 32),
        .size = (uint32_t)(word & UINT16_MAX) - 1,
    };
}

/* Address of the i-th word's block. */
static inline uintptr_t mprof_page_address(const struct mprof_page *page, uint32_t i)
{
    return ((page->tag - 1) << MPROF_PAGE_BITS) + page->phase + i * (uintptr_t)page->apart;
}

/* Blocks that begin in a page. */
static inline uint32_t mprof_page_blocks(const struct mprof_page *page)
{
    return (MPROF_PAGE - page->phase + (uint32_t)page->apart - 1) / page->apart;
}

/* A page for this address and size, with nothing in it: new, or one that has lost its blocks. NULL: it holds blocks
 * that lie otherwise, or there is no memory, or there were too many misfits in pages of this size. */
struct mprof_page *mprof_pages_make(struct mprof_pages *pages, struct mprof_arena *arena, uintptr_t address,
                                    uint32_t size);

/* One page with blocks after the other, from *at = 0 on; NULL: that was all. */
static inline struct mprof_page *mprof_pages_next(const struct mprof_pages *pages, uint32_t *at)
{
    while (*at <= pages->mask) {
        struct mprof_page *page = &pages->directory[(*at)++];
        if (page->count != 0)
            return page;
    }
    return NULL;
}

/* Tests: every page is found, its count agrees. Adds up the blocks. */
bool mprof_pages_valid(const struct mprof_pages *pages, uint64_t *blocks);

#endif
