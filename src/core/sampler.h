/* SPDX-License-Identifier: MIT */
/* sampler.h -- which allocations become samples, and what a sample stands for.
 *
 * WHAT    Every byte allocated is marked with probability 1/R, independently; an allocation that holds a mark is a
 *         sample. The gaps between marks are exponential with mean R, so a thread draws one gap, counts it down by
 *         the size of each allocation, and takes the allocation that uses it up:
 *
 *             bytes:   |--24--|-----512-----|-32-|----------4096----------|--
 *             gap:     ......................................x
 *             sample:                                    ^^^^^^^^^^^^^^^^^^
 *
 *         The exponential has no memory: what is left of a gap after an allocation, and a fresh gap after a sample,
 *         have the same distribution. So the gap may be redrawn at any time, and each thread may count its own. P(an
 *         allocation of s bytes is a sample) = 1 - exp(-s/R) = p. It stands for 1/p blocks and s/p bytes (Horvitz and
 *         Thompson, 1952). A request for 0 bytes counts as 1.
 * WHY     Counting bytes makes a sample's chance depend on its size alone. Sampling every n-th allocation misses the
 *         large ones; sampling on a timer misses bursts. A gap of fixed length would meet loops whose period divides
 *         it.
 * LOCKS   the countdown is the thread's own. mprof_tls is written by its thread, and by mprof_recorder_start of
 *         another thread (see there).
 * MEMORY  32 bytes of static thread-local storage. */
#ifndef MPROF_CORE_SAMPLER_H
#define MPROF_CORE_SAMPLER_H

#include "base/compiler.h"
#include "base/rng.h"

#include <stdbool.h>
#include <stdint.h>

struct mprof_thread;

struct mprof_tls {
    uint64_t countdown; /* bytes until the next mark; a fresh thread's 0 sends its first allocation to the slow path */
    struct mprof_thread *thread; /* buffers and generator; NULL until the first sample */
    uint32_t nested;             /* inside an OBJ or MEM hook: a RAW request is part of a block already counted */
    uint32_t busy;               /* inside the recorder: a signal handler that allocates must not enter it again */
    uint32_t exiting; /* the thread's state was given back: use the shared one. 1: no gap drawn since; 2: drawn */
    uint32_t probe;   /* not 0: hooks only leave their marks here, see hooks.c */
};

/* The initial-exec model costs one instruction instead of a call; it needs room in the static block, which is why the
 * struct is small. musl cannot give that room to a library loaded later. */
#if defined(MPROF_TLS_DYNAMIC)
extern _Thread_local struct mprof_tls mprof_tls MPROF_HIDDEN;
#else
extern _Thread_local struct mprof_tls mprof_tls MPROF_HIDDEN __attribute__((tls_model("initial-exec")));
#endif

/* Countdown of a thread that must not sample. */
#define MPROF_COUNTDOWN_NEVER UINT64_MAX

static inline uint64_t mprof_sampler_countdown(void)
{
    return __atomic_load_n(&mprof_tls.countdown, __ATOMIC_RELAXED);
}

static inline void mprof_sampler_set(uint64_t countdown)
{
    __atomic_store_n(&mprof_tls.countdown, countdown, __ATOMIC_RELAXED);
}

/* The fast path: true if an allocation of `size` bytes, not 0, may be passed on unrecorded; counts it then. A
 * subtraction and a look at its borrow. */
static inline bool mprof_sampler_pass(uint64_t size)
{
    uint64_t left;
    if (__builtin_sub_overflow(mprof_sampler_countdown(), size, &left))
        return false;
    mprof_sampler_set(left);
    return true;
}

/* The same with a request for 0 bytes counted as 1. */
static inline bool mprof_sampler_pass_any(uint64_t size)
{
    return mprof_sampler_pass(size + (size == 0));
}

/* Bytes that may pass before the next mark: floor of an exponential variate with mean `rate`. The floor keeps
 * P(gap < s) = 1 - exp(-s/R) for whole s. rate <= 1: 0, every allocation is a sample. */
uint64_t mprof_sampler_gap(struct mprof_rng *rng, double rate);

/* p: probability that an allocation of `size` bytes is a sample; 1 for rate <= 1. */
double mprof_sampler_probability(uint64_t size, double rate);

/* Whether a sample taken at rate `from` is kept at the coarser rate `to`: with probability p(size; to) / p(size; from).
 * Those kept are distributed as if sampled at `to` from the start, so large blocks, whose p stays near 1, survive. */
bool mprof_sampler_keep(struct mprof_rng *rng, uint64_t size, double from, double to);

#endif
