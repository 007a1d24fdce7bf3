/* SPDX-License-Identifier: MIT */
/* pages.c -- see pages.h. */
#include "core/pages.h"

#include <string.h>

enum { FIRST_BITS = 6, CHUNK = 65536, MISFITS_ALWAYS = 64, MISFITS_A_PAGE = 4, TRY_AGAIN_AFTER = 4096 };

/* The directory of a table without pages. Never written to. */
static struct mprof_page nothing;

void mprof_pages_init(struct mprof_pages *pages)
{
    memset(pages, 0, sizeof *pages);
    pages->directory = &nothing;
    pages->shift = 63;
}

/* Number of a distance between blocks, for the arrays that have one place for each. */
static uint32_t kind_of(uint32_t apart)
{
    return apart / (uint32_t)MPROF_PAGE_UNIT;
}

static struct mprof_page *free_place(const struct mprof_pages *pages, uintptr_t tag)
{
    uint32_t i = mprof_page_home(pages, tag);
    while (pages->directory[i].tag != 0)
        i = (i + 1) & pages->mask;
    return &pages->directory[i];
}

static void put_words(struct mprof_pages *pages, const struct mprof_page *page)
{
    uint64_t **list = &pages->free[kind_of(page->apart)];
    page->words[0] = (uint64_t)(uintptr_t)*list;
    *list = page->words;
}

/* Zeroes for a page whose blocks are `apart`. NULL: no memory. */
static uint64_t *get_words(struct mprof_pages *pages, struct mprof_arena *arena, uint32_t apart)
{
    uint64_t **list = &pages->free[kind_of(apart)];
    uint64_t *words = *list;
    uint32_t count = (MPROF_PAGE + apart - 1) / apart; /* of a page that begins with a block */
    if (words) {
        *list = (uint64_t *)(uintptr_t)words[0];
        words[0] = 0;
        return words;
    }
    if (pages->end - pages->next < (ptrdiff_t)count) {
        size_t size = mprof_arena_usable(CHUNK);
        uint64_t *chunk = mprof_arena_get(arena, size);
        if (!chunk)
            return NULL;
        pages->next = chunk;
        pages->end = chunk + size / sizeof *chunk;
    }
    words = pages->next;
    pages->next += count;
    return words;
}

/* A directory with room for one page more, without the pages that have no blocks. -1: no memory. */
static int make_room(struct mprof_pages *pages, struct mprof_arena *arena)
{
    if (pages->wait != 0) {
        pages->wait--;
        return -1;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i <= pages->mask; i++)
        kept += pages->directory[i].count != 0;
    unsigned bits = FIRST_BITS;
    while (bits < 31 && kept > (UINT32_C(1) << bits) / 4)
        bits++;
    struct mprof_page *directory = mprof_arena_get(arena, sizeof *directory << bits);
    if (!directory) {
        pages->wait = pages->mask; /* a count of all takes long: not for every block */
        return -1;
    }
    struct mprof_page *old = pages->directory;
    uint32_t old_mask = pages->mask;
    pages->directory = directory;
    pages->shift = 64 - bits;
    pages->mask = (UINT32_C(1) << bits) - 1;
    pages->used = kept;
    for (uint32_t i = 0; i <= old_mask; i++) {
        if (old[i].count != 0)
            *free_place(pages, old[i].tag) = old[i];
        else if (old[i].tag != 0)
            put_words(pages, &old[i]);
    }
    if (old != &nothing)
        mprof_arena_put(arena, old, (old_mask + (size_t)1) * sizeof *old);
    return 0;
}

/* Whether pages of this size have had few misfits so far. If not it is asked again some time: programs change. */
static bool worth_it(struct mprof_pages *pages, uint32_t kind)
{
    if (pages->misfits[kind] <= MISFITS_ALWAYS + (uint64_t)MISFITS_A_PAGE * pages->made[kind])
        return true;
    if (++pages->refused[kind] < TRY_AGAIN_AFTER)
        return false;
    pages->refused[kind] = pages->misfits[kind] = pages->made[kind] = 0;
    return true;
}

struct mprof_page *mprof_pages_make(struct mprof_pages *pages, struct mprof_arena *arena, uintptr_t address,
                                    uint32_t size)
{
    uint32_t apart = mprof_page_apart(size);
    uint32_t kind = kind_of(apart);
    struct mprof_page *page = mprof_pages_find(pages, address);
    if (page && page->count != 0) {
        uint32_t *misfits = &pages->misfits[kind_of(page->apart)];
        *misfits += *misfits != UINT32_MAX;
        return NULL;
    }
    if (!worth_it(pages, kind))
        return NULL;
    if (!page && pages->used >= (pages->mask + 1) / 2 && make_room(pages, arena) != 0)
        return NULL;
    uint64_t *words = page && page->apart == apart ? page->words : get_words(pages, arena, apart);
    if (!words)
        return NULL;
    if (page && page->apart != apart)
        put_words(pages, page);
    if (!page) {
        page = free_place(pages, mprof_page_tag(address));
        pages->used++;
    }
    pages->made[kind] += pages->made[kind] != UINT32_MAX;
    *page = (struct mprof_page){
        .tag = mprof_page_tag(address),
        .words = words,
        .inverse = ((UINT32_C(1) << 22) + apart - 1) / apart,
        .apart = (uint16_t)apart,
        .phase = (uint16_t)((address & (MPROF_PAGE - 1)) % apart),
    };
    return page;
}

bool mprof_pages_valid(const struct mprof_pages *pages, uint64_t *blocks)
{
    uint32_t used = 0;
    for (uint32_t at = 0; at <= pages->mask; at++) {
        const struct mprof_page *page = &pages->directory[at];
        if (page->tag == 0)
            continue;
        used++;
        uint32_t count = 0;
        for (uint32_t i = 0; i < mprof_page_blocks(page); i++)
            count += page->words[i] != 0;
        if (count != page->count || mprof_pages_find(pages, (page->tag - 1) << MPROF_PAGE_BITS) != page)
            return false;
        *blocks += count;
    }
    return used == pages->used;
}
