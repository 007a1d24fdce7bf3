/* SPDX-License-Identifier: MIT */
/* recorder.c -- the life of the recorder: start, stop, clear, threads, fork. See recorder.h. */
#include "core/recorder.h"

#include "core/recorder_private.h"

#include <math.h>
#include <pthread.h>
#include <unistd.h>

struct mprof_recorder mprof_recorder;

/* Filters of two buckets: shift 63 leaves one bit of the hash. */
static const struct mprof_filter nothing = {63, {0, 0}};
static const struct mprof_filter everything = {63, {1, 1}};
const struct mprof_filter *mprof_recorder_filter = &nothing;
union mprof_sieve mprof_recorder_sieve;
bool mprof_recorder_exact;

static pthread_key_t thread_key;

static void publish_filter(const struct mprof_filter *filter)
{
    __atomic_store_n(&mprof_recorder_filter, filter, __ATOMIC_RELEASE);
}

static void watch_nothing(void)
{
    publish_filter(&nothing);
    mprof_sieve_fill(&mprof_recorder_sieve, false);
}

static uint64_t entropy(const struct mprof_recorder *r, uint64_t serial)
{
    return r->options.seeded ? mprof_mix64(r->options.seed + serial * UINT64_C(0x9e3779b97f4a7c15))
                             : mprof_os_entropy();
}

/* Empty tables for the current options; what the old ones held is for the caller to drop, after the lock. The filter
 * lives in the arena that is never dropped: another thread may be looking at it. */
static int reset_tables_locked(struct mprof_recorder *r, struct mprof_arena *old)
{
    watch_nothing();
    mprof_arena_move(old, &r->arena);
    mprof_livetable_init(&r->live);
    r->memory = NULL;
    r->rate = r->options.sample_rate > 1.0 ? r->options.sample_rate : 1.0;
    r->exact = !(r->options.sample_rate > 1.0);
    r->plain = r->exact && r->options.max_live == 0;
    r->total_bytes = r->total_blocks = r->peak_bytes = 0;
    r->peak_stamp = 0;
    r->peak_ns = 0;
    r->drops = r->reentered = r->thinnings = r->prunes = 0;
    r->birth_shift = 26; /* 67 ms */
    r->start_ns = mprof_os_monotonic_coarse_ns();
    r->start_wall_ns = mprof_os_wall_ns();
    r->next_id = 1;
    r->recording = mprof_os_entropy() | 1;
    r->generation++;
    mprof_recorder_void_captures_locked(r);
    mprof_rng_seed(&r->rng, entropy(r, UINT64_MAX));

    if (r->watched)
        mprof_filter_clear(r->watched);
    else
        r->watched = mprof_filter_new(&r->thread_arena, MPROF_FILTER_MIN_BITS);
    r->description = mprof_arena_get(&r->arena, sizeof *r->description);
    if (!r->watched || !r->description || mprof_strtab_init(&r->strings, &r->arena) != 0 ||
        mprof_functab_init(&r->functions, &r->arena) != 0 || mprof_stacktrie_init(&r->trie, &r->arena, !r->plain) != 0)
        return -1;
    mprof_recorder_plan_prune_locked(r);
    r->memory = mprof_arena_get(&r->arena, sizeof *r->memory);
    publish_filter(r->exact ? &everything : r->watched);
    if (r->exact)
        mprof_sieve_fill(&mprof_recorder_sieve, true);
    return 0;
}

/* Nothing is recorded any more. What was is for the caller to drop, after the lock: giving gigabytes back takes time.
 */
static void deactivate_locked(struct mprof_recorder *r, struct mprof_arena *old)
{
    __atomic_store_n(&r->active, false, __ATOMIC_RELAXED);
    __atomic_store_n(&mprof_recorder_exact, false, __ATOMIC_RELAXED);
    watch_nothing();
    mprof_arena_move(old, &r->arena);
    r->generation++;
    mprof_recorder_void_captures_locked(r);
}

/* ---- threads ---- */

void mprof_recorder_seed(struct mprof_recorder *r, struct mprof_thread *thread)
{
    mprof_rng_seed(&thread->rng, entropy(r, ++r->thread_serial));
}

void mprof_recorder_draw(struct mprof_recorder *r, struct mprof_thread *thread)
{
    thread->rate = r->exact ? 1.0 : r->rate; /* in exact mode every block comes by, thinned or not */
    __atomic_store_n(&mprof_tls.countdown, mprof_sampler_gap(&thread->rng, thread->rate), __ATOMIC_RELAXED);
}

