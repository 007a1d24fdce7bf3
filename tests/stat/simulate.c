/* SPDX-License-Identifier: MIT */
/* simulate.c -- the real core on made-up programs, for test_statistics.py.
 *
 * WHAT    Four modes, each printing comma-separated values:
 *
 *             simulate truth              a line a program, group and figure: its mean over all seeds, and more
 *             simulate groups SEEDS       a line a program, seed and group: what the profile says
 *             simulate gaps RATE N        N gaps
 *             simulate inclusion RATE N   a line a size: blocks allocated, blocks sampled
 *
 *         A program is a script of allocations, frees and reallocs (some refused), cut into four parts that four
 *         threads play at once; a part of the blocks is freed by another thread than the one that made them. The script
 *         is the same for all seeds, so the truth is; only the sampling differs. Groups are stacks of one frame, of
 *         very different numbers of blocks. The first of "bimodal" has small blocks alone, as any real program has many.
 *
 *         Every figure of a profile is a sum of terms, one a block, that are there with the block's probability p and
 *         0 otherwise. So its mean, variance and fourth cumulant over all seeds are sums over the blocks, too:
 *
 *             mean a p        variance a^2 p (1-p)        fourth cumulant a^4 p (1-p) (1 - 6 p (1-p))
 *
 *         with a = s/p for bytes, 1/p for blocks, s^2 (1-p)/p^2 and (1-p)/p^2 for their variances.
 * WHY     Addresses are numbers, so 8 MiB blocks cost nothing, and the fast path is the real one: a million allocations
 *         take milliseconds.
 * LOCKS   Threads take their seeds in turn, so that the same seed gives the same samples however they are scheduled.
 * MEMORY  scripts from malloc, once. */
#define _GNU_SOURCE
#include "fake_source.h"

#include "core/recorder_private.h"
#include "core/snapshot.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { GROUPS = 8, WORKERS = 4 };

static const uint64_t LARGEST = 8 << 20;

/* ---- programs ---- */

typedef uint64_t draw_size(struct mprof_rng *rng);

static uint64_t uniform(struct mprof_rng *rng)
{
    return 1 + mprof_rng_next(rng) % LARGEST;
}

static uint64_t bimodal(struct mprof_rng *rng)
{
    return mprof_rng_next(rng) % 2 ? 64 : 2 << 20;
}

/* P(size > s) = (32 / s)^1.2 */
static uint64_t heavy_tailed(struct mprof_rng *rng)
{
    double size = 32 * pow(mprof_rng_uniform(rng), -1 / 1.2);
    return size < (double)LARGEST ? (uint64_t)size : LARGEST;
}

/* What most objects of a Python program take. */
static uint64_t small(struct mprof_rng *rng)
{
    return 32 + 16 * (mprof_rng_next(rng) % 31);
}

/* Small, but over a factor of 256: a sampled block stands for 32 blocks or for 8192. */
static uint64_t wide(struct mprof_rng *rng)
{
    return 16 + mprof_rng_next(rng) % 4081;
}

static const struct program {
    const char *name;
    draw_size *draw;
    double rate;
    uint32_t blocks;  /* of the largest group; each further group has half as many */
    uint32_t smaller; /* blocks of 64 B besides, in group 0 */
} programs[] = {
    {"uniform", uniform, 512 << 10, 400, 0},
    {"uniform", uniform, 128 << 10, 400, 0},
    {"bimodal", bimodal, 512 << 10, 400, 100000},
    {"bimodal", bimodal, 128 << 10, 400, 50000},
    {"heavy-tailed", heavy_tailed, 512 << 10, 200000, 0},
    {"heavy-tailed", heavy_tailed, 128 << 10, 200000, 0},
    {"small", small, 512 << 10, 300000, 0},
    {"small", small, 128 << 10, 150000, 0},
    {"wide", wide, 128 << 10, 40000, 0},
};

enum { PROGRAMS = sizeof programs / sizeof *programs };

