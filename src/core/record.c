/* SPDX-License-Identifier: MIT */
/* record.c -- what a hook reports, into the tables. See recorder.h.
 *
 * The way from a capture to a node of the tree is shortened twice.
 *
 *   1. A thread's next capture usually shares all but its innermost frames with the last one. Both are compared from
 * the outermost frame on; the nodes of what is equal are remembered in `path`:
 *
 *          last capture   main:12  serve:40  parse:9           path  1  2  4
 *          this capture   main:12  serve:40  render:3                1  2  ?      one step to look up
 *
 *   2. A step (parent, code, offset) -> node is looked up in a small direct-mapped memory first, and only then by way
 * of the code's function and the tree's hash.
 *
 * Both remember addresses of code objects, so both are void when the epoch moves: a code object has died, or the tree
 * was pruned. */
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

void mprof_recorder_count_locked(struct mprof_recorder *r, uint32_t stack, const struct mprof_weight *weight, int sign,
                                 int64_t now)
{
    mprof_stacktrie_touch(&r->trie, stack, r->peak_stamp);
    struct mprof_stackrec *record = &r->trie.stacks[stack];
    record->inuse_bytes += sign * weight->bytes;
    record->inuse_blocks += sign * weight->blocks;
    record->live += (uint32_t)sign;
    if (r->trie.spreads)
        spread_add(&r->trie.spreads[stack].inuse, weight, sign);
    if (record->live == 0) {
        /* What is left is rounding only: start clean. */
        record->inuse_bytes = record->inuse_blocks = 0;
        if (r->trie.spreads)
            r->trie.spreads[stack].inuse = (struct mprof_spread){0, 0, 0, 0};
    }
    r->total_bytes += sign * weight->bytes;
    r->total_blocks += sign * weight->blocks;
    if (r->live.count == 0)
        r->total_bytes = r->total_blocks = 0;
    if (r->total_bytes > r->peak_bytes) {
        r->peak_bytes = r->total_bytes;
        r->peak_stamp++;
        r->peak_ns = now;
    }
    if (mprof_unlikely(r->total_bytes > r->ring_above))
        mprof_recorder_ring_locked(r);
}

static void unwatch(struct mprof_recorder *r, uintptr_t address)
{
    mprof_filter_remove(r->watched, address);
    mprof_sieve_remove(&mprof_recorder_sieve, address);
}

