/* SPDX-License-Identifier: MIT */
/* record.c -- what a hook reports, into the tables. See recorder.h. */
#include "core/recorder_private.h"

#include <string.h>

/* ---- figures ---- */

uint64_t mprof_recorder_size_locked(const struct mprof_recorder *r, const struct mprof_live *entry)
{
    return entry->size & MPROF_LIVE_WIDE ? mprof_livetable_detail(&r->live, entry->size)->size : entry->size;
}

void mprof_recorder_weigh(const struct mprof_recorder *r, uint64_t size, struct mprof_weight *weight)
{
    double s = (double)size;
    if (r->rate > 1.0) {
        double p = mprof_sampler_probability(size, r->rate);
        double unsure = (1 - p) / (p * p);
        *weight = (struct mprof_weight){s / p, 1 / p, s * s * unsure, unsure, s};
    } else {
        *weight = (struct mprof_weight){s, 1, 0, 0, s};
    }
}

static void spread_add(struct mprof_spread *spread, const struct mprof_weight *weight, int sign)
{
    spread->bytes_var += sign * weight->bytes_var;
    spread->blocks_var += sign * weight->blocks_var;
    spread->seen += sign * weight->seen;
    spread->samples += sign;
}

/* A parameter `plain` says that the recorder is (recorder_private.h). Such a function exists twice, so that the one for
 * exact mode does no more than it must. */
MPROF_INLINE void count_locked(struct mprof_recorder *r, uint32_t stack, const struct mprof_weight *weight, int sign,
                               int64_t now, bool plain)
{
    mprof_stacktrie_touch(&r->trie, stack, r->peak_stamp);
    struct mprof_stackrec *record = &r->trie.stacks[stack];
    record->inuse_bytes += sign * weight->bytes;
    record->inuse_blocks += sign * weight->blocks;
    record->live += (uint32_t)sign;
    if (!plain && r->trie.spreads)
        spread_add(&r->trie.spreads[stack].inuse, weight, sign);
    if (!plain && record->live == 0) {
        /* What is left is rounding only: start clean. */
        record->inuse_bytes = record->inuse_blocks = 0;
        if (r->trie.spreads)
            r->trie.spreads[stack].inuse = (struct mprof_spread){0, 0, 0, 0};
    }
    r->total_bytes += sign * weight->bytes;
    r->total_blocks += sign * weight->blocks;
    if (!plain && r->live.count == 0)
        r->total_bytes = r->total_blocks = 0;
    if (sign > 0 && r->total_bytes > r->peak_bytes) {
        r->peak_bytes = r->total_bytes;
        r->peak_stamp++;
        r->peak_ns = now;
    }
    if (mprof_unlikely(r->total_bytes > r->ring_above))
        mprof_recorder_ring_locked(r);
}

void mprof_recorder_count_locked(struct mprof_recorder *r, uint32_t stack, const struct mprof_weight *weight, int sign,
                                 int64_t now)
{
    count_locked(r, stack, weight, sign, now, false);
}

static void unwatch(struct mprof_recorder *r, uintptr_t address)
{
    mprof_filter_remove(r->watched, address);
    mprof_sieve_remove(&mprof_recorder_sieve, address);
}

/* Weight of a block in exact mode. */
MPROF_INLINE struct mprof_weight whole(uint64_t size)
{
    return (struct mprof_weight){(double)size, 1, 0, 0, (double)size};
}

MPROF_INLINE void discard_locked(struct mprof_recorder *r, const struct mprof_live *entry, int64_t now, bool plain)
{
    uint64_t size = mprof_recorder_size_locked(r, entry);
    struct mprof_weight weight = whole(size);
    if (!plain)
        mprof_recorder_weigh(r, size, &weight);
    count_locked(r, entry->stack, &weight, -1, now, plain);
    if (mprof_unlikely(entry->size & MPROF_LIVE_WIDE))
        mprof_livetable_detail_free(&r->live, entry->size);
    if (!plain && !r->exact)
        unwatch(r, mprof_live_address(entry));
}

void mprof_recorder_discard_locked(struct mprof_recorder *r, const struct mprof_live *entry, int64_t now)
{
    discard_locked(r, entry, now, false);
}

/* ---- watched addresses ---- */

/* A filter with room for everything watched now, twice over. False: no memory; the old one stays and lets more through.
 */
