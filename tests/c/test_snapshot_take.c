/* SPDX-License-Identifier: MIT */
/* test_snapshot_take.c -- the recorder's state as a snapshot: what it says beyond the figures, which test_recorder.c
 * compares with brute force.
 *
 * Time passes by setting the recorder's start back. */
#include "fake_source.h"
#include "tap.h"

#include "core/recorder_private.h"
#include "core/snapshot.h"

static const int64_t SECOND = 1000000000;
static struct fake_code code;

static struct mprof_snapshot *take(void)
{
    struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
    if (!snapshot)
        bail("no snapshot");
    return snapshot;
}

/* The block of an address; samples is 0 if there is none. */
static struct mprof_block block_at(const struct mprof_snapshot *snapshot, uint64_t address)
{
    struct mprof_block block;
    for (size_t i = 0; i < mprof_snapshot_block_count(snapshot); i++) {
        mprof_snapshot_block(snapshot, i, &block);
        if (block.address == address)
            return block;
    }
    return (struct mprof_block){.samples = 0};
}

static void test_empty(void)
{
    fake_start(1000, 77, 1, 0);
    struct mprof_snapshot *snapshot = take();
    const struct mprof_meta *meta = mprof_snapshot_meta(snapshot);
    is_uint(mprof_snapshot_stack_count(snapshot), 0, "nothing allocated: no stack");
    is_uint(mprof_snapshot_block_count(snapshot), 0, "no block");
    is_uint(mprof_snapshot_node_count(snapshot), 1, "only the root");
    is_double(meta->sample_rate, 1000, "the rate");
    is_uint(meta->max_frames, 77, "the limit of frames");
    is_int(meta->peak_ns, 0, "no peak yet");
    int64_t now = mprof_os_wall_ns();
    ok(meta->start_ns <= now && meta->start_ns > now - 60 * SECOND, "start is on the wall clock");
    ok(meta->time_ns >= meta->start_ns - SECOND && meta->time_ns <= now + SECOND, "so is the time it was taken");
    ok(meta->recording != 0, "the recording has an identity");
    mprof_snapshot_decref(snapshot);
    mprof_recorder_stop();
}

static void test_identity(void)
{
    fake_depth = 0;
    fake_start(100, 8, 1, 0);
    fake_malloc(0x1000, 100000);
    fake_malloc(0x2000, 100000);
    struct mprof_snapshot *first = take();
    fake_free(0x1000);
    fake_malloc(0x1000, 100000);
    struct mprof_snapshot *second = take();
    uint64_t stays = block_at(first, 0x2000).id;
    ok(stays != 0 && stays == block_at(second, 0x2000).id, "a sample keeps its id from one snapshot to the next");
    ok(block_at(first, 0x1000).id != block_at(second, 0x1000).id, "another block at the same address has another");
    uint64_t recording = mprof_snapshot_meta(first)->recording;
    ok(recording == mprof_snapshot_meta(second)->recording, "one recording");
    mprof_recorder_clear();
    struct mprof_snapshot *third = take();
    ok(recording != mprof_snapshot_meta(third)->recording, "clear begins another, for ids begin again");
    struct mprof_taken taken;
    fake_malloc(0x3000, 100000);
    struct mprof_snapshot *fourth = take();
    mprof_recorder_take(0x3000, &taken);
    mprof_recorder_restore(&taken);
    struct mprof_snapshot *fifth = take();
    struct mprof_block before = block_at(fourth, 0x3000);
    struct mprof_block after = block_at(fifth, 0x3000);
    ok(before.id == after.id && before.birth_ns == after.birth_ns && after.size == 100000,
       "a block restored is the block it was");
    mprof_recorder_stop();
    is_uint(block_at(second, 0x2000).size, 100000, "a snapshot outlives the recording");
    mprof_snapshot_decref(first);
    mprof_snapshot_decref(second);
    mprof_snapshot_decref(third);
    mprof_snapshot_decref(fourth);
    mprof_snapshot_decref(fifth);
}

