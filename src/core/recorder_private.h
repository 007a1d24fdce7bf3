/* SPDX-License-Identifier: MIT */
/* recorder_private.h -- the recorder's state, shared by its files.
 *
 * WHAT    struct mprof_recorder and the state of a thread. recorder.c: life cycle, threads. recorder_fork.c: fork.
 *         recorder_favour.c: the lock for a thread that is alone. record.c: add and remove. record_stack.c: from a walk
 *         to a stack. recorder_prune.c: dead stacks. recorder_thin.c: the bound on live samples. snapshot_take.c: the
 *         copy.
 * WHY     One idea a file, one struct.
 * LOCKS   `lock` protects every field, but for `reentered` (atomic) and `active`, `session`, `epoch` and `finalizing`,
 *         which are also read without it as hints. A favoured thread holds it by being `inside` (recorder_favour.c).
 *         Functions named _locked are called with it held.
 * MEMORY  see recorder.h. */
#ifndef MPROF_CORE_RECORDER_PRIVATE_H
#define MPROF_CORE_RECORDER_PRIVATE_H

#include "base/lock.h"
#include "core/filter.h"
#include "core/functab.h"
#include "core/recorder.h"
#include "core/stacktrie.h"
#include "core/strtab.h"

/* What a thread needs for its samples. Owned by its thread; the list is under the lock. */
struct mprof_thread {
    struct mprof_thread *next; /* of all states, in use or not */
    struct mprof_tls *tls;     /* its thread's words; NULL: free for the next thread */
    long id;                   /* of its thread, for the system */
    struct mprof_rng rng;
    double rate;                       /* at which the current gap was drawn */
    uint64_t session;                  /* of the recorder that the gap belongs to; 0: none yet */
    const struct mprof_source *source; /* of the session; the recorder's own may change while the thread is walking */
    uint32_t max_frames;               /* of the session */
    uint32_t capacity;                 /* frames that each buffer holds */
    struct mprof_rawframe *frames;     /* what a walk writes, innermost first */
    struct mprof_rawframe *stack;      /* the last capture, with its nodes, outermost first: last.frames */
    struct mprof_lastwalk last;
    uint64_t epoch;         /* of `last`, where that has any frames */
    uintptr_t last_address; /* of the last block recorded */
    uint32_t inside;        /* 1: it holds the lock by favour, or is about to look whether it may; atomic */
    uint32_t detached;      /* 1: between a walk without the runtime's leave and the use of what it found; atomic */
};

/* A remembered step down the tree; see record.c. */
struct mprof_step {
    const void *code;
    uint32_t offset;
    uint32_t parent;
    uint32_t node;
    uint32_t epoch; /* low half of the recorder's */
};

/* What is known of an instruction, for steps that were not made before: every stack of a recursion is another one. */
struct mprof_instruction {
    const void *code;
    uint32_t offset;
    uint32_t function;
    uint32_t line;
    uint32_t epoch; /* low half of the recorder's */
};

/* What a free that the sieve let through is held against, without the lock. Never NULL: in exact mode one that says
 * "maybe" to everything. Under the lock, for changes. */
extern const struct mprof_filter *mprof_recorder_filter MPROF_HIDDEN;

/* The tree is pruned when it has grown by at least so many nodes, in so many phases. */
enum { MPROF_PRUNE_MIN_NODES = 16384, MPROF_PRUNE_PHASES = 4 };

enum { MPROF_STEP_BITS = 12, MPROF_STEPS = 1 << MPROF_STEP_BITS, MPROF_DEFERRED = 64 };
enum { MPROF_INSTRUCTION_BITS = 10, MPROF_INSTRUCTIONS = 1 << MPROF_INSTRUCTION_BITS };

/* What was learnt lately, each at the place that its hash says. Zeroes are known of no frame: no code is at 0. */
struct mprof_memory {
    struct mprof_step steps[MPROF_STEPS];
    struct mprof_instruction instructions[MPROF_INSTRUCTIONS];
};

