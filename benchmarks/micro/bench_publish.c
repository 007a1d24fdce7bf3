/* SPDX-License-Identifier: MIT */
/* bench_publish.c -- what one publication takes, part by part.
 *
 * 100,000 stacks of 24 frames each, in sampled mode, with 100,000 and with 250,000 live blocks; the file goes to a
 * directory of its own below TMPDIR or /tmp. Prints the best of several rounds. */
#define _GNU_SOURCE
#include "fake_source.h"

#include "base/os.h"
#include "publish/publication.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { STACKS = 100000, DEPTH = 24, CODES = 2000, ROUNDS = 7 };

static struct fake_code codes[CODES];
static struct mprof_publication publication;

/* The frames of a stack: the outer ones are shared by many, the innermost by none. Each stack has two nodes and a half. */
static void enter(uint32_t stack)
{
    struct mprof_rng rng;
    fake_depth = 0;
    for (uint32_t i = 0; i < DEPTH; i++) {
        mprof_rng_seed(&rng, ((uint64_t)i << 32) | (stack >> (17 - (i + 1) * 17 / DEPTH)));
        uint64_t draw = mprof_rng_next(&rng);
        fake_call(&codes[draw % CODES], (uint32_t)(draw >> 32) % 64 * 2);
    }
}

static void fill(uint32_t blocks)
{
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 1);
    for (uint32_t i = 0; i < CODES; i++)
        codes[i] = fake_code(i, i / 20, 1 + i * 10);
    for (uint32_t i = 0; i < blocks; i++) {
        enter(i < STACKS ? i : (uint32_t)(mprof_rng_next(&rng) % STACKS));
        mprof_recorder_add(true, 0x1000 + 64 * (uintptr_t)i, 16 + mprof_rng_next(&rng) % 64 * 8);
    }
}

/* The processor's time: others may be using the machine. */
static int64_t thread_ns(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static double milliseconds(int64_t ns)
{
    return (double)ns / 1e6;
}

/* False: it cannot be measured. */
static bool measure(uint32_t blocks)
{
    char directory[256], target[300];
    const char *below = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/publish-XXXXXX", below ? below : "/tmp");
    if (!mkdtemp(directory))
        return false;
    snprintf(target, sizeof target, "%s/heap.pb.gz", directory);
    const struct mprof_publication_options options = {.target = target};
    struct mprof_recorder_options recorder = {
        .sample_rate = 2, .max_frames = 128, .seeded = true, .seed = 1, .source = &fake_source};
    if (mprof_recorder_start(&recorder) != 0 || mprof_publication_begin(&publication, &options) != 0)
        return false;
    fill(blocks);
    struct mprof_recorder_totals totals;
    mprof_recorder_totals(&totals);
    int64_t best[4] = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
    int64_t total = INT64_MAX;
    uint64_t resident = mprof_os_resident();
    for (int round = 0; round < ROUNDS; round++) {
        int64_t begin = thread_ns();
        if (mprof_publication_publish(&publication, false) != 0)
            return false;
        const int64_t took[4] = {publication.snapshot_ns, publication.encode_ns, publication.pack_ns,
                                 publication.write_ns};
        for (int i = 0; i < 4; i++)
            best[i] = took[i] < best[i] ? took[i] : best[i];
        int64_t took_all = thread_ns() - begin;
        total = took_all < total ? took_all : total;
    }
    printf("%llu stacks, %llu nodes, %llu blocks: %zu bytes\n", (unsigned long long)totals.stacks,
           (unsigned long long)totals.nodes, (unsigned long long)totals.live, publication.plain_bytes);
    printf("snapshot %.1f ms, encode %.1f ms, gzip %.1f ms, write %.1f ms; the thread's time in all %.1f ms\n",
           milliseconds(best[0]), milliseconds(best[1]), milliseconds(best[2]), milliseconds(best[3]),
           milliseconds(total));
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    printf("%.1f MiB of memory meanwhile, beside the recorder's\n",
           (double)(usage.ru_maxrss - (int64_t)(resident >> 10)) / 1024);
    mprof_publication_end(&publication);
    mprof_recorder_stop();
    unlink(target);
    rmdir(directory);
    return true;
}

int main(void)
{
    return measure(STACKS) && measure(STACKS / 2 * 5) ? 0 : 1;
}
