/* SPDX-License-Identifier: MIT */
/* recorder_thin.c -- the bound on live samples, without bias.
 *
 * WHAT    When there are more live samples than allowed, the rate R is doubled (more than once if that is not enough)
 *         and each live sample of s bytes stays with probability p(s; new R) / p(s; old R). What stays is distributed
 *         exactly as if the program had been sampled at the new rate all along, and new samples are taken at it.
 * WHY     Refusing new samples would make everything after the bound invisible. Keeping each sample with one fixed
 *         probability is unbiased too, but throws away large blocks, which carry most of the bytes and all but
 *         certain weights; this way a block much larger than R stays.
 * LOCKS   the recorder's, held for one pass over the table: a few milliseconds per 100,000 samples, once per
 *         doubling.
 * MEMORY  scratch list of what goes, 8 bytes a sample; without it the next sample tries again. */
#include "core/recorder_private.h"

/* Fraction of the bound that thinning aims for, so that the next one is far. */
static const double TARGET = 0.75;

typedef void visit(struct mprof_recorder *r, struct mprof_live *entry, void *context);

static void each_entry(struct mprof_recorder *r, visit *function, void *context)
{
    for (unsigned s = 0; s < MPROF_LIVE_SHARDS; s++) {
        struct mprof_shard *shard = &r->live.shards[s];
        for (uint32_t i = 0; i < shard->capacity; i++) {
            if (shard->entries[i].key != 0)
                function(r, &shard->entries[i], context);
        }
    }
}

struct expectation {
    double rate;
    double kept;
};

static void expect(struct mprof_recorder *r, struct mprof_live *entry, void *context)
{
    struct expectation *e = context;
    uint64_t size = mprof_recorder_size_locked(r, entry);
    e->kept += mprof_sampler_probability(size, e->rate) / mprof_sampler_probability(size, r->rate);
}

struct casualties {
    double rate;
    uintptr_t *addresses;
    uint64_t count;
};

static void choose(struct mprof_recorder *r, struct mprof_live *entry, void *context)
{
    struct casualties *c = context;
    if (!mprof_sampler_keep(&r->rng, mprof_recorder_size_locked(r, entry), r->rate, c->rate))
        c->addresses[c->count++] = mprof_live_address(entry);
}

static void recount(struct mprof_recorder *r, struct mprof_live *entry, void *context)
{
    struct mprof_weight weight;
    mprof_recorder_weigh(r, mprof_recorder_size_locked(r, entry), &weight);
    mprof_recorder_count_locked(r, entry->stack, &weight, 1, *(int64_t *)context);
}

/* False: no memory. */
static bool thin(struct mprof_recorder *r, int64_t now)
{
    struct mprof_arena scratch;
    mprof_arena_init(&scratch, 0);
    struct casualties c = {r->rate, mprof_arena_get(&scratch, (size_t)r->live.count * sizeof *c.addresses), 0};
    if (!c.addresses)
        return false;
    struct expectation e = {r->rate, 0};
    do {
        e.rate *= 2;
        e.kept = 0;
        each_entry(r, expect, &e);
    } while (e.kept > TARGET * (double)r->options.max_live);
    c.rate = e.rate;
    each_entry(r, choose, &c);
    for (uint64_t i = 0; i < c.count; i++) {
        struct mprof_live entry;
        if (mprof_livetable_take(&r->live, c.addresses[i], &entry))
            mprof_recorder_discard_locked(r, &entry, now);
    }
    /* The rest again, at the new rate. */
    for (uint32_t i = 0; i < r->trie.stack_used; i++) {
        if (r->trie.infos[i].recent == MPROF_STACK_FREE)
            continue;
        mprof_stacktrie_touch(&r->trie, i, r->peak_stamp);
        r->trie.stacks[i].inuse_bytes = r->trie.stacks[i].inuse_blocks = 0;
        r->trie.stacks[i].live = 0;
        if (r->trie.spreads)
            r->trie.spreads[i].inuse = (struct mprof_spread){0, 0, 0, 0};
    }
    r->total_bytes = r->total_blocks = 0;
    r->rate = e.rate;
    each_entry(r, recount, &now);
    r->thinnings++;
    mprof_arena_drop(&scratch);
    return true;
}

/* Chance may leave too many when the bound is small. */
void mprof_recorder_thin_locked(struct mprof_recorder *r, int64_t now)
{
    while (r->live.count > r->options.max_live && thin(r, now))
        ;
}