struct event {
    enum { ALLOCATE, FREE, REALLOC, REFUSED_REALLOC } kind;
    uint32_t group;
    uint32_t block; /* its address is 16 times this, in its worker's range */
    uint32_t moved; /* REALLOC: the new block */
    uint64_t size;
};

/* What one thread plays: first `own`, then, when all have done so, `others`. */
struct part {
    struct event *own;
    struct event *others; /* frees of blocks of the next worker */
    size_t own_count;
    size_t others_count;
    uint32_t blocks;
    struct event waiting; /* while it is made: a free to come; ALLOCATE: none */
};

enum figure { BYTES, BLOCKS, BYTES_VAR, BLOCKS_VAR, ALLOCATED, FIGURES };

static const char *const figure_names[FIGURES] = {"bytes", "blocks", "bytes_var", "blocks_var", "allocated"};

struct truth {
    double mean;
    double variance;
    double cumulant;
};

struct script {
    struct part parts[WORKERS];
    struct truth truth[GROUPS][FIGURES];
};

static void add_term(struct truth *truth, double term, double p)
{
    double pq = p * (1 - p);
    truth->mean += term * p;
    truth->variance += term * term * pq;
    truth->cumulant += term * term * term * term * pq * (1 - 6 * pq);
}

/* A block that is still in use at the end. */
static void add_in_use(struct truth *truth, uint64_t size, double rate)
{
    double p = -expm1(-(double)size / rate);
    double s = (double)size;
    double variance = (1 - p) / (p * p);
    add_term(&truth[BYTES], s / p, p);
    add_term(&truth[BLOCKS], 1 / p, p);
    add_term(&truth[BYTES_VAR], s * s * variance, p);
    add_term(&truth[BLOCKS_VAR], variance, p);
}

static void add_allocated(struct truth *truth, uint64_t size, double rate)
{
    double p = -expm1(-(double)size / rate);
    add_term(&truth[ALLOCATED], (double)size / p, p);
}

static void *get(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory) {
        fputs("simulate: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void add_event(struct event *events, size_t *count, struct event event)
{
    events[(*count)++] = event;
}

/* One block's life. Its end, if it has one, waits for that of the worker's next block to end, so that lives overlap. */
static void add_life(struct script *script, struct mprof_rng *rng, const struct program *program, uint32_t group)
{
    uint32_t worker = (uint32_t)(mprof_rng_next(rng) % WORKERS);
    struct part *part = &script->parts[worker];
    struct part *next = &script->parts[(worker + 1) % WORKERS];
    struct truth *truth = script->truth[group];
    uint32_t block = part->blocks++;
    uint64_t size = program->draw(rng);
    add_event(part->own, &part->own_count, (struct event){ALLOCATE, group, block, 0, size});
    add_allocated(truth, size, program->rate);
    uint64_t fate = mprof_rng_next(rng) % 16;
    if (fate < 2) {
        add_event(part->own, &part->own_count, (struct event){REFUSED_REALLOC, group, block, 0, program->draw(rng)});
    } else if (fate < 4) {
        uint32_t moved = part->blocks++;
        size = program->draw(rng);
        add_event(part->own, &part->own_count, (struct event){REALLOC, group, block, moved, size});
        block = moved;
        add_allocated(truth, size, program->rate);
    } else if (fate == 15) {
        add_event(next->others, &next->others_count, (struct event){FREE, group, block, 0, 0});
        return;
    } else if (fate >= 12) {
        if (part->waiting.kind == FREE)
            add_event(part->own, &part->own_count, part->waiting);
        part->waiting = (struct event){FREE, group, block, 0, 0};
        return;
    }
    add_in_use(truth, size, program->rate);
}

static void make_script(struct script *script, const struct program *program)
{
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 20240229);
    memset(script, 0, sizeof *script);
    for (int w = 0; w < WORKERS; w++) {
        script->parts[w].own = get(8 * (size_t)program->blocks + program->smaller, sizeof(struct event));
        script->parts[w].others = get(2 * (size_t)program->blocks, sizeof(struct event));
    }
    for (uint32_t i = 0; i < program->smaller; i++) {
        struct part *part = &script->parts[i % WORKERS];
        add_event(part->own, &part->own_count, (struct event){ALLOCATE, 0, part->blocks++, 0, 64});
        add_allocated(script->truth[0], 64, program->rate);
        add_in_use(script->truth[0], 64, program->rate);
    }
    /* Groups in mixed order: after each block of the largest group every second time one of the next, and so on. */
    for (uint32_t i = 0; i < program->blocks; i++) {
        for (uint32_t g = program->smaller ? 1 : 0; g < GROUPS && i % (1U << g) == 0; g++)
            add_life(script, &rng, program, g);
    }
    for (int w = 0; w < WORKERS; w++) {
        struct part *part = &script->parts[w];
        if (part->waiting.kind == FREE)
            add_event(part->own, &part->own_count, part->waiting);
    }
}

static void drop_script(struct script *script)
{
    for (int w = 0; w < WORKERS; w++) {
        free(script->parts[w].own);
        free(script->parts[w].others);
    }
}

/* ---- threads ---- */

static struct fake_code codes[GROUPS];
static const struct script *playing; /* NULL: end */
static pthread_barrier_t barrier;
static _Atomic unsigned turn;

static uintptr_t address_of(unsigned worker, uint32_t block)
{
    return ((uintptr_t)(worker + 1) << 40) + 16 * (uintptr_t)block;
}

static void play(unsigned worker, const struct event *events, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct event *event = &events[i];
        uintptr_t address = address_of(worker, event->block);
        fake_frames[0] = (struct mprof_rawframe){&codes[event->group], 0};
        fake_depth = 1;
        switch (event->kind) {
        case ALLOCATE:
            fake_malloc(address, event->size);
            break;
        case FREE:
            fake_free(address);
            break;
        case REALLOC:
            fake_realloc(address, address_of(worker, event->moved), event->size);
            break;
        case REFUSED_REALLOC:
            fake_realloc(address, 0, event->size);
            break;
        }
    }
}

