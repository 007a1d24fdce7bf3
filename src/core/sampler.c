/* SPDX-License-Identifier: MIT */
/* sampler.c -- see sampler.h. */
#include "core/sampler.h"

#include <math.h>

#if defined(MPROF_TLS_DYNAMIC)
_Thread_local struct mprof_tls mprof_tls;
#else
_Thread_local struct mprof_tls mprof_tls __attribute__((tls_model("initial-exec")));
#endif

uint64_t mprof_sampler_gap(struct mprof_rng *rng, double rate)
{
    if (!(rate > 1.0))
        return 0;
    /* -log(u) is at most 36.8 for the smallest u of mprof_rng_uniform; the cap is for absurd rates only. */
    double gap = -log(mprof_rng_uniform(rng)) * rate;
    return gap < 0x1p62 ? (uint64_t)gap : UINT64_C(1) << 62;
}

double mprof_sampler_probability(uint64_t size, double rate)
{
    if (!(rate > 1.0))
        return 1.0;
    return -expm1(-(double)(size + (size == 0)) / rate);
}

bool mprof_sampler_keep(struct mprof_rng *rng, uint64_t size, double from, double to)
{
    return mprof_rng_uniform(rng) * mprof_sampler_probability(size, from) < mprof_sampler_probability(size, to);
}