/* The thread ends: its state is free for another. What it still allocates is recorded through the shared state. */
static void thread_exit(void *state)
{
    struct mprof_recorder *r = &mprof_recorder;
    struct mprof_thread *thread = state;
    bool entered = mprof_recorder_enter(r);
    /* Without the lock a fork is going on, whose thread does not look at this word until it is over. */
    __atomic_store_n(&thread->tls, NULL, __ATOMIC_RELAXED);
    __atomic_store_n(&thread->inside, 0, __ATOMIC_RELAXED); /* 1 in a thread that was ended in the middle of a hook */
    mprof_tls.thread = NULL;
    mprof_tls.exiting = 1;
    __atomic_store_n(&mprof_tls.countdown, 0, __ATOMIC_RELAXED);
    if (entered) {
        if (r->favoured == thread)
            __atomic_store_n(&r->favoured, NULL, __ATOMIC_RELAXED);
        mprof_recorder_unlock(r);
    }
}

static int reserve_frames(struct mprof_recorder *r, struct mprof_thread *thread, uint32_t frames)
{
    if (thread->capacity >= frames)
        return 0;
    struct mprof_rawframe *memory = mprof_arena_get(&r->thread_arena, 2 * frames * sizeof *memory);
    if (!memory)
        return -1;
    mprof_arena_put(&r->thread_arena, thread->frames, 2 * thread->capacity * sizeof *memory);
    thread->frames = memory;
    thread->stack = memory + frames;
    thread->last.frames = thread->stack;
    thread->last.count = 0;
    thread->capacity = frames;
    return 0;
}

static struct mprof_thread *take_state(struct mprof_recorder *r)
{
    struct mprof_thread *thread = r->threads;
    while (thread && thread->tls)
        thread = thread->next;
    if (!thread) {
        thread = mprof_arena_get(&r->thread_arena, sizeof *thread);
        if (!thread)
            return NULL;
        thread->next = r->threads;
        r->threads = thread;
    }
    return thread;
}

struct mprof_thread *mprof_recorder_thread_locked(struct mprof_recorder *r)
{
    struct mprof_thread *thread = mprof_tls.exiting ? r->orphan : mprof_tls.thread;
    if (!thread) {
        thread = take_state(r);
        if (!thread)
            return NULL;
        thread->tls = &mprof_tls; /* the orphans' state keeps a non-NULL mark, so that nobody takes it */
        thread->id = mprof_os_thread();
        thread->session = 0;
        mprof_rng_seed(&thread->rng, mprof_os_entropy());
        if (mprof_tls.exiting) {
            r->orphan = thread;
        } else if (pthread_setspecific(thread_key, thread) == 0) {
            mprof_tls.thread = thread;
        } else {
            thread->tls = NULL; /* nobody would take it back when the thread ends */
            return NULL;
        }
    }
    return reserve_frames(r, thread, r->options.max_frames) == 0 ? thread : NULL;
}

/* ---- life cycle ---- */

static int register_once(struct mprof_recorder *r)
{
    if (r->registered)
        return 0;
    if (pthread_key_create(&thread_key, thread_exit) != 0)
        return -1;
    if (mprof_recorder_register_fork() != 0) {
        (void)pthread_key_delete(thread_key);
        return -1;
    }
    r->registered = true;
    return 0;
}

/* Gaps that were drawn before mean nothing now. Threads come by at their next allocation and draw one at the rate in
 * force. A thread that is just counting down, or is in the base allocator and has put its countdown aside, may overwrite
 * the 0: only one that runs beside us, so without the GIL. It then finishes its old gap, and what it allocates until
 * then, the old rate's bytes on average, is not seen. Exact mode's own hooks do not look at the countdown.
 *
 * A thread that was met first in the last round of its destructors ends without telling us. The system knows, and frees
 * what our word lies in only after it does. */
static void begin_session_locked(struct mprof_recorder *r)
{
    __atomic_store_n(&r->session, r->session + 1, __ATOMIC_RELAXED);
    for (struct mprof_thread *thread = r->threads; thread; thread = thread->next) {
        if (!thread->tls || thread == r->orphan)
            continue;
        if (mprof_os_thread_lives(thread->id))
            __atomic_store_n(&thread->tls->countdown, 0, __ATOMIC_RELAXED);
        else
            thread->tls = NULL;
    }
}

void mprof_recorder_abandon(struct mprof_recorder *r)
{
    struct mprof_arena lost;
    deactivate_locked(r, &lost);
    mprof_arena_init(&r->thread_arena, 0);
    mprof_tls.thread = NULL;
    r->threads = r->orphan = NULL;
    r->watched = NULL;
}