static MPROF_COLD bool grow_filter(struct mprof_recorder *r)
{
    unsigned bits = 64 - r->watched->shift + 2;
    struct mprof_filter *filter = bits <= MPROF_FILTER_MAX_BITS ? mprof_filter_new(&r->thread_arena, bits) : NULL;
    if (!filter)
        return false;
    for (unsigned s = 0; s < MPROF_LIVE_SHARDS && !r->exact; s++) {
        const struct mprof_shard *shard = &r->live.shards[s];
        for (uint32_t i = 0; i < shard->capacity; i++) {
            if (shard->entries[i].key != 0)
                mprof_filter_add(filter, mprof_live_address(&shard->entries[i]));
        }
    }
    for (uint32_t i = 0; i < r->functions.code_capacity; i++) {
        if (r->functions.codes[i].code)
            mprof_filter_add(filter, (uintptr_t)r->functions.codes[i].code);
    }
    r->watched = filter;
    if (!r->exact)
        __atomic_store_n(&mprof_recorder_filter, filter, __ATOMIC_RELEASE);
    return true;
}

/* The address is in its table already, so a grown filter holds it. */
void mprof_recorder_watch_locked(struct mprof_recorder *r, uintptr_t address)
{
    uint64_t watched = r->functions.code_count + (r->exact ? 0 : r->live.count);
    if (mprof_likely(watched <= mprof_filter_capacity(r->watched)) || !grow_filter(r))
        mprof_filter_add(r->watched, address);
    mprof_sieve_add(&mprof_recorder_sieve, address);
}

/* ---- births ---- */

static MPROF_COLD void double_units(struct mprof_recorder *r)
{
    r->birth_shift++;
    mprof_livetable_age(&r->live);
}

/* Code of a moment for an entry without a detail: 16 bits since the start, in units that double when the codes run out.
 */
MPROF_INLINE uint64_t birth_code(struct mprof_recorder *r, int64_t now)
{
    uint64_t elapsed = now > r->start_ns ? (uint64_t)(now - r->start_ns) : 0;
    while (mprof_unlikely(elapsed >> r->birth_shift > UINT16_MAX))
        double_units(r);
    return elapsed >> r->birth_shift;
}

/* ---- add ---- */

/* A detail for an entry, and the size word that names it. -1: no memory. */
static MPROF_COLD int make_detail(struct mprof_recorder *r, uint64_t size, int64_t now, uint32_t *word)
{
    if (mprof_livetable_detail_new(&r->live, &r->arena, word) != 0)
        return -1;
    *mprof_livetable_detail(&r->live, *word) = (struct mprof_detail){size, r->next_id++, now};
    return 0;
}

static MPROF_COLD int put_slowly_locked(struct mprof_recorder *r, struct mprof_live entry, bool paged, int64_t now)
{
    struct mprof_live replaced;
    int result = mprof_livetable_put(&r->live, &r->arena, &entry, paged, &replaced);
    if (result < 0 && entry.size & MPROF_LIVE_WIDE)
        mprof_livetable_detail_free(&r->live, entry.size);
    /* The block that had the address is gone in any case. */
    if (result > 0 || (result < 0 && mprof_livetable_take(&r->live, mprof_live_address(&entry), &replaced)))
        mprof_recorder_discard_locked(r, &replaced, now);
    return result < 0 ? -1 : 0;
}

/* Puts a finished entry into the table and its figures where they belong. -1: no memory, the entry's detail is freed.
 */
MPROF_INLINE int insert_locked(struct mprof_recorder *r, uint64_t hash, struct mprof_live entry, bool paged,
                               const struct mprof_weight *weight, int64_t now, bool plain)
{
    if (mprof_unlikely(!mprof_livetable_put_quickly(&r->live, hash, entry, paged)) &&
        put_slowly_locked(r, entry, paged, now) != 0)
        return -1;
    if (!plain && !r->exact)
        mprof_recorder_watch_locked(r, mprof_live_address(&entry));
    count_locked(r, entry.stack, weight, 1, now, plain);
    return 0;
}