void mprof_recorder_discard_locked(struct mprof_recorder *r, const struct mprof_live *entry, int64_t now)
{
    struct mprof_weight weight;
    mprof_recorder_weigh(r, mprof_recorder_size_locked(r, entry), &weight);
    mprof_recorder_count_locked(r, entry->stack, &weight, -1, now);
    if (entry->size & MPROF_LIVE_WIDE)
        mprof_livetable_detail_free(&r->live, entry->size);
    if (!r->exact)
        unwatch(r, mprof_live_address(entry));
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
static void watch(struct mprof_recorder *r, uintptr_t address)
{
    uint64_t watched = r->functions.code_count + (r->exact ? 0 : r->live.count);
    if (mprof_likely(watched <= mprof_filter_capacity(r->watched)) || !grow_filter(r))
        mprof_filter_add(r->watched, address);
    mprof_sieve_add(&mprof_recorder_sieve, address);
}

/* ---- from frames to a stack ---- */

/* Function of a code object, learnt now if need be. 0: no memory. */
static uint32_t function_of(struct mprof_recorder *r, const void *code)
{
    const struct mprof_source *source = r->options.source;
    uint64_t fingerprint = source->fingerprint(code);
    uint32_t function = mprof_functab_find(&r->functions, code, fingerprint);
    if (mprof_likely(function != 0))
        return function;
    struct mprof_description *d = r->description;
    source->describe(code, d);
    struct mprof_funcentry entry = {d->lines_hash, 0, 0, d->firstlineno, 0};
    if (mprof_strtab_intern(&r->strings, &r->arena, d->name, d->name_length, &entry.name) != 0 ||
        mprof_strtab_intern(&r->strings, &r->arena, d->filename, d->filename_length, &entry.filename) != 0 ||
        mprof_functab_intern(&r->functions, &r->arena, &entry, &function) != 0)
        return 0;
    int known = mprof_functab_learn(&r->functions, &r->arena, code, fingerprint, function);
    if (known < 0)
        return 0;
    if (known == 0)
        watch(r, (uintptr_t)code);
    else
        r->epoch++; /* another code at this address, and nobody saw the first one die */
    return function;
}

/* Node of `frame` called from `parent`. -1: no memory. */
static int step_down(struct mprof_recorder *r, uint32_t parent, const struct mprof_rawframe *frame, uint32_t *node)
{
    struct mprof_step *step = NULL;
    if (r->steps) {
        uint64_t key = ((uint64_t)(uintptr_t)frame->code >> 4) * UINT64_C(0x9e3779b97f4a7c15);
        key = (key ^ parent ^ (uint64_t)frame->offset << 32) * UINT64_C(0xd1342543de82ef95);
        step = &r->steps[key >> 52];
        if (step->code == frame->code && step->offset == frame->offset && step->parent == parent &&
            step->epoch == (uint32_t)r->epoch) {
            *node = step->node;
            return 0;
        }
    }
    uint32_t function = function_of(r, frame->code);
    if (function == 0)
        return -1;
    int made = mprof_stacktrie_child(&r->trie, &r->arena, parent, function, frame->offset, node);
    if (made < 0)
        return -1;
    if (made)
        r->trie.nodes[*node].line = r->options.source->line(frame->code, frame->offset);
    if (step)
        *step = (struct mprof_step){frame->code, frame->offset, parent, *node, (uint32_t)r->epoch};
    return 0;
}

/* With one branch. */
static inline bool same_frame(const struct mprof_rawframe *a, const struct mprof_rawframe *b)
{
    return (((uintptr_t)a->code ^ (uintptr_t)b->code) | (a->offset ^ b->offset)) == 0;
}

/* Stack record of the capture in the thread's current buffer. -1: no memory. */
static int find_stack(struct mprof_recorder *r, struct mprof_thread *thread, uint32_t count, const void *more,
                      uint32_t *stack)
{
    const struct mprof_rawframe *frames = thread->frames[thread->current] + count; /* frames[-1] is the outermost */
    const struct mprof_rawframe *last = thread->frames[thread->current ^ 1] + thread->path_length;
    uint32_t *path = thread->path;
    uint32_t node = 0;
    uint64_t epoch;
    do {
        epoch = r->epoch;
        uint32_t same = 0;
        if (thread->epoch == epoch) {
            uint32_t limit = count < thread->path_length ? count : thread->path_length;
            while (same < limit && same_frame(&frames[-1 - (int64_t)same], &last[-1 - (int64_t)same]))
                same++;
        }
        node = same ? path[same - 1] : 0;
        thread->epoch = 0;
        for (uint32_t i = same; i < count; i++) {
            if (step_down(r, node, &frames[-1 - (int64_t)i], &node) != 0)
                return -1;
            path[i] = node;
        }
    } while (mprof_unlikely(
        epoch !=
        r->epoch)); /* an address turned out to be another code: the remembered steps may have named the old one */
    thread->path_length = count;
    thread->current ^= 1;
    thread->epoch = r->epoch;

    int made = mprof_stacktrie_stack(&r->trie, &r->arena, node, r->peak_stamp, stack);
    if (made < 0)
        return -1;
    struct mprof_stackinfo *info = &r->trie.infos[*stack];
    if (made)
        info->total_frames = count + (more ? r->options.source->count(more, MPROF_MAX_FRAMES - count) : 0);
    info->recent = 1;
    return 0;
}

/* ---- births ---- */

/* An entry's key when the units of births have doubled `doublings` times since. */
static uint64_t key_in_units(uint64_t key, unsigned doublings)
{
    return (key & MPROF_LIVE_ADDRESS) | key >> MPROF_LIVE_ADDRESS_BITS >> doublings << MPROF_LIVE_ADDRESS_BITS;
}

/* Code of a moment for an entry without a detail: 16 bits since the start, in units that double when the codes run out.
 */
static uint64_t birth_code(struct mprof_recorder *r, int64_t now)
{
    uint64_t elapsed = now > r->start_ns ? (uint64_t)(now - r->start_ns) : 0;
    while (mprof_unlikely(elapsed >> r->birth_shift > UINT16_MAX)) {
        r->birth_shift++;
        for (unsigned s = 0; s < MPROF_LIVE_SHARDS; s++) {
            struct mprof_shard *shard = &r->live.shards[s];
            for (uint32_t i = 0; i < shard->capacity; i++)
                shard->entries[i].key = key_in_units(shard->entries[i].key, 1);
        }
    }
    return elapsed >> r->birth_shift;
}

/* ---- add ---- */

/* The entry's size word, with a detail where it needs one. -1: no memory. */
static int fill_entry(struct mprof_recorder *r, struct mprof_live *entry, uintptr_t address, uint64_t size, int64_t now)
{
    if (r->exact && size < MPROF_LIVE_WIDE) {
        entry->key = address | birth_code(r, now) << MPROF_LIVE_ADDRESS_BITS;
        entry->size = (uint32_t)size;
        return 0;
    }
    entry->key = address;
    if (mprof_livetable_detail_new(&r->live, &r->arena, &entry->size) != 0)
        return -1;
    *mprof_livetable_detail(&r->live, entry->size) = (struct mprof_detail){size, r->next_id++, now};
    return 0;
}

/* Puts a finished entry into the table and its figures where they belong. -1: no memory, the entry's detail is freed.
 */
static int insert_locked(struct mprof_recorder *r, const struct mprof_live *entry, const struct mprof_weight *weight,
                         int64_t now)
{
    struct mprof_live replaced;
    int result = mprof_livetable_put(&r->live, &r->arena, entry, &replaced);
    if (result < 0) {
        if (entry->size & MPROF_LIVE_WIDE)
            mprof_livetable_detail_free(&r->live, entry->size);
        return -1;
    }
    if (result > 0)
        mprof_recorder_discard_locked(r, &replaced, now);
    if (!r->exact)
        watch(r, mprof_live_address(entry));
    mprof_recorder_count_locked(r, entry->stack, weight, 1, now);
    return 0;
}

static void record_locked(struct mprof_recorder *r, struct mprof_thread *thread, uint32_t count, const void *more,
                          uintptr_t address, uint64_t size, int64_t now)
{
    struct mprof_live entry = {0, 0, 0};
    if (address == 0 || (uint64_t)address > MPROF_LIVE_ADDRESS ||
        find_stack(r, thread, count, more, &entry.stack) != 0 || fill_entry(r, &entry, address, size, now) != 0) {
        r->drops++;
        return;
    }
    struct mprof_weight weight;
    mprof_recorder_weigh(r, size, &weight);
    if (insert_locked(r, &entry, &weight, now) != 0) {
        r->drops++;
        return;
    }
    struct mprof_stackrec *record = &r->trie.stacks[entry.stack];
    record->alloc_bytes += weight.bytes;
    record->alloc_blocks += weight.blocks;
    if (r->trie.spreads)
        spread_add(&r->trie.spreads[entry.stack].alloc, &weight, 1);
    if (mprof_unlikely(r->options.max_live != 0 && r->live.count > r->options.max_live))
        mprof_recorder_thin_locked(r, now);
    if (mprof_unlikely(r->trie.count >= r->prune_at))
        mprof_recorder_prune_locked(r);
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
    thread->epoch = 0;
    thread->source = r->options.source;
    thread->max_frames = r->options.max_frames;
    if (r->options.seeded)
        mprof_recorder_seed(r, thread);
    mprof_recorder_draw(r, thread);
    return r->exact || !mprof_sampler_pass_any(size);
}

/* Every walk ends with walk_done(), once nothing needs the frames any more. Without the runtime's leave it says so
 * first and then looks whether the runtime is about to end; mprof_recorder_finalizing does the two the other way round.
 * So either the walk does not begin, or the runtime waits until it is over. */
static uint32_t walk(const struct mprof_recorder *r, struct mprof_thread *thread, bool attached, const void **more)
{
    if (!attached) {
        __atomic_store_n(&thread->detached, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&r->finalizing, __ATOMIC_SEQ_CST))
            return 0;
    }
    return thread->source->walk(attached, thread->frames[thread->current], thread->max_frames, more);
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
        double rate = thread->rate;
        mprof_recorder_draw(r, thread);
        const void *more = NULL;
        uint32_t count = walk(r, thread, attached, &more);
        if (rate >= r->rate || mprof_sampler_keep(&thread->rng, size, rate, r->rate))
            record_locked(r, thread, count, more, address, size, mprof_os_monotonic_coarse_ns());
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
    mprof_livetable_prefetch(&r->live, address);
    const void *more = NULL;
    uint32_t count = walk(r, thread, attached, &more);
    int64_t now = mprof_os_monotonic_coarse_ns();
    if (mprof_unlikely(!mprof_recorder_enter(r))) {
        walk_done(thread, attached);
        drop_outside(r);
        return;
    }
    if (mprof_likely(r->active && thread->session == r->session)) {
        double rate = thread->rate;
        if (!r->exact)
            mprof_recorder_draw(r, thread);
        if (rate >= r->rate || mprof_sampler_keep(&thread->rng, size, rate, r->rate)) {
            record_locked(r, thread, count, more, address, size, now);
            thread->last_address = address;
        }
    }
    walk_done(thread, attached);
    mprof_recorder_unlock(r);
}