int mprof_recorder_start(const struct mprof_recorder_options *options)
{
    struct mprof_recorder *r = &mprof_recorder;
    struct mprof_arena old;
    int result = MPROF_RECORDER_ACTIVE;
    bool plain = !(options->sample_rate > 1.0) && options->max_live == 0;
    bool may_favour = plain && mprof_recorder_can_favour(); /* not with the lock: it takes its time */
    mprof_arena_init(&old, 0);
    mprof_recorder_lock(r);
    if (!r->active) {
        result = MPROF_RECORDER_NO_MEMORY;
        r->options = *options;
        r->thread_serial = 0;
        mprof_arena_init(&r->arena, options->memory_limit);
        if (register_once(r) == 0 && reset_tables_locked(r, &old) == 0) {
            __atomic_store_n(&r->active, true, __ATOMIC_RELAXED);
            __atomic_store_n(&mprof_recorder_exact, r->exact, __ATOMIC_RELAXED);
            begin_session_locked(r);
            r->may_favour = may_favour;
            result = 0;
        } else {
            deactivate_locked(r, &old);
        }
    }
    mprof_recorder_unlock(r);
    mprof_arena_drop(&old);
    return result;
}

void mprof_recorder_stop(void)
{
    struct mprof_recorder *r = &mprof_recorder;
    struct mprof_arena old;
    mprof_arena_init(&old, 0);
    mprof_recorder_lock(r);
    if (r->active)
        deactivate_locked(r, &old);
    mprof_recorder_unlock(r);
    mprof_arena_drop(&old);
}

int mprof_recorder_clear(void)
{
    struct mprof_recorder *r = &mprof_recorder;
    struct mprof_arena old;
    struct mprof_arena half; /* of new tables, when there is no memory for all */
    int result = 0;
    mprof_arena_init(&old, 0);
    mprof_arena_init(&half, 0);
    mprof_recorder_lock(r);
    if (r->active) {
        result = reset_tables_locked(r, &old);
        if (result == 0)
            begin_session_locked(r);
        else
            deactivate_locked(r, &half);
    }
    mprof_recorder_unlock(r);
    mprof_arena_drop(&old);
    mprof_arena_drop(&half);
    return result;
}

bool mprof_recorder_active(void)
{
    return __atomic_load_n(&mprof_recorder.active, __ATOMIC_RELAXED);
}

void mprof_recorder_finalizing(bool finalizing)
{
    struct mprof_recorder *r = &mprof_recorder;
    __atomic_store_n(&r->finalizing, finalizing, __ATOMIC_SEQ_CST);
    if (!finalizing)
        return;
    /* Who walks already is soon done. States are never freed and new ones come first in the list: those see the flag.
     * The bound is for a thread that somebody has stopped in the middle. */
    mprof_recorder_lock(r);
    struct mprof_thread *thread = r->threads;
    mprof_recorder_unlock(r);
    for (int patience = 1000; thread && patience > 0;) {
        if (__atomic_load_n(&thread->detached, __ATOMIC_SEQ_CST) == 0) {
            thread = thread->next;
        } else {
            mprof_os_wait_for(&thread->detached, 1, 1000000);
            patience--;
        }
    }
}

/* ---- the bell ---- */

void mprof_recorder_arm(uint32_t *bell, double growth, double least, double floor)
{
    struct mprof_recorder *r = &mprof_recorder;
    mprof_recorder_lock(r);
    double grown = r->total_bytes * growth;
    r->bell = bell;
    r->grown_above = r->total_bytes + (grown > least ? grown : least);
    if (r->grown_above < floor)
        r->grown_above = floor;
    r->ring_above = bell ? -INFINITY : INFINITY;
    if (bell)
        __atomic_fetch_and(bell, ~(uint32_t)(MPROF_BELL_CHANGED | MPROF_BELL_GROWN), __ATOMIC_SEQ_CST);
    mprof_recorder_unlock(r);
}

MPROF_COLD void mprof_recorder_ring_locked(struct mprof_recorder *r)
{
    uint32_t bits = MPROF_BELL_CHANGED;
    r->ring_above = r->grown_above;
    if (!r->bell || r->total_bytes > r->grown_above) {
        bits |= MPROF_BELL_GROWN;
        r->ring_above = INFINITY;
    }
    if (r->bell) {
        __atomic_fetch_or(r->bell, bits, __ATOMIC_SEQ_CST);
        mprof_os_wake(r->bell);
    }
}