struct mprof_recorder {
    struct mprof_lock lock;
    uint32_t forking;        /* atomic: mood of the lock (lock.h), hurried while it is held for a fork */
    uint32_t deferred_count; /* atomic: addresses in `deferred`, and 1 for `deferred_lost` */
    bool deferred_lost;      /* atomic: there was no room for an address; it may have been a code's */
    bool active;
    bool exact; /* sample_rate <= 1 */
    bool plain; /* exact, and without a bound on live blocks: nothing to estimate, sums of whole numbers */
    bool finalizing;
    uint64_t session;    /* counts starts and clears: gaps from an older one are void */
    uint64_t generation; /* counts starts, stops and clears: indices of stacks from an older one mean nothing */
    uint64_t epoch; /* generation, prunes, and deaths of code objects: captures remembered from an older one are void */
    struct mprof_recorder_options options;
    double rate; /* now in force: options.sample_rate, doubled by each thinning */
    struct mprof_arena arena;
    struct mprof_livetable live;
    struct mprof_strtab strings;
    struct mprof_functab functions;
    struct mprof_stacktrie trie;
    struct mprof_filter *watched;          /* sampled addresses (not in exact mode) and codes */
    struct mprof_memory *memory;           /* NULL: none left for it, do without */
    struct mprof_description *description; /* scratch of describe */
    double total_bytes;
    double total_blocks;
    double peak_bytes;
    uint64_t peak_stamp;
    int64_t peak_ns; /* monotonic */
    uint64_t next_id;
    uint64_t drops;
    uint64_t reentered; /* atomic, without the lock: samples lost to callers that could not wait for the lock */
    uint64_t thinnings;
    uint64_t prunes;
    uint32_t phase;       /* of the tree's growth, counted: see recorder_prune.c */
    uint32_t phases_left; /* until the tree is pruned, with this one */
    uint32_t phase_nodes;
    uint32_t phase_ends; /* when the tree has so many nodes */
    int64_t start_ns;    /* monotonic */
    int64_t start_wall_ns;
    uint64_t recording; /* random identity of this start */
    unsigned birth_shift;
    struct mprof_rng rng; /* for thinning */
    uint32_t *bell;       /* see mprof_recorder_arm; NULL: none */
    double ring_above;    /* bytes in use above which to ring next: minus infinity, grown_above, infinity */
    double grown_above;

    uintptr_t deferred[MPROF_DEFERRED]; /* atomic: freed while nobody could take the lock; 0: empty */

    struct mprof_arena thread_arena;
    struct mprof_thread *threads;
    struct mprof_thread *orphan; /* shared by threads that have given theirs back; used with the lock held */
    uint64_t thread_serial;
    bool registered; /* the process-wide handlers are in place */

    struct mprof_thread *favoured; /* atomic: it need not take the lock, see recorder_favour.c; NULL: no thread */
    struct mprof_thread *streak_of;
    uint32_t streak;  /* how often that one's hooks have taken the lock, and no other's since */
    uint32_t favours; /* how often favour was ended for another thread */
    bool may_favour;  /* the system has what it takes */
};

extern struct mprof_recorder mprof_recorder;

/* What one sample of `size` bytes stands for at the rate in force. */
struct mprof_weight {
    double bytes;
    double blocks;
    double bytes_var;
    double blocks_var;
    double seen;
};

void mprof_recorder_weigh(const struct mprof_recorder *r, uint64_t size, struct mprof_weight *weight);
/* Adds (sign 1) or takes away (-1) a sample from its stack's in-use figures and the totals; moves the peak. */
void mprof_recorder_count_locked(struct mprof_recorder *r, uint32_t stack, const struct mprof_weight *weight, int sign,
                                 int64_t now);
/* Rings the bell for the change, or for the growth, that total_bytes has come to. */
void mprof_recorder_ring_locked(struct mprof_recorder *r);
/* Size of the block of an entry. */
uint64_t mprof_recorder_size_locked(const struct mprof_recorder *r, const struct mprof_live *entry);
/* Drops an entry that is no longer in the table: figures, detail, filter. */
void mprof_recorder_discard_locked(struct mprof_recorder *r, const struct mprof_live *entry, int64_t now);

/* From now on what threads remember of their last captures means nothing. */
static inline void mprof_recorder_void_captures_locked(struct mprof_recorder *r)
{
    __atomic_store_n(&r->epoch, r->epoch + 1, __ATOMIC_RELAXED);
}

/* Hash of a step down the tree; with the root as parent, of an instruction. The upper bits are the good ones. */
MPROF_INLINE uint64_t mprof_recorder_hash(uint32_t parent, const struct mprof_rawframe *frame)
{
    uint64_t key = ((uint64_t)(uintptr_t)frame->code >> 4) * UINT64_C(0x9e3779b97f4a7c15);
    return (key ^ parent ^ (uint64_t)frame->offset << 32) * UINT64_C(0xd1342543de82ef95);
}

/* Where a step is remembered; NULL: nowhere. */
MPROF_INLINE struct mprof_step *mprof_recorder_step(const struct mprof_recorder *r, uint32_t parent,
                                                    const struct mprof_rawframe *frame)
{
    uint64_t hash = mprof_recorder_hash(parent, frame);
    return r->memory ? &r->memory->steps[hash >> (64 - MPROF_STEP_BITS)] : NULL;
}

