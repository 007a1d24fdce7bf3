/* SPDX-License-Identifier: MIT */
/* recorder.h -- the profile as it grows.
 *
 * WHAT    One recorder a process. The allocator hooks report to it what their fast paths do not pass:
 *
 *             hook_malloc  --mprof_sampler_pass-->  base allocator                       (nearly always)
 *                   \--base allocator, then mprof_recorder_add                           (a sample, or exact mode)
 *             hook_free    --mprof_recorder_watched-->  base allocator                   (nearly always)
 *                   \--mprof_recorder_remove, then base allocator
 *             hook_realloc  mprof_recorder_take, base allocator, then add, or restore if it failed
 *
 *         It keeps live samples, stacks with their figures, totals and the peak.
 * WHY     The order of each pair above is what keeps another thread's block alive in the table: an address may be
 *         handed out again the moment the base allocator has it back, so its record must be gone before.
 * LOCKS   One lock protects everything but the thread-local words and the filter's bytes. It is held for short,
 *         without waiting for anything, and without any call into the program. mprof_recorder_add walks the stack
 *         before it takes it. Lock order: none, there is only this one. fork: taken before, released after in the
 *         parent, reset in the child, whose other threads' states are reclaimed.
 * MEMORY  Two arenas: one for the profile, dropped by stop and clear, and one for the states of threads, never
 *         dropped because threads point to theirs. Want of memory drops the sample and counts the drop; the program's
 *         own allocation has already succeeded. */
#ifndef MPROF_CORE_RECORDER_H
#define MPROF_CORE_RECORDER_H

#include "base/compiler.h"
#include "core/livetable.h"
#include "core/sampler.h"
#include "core/sieve.h"
#include "core/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mprof_snapshot;

struct mprof_recorder_options {
    double sample_rate;  /* mean bytes between marks; <= 1: exact */
    uint32_t max_frames; /* 1 .. MPROF_MAX_FRAMES */
    bool seeded;         /* tests: draw from `seed` instead of the system's entropy */
    uint64_t seed;
    uint64_t max_live;   /* most live samples to keep; 0: no bound */
    size_t memory_limit; /* most bytes for the profile; 0: no limit */
    const struct mprof_source *source;
};

enum { MPROF_MAX_FRAMES = 65535 };

/* Bound on live samples in sampled mode unless the caller sets one: about 15 MiB. */
#define MPROF_DEFAULT_MAX_LIVE UINT64_C(262144)

enum mprof_recorder_error { MPROF_RECORDER_NO_MEMORY = -1, MPROF_RECORDER_ACTIVE = -2 };

/* 0, or an enum mprof_recorder_error. */
int mprof_recorder_start(const struct mprof_recorder_options *options);
/* Forgets everything. Hooks that are still running, or installed, do no harm. */
void mprof_recorder_stop(void);
/* Forgets the samples and goes on recording. -1: no memory, recording has stopped. */
int mprof_recorder_clear(void);
bool mprof_recorder_active(void);

/* ---- from the hooks ---- */

/* Exact mode watches everything. */
extern union mprof_sieve mprof_recorder_sieve MPROF_HIDDEN;

/* False: nothing is known of the address. */
static inline bool mprof_recorder_watched(uintptr_t address)
{
    return mprof_sieve_maybe(&mprof_recorder_sieve, address);
}

/* True from a start in exact mode to the stop. */
extern bool mprof_recorder_exact MPROF_HIDDEN;

static inline bool mprof_recorder_is_exact(void)
{
    return __atomic_load_n(&mprof_recorder_exact, __ATOMIC_RELAXED);
}

/* Reports a block that the base allocator has just given out and the fast path did not pass: decides whether it is a
 * sample, draws the next gap, records it. `attached` as in source.h. */
void mprof_recorder_add(bool attached, uintptr_t address, uint64_t size);
/* Reports that the base allocator refused what the fast path did not pass. The gap was shorter than the request, which
 * the blocks after it must not know: draws another. */