static void test_sampled_block(void)
{
    fake_depth = 0;
    fake_call(&code, 0);
    fake_start(1000, 8, 1, 0);
    uintptr_t address = 0x1000;
    while (mprof_recorder.live.count < 5) {
        fake_malloc(address, 300);
        address += 16;
    }
    struct mprof_snapshot *snapshot = take();
    double p = -expm1(-300 / 1000.0);
    struct mprof_block block;
    struct mprof_figures sum = {0, 0, 0, 0, 0, 0};
    bool right = true;
    for (size_t i = 0; i < 5; i++) {
        mprof_snapshot_block(snapshot, i, &block);
        right = right && block.size == 300 && block.samples == 1 && fabs(block.bytes - 300 / p) < 1e-9 &&
                fabs(block.blocks - 1 / p) < 1e-12 && !(block.rate < 1000) && !(block.rate > 1000) && block.id != 0;
    }
    ok(right, "each block carries its weight, rate and identity");
    mprof_figures_add_samples(&sum, 300, 1000, 5);
    const struct mprof_stack *stack = mprof_snapshot_stacks(snapshot);
    is_near(stack->inuse.bytes, sum.bytes, 1e-6, "bytes of the stack");
    is_near(stack->inuse.bytes_var, sum.bytes_var, 1e-6 * sum.bytes_var, "variance of the stack's bytes");
    is_near(stack->inuse.blocks_var, sum.blocks_var, 1e-6 * sum.blocks_var, "variance of its blocks");
    is_near(stack->alloc.bytes_var, sum.bytes_var, 1e-6 * sum.bytes_var, "variance of what was allocated");
    is_near(stack->peak.bytes_var, sum.bytes_var, 1e-6 * sum.bytes_var, "variance at the peak");
    is_double(stack->alloc.seen, 1500, "bytes seen");
    is_double(stack->alloc.samples, 5, "samples");
    mprof_snapshot_decref(snapshot);
    mprof_recorder_stop();
}

/* Two places in one line are one node; two nodes that merge are one stack. */
static void test_lines_merge(void)
{
    fake_start(1, 8, 1, 0);
    fake_depth = 0;
    fake_call(&code, 0);
    fake_malloc(0x1000, 1);
    fake_depth = 0;
    fake_call(&code, 1); /* the same line, another instruction */
    fake_malloc(0x2000, 2);
    fake_depth = 0;
    fake_call(&code, 2);
    fake_malloc(0x3000, 4);
    is_uint(mprof_recorder.trie.count, 3, "the recorder tells instructions apart");
    struct mprof_snapshot *snapshot = take();
    is_uint(mprof_snapshot_node_count(snapshot), 3, "a snapshot lines");
    is_uint(mprof_snapshot_stack_count(snapshot), 2, "and stacks of lines");
    uint32_t merged = block_at(snapshot, 0x1000).stack;
    is_uint(block_at(snapshot, 0x2000).stack, merged, "blocks of one line have one stack");
    const struct mprof_stack *stack = &mprof_snapshot_stacks(snapshot)[merged];
    ok(fabs(stack->inuse.bytes - 3) < 1e-9 && fabs(stack->alloc.bytes - 3) < 1e-9 && fabs(stack->peak.bytes - 3) < 1e-9,
       "whose figures are added up");
    double bytes = 0;
    struct mprof_snapshot *unmerged = mprof_recorder_snapshot_unmerged();
    if (!unmerged)
        bail("no snapshot");
    is_uint(mprof_snapshot_stack_count(unmerged), 3, "unmerged, each place has a stack of its own");
    is_uint(mprof_snapshot_block_count(unmerged), mprof_snapshot_block_count(snapshot), "and all blocks are there");
    for (size_t i = 0; i < mprof_snapshot_block_count(unmerged); i++) {
        struct mprof_block block;
        mprof_snapshot_block(unmerged, i, &block);
        bytes += block.bytes;
    }
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++)
        bytes -= mprof_snapshot_stacks(snapshot)[i].inuse.bytes;
    is_double(bytes, 0, "with all their bytes");
    mprof_snapshot_decref(unmerged);
    mprof_snapshot_decref(snapshot);
    mprof_recorder_stop();
}

/* Names may hold any byte, be empty or long. */
static const char *odd_name;
static size_t odd_length;