/* `paged`: the live table may put it into a page. */
MPROF_INLINE void record_locked(struct mprof_recorder *r, struct mprof_thread *thread, bool attached,
                                struct mprof_walked walked, uintptr_t address, uint64_t hash, bool paged, uint64_t size,
                                int64_t now, bool plain)
{
    uint32_t stack;
    if (mprof_unlikely((uint64_t)address - 1 >= MPROF_LIVE_ADDRESS) ||
        (!mprof_recorder_find_stack_quickly_locked(r, thread, walked, &stack) &&
         mprof_recorder_find_stack_locked(r, thread, attached, walked, &stack) != 0)) {
        r->drops++;
        return;
    }
    uint64_t key = address;
    uint32_t word = (uint32_t)size;
    if ((plain || r->exact) && mprof_likely(size < MPROF_LIVE_WIDE)) {
        key |= birth_code(r, now) << MPROF_LIVE_ADDRESS_BITS;
    } else if (make_detail(r, size, now, &word) != 0) {
        r->drops++;
        return;
    }
    struct mprof_weight weight = whole(size);
    if (!plain)
        mprof_recorder_weigh(r, size, &weight);
    if (insert_locked(r, hash, (struct mprof_live){key, stack, word}, paged, &weight, now, plain) != 0) {
        r->drops++;
        return;
    }
    struct mprof_stackrec *record = &r->trie.stacks[stack];
    record->alloc_bytes += weight.bytes;
    record->alloc_blocks += weight.blocks;
    if (!plain && r->trie.spreads)
        spread_add(&r->trie.spreads[stack].alloc, &weight, 1);
    if (!plain && mprof_unlikely(r->options.max_live != 0 && r->live.count > r->options.max_live))
        mprof_recorder_thin_locked(r, now);
    if (mprof_unlikely(r->trie.count >= r->phase_ends))
        mprof_recorder_next_phase_locked(r);
}

/* A block that is a sample unless the rate has grown since its gap was drawn. */
static void record_sample_locked(struct mprof_recorder *r, struct mprof_thread *thread, bool attached,
                                 struct mprof_walked walked, uintptr_t address, uint64_t size, int64_t now)
{
    double rate = thread->rate;
    if (!r->exact)
        mprof_recorder_draw(r, thread);
    if (rate >= r->rate || mprof_sampler_keep(&thread->rng, size, rate, r->rate)) {
        record_locked(r, thread, attached, walked, address, mprof_livetable_hash(address), false, size, now, false);
        thread->last_address = address;
    }
}

/* Bytes that a thread lets pass before it looks again whether recording has begun. It is told then (begin_session), but
 * may be just about to overwrite what it is told. */
static const uint64_t COUNTDOWN_IDLE = 1 << 24;

/* The first visit of a thread in a session. False: the allocation is not a sample, or there is nothing to record. */
static MPROF_COLD bool enter_locked(struct mprof_recorder *r, uint64_t size)
{
    struct mprof_thread *thread = mprof_recorder_thread_locked(r);
    if (!r->active) {
        __atomic_store_n(&mprof_tls.countdown, COUNTDOWN_IDLE, __ATOMIC_RELAXED);
        return false;
    }
    if (!thread) {
        r->drops++;
        __atomic_store_n(&mprof_tls.countdown, mprof_sampler_gap(&r->rng, r->rate), __ATOMIC_RELAXED);
        return false;
    }
    if (thread->session == r->session && mprof_tls.exiting != 1)
        return true;
    if (mprof_tls.exiting)
        mprof_tls.exiting = 2;
    thread->session = r->session;
    thread->last.count = 0;
    thread->source = r->options.source;
    thread->max_frames = r->options.max_frames;
    if (r->options.seeded)
        mprof_recorder_seed(r, thread);
    mprof_recorder_draw(r, thread);
    return r->exact || !mprof_sampler_pass_any(size);
}

static void walk_done(struct mprof_thread *thread, bool attached)
{
    if (!attached)
        __atomic_store_n(&thread->detached, 0, __ATOMIC_RELEASE);
}

/* The orphans' state belongs to whoever holds the lock; a thread's own is good without. */
static bool ready(const struct mprof_recorder *r, const struct mprof_thread *thread)
{
    return thread && thread->session == __atomic_load_n(&r->session, __ATOMIC_RELAXED) &&
           __atomic_load_n(&r->active, __ATOMIC_RELAXED);
}

/* A sample is lost to a caller that may not wait for the lock. */
static MPROF_COLD void drop_outside(struct mprof_recorder *r)
{
    __atomic_fetch_add(&r->reentered, 1, __ATOMIC_RELAXED);
}

static MPROF_COLD void add_slow(struct mprof_recorder *r, bool attached, uintptr_t address, uint64_t size)
{
    if (!mprof_recorder_enter(r)) {
        drop_outside(r);
        return;
    }
    if (enter_locked(r, size)) {
        struct mprof_thread *thread = mprof_recorder_thread_locked(r);
        struct mprof_walked walked = mprof_recorder_walk(r, thread, attached);
        record_sample_locked(r, thread, attached, walked, address, size, mprof_os_monotonic_coarse_ns());
        walk_done(thread, attached);
    }
    mprof_recorder_unlock(r);
}

