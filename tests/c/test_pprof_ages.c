/* SPDX-License-Identifier: MIT */
/* test_pprof_ages.c -- how long ago a block was born, through a pprof profile. */
#include "tap.h"

#include "core/snapshot.h"
#include "pprof/decode.h"
#include "pprof/encode.h"

/* When profiles are taken. */
#define TIME INT64_C(1700000000000000001)

static struct mprof_snapshot *through_file(const struct mprof_snapshot *snapshot)
{
    struct mprof_arena arena;
    struct mprof_decode_error error;
    struct mprof_snapshot *read;
    unsigned char *bytes;
    size_t length;
    mprof_arena_init(&arena, 0);
    if (mprof_pprof_encode(snapshot, NULL, &arena, &bytes, &length) < 0)
        bail("no memory to encode");
    if (mprof_pprof_decode(bytes, length, &read, &error) < 0)
        bail("cannot read what was written: %s", error.text);
    mprof_arena_drop(&arena);
    return read;
}

/* Where classes of ages begin and end, and births that say nothing. */
static void test_ages(void)
{
    static const struct {
        int64_t time_ns;
        int64_t birth_ns;
        int64_t back_ns;
    } cases[] = {
        {TIME, TIME, 0},
        {TIME, TIME - 999999999, 0},
        {TIME, TIME - 1000000000, TIME - 1000000000},
        {TIME, TIME - 9999999999, TIME - 1000000000},
        {TIME, TIME - 10000000000, TIME - 10000000000},
        {TIME, TIME - 60000000000, TIME - 60000000000},
        {TIME, TIME - 599999999999, TIME - 60000000000},
        {TIME, TIME - 3599999999999, TIME - 600000000000},
        {TIME, TIME - 3600000000000, TIME - 3600000000000},
        {TIME, TIME - 21600000000000, TIME - 21600000000000},
        {TIME, 1, TIME - 21600000000000},
        {TIME, TIME + 5000000000, 0},
        {TIME, 0, 0},
        {0, -5000000000, 0},
        {INT64_MAX, INT64_MIN, INT64_MAX - 21600000000000},
        {INT64_MIN + 1, INT64_MIN, 0},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mprof_builder *builder = mprof_builder_new();
        struct mprof_stack stack = {.node = 0};
        struct mprof_block block = {.size = 8, .samples = 1, .blocks = 1, .bytes = 8, .rate = 1};
        struct mprof_meta meta = {.sample_rate = 1.0, .time_ns = cases[i].time_ns};
        block.birth_ns = cases[i].birth_ns;
        mprof_builder_stack(builder, &stack, &block.stack);
        mprof_builder_block(builder, &block);
        struct mprof_snapshot *a = mprof_builder_finish(builder, &meta);
        struct mprof_snapshot *b = through_file(a);
        struct mprof_snapshot *c = through_file(b);
        mprof_snapshot_block(b, 0, &block);
        bool fine = check(block.birth_ns == cases[i].back_ns, "birth %" PRId64, block.birth_ns);
        mprof_snapshot_block(c, 0, &block);
        fine = fine && check(block.birth_ns == cases[i].back_ns, "birth %" PRId64 " later", block.birth_ns);
        ok(fine, "birth %" PRId64 " at %" PRId64, cases[i].birth_ns, cases[i].time_ns);
        mprof_snapshot_decref(a);
        mprof_snapshot_decref(b);
        mprof_snapshot_decref(c);
    }
}

static double inuse(const struct mprof_snapshot *snapshot)
{
    return mprof_snapshot_stacks(snapshot)[0].inuse.bytes;
}

/* Blocks of one stack and size, some of each age, sampled or not. */
static void test_groups(double rate, uint64_t sizes, size_t records)
{
    static const int64_t ages[] = {0, 5, 5, 5, 30, 30, 100000};
    enum { AGES = sizeof ages / sizeof *ages };
    struct mprof_builder *builder = mprof_builder_new();
    struct mprof_stack stack = {.node = 0};
    struct mprof_meta meta = {.sample_rate = rate, .time_ns = TIME};
    uint32_t index;
    mprof_builder_stack(builder, &stack, &index);
    for (uint64_t i = 0; i < AGES * sizes; i++) {
        struct mprof_figures one = {0};
        struct mprof_block block = {.stack = index, .size = 16 * (1 + i / AGES), .samples = 1, .rate = rate};
        mprof_figures_add_samples(&one, block.size, rate, 1);
        block.blocks = one.blocks;
        block.bytes = one.bytes;
        block.birth_ns = TIME - ages[i % AGES] * 1000000000;
        mprof_builder_block(builder, &block);
    }
    struct mprof_snapshot *a = mprof_builder_finish(builder, &meta);
    struct mprof_snapshot *b = through_file(a);
    double samples = 0.0, young = 0.0;
    is_uint(mprof_snapshot_block_count(b), records, "rate %g: records of %" PRIu64 " sizes", rate, sizes);
    for (size_t i = 0; i < mprof_snapshot_block_count(b); i++) {
        struct mprof_block block;
        mprof_snapshot_block(b, i, &block);
        samples += (double)block.samples;
        young += block.birth_ns == TIME - INT64_C(1000000000) ? (double)block.samples : 0.0;
    }
    is_double(samples, (double)(AGES * sizes), "rate %g: no sample is lost", rate);
    is_double(young, (double)(3 * sizes), "rate %g: each has its age", rate);
    is_near(inuse(b), inuse(a), 1e-9 * inuse(a), "rate %g: and its bytes", rate);
    mprof_snapshot_decref(a);
    mprof_snapshot_decref(b);
}

int main(void)
{
    test_ages();
    test_groups(4096.0, 1, 4);
    test_groups(4096.0, 100, 400);
    test_groups(1.0, 32, 128);
    test_groups(1.0, 33, 4 * 6); /* classes: 16, 32, 64, 128, 256 and 512 bytes and more */
    return done();
}