static void odd_describe(const void *address, struct mprof_description *description)
{
    (void)address;
    memcpy(description->name, odd_name, odd_length);
    description->name_length = odd_length;
    description->filename_length = 0;
    description->firstlineno = UINT32_MAX;
    description->lines_hash = 0;
}

static void test_names(void)
{
    static char longest[MPROF_SOURCE_TEXT];
    static const struct mprof_source odd = {fake_walk, fake_count, fake_fingerprint, odd_describe, fake_line};
    const struct mprof_recorder_options options = {.sample_rate = 1, .max_frames = 8, .source = &odd};
    memset(longest, 'x', sizeof longest);
    const struct {
        const char *text;
        size_t length;
    } names[] = {{"", 0}, {"\xed\xb2\x80", 3}, {"a\0b", 3}, {"<string>", 8}, {longest, sizeof longest}};
    bool right = true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        odd_name = names[i].text;
        odd_length = names[i].length;
        mprof_recorder_start(&options);
        fake_depth = 0;
        fake_call(&code, 0);
        fake_malloc(0x1000, 1);
        struct mprof_snapshot *snapshot = take();
        const struct mprof_node *node = &mprof_snapshot_nodes(snapshot)[1];
        const struct mprof_function *function = &mprof_snapshot_functions(snapshot)[node->function];
        size_t length;
        const char *text = mprof_snapshot_string(snapshot, function->name, &length);
        right = right && node->function != 0 && length == names[i].length && memcmp(text, names[i].text, length) == 0 &&
                function->filename == 0;
        mprof_snapshot_decref(snapshot);
        mprof_recorder_stop();
    }
    ok(right, "names of any bytes and lengths arrive as they were");
}

/* ---- births ---- */

static void pass(int64_t ns)
{
    mprof_recorder.start_ns -= ns;
    mprof_recorder.start_wall_ns -= ns;
}

/* Exact mode: births in 16 bits, in units that double when the codes run out. */
static void test_births(void)
{
    enum { BLOCKS = 40 };
    int64_t age[BLOCKS];
    int64_t unit = INT64_C(1) << 26;
    fake_depth = 0;
    fake_start(1, 8, 1, 0);
    bool right = true;
    bool halved = false;
    for (int i = 0; i < BLOCKS; i++) {
        fake_malloc(0x1000 + 64 * (uintptr_t)i, 10);
        age[i] = 0;
        /* From milliseconds to years. */
        int64_t step = (INT64_C(1) << (i + 17)) + 12345;
        pass(step);
        for (int j = 0; j <= i; j++)
            age[j] += step;
        fake_malloc(0xa00000, 10); /* now: moves the unit on */
        fake_free(0xa00000);
        halved = halved || mprof_recorder.birth_shift > 26;
        unit = INT64_C(1) << mprof_recorder.birth_shift;
        struct mprof_snapshot *snapshot = take();
        int64_t now = mprof_snapshot_meta(snapshot)->time_ns;
        int64_t start = mprof_snapshot_meta(snapshot)->start_ns;
        for (int j = 0; j <= i && right; j++) {
            struct mprof_block block = block_at(snapshot, 0x1000 + 64 * (uintptr_t)j);
            int64_t error = now - block.birth_ns - age[j];
            /* A birth is rounded down to a unit, never to before the start; a tick and the test's own time besides. */
            right = check(block.samples == 1 && block.birth_ns >= start && error >= -SECOND / 5 &&
                              error <= unit + 20 * SECOND,
                          "block %d of %d: born %" PRId64 " ns before, want %" PRId64 ", unit %" PRId64, j, i,
                          now - block.birth_ns, age[j], unit);
        }
        mprof_snapshot_decref(snapshot);
    }
    ok(halved && right, "births survive the doubling of their unit, to within a unit");
    is_uint(mprof_recorder.live.count, BLOCKS, "and no block is lost by it");
    ok(mprof_recorder_valid(), "invariants");
    mprof_recorder_stop();
}