MPROF_INLINE bool mprof_recorder_step_known(const struct mprof_recorder *r, const struct mprof_step *step,
                                            uint32_t parent, const struct mprof_rawframe *frame)
{
    return step->code == frame->code && step->offset == frame->offset && step->parent == parent &&
           step->epoch == (uint32_t)r->epoch;
}

/* Walks the stack of the calling thread, whose state `thread` is. Every walk ends with walk_done(), once nothing needs
 * the frames any more. Without the runtime's leave it says so first and then looks whether the runtime is about to end;
 * mprof_recorder_finalizing does the two the other way round. So either the walk does not begin, or the runtime waits
 * until it is over. */
MPROF_INLINE struct mprof_walked mprof_recorder_walk(const struct mprof_recorder *r, struct mprof_thread *thread,
                                                     bool attached)
{
    if (!attached) {
        __atomic_store_n(&thread->detached, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&r->finalizing, __ATOMIC_SEQ_CST))
            return (struct mprof_walked){0, 0, NULL};
    }
    if (mprof_unlikely(thread->epoch != __atomic_load_n(&r->epoch, __ATOMIC_RELAXED)))
        thread->last.count = 0;
    return thread->source->walk(attached, &thread->last, thread->frames, thread->max_frames);
}

/* The stack record of what the thread has just walked, and the thread remembers it. `attached` as then. -1: no memory.
 */
int mprof_recorder_find_stack_locked(struct mprof_recorder *r, struct mprof_thread *thread, bool attached,
                                     struct mprof_walked walked, uint32_t *stack);
/* Remembers a frame that was walked. Word by word (gcc keeps it so), as it was written a moment ago: a copy of two words
 * at once would wait for the stores. */
MPROF_INLINE void mprof_recorder_keep_frame(struct mprof_rawframe *kept, const struct mprof_rawframe *frame,
                                            uint32_t node)
{
    *kept = (struct mprof_rawframe){frame->code, frame->offset, node, frame->place, frame->at};
}

/* The same for the two cases that are nearly all: nothing is new, or the innermost frame is, and this step was made
 * before. False: find_stack it is. */
MPROF_INLINE bool mprof_recorder_find_stack_quickly_locked(struct mprof_recorder *r, struct mprof_thread *thread,
                                                           struct mprof_walked walked, uint32_t *stack)
{
    if (mprof_unlikely(walked.kept - 1 >= thread->last.count || walked.count > 1 || thread->epoch != r->epoch))
        return false; /* also where nothing was kept */
    uint32_t node = thread->stack[walked.kept - 1].node;
    if (walked.count == 1) {
        const struct mprof_rawframe *frame = thread->frames;
        struct mprof_step *step = mprof_recorder_step(r, node, frame);
        if (mprof_unlikely(!step || !mprof_recorder_step_known(r, step, node, frame)))
            return false;
        node = step->node;
        mprof_recorder_keep_frame(&thread->stack[walked.kept], frame, node);
        thread->last.slots[mprof_source_slot(frame->place)] = (uint16_t)walked.kept;
    }
    uint32_t found = r->trie.nodes[node].stack;
    if (mprof_unlikely(found == 0))
        return false;
    thread->last.count = walked.kept + walked.count;
    thread->last.cut = walked.more != NULL;
    *stack = found - 1;
    r->trie.infos[found - 1].recent = r->phase;
    return true;
}

/* Notes that an address needs the slow path of a free. */
void mprof_recorder_watch_locked(struct mprof_recorder *r, uintptr_t address);

/* State of the calling thread, made if need be; NULL: no memory. Sets *shared if it is the orphans', to be used only
 * with the lock held. */
struct mprof_thread *mprof_recorder_thread_locked(struct mprof_recorder *r);
/* Random numbers of a seeded recorder: the n-th thread of each session draws the same. */
void mprof_recorder_seed(struct mprof_recorder *r, struct mprof_thread *thread);
/* Fresh gap at the rate in force. */
void mprof_recorder_draw(struct mprof_recorder *r, struct mprof_thread *thread);

/* A phase has ended: the next one begins, after the last of them with a tree that was pruned. */
void mprof_recorder_next_phase_locked(struct mprof_recorder *r);
/* When the tree, as it is now, is pruned next. */
void mprof_recorder_plan_prune_locked(struct mprof_recorder *r);
/* Doubles the rate, once or more, until live samples are well below the bound. */
void mprof_recorder_thin_locked(struct mprof_recorder *r, int64_t now);