void mprof_recorder_add(bool attached, uintptr_t address, uint64_t size)
{
    struct mprof_recorder *r = &mprof_recorder;
    if (mprof_unlikely(mprof_tls.busy)) {
        drop_outside(r);
        return;
    }
    struct mprof_thread *thread = mprof_tls.thread;
    if (mprof_unlikely(!ready(r, thread))) {
        add_slow(r, attached, address, size);
        return;
    }
    /* Blocks of Python's own domains: pymalloc keeps those of a size side by side. 0 bytes it asks of malloc. */
    bool paged = attached && size - 1 < MPROF_PAGED_MAX;
    uint64_t hash = 0;
    if (!paged) {
        hash = mprof_livetable_hash(address);
        mprof_livetable_prefetch(&r->live, hash);
    }
    struct mprof_walked walked = mprof_recorder_walk(r, thread, attached);
    int64_t now = mprof_os_monotonic_coarse_ns();
    bool by_favour;
    if (mprof_unlikely(!mprof_recorder_enter_hook(r, thread, &by_favour))) {
        walk_done(thread, attached);
        drop_outside(r);
        return;
    }
    if (mprof_likely(r->active && thread->session == r->session)) {
        if (r->plain) {
            record_locked(r, thread, attached, walked, address, hash, paged, size, now, true);
            thread->last_address = address;
        } else {
            record_sample_locked(r, thread, attached, walked, address, size, now);
        }
    }
    walk_done(thread, attached);
    mprof_recorder_unlock_hook(r, thread, by_favour);
}

void mprof_recorder_refused(void)
{
    struct mprof_thread *thread = mprof_tls.thread;
    if (!mprof_tls.busy && ready(&mprof_recorder, thread))
        mprof_sampler_set(mprof_sampler_gap(&thread->rng, thread->rate));
}

static void reuse_locked(struct mprof_recorder *r, struct mprof_thread *thread, bool attached,
                         struct mprof_walked walked, uintptr_t address, int64_t now)
{
    uint32_t stack;
    struct mprof_live entry;
    if (!mprof_livetable_find(&r->live, address, &entry))
        return;
    if (mprof_recorder_find_stack_locked(r, thread, attached, walked, &stack) != 0) {
        r->drops++;
        return;
    }
    struct mprof_weight weight;
    mprof_recorder_weigh(r, mprof_recorder_size_locked(r, &entry), &weight);
    mprof_recorder_count_locked(r, entry.stack, &weight, -1, now);
    mprof_recorder_count_locked(r, stack, &weight, 1, now);
    mprof_livetable_move(&r->live, address, stack);
}

/* The first visit of a thread, or of a forked child. */
static MPROF_COLD void reuse_slow(struct mprof_recorder *r, bool attached, uintptr_t address)
{
    if (!mprof_recorder_active() || !mprof_recorder_enter(r))
        return;
    if (enter_locked(r, 0)) {
        struct mprof_thread *thread = mprof_recorder_thread_locked(r);
        struct mprof_walked walked = mprof_recorder_walk(r, thread, attached);
        reuse_locked(r, thread, attached, walked, address, mprof_os_monotonic_coarse_ns());
        walk_done(thread, attached);
    }
    mprof_recorder_unlock(r);
}

void mprof_recorder_reuse(bool attached, uintptr_t address)
{
    struct mprof_recorder *r = &mprof_recorder;
    struct mprof_thread *thread = mprof_tls.thread;
    if (mprof_tls.busy)
        return;
    if (mprof_unlikely(!ready(r, thread))) {
        reuse_slow(r, attached, address);
        return;
    }
    if (thread->last_address == address) {
        thread->last_address = 0; /* recorded just now, with this very stack; the next time it comes from a free list */
        return;
    }
    struct mprof_walked walked = mprof_recorder_walk(r, thread, attached);
    int64_t now = mprof_os_monotonic_coarse_ns();
    bool by_favour;
    if (!mprof_recorder_enter_hook(r, thread, &by_favour)) {
        walk_done(thread, attached);
        return;
    }
    if (r->active && thread->session == r->session)
        reuse_locked(r, thread, attached, walked, address, now);
    walk_done(thread, attached);
    mprof_recorder_unlock_hook(r, thread, by_favour);
}

/* ---- remove ---- */

static MPROF_COLD void forget_watched_code_locked(struct mprof_recorder *r, uintptr_t address)
{
    if (mprof_functab_forget(&r->functions, (const void *)address)) {
        unwatch(r, address);
        mprof_recorder_void_captures_locked(r);
    }
}