/* A realloc that fails across a doubling. */
static void test_birth_restored(void)
{
    struct mprof_taken taken;
    fake_depth = 0;
    fake_start(1, 8, 1, 0);
    pass(4000 * SECOND);
    int64_t before = mprof_os_monotonic_coarse_ns();
    fake_malloc(0x1000, 10);
    pass(200 * SECOND);
    mprof_recorder_take(0x1000, &taken);
    pass(5000 * SECOND);
    fake_malloc(0x2000, 10);
    ok(mprof_recorder.birth_shift > taken.birth_shift, "the unit has doubled meanwhile");
    mprof_recorder_restore(&taken);
    struct mprof_snapshot *snapshot = take();
    double lasted = (double)(mprof_os_monotonic_coarse_ns() - before) * 1e-9; /* of the test itself */
    struct mprof_block block = block_at(snapshot, 0x1000);
    is_near((double)(mprof_snapshot_meta(snapshot)->time_ns - block.birth_ns) * 1e-9, 5200 + lasted / 2, 1 + lasted / 2,
            "born when it was");
    mprof_snapshot_decref(snapshot);
    mprof_recorder_stop();
}

/* Sampled mode keeps nanoseconds. */
static void test_sampled_births(void)
{
    fake_depth = 0;
    fake_start(2, 8, 1, 0);
    fake_malloc(0x1000, 1000);
    mprof_livetable_detail(&mprof_recorder.live, 0)->birth_ns -= 100 * SECOND + 1;
    struct mprof_snapshot *snapshot = take();
    struct mprof_block block = block_at(snapshot, 0x1000);
    int64_t age = mprof_snapshot_meta(snapshot)->time_ns - block.birth_ns;
    ok(age >= 100 * SECOND && age < 160 * SECOND, "a sampled block's birth is kept in full");
    mprof_snapshot_decref(snapshot);
    mprof_recorder_stop();
}

/* Blocks of 2 GiB and more among small ones, in exact mode. */
static void test_wide(void)
{
    fake_depth = 0;
    fake_start(1, 8, 1, 0);
    const uint64_t sizes[] = {0, 1, (UINT64_C(1) << 31) - 1, UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 63};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    for (uintptr_t i = 0; i < SIZES; i++)
        fake_malloc(0x1000 + 16 * i, sizes[i]);
    struct mprof_snapshot *snapshot = take();
    bool right = true;
    for (uintptr_t i = 0; i < SIZES; i++) {
        struct mprof_block block = block_at(snapshot, 0x1000 + 16 * i);
        right = right && check(block.samples == 1 && block.size == sizes[i], "size %" PRIu64, sizes[i]);
    }
    ok(right, "sizes from 0 to 2^63 (hazard 22)");
    mprof_snapshot_decref(snapshot);
    for (uintptr_t i = 0; i < SIZES; i++)
        fake_free(0x1000 + 16 * i);
    struct mprof_recorder_totals totals;
    mprof_recorder_totals(&totals);
    ok(totals.live == 0 && !(totals.bytes > 0) && !(totals.bytes < 0), "all are removed");
    mprof_recorder_stop();
}

/* More tables than fit at the first try: the copy makes room again. */
static void test_large(void)
{
    enum { BLOCKS = 200000 };
    static struct fake_code codes[1000];
    for (uint32_t i = 0; i < 1000; i++)
        codes[i] = fake_code(i, i / 10, i);
    fake_start(1, 8, 1, 0);
    double bytes = 0;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        fake_depth = 0;
        fake_call(&codes[i % 10], 0);
        fake_call(&codes[i % 1000], 2 * (i % 7));
        fake_malloc(0x100000 + 32 * (uintptr_t)i, i % 100);
        bytes += i % 100;
    }
    struct mprof_snapshot *snapshot = take();
    struct mprof_figures sum = {0, 0, 0, 0, 0, 0};
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++)
        mprof_figures_add(&sum, &mprof_snapshot_stacks(snapshot)[i].inuse);
    is_uint(mprof_snapshot_block_count(snapshot), BLOCKS, "every block is there");
    is_double(sum.bytes, bytes, "with all its bytes");
    mprof_snapshot_decref(snapshot);
    mprof_recorder_stop();
}

int main(void)
{
    code = fake_code(1, 1, 10);
    test_empty();
    test_identity();
    test_sampled_block();
    test_lines_merge();
    test_names();
    test_births();
    test_birth_restored();
    test_sampled_births();
    test_wide();
    test_large();
    return done();
}
