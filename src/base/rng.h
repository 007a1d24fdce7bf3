/* SPDX-License-Identifier: MIT */
/* rng.h -- a small random number generator, one per thread.
 *
 * WHAT    SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): a counter
 *         that steps by an odd constant, and a mixing function. 64 bits of state, period 2^64, passes BigCrush.
 * WHY     rand() has a global lock and few bits; a larger generator would cost a cache line a thread for no gain at
 *         one number per sample.
 * LOCKS   the caller owns its generator.
 * MEMORY  none. */
#ifndef MPROF_BASE_RNG_H
#define MPROF_BASE_RNG_H

#include <stdint.h>

struct mprof_rng {
    uint64_t state;
};

/* A bijection of 64 bits in which every input bit moves every output bit; also the hash of small keys. */
static inline uint64_t mprof_mix64(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline void mprof_rng_seed(struct mprof_rng *rng, uint64_t seed)
{
    rng->state = mprof_mix64(seed);
}

static inline uint64_t mprof_rng_next(struct mprof_rng *rng)
{
    rng->state += UINT64_C(0x9e3779b97f4a7c15);
    return mprof_mix64(rng->state);
}

/* Uniform in the open interval (0, 1): 2^52 equally spaced values, neither end among them. (With 53 bits the half that
 * is added would be rounded away near 1, and the last value be 1.) */
static inline double mprof_rng_uniform(struct mprof_rng *rng)
{
    return ((double)(mprof_rng_next(rng) >> 12) + 0.5) * 0x1p-52;
}

#endif