/* The first visit to the recorder draws the thread's seed. */
static void visit_in_turn(unsigned worker)
{
    while (atomic_load(&turn) != worker)
        sched_yield();
    fake_depth = 0;
    fake_malloc(16, 1);
    fake_free(16);
    atomic_fetch_add(&turn, 1);
}

static void *work(void *number)
{
    unsigned worker = (unsigned)(uintptr_t)number;
    for (;;) {
        pthread_barrier_wait(&barrier); /* a session has begun */
        if (!playing)
            return NULL;
        const struct part *part = &playing->parts[worker];
        visit_in_turn(worker);
        play(worker, part->own, part->own_count);
        pthread_barrier_wait(&barrier); /* all blocks are there */
        /* What worker w + 1 frees for w is in part w + 1. */
        play((worker + WORKERS - 1) % WORKERS, part->others, part->others_count);
        pthread_barrier_wait(&barrier); /* the end of the session */
    }
}

/* ---- groups ---- */

static void print_session(const struct program *program, uint64_t seed)
{
    struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
    struct mprof_figures inuse[GROUPS];
    struct mprof_figures alloc[GROUPS];
    memset(inuse, 0, sizeof inuse);
    memset(alloc, 0, sizeof alloc);
    for (uint32_t i = 0; snapshot && i < mprof_snapshot_stack_count(snapshot); i++) {
        const struct mprof_stack *stack = &mprof_snapshot_stacks(snapshot)[i];
        if (stack->node == 0)
            continue; /* the first visits */
        uint32_t group = mprof_snapshot_nodes(snapshot)[stack->node].line - 1;
        inuse[group] = stack->inuse;
        alloc[group] = stack->alloc;
    }
    if (!snapshot || mprof_snapshot_meta(snapshot)->drops != 0) {
        fputs("simulate: samples were dropped\n", stderr);
        exit(1);
    }
    for (int g = 0; g < GROUPS; g++) {
        const struct mprof_figures *f = &inuse[g];
        printf("%s,%.0f,%" PRIu64 ",%d,%.0f,%.0f,%.12g,%.12g,%.12g,%.12g,%.12g\n", program->name, program->rate, seed,
               g, f->samples, f->seen, f->bytes, f->blocks, f->bytes_var, f->blocks_var, alloc[g].bytes);
    }
    mprof_snapshot_decref(snapshot);
}