void mprof_recorder_refused(void)
{
    struct mprof_thread *thread = mprof_tls.thread;
    if (!mprof_tls.busy && ready(&mprof_recorder, thread))
        mprof_sampler_set(mprof_sampler_gap(&thread->rng, thread->rate));
}

void mprof_recorder_reuse(bool attached, uintptr_t address)
{
    struct mprof_recorder *r = &mprof_recorder;
    struct mprof_thread *thread = mprof_tls.thread;
    if (mprof_tls.busy || !ready(r, thread))
        return;
    if (thread->last_address == address) {
        thread->last_address = 0; /* recorded just now, with this very stack; the next time it comes from a free list */
        return;
    }
    const void *more = NULL;
    uint32_t count = walk(r, thread, attached, &more);
    int64_t now = mprof_os_monotonic_coarse_ns();
    uint32_t stack;
    if (!mprof_recorder_enter(r)) {
        walk_done(thread, attached);
        return;
    }
    if (r->active && thread->session == r->session && mprof_livetable_find(&r->live, address)) {
        if (find_stack(r, thread, count, more, &stack) == 0) {
            struct mprof_live *entry = mprof_livetable_find(&r->live, address);
            struct mprof_weight weight;
            mprof_recorder_weigh(r, mprof_recorder_size_locked(r, entry), &weight);
            mprof_recorder_count_locked(r, entry->stack, &weight, -1, now);
            mprof_recorder_count_locked(r, stack, &weight, 1, now);
            entry->stack = stack;
        } else {
            r->drops++;
        }
    }
    walk_done(thread, attached);
    mprof_recorder_unlock(r);
}