/* ---- figures ---- */

void mprof_recorder_totals(struct mprof_recorder_totals *totals)
{
    struct mprof_recorder *r = &mprof_recorder;
    mprof_recorder_lock(r);
    *totals = (struct mprof_recorder_totals){.waits = r->lock.waits, .favours = r->favours};
    if (r->active) {
        totals->bytes = r->total_bytes;
        totals->peak_bytes = r->peak_bytes;
        totals->sample_rate = r->rate;
        totals->live = r->live.count;
        totals->drops = r->drops + __atomic_load_n(&r->reentered, __ATOMIC_RELAXED);
        totals->thinnings = r->thinnings;
        totals->prunes = r->prunes;
        totals->nodes = r->trie.count;
        totals->stacks = r->trie.stack_count;
        totals->max_frames = r->options.max_frames;
    }
    totals->memory = r->arena.mapped + r->thread_arena.mapped;
    mprof_recorder_unlock(r);
}

void mprof_recorder_reset_peak(void)
{
    struct mprof_recorder *r = &mprof_recorder;
    mprof_recorder_lock(r);
    r->peak_bytes = r->total_bytes;
    r->peak_stamp++;
    r->peak_ns = mprof_os_monotonic_coarse_ns();
    mprof_recorder_unlock(r);
}

int mprof_recorder_stack(uintptr_t address, int (*frame)(void *context, const struct mprof_frame_view *view),
                         void *context)
{
    struct mprof_recorder *r = &mprof_recorder;
    int result = 0;
    mprof_recorder_lock(r);
    struct mprof_live entry;
    if (r->active && mprof_livetable_find(&r->live, address, &entry)) {
        result = 1;
        for (uint32_t i = r->trie.stacks[entry.stack].node; i != 0 && result == 1; i = r->trie.nodes[i].parent) {
            const struct mprof_trienode *node = &r->trie.nodes[i];
            const struct mprof_funcentry *f = &r->functions.functions[node->function];
            struct mprof_frame_view view = {
                mprof_strtab_text(&r->strings, f->filename),
                r->strings.strings[f->filename].length,
                mprof_strtab_text(&r->strings, f->name),
                r->strings.strings[f->name].length,
                f->firstlineno,
                node->line,
            };
            if (frame(context, &view) != 0)
                result = -1;
        }
    }
    mprof_recorder_unlock(r);
    return result;
}

void mprof_recorder_fail(uint64_t n, uint64_t count)
{
    struct mprof_recorder *r = &mprof_recorder;
    mprof_recorder_lock(r);
    r->arena.fail_at = n ? r->arena.requests + n : 0;
    r->arena.fail_count = count;
    mprof_recorder_unlock(r);
}

/* Entries of each stack, counted over a copy of the live table; `counts` has one word a stack record. */
static bool count_entries(const struct mprof_recorder *r, struct mprof_arena *scratch, uint32_t *counts)
{
    size_t room = mprof_livetable_room(&r->live);
    struct mprof_live *entries = mprof_arena_array(scratch, room, sizeof *entries);
    if (!entries)
        return false;
    mprof_livetable_copy(&r->live, entries);
    for (size_t i = 0; i < room; i++) {
        if (entries[i].key == 0)
            continue;
        uintptr_t address = mprof_live_address(&entries[i]);
        if (entries[i].stack >= r->trie.stack_used || !mprof_recorder_watched(address) ||
            !mprof_filter_maybe(mprof_recorder_filter, address))
            return false;
        counts[entries[i].stack]++;
    }
    return true;
}

bool mprof_recorder_valid(void)
{
    struct mprof_recorder *r = &mprof_recorder;
    struct mprof_arena scratch;
    mprof_arena_init(&scratch, 0);
    mprof_recorder_lock(r);
    bool valid = true;
    if (r->active) {
        uint32_t *counts = mprof_arena_get(&scratch, (r->trie.stack_used + (size_t)1) * sizeof *counts);
        valid = counts && mprof_livetable_valid(&r->live) && mprof_stacktrie_valid(&r->trie) &&
                count_entries(r, &scratch, counts);
        for (uint32_t i = 0; valid && i < r->trie.stack_used; i++)
            valid = r->trie.infos[i].recent == MPROF_STACK_FREE ? counts[i] == 0 : counts[i] == r->trie.stacks[i].live;
        valid = valid && r->peak_bytes >= r->total_bytes * (1 - 1e-9);
    }
    mprof_recorder_unlock(r);
    mprof_arena_drop(&scratch);
    return valid;
}