/* Forgets without touching what the tables hold; what they hold is lost. For a child whose tables are half changed. */
void mprof_recorder_abandon(struct mprof_recorder *r);
int mprof_recorder_register_fork(void);
/* Notes a freed address for the next holder of the lock. When there is no room the free is counted as a drop. */
void mprof_recorder_defer(struct mprof_recorder *r, uintptr_t address);
void mprof_recorder_drain_locked(struct mprof_recorder *r);
/* Forgets what is known of an address: its sample, its code object. */
void mprof_recorder_forget_locked(struct mprof_recorder *r, uintptr_t address);

/* ---- the lock ---- */

/* Whether the system lets a thread be favoured. At a start in exact mode, and in a child forked then. */
bool mprof_recorder_can_favour(void);
/* With the lock held, and another thread favoured: it is no longer, and is not inside. */
void mprof_recorder_disfavour_locked(struct mprof_recorder *r);

/* Times that a thread takes the lock, without another in between, before it is favoured: to end it costs some
 * microseconds. */
enum { MPROF_FAVOUR_AFTER = 4096 };

/* What was freed while nobody could take the lock. */
MPROF_INLINE void mprof_recorder_catch_up(struct mprof_recorder *r)
{
    if (mprof_unlikely(__atomic_load_n(&r->deferred_count, __ATOMIC_ACQUIRE) != 0))
        mprof_recorder_drain_locked(r);
}

/* `busy` is for signal handlers of the same thread: the compiler must not move it across the lock. */
static inline void mprof_recorder_entered(struct mprof_recorder *r)
{
    struct mprof_thread *favoured = __atomic_load_n(&r->favoured, __ATOMIC_RELAXED);
    if (mprof_unlikely(favoured != NULL) && favoured != mprof_tls.thread)
        mprof_recorder_disfavour_locked(r);
    mprof_recorder_catch_up(r);
}

static inline void mprof_recorder_lock(struct mprof_recorder *r)
{
    mprof_tls.busy = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    mprof_lock_acquire(&r->lock);
    mprof_recorder_entered(r);
}

/* As lock, but does not wait for long while a fork is going on: false then. For what the program's threads run into
 * by themselves. */
static inline bool mprof_recorder_enter(struct mprof_recorder *r)
{
    mprof_tls.busy = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (mprof_unlikely(!mprof_lock_acquire_within(&r->lock, &r->forking))) {
        mprof_tls.busy = 0;
        return false;
    }
    mprof_recorder_entered(r);
    return true;
}

static inline void mprof_recorder_unlock(struct mprof_recorder *r)
{
    mprof_lock_release(&r->lock);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    mprof_tls.busy = 0;
}

/* As enter and unlock, for the hooks. `thread` is the calling thread's state, or NULL. *by_favour is for the unlock. */
MPROF_INLINE bool mprof_recorder_enter_hook(struct mprof_recorder *r, struct mprof_thread *thread, bool *by_favour)
{
    *by_favour = false;
    if (mprof_likely(thread != NULL) && mprof_likely(__atomic_load_n(&r->favoured, __ATOMIC_RELAXED) == thread)) {
        mprof_tls.busy = 1;
        __atomic_signal_fence(__ATOMIC_SEQ_CST); /* a handler in between would leave inside at 0 */
        __atomic_store_n(&thread->inside, 1, __ATOMIC_RELAXED);
        /* Who ends the favour makes this one between two instructions of every thread. */
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        if (mprof_likely(__atomic_load_n(&r->favoured, __ATOMIC_RELAXED) == thread)) {
            *by_favour = true;
            mprof_recorder_catch_up(r);
            return true;
        }
        __atomic_store_n(&thread->inside, 0, __ATOMIC_RELEASE);
    }
    if (mprof_unlikely(!mprof_recorder_enter(r)))
        return false;
    if (r->streak_of != thread) {
        r->streak_of = thread;
        r->streak = 0;
    } else if (mprof_unlikely(++r->streak >= MPROF_FAVOUR_AFTER) && r->plain && r->may_favour && thread) {
        __atomic_store_n(&r->favoured, thread, __ATOMIC_RELAXED);
    }
    return true;
}

MPROF_INLINE void mprof_recorder_unlock_hook(struct mprof_recorder *r, struct mprof_thread *thread, bool by_favour)
{
    if (mprof_likely(by_favour)) {
        __atomic_store_n(&thread->inside, 0, __ATOMIC_RELEASE);
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        mprof_tls.busy = 0;
    } else {
        mprof_recorder_unlock(r);
    }
}

#endif