void mprof_recorder_refused(void);

/* Reports that a block is about to be given back. */
void mprof_recorder_remove(uintptr_t address);

/* What realloc removed, in case it fails. */
struct mprof_taken {
    struct mprof_live entry;
    struct mprof_detail detail;
    double rate; /* in force when it was taken */
    uint64_t generation;
    unsigned birth_shift;
    bool found;
};

/* As remove, and keeps what was removed. If something was found, settle or restore must follow. */
void mprof_recorder_take(uintptr_t address, struct mprof_taken *taken);
/* The base allocator has moved the block or given it back. Does nothing if nothing was found. */
void mprof_recorder_settle(const struct mprof_taken *taken);
/* The base allocator refused: the old block lives on, and its record with it. Does nothing if nothing was found. */
void mprof_recorder_restore(const struct mprof_taken *taken);
/* The object at `address` is handed out anew without passing an allocator (a free list): if it has a record, its stack
 * becomes the caller's. */
void mprof_recorder_reuse(bool attached, uintptr_t address);

/* From now on stacks of threads that are not attached to the runtime are not walked: their states may be freed under
 * them. Returns when no such walk is going on, or after a second. */
void mprof_recorder_finalizing(bool finalizing);

/* ---- figures ---- */

struct mprof_recorder_totals {
    double bytes; /* in use, estimated */
    double peak_bytes;
    double sample_rate; /* now in force */
    uint64_t live;      /* samples */
    uint64_t drops;
    uint64_t thinnings;
    uint64_t waits;   /* of the process: times that a thread had to wait for the recorder's lock */
    uint64_t favours; /* of the process: times that a thread's favour was ended for another (recorder_favour.c) */
    uint64_t prunes;
    uint64_t nodes; /* of the stack tree */
    uint64_t stacks;
    size_t memory; /* bytes mapped by the profiler */
    uint32_t max_frames;
};

void mprof_recorder_totals(struct mprof_recorder_totals *totals);
void mprof_recorder_reset_peak(void);

/* A consistent copy; the program waits only for the copying. NULL: not active (errno is 0), or no memory (ENOMEM). */
struct mprof_snapshot *mprof_recorder_snapshot(void);
/* The same in less time, for who writes it down: instructions of one line that called one another's equals are not
 * merged, so that there may be several stacks, and nodes, that look alike; and `inuse` of the stacks is not filled in:
 * the blocks say it. */
struct mprof_snapshot *mprof_recorder_snapshot_unmerged(void);

/* Stack of the sample at an address. Calls `frame` for each frame, innermost first, under the lock: it must only copy.
 * 1: found; 0: not recorded; -1: `frame` returned non-zero. */
struct mprof_frame_view {
    const char *filename;
    size_t filename_length;
    const char *name;
    size_t name_length;
    uint32_t firstlineno;
    uint32_t line;
};
int mprof_recorder_stack(uintptr_t address, int (*frame)(void *context, const struct mprof_frame_view *view),
                         void *context);

/* ---- for who waits for changes ---- */

enum { MPROF_BELL_CHANGED = 1, MPROF_BELL_GROWN = 2 }; /* other bits are the waiter's own */

/* Clears both bits of *bell. The next change of what is in use sets CHANGED; when it has grown by `growth` (0.1 is a
 * tenth) of what is in use now, by `least` bytes, and above `floor` bytes, GROWN is set, too. One waiter on the word is
 * woken each time. There is one bell; NULL: none. */
void mprof_recorder_arm(uint32_t *bell, double growth, double least, double floor);

/* ---- tests ---- */

/* Makes the profile's arena refuse its n-th request from now (1 is the next) and `count` more; 0: none. */
void mprof_recorder_fail(uint64_t n, uint64_t count);
/* Checks every invariant between the tables. */
bool mprof_recorder_valid(void);

#endif