MPROF_INLINE void forget_code_locked(struct mprof_recorder *r, uintptr_t address)
{
    if (mprof_unlikely(mprof_filter_maybe(r->watched, address)))
        forget_watched_code_locked(r, address);
}

void mprof_recorder_forget_locked(struct mprof_recorder *r, uintptr_t address)
{
    struct mprof_live entry;
    forget_code_locked(r, address);
    if (mprof_livetable_take(&r->live, address, &entry))
        mprof_recorder_discard_locked(r, &entry, r->peak_ns);
}

MPROF_INLINE bool take_locked(struct mprof_recorder *r, uintptr_t address, struct mprof_taken *taken, bool plain)
{
    forget_code_locked(r, address);
    if (!mprof_livetable_take_inline(&r->live, address, &taken->entry))
        return false;
    if (mprof_unlikely(taken->entry.size & MPROF_LIVE_WIDE))
        taken->detail = *mprof_livetable_detail(&r->live, taken->entry.size);
    discard_locked(r, &taken->entry, r->peak_ns, plain);
    return true;
}

/* `pin`: the record may be put back. */
MPROF_INLINE void take(uintptr_t address, struct mprof_taken *taken, bool pin)
{
    struct mprof_recorder *r = &mprof_recorder;
    taken->found = false;
    if (mprof_unlikely(address == 0))
        return;
    if (!mprof_recorder_is_exact() &&
        !mprof_filter_maybe(__atomic_load_n(&mprof_recorder_filter, __ATOMIC_ACQUIRE), address))
        return;
    struct mprof_thread *thread = mprof_tls.thread;
    bool by_favour;
    if (mprof_unlikely(mprof_tls.busy || !mprof_recorder_enter_hook(r, thread, &by_favour))) {
        mprof_recorder_defer(r, address);
        return;
    }
    if (r->active && (r->plain ? take_locked(r, address, taken, true) : take_locked(r, address, taken, false))) {
        taken->found = true;
        if (pin) { /* no prune takes the stack before it is settled */
            taken->rate = r->rate;
            taken->generation = r->generation;
            taken->birth_shift = r->birth_shift;
            r->trie.infos[taken->entry.stack].pins++;
        }
    }
    mprof_recorder_unlock_hook(r, thread, by_favour);
}

void mprof_recorder_take(uintptr_t address, struct mprof_taken *taken)
{
    take(address, taken, true);
}

void mprof_recorder_remove(uintptr_t address)
{
    struct mprof_taken taken;
    take(address, &taken, false);
}

/* Whether the stack of what was taken is still what it was; then it needs its pin no more. */
static bool unpin_locked(struct mprof_recorder *r, const struct mprof_taken *taken)
{
    if (!r->active || taken->generation != r->generation)
        return false;
    r->trie.infos[taken->entry.stack].pins--;
    return true;
}

void mprof_recorder_settle(const struct mprof_taken *taken)
{
    struct mprof_recorder *r = &mprof_recorder;
    if (!taken->found || !mprof_recorder_enter(r))
        return; /* during a fork: the pin stays, and with it the stack */
    (void)unpin_locked(r, taken);
    mprof_recorder_unlock(r);
}

void mprof_recorder_restore(const struct mprof_taken *taken)
{
    struct mprof_recorder *r = &mprof_recorder;
    if (!taken->found)
        return;
    if (!mprof_recorder_enter(r)) {
        drop_outside(r);
        return;
    }
    struct mprof_live entry = taken->entry;
    uint64_t size = entry.size & MPROF_LIVE_WIDE ? taken->detail.size : entry.size;
    bool current = unpin_locked(r, taken); /* what was cleared or stopped meanwhile is not to come back */
    if (current && (taken->rate >= r->rate || mprof_sampler_keep(&r->rng, size, taken->rate, r->rate))) {
        int failed = 0;
        entry.key = mprof_live_aged(entry.key, r->birth_shift - taken->birth_shift);
        if (entry.size & MPROF_LIVE_WIDE) {
            failed = mprof_livetable_detail_new(&r->live, &r->arena, &entry.size);
            if (failed == 0)
                *mprof_livetable_detail(&r->live, entry.size) = taken->detail;
        }
        struct mprof_weight weight;
        mprof_recorder_weigh(r, size, &weight);
        if (failed != 0 || insert_locked(r, mprof_livetable_hash(mprof_live_address(&entry)), entry, false, &weight,
                                         r->peak_ns, false) != 0)
            r->drops++;
    }
    mprof_recorder_unlock(r);
}