/* ---- remove ---- */

static void forget_code_locked(struct mprof_recorder *r, uintptr_t address)
{
    if (mprof_filter_maybe(r->watched, address) && mprof_functab_forget(&r->functions, (const void *)address)) {
        unwatch(r, address);
        r->epoch++;
    }
}

void mprof_recorder_forget_locked(struct mprof_recorder *r, uintptr_t address)
{
    struct mprof_live entry;
    forget_code_locked(r, address);
    if (mprof_livetable_take(&r->live, address, &entry))
        mprof_recorder_discard_locked(r, &entry, r->peak_ns);
}

static bool take_locked(struct mprof_recorder *r, uintptr_t address, struct mprof_taken *taken)
{
    forget_code_locked(r, address);
    if (!mprof_livetable_take(&r->live, address, &taken->entry))
        return false;
    if (taken->entry.size & MPROF_LIVE_WIDE)
        taken->detail = *mprof_livetable_detail(&r->live, taken->entry.size);
    mprof_recorder_discard_locked(r, &taken->entry, r->peak_ns);
    return true;
}

/* `pin`: the record may be put back. */
static void take(uintptr_t address, struct mprof_taken *taken, bool pin)
{
    struct mprof_recorder *r = &mprof_recorder;
    taken->found = false;
    if (address == 0 || !mprof_filter_maybe(__atomic_load_n(&mprof_recorder_filter, __ATOMIC_ACQUIRE), address))
        return;
    if (mprof_unlikely(mprof_tls.busy || !mprof_recorder_enter(r))) {
        mprof_recorder_defer(r, address);
        return;
    }
    if (r->active && take_locked(r, address, taken)) {
        taken->found = true;
        taken->rate = r->rate;
        taken->generation = r->generation;
        taken->birth_shift = r->birth_shift;
        r->trie.infos[taken->entry.stack].pins += pin; /* no prune takes the stack before it is settled */
    }
    mprof_recorder_unlock(r);
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
        entry.key = key_in_units(entry.key, r->birth_shift - taken->birth_shift);
        if (entry.size & MPROF_LIVE_WIDE) {
            failed = mprof_livetable_detail_new(&r->live, &r->arena, &entry.size);
            if (failed == 0)
                *mprof_livetable_detail(&r->live, entry.size) = taken->detail;
        }
        struct mprof_weight weight;
        mprof_recorder_weigh(r, size, &weight);
        if (failed != 0 || insert_locked(r, &entry, &weight, r->peak_ns) != 0)
            r->drops++;
    }
    mprof_recorder_unlock(r);
}