static void print_truth(void)
{
    puts("program,rate,group,figure,mean,variance,cumulant");
    for (int p = 0; p < PROGRAMS; p++) {
        struct script script;
        make_script(&script, &programs[p]);
        for (int g = 0; g < GROUPS; g++) {
            for (int f = 0; f < FIGURES; f++) {
                const struct truth *truth = &script.truth[g][f];
                printf("%s,%.0f,%d,%s,%.17g,%.17g,%.17g\n", programs[p].name, programs[p].rate, g, figure_names[f],
                       truth->mean, truth->variance, truth->cumulant);
            }
        }
        drop_script(&script);
    }
}

static void simulate_groups(uint64_t seeds)
{
    pthread_t threads[WORKERS];
    for (uint32_t g = 0; g < GROUPS; g++)
        codes[g] = fake_code(g, 1, g + 1);
    pthread_barrier_init(&barrier, NULL, WORKERS + 1);
    for (uintptr_t w = 0; w < WORKERS; w++)
        pthread_create(&threads[w], NULL, work, (void *)w);
    puts("program,rate,seed,group,samples,seen,bytes,blocks,bytes_var,blocks_var,allocated");
    for (int p = 0; p < PROGRAMS; p++) {
        struct script script;
        make_script(&script, &programs[p]);
        for (uint64_t seed = 1; seed <= seeds; seed++) {
            if (fake_start(programs[p].rate, 4, seed * PROGRAMS + (uint64_t)p, 0) != 0)
                exit(1);
            playing = &script;
            atomic_store(&turn, 0);
            for (int phase = 0; phase < 3; phase++)
                pthread_barrier_wait(&barrier);
            print_session(&programs[p], seed);
            mprof_recorder_stop();
        }
        drop_script(&script);
    }
    playing = NULL;
    pthread_barrier_wait(&barrier);
    for (int w = 0; w < WORKERS; w++)
        pthread_join(threads[w], NULL);
}

/* ---- gaps and inclusion ---- */

static void print_gaps(double rate, uint64_t count)
{
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 1);
    puts("gap");
    for (uint64_t i = 0; i < count; i++)
        printf("%" PRIu64 "\n", mprof_sampler_gap(&rng, rate));
}

/* Sizes in a random order, each block freed before the next. */
static void print_inclusion(double rate, uint64_t count)
{
    static const uint64_t sizes[] = {0, 1, 8, 64, 512, 4096, 32768, 131072, 524288, 2097152, 8388608};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    uint64_t blocks[SIZES] = {0};
    uint64_t samples[SIZES] = {0};
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 2);
    if (fake_start(rate, 4, 3, 0) != 0)
        exit(1);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t k = mprof_rng_next(&rng) % SIZES;
        uint64_t before = mprof_recorder.next_id;
        fake_malloc(4096, sizes[k]);
        blocks[k]++;
        samples[k] += mprof_recorder.next_id != before;
        fake_free(4096);
    }
    mprof_recorder_stop();
    puts("size,blocks,samples");
    for (int k = 0; k < SIZES; k++)
        printf("%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n", sizes[k], blocks[k], samples[k]);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "truth") == 0) {
        print_truth();
    } else if (argc == 3 && strcmp(argv[1], "groups") == 0) {
        simulate_groups(strtoull(argv[2], NULL, 10));
    } else if (argc == 4 && strcmp(argv[1], "gaps") == 0) {
        print_gaps(strtod(argv[2], NULL), strtoull(argv[3], NULL, 10));
    } else if (argc == 4 && strcmp(argv[1], "inclusion") == 0) {
        print_inclusion(strtod(argv[2], NULL), strtoull(argv[3], NULL, 10));
    } else {
        fputs("usage: simulate truth | groups SEEDS | gaps RATE N | inclusion RATE N\n", stderr);
        return 2;
    }
    return ferror(stdout) ? 1 : 0;
}
