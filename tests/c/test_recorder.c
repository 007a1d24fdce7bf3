/* SPDX-License-Identifier: MIT */
/* test_recorder.c -- the recorder against brute force, and its life cycle. One thread. */
#include "recorder_model.h"

static struct model model;

static void test_against_model(double rate, uint64_t seed)
{
    struct mprof_rng rng;
    mprof_rng_seed(&rng, seed);
    model_init(&model, rate);
    if (fake_start(rate, 64, seed, 0) != 0)
        bail("cannot start");
    bool right = true;
    for (int i = 0; i < 20000 && right; i++) {
        model_step(&model, &rng);
        right = model_matches_totals(&model);
        if (i % 997 == 0 && right) {
            struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
            right = check(snapshot != NULL, "no snapshot") && model_matches_snapshot(&model, snapshot) &&
                    check(mprof_recorder_valid(), "invariants");
            mprof_snapshot_decref(snapshot);
        }
        if (i % 5003 == 5002) {
            mprof_recorder_reset_peak();
            model.peak_total = model.total;
            memcpy(model.peak, model.inuse, sizeof model.peak);
        }
    }
    ok(right, "rate %g, seed %" PRIu64 ": totals, stacks and peaks as by brute force", rate, seed);
    ok(model.recorded > 1000, "enough samples to mean something (%" PRIu64 ")", model.recorded);
    for (int i = 0; i < MODEL_BLOCKS; i++) {
        if (model.used[i])
            model_free(&model, i);
    }
    struct mprof_recorder_totals totals;
    mprof_recorder_totals(&totals);
    is_uint(totals.live, 0, "all freed: no sample left");
    is_double(totals.bytes, 0, "all freed: no byte left");
    is_uint(totals.drops, 0, "nothing was dropped");
    ok(mprof_recorder_valid(), "invariants");
    mprof_recorder_stop();
}

/* What tracemalloc users expect of one block. */
static void test_one_block(void)
{
    struct fake_code outer = fake_code(1, 1, 100);
    struct fake_code inner = fake_code(2, 2, 200);
    struct mprof_recorder_totals totals;
    fake_start(1, 8, 1, 0);
    fake_depth = 0;
    fake_call(&outer, 4);
    fake_call(&inner, 6);
    fake_malloc(0x1000, 100);
    mprof_recorder_totals(&totals);
    is_double(totals.bytes, 100, "one block: 100 bytes in use");
    is_double(totals.peak_bytes, 100, "one block: the peak");
    is_double(totals.sample_rate, 1, "exact mode has rate 1");
    fake_malloc(0x2000, 50);
    fake_free(0x1000);
    fake_malloc(0x3000, 20);
    mprof_recorder_totals(&totals);
    is_double(totals.bytes, 70, "70 bytes in use");
    is_double(totals.peak_bytes, 150, "the peak stays");
    mprof_recorder_reset_peak();
    mprof_recorder_totals(&totals);
    is_double(totals.peak_bytes, 70, "reset: the peak is what is in use");
    fake_free(0x9999);
    fake_free(0);
    mprof_recorder_totals(&totals);
    is_double(totals.bytes, 70, "an unknown address and 0 change nothing");
    fake_malloc(0x2000, 1);
    mprof_recorder_totals(&totals);
    is_double(totals.bytes, 21, "an address that comes again replaces a record whose free nobody saw");
    is_uint(totals.live, 2, "and its record");
    fake_malloc(0, 1);
    fake_malloc((uintptr_t)(MPROF_LIVE_ADDRESS + 1), 1); /* on 32 bits there is none: 0 again */
    mprof_recorder_totals(&totals);
    is_uint(totals.drops, 2, "addresses 0 and beyond 48 bits are dropped and counted");
    fake_malloc((uintptr_t)(MPROF_LIVE_ADDRESS - 15), 0);
    mprof_recorder_totals(&totals);
    is_uint(totals.live, 3, "the last address and no bytes are recorded");
    is_double(totals.bytes, 21, "a block of no bytes adds none");
    ok(mprof_recorder_valid(), "invariants");
    mprof_recorder_stop();
}

struct seen {
    uint32_t frames;
    char text[256];
};

static int note_frame(void *context, const struct mprof_frame_view *view)
{
    struct seen *seen = context;
    size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof seen->text - used, "%.*s:%u:%.*s:%u ", (int)view->filename_length,
             view->filename, view->line, (int)view->name_length, view->name, view->firstlineno);
    seen->frames++;
    return seen->frames == 3;
}

static void test_stack_of_a_block(void)
{
    struct fake_code outer = fake_code(1, 1, 100);
    struct fake_code inner = fake_code(2, 2, 200);
    struct seen seen = {0, ""};
    fake_start(1, 8, 1, 0);
    fake_depth = 0;
    fake_malloc(0x1000, 1);
    fake_call(&outer, 4);
    fake_call(&inner, 6);
    fake_malloc(0x2000, 1);
    fake_call(&inner, 8);
    fake_malloc(0x3000, 1);
    is_int(mprof_recorder_stack(0x1000, note_frame, &seen), 1, "an empty stack is a stack");
    is_uint(seen.frames, 0, "of no frames");
    is_int(mprof_recorder_stack(0x2000, note_frame, &seen), 1, "a stack is found");
    is_str(seen.text, "m2.py:203:f2:200 m1.py:102:f1:100 ", "innermost frame first");
    is_int(mprof_recorder_stack(0x4000, note_frame, &seen), 0, "an unknown address has none");
    seen = (struct seen){0, ""};
    is_int(mprof_recorder_stack(0x3000, note_frame, &seen), -1, "the callback can refuse");
    is_str(seen.text, "m2.py:204:f2:200 m2.py:203:f2:200 m1.py:102:f1:100 ", "recursion keeps each frame");
    mprof_recorder_stop();
    is_int(mprof_recorder_stack(0x2000, note_frame, &seen), 0, "nothing is found after stop");
}

static uint32_t stack_frames(uint32_t depth, uint32_t max_frames, uint32_t *total)
{
    static struct fake_code code;
    code = fake_code(3, 3, 1);
    fake_start(1, max_frames, 1, 0);
    fake_depth = 0;
    for (uint32_t i = 0; i < depth; i++)
        fake_call(&code, 2 * i);
    fake_malloc(0x1000, 1);
    struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
    const struct mprof_stack *stack = mprof_snapshot_stacks(snapshot);
    uint32_t frames = stack->frames;
    *total = stack->total_frames;
    if (frames)
        check(mprof_snapshot_nodes(snapshot)[stack->node].line == depth, "innermost line");
    mprof_snapshot_decref(snapshot);
    mprof_recorder_stop();
    return frames;
}

static void test_frame_limit(void)
{
    uint32_t total;
    is_uint(stack_frames(0, 1, &total), 0, "no frame");
    is_uint(stack_frames(1, 1, &total), 1, "one of one frame");
    is_uint(total, 1, "of one");
    is_uint(stack_frames(2, 1, &total), 1, "one of two frames");
    is_uint(total, 2, "of two");
    is_uint(stack_frames(1000, 999, &total), 999, "999 of 1000 frames");
    is_uint(total, 1000, "of 1000");
    is_uint(stack_frames(1000, MPROF_MAX_FRAMES, &total), 1000, "all of 1000 frames");
}

static void test_life_cycle(void)
{
    struct mprof_recorder_totals totals;
    fake_depth = 0;
    ok(!mprof_recorder_active(), "not active at first");
    is_int(fake_start(1, 8, 1, 0), 0, "start");
    is_int(fake_start(1, 8, 1, 0), MPROF_RECORDER_ACTIVE, "a second start is refused");
    ok(mprof_recorder_active() && mprof_recorder_is_exact(), "active and exact");
    fake_malloc(0x1000, 7);
    is_int(mprof_recorder_clear(), 0, "clear");
    mprof_recorder_totals(&totals);
    ok(totals.live == 0 && !(totals.bytes > 0) && !(totals.peak_bytes > 0), "clear forgets samples, total and peak");
    fake_free(0x1000);
    fake_malloc(0x1000, 9);
    mprof_recorder_totals(&totals);
    is_double(totals.bytes, 9, "and goes on recording");
    struct mprof_taken taken;
    mprof_recorder_take(0x1000, &taken);
    mprof_recorder_clear();
    mprof_recorder_restore(&taken);
    mprof_recorder_totals(&totals);
    is_uint(totals.live, 0, "what was taken before a clear is not restored after it");
    is_uint(totals.drops, 0, "nor missed: it was to be forgotten");
    mprof_recorder_stop();
    mprof_recorder_stop();
    ok(!mprof_recorder_active() && !mprof_recorder_is_exact(), "stopped");
    ok(!mprof_recorder_watched(0x1000), "nothing is watched after stop");
    fake_malloc(0x1000, 9);
    mprof_recorder_add(true, 0x1000, 9);
    mprof_recorder_remove(0x1000);
    mprof_recorder_take(0x1000, &taken);
    mprof_recorder_restore(&taken);
    mprof_recorder_reuse(true, 0x1000);
    mprof_recorder_reset_peak();
    is_int(mprof_recorder_clear(), 0, "clear without a start does nothing");
    ok(mprof_recorder_snapshot() == NULL, "no snapshot after stop");
    mprof_recorder_totals(&totals);
    ok(totals.live == 0 && totals.nodes == 0, "late hooks do no harm");
    ok(mprof_recorder_valid(), "invariants");
    fake_start(65536, 8, 1, 0);
    ok(mprof_recorder_active() && !mprof_recorder_is_exact(), "started again, sampled");
    mprof_recorder_totals(&totals);
    is_double(totals.sample_rate, 65536, "the rate");
    mprof_recorder_stop();
    fake_start(0, 8, 1, 0);
    ok(mprof_recorder_is_exact(), "rate 0 is exact too");
    mprof_recorder_stop();
}

/* realloc: hazards 1 and 2. */
static void test_realloc(void)
{
    struct mprof_recorder_totals totals;
    struct mprof_taken taken;
    fake_depth = 0;
    fake_start(1, 8, 1, 0);
    fake_malloc(0x1000, 10);
    mprof_recorder_take(0x1000, &taken);
    ok(taken.found, "the record is gone before the base allocator is called");
    fake_malloc(0x1000, 99); /* another thread owns the address by now */
    fake_malloc(0x2000, 20);
    mprof_recorder_totals(&totals);
    is_double(totals.bytes, 119, "another thread's record at the old address survives");
    mprof_recorder_take(0x2000, &taken);
    mprof_recorder_restore(&taken);
    mprof_recorder_totals(&totals);
    is_double(totals.bytes, 119, "a failed realloc keeps the old block");
    fake_free(0x2000);
    mprof_recorder_totals(&totals);
    is_double(totals.bytes, 99, "which can be freed");
    mprof_recorder_take(0x5000, &taken);
    ok(!taken.found, "nothing to take");
    mprof_recorder_restore(&taken);
    mprof_recorder_totals(&totals);
    is_uint(totals.live, 1, "and nothing to restore");
    fake_malloc(0x6000, UINT64_C(5) << 30);
    mprof_recorder_take(0x6000, &taken);
    mprof_recorder_restore(&taken);
    mprof_recorder_totals(&totals);
    is_double(totals.bytes, 99 + 5.0 * (1 << 30), "a block of 5 GiB keeps its size");
    mprof_recorder_stop();
}

/* Blocks that come from a free list: the record moves to the new stack. */
static void test_reuse(void)
{
    struct fake_code a = fake_code(1, 1, 1);
    struct fake_code b = fake_code(2, 1, 1);
    struct fake_code c = fake_code(3, 1, 1);
    struct seen seen = {0, ""};
    fake_start(1, 8, 1, 0);
    fake_depth = 0;
    fake_call(&a, 0);
    fake_malloc(0x1000, 10);
    mprof_recorder_reuse(true, 0x1000); /* the runtime reports every new object, this one was just recorded */
    fake_return(1);
    fake_call(&b, 0);
    mprof_recorder_reuse(true, 0x1000);
    mprof_recorder_stack(0x1000, note_frame, &seen);
    is_str(seen.text, "m1.py:1:f2:1 ", "the stack of the last user");
    fake_return(1);
    fake_call(&c, 0);
    mprof_recorder_reuse(true, 0x7777);
    struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
    is_uint(mprof_snapshot_stack_count(snapshot), 2, "an address without a record makes no stack");
    struct mprof_figures inuse = {0, 0, 0, 0, 0, 0};
    for (uint32_t i = 0; i < 2; i++)
        mprof_figures_add(&inuse, &mprof_snapshot_stacks(snapshot)[i].inuse);
    is_double(inuse.bytes, 10, "it is still one block of 10 bytes");
    mprof_snapshot_decref(snapshot);
    ok(mprof_recorder_valid(), "invariants");
    mprof_recorder_stop();
}

/* A signal handler that interrupts the recorder and allocates. */
static void test_reentrance(void)
{
    struct mprof_recorder_totals totals;
    fake_depth = 0;
    fake_start(1, 8, 1, 0);
    fake_malloc(0x1000, 10);
    mprof_tls.busy = 1;
    fake_malloc(0x2000, 10);
    fake_free(0x1000);
    mprof_recorder_reuse(true, 0x1000);
    mprof_tls.busy = 0;
    mprof_recorder_totals(&totals);
    is_uint(totals.live, 0, "inside the recorder nothing is recorded; what is freed goes with the next visit");
    is_uint(totals.drops, 1, "and the loss is counted");
    mprof_recorder_stop();
}

/* More is freed than there is room to note, the last of it a code; another code takes its address, and its name. */
static void test_lost_frees(void)
{
    struct fake_code a = fake_code(1, 1, 10);
    struct fake_code b = fake_code(2, 1, 100);
    struct fake_code moved = fake_code(3, 1, 200);
    struct seen seen = {0, ""};
    fake_start(1, 8, 1, 0);
    fake_call(&a, 2);
    fake_call(&moved, 6);
    fake_malloc(0x1000, 8);
    fake_return(2);
    mprof_tls.busy = 1;
    for (uintptr_t i = 0; i < MPROF_DEFERRED; i++)
        fake_free(0x5000 + 16 * i);
    fake_free((uintptr_t)&moved);
    mprof_tls.busy = 0;
    moved = fake_code(4, 2, 500);
    fake_call(&b, 2);
    fake_call(&moved, 6);
    fake_malloc(0x2000, 8);
    mprof_recorder_stack(0x2000, note_frame, &seen);
    is_str(seen.text, "m2.py:503:f4:500 m1.py:101:f2:100 ",
           "a code whose death was not noted is not taken for the next");
    mprof_recorder_stop();
    fake_depth = 0;
}

/* A walk that a signal handler interrupts, once it has seen what it may keep: the handler allocates after a clear, with
 * a stack of its own. */
static bool interrupt;

static struct mprof_walked interrupted_walk(bool attached, const struct mprof_lastwalk *last,
                                            struct mprof_rawframe *frames, uint32_t max)
{
    struct mprof_walked walked = fake_walk(attached, last, frames, max);
    if (interrupt) {
        static struct fake_code handler;
        uint32_t depth = fake_depth;
        interrupt = false;
        handler = fake_code(99, 9, 900);
        struct mprof_rawframe outermost = fake_frames[0];
        fake_depth = 0;
        fake_call(&handler, 2);
        (void)mprof_recorder_clear();
        mprof_recorder_add(true, TEST_HEAP + 0x9000, 10);
        fake_frames[0] = outermost;
        fake_depth = depth;
    }
    return walked;
}

static void test_interrupted_walk(void)
{
    struct mprof_source source = fake_source;
    source.walk = interrupted_walk;
    struct mprof_recorder_options options = {
        .sample_rate = 1, .max_frames = 64, .seeded = true, .seed = 1, .source = &source};
    static struct fake_code codes[30];
    fake_depth = 0;
    if (mprof_recorder_start(&options) != 0)
        bail("cannot start");
    for (uint32_t i = 0; i < 30; i++) {
        codes[i] = fake_code(i, 1, 10 * i);
        fake_call(&codes[i], 2);
    }
    fake_malloc(TEST_HEAP, 100);
    interrupt = true;
    fake_malloc(TEST_HEAP + 0x1000, 200);
    ok(!interrupt && mprof_recorder_valid(), "what was to be kept is walked again");
    fake_malloc(TEST_HEAP + 0x2000, 300);
    struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
    if (!snapshot)
        bail("no snapshot");
    uint32_t whole = 0;
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++)
        whole +=
            mprof_snapshot_stacks(snapshot)[i].frames == 30 && mprof_snapshot_stacks(snapshot)[i].inuse.blocks > 1.5;
    is_uint(whole, 1, "both blocks have the whole stack");
    is_uint(mprof_snapshot_stack_count(snapshot), 2, "and the handler's its own");
    mprof_snapshot_decref(snapshot);
    fake_return(30);
    mprof_recorder_stop();
}

/* Once detached threads' states may be freed, their stacks are not walked. */
static void test_finalizing(void)
{
    struct fake_code a = fake_code(1, 1, 1);
    struct seen seen = {0, ""};
    fake_depth = 0;
    fake_call(&a, 0);
    fake_start(1, 8, 1, 0);
    mprof_recorder_finalizing(true);
    mprof_recorder_add(false, 0x1000, 1);
    mprof_recorder_add(true, 0x2000, 1);
    mprof_recorder_finalizing(false);
    mprof_recorder_add(false, 0x3000, 1);
    mprof_recorder_stack(0x1000, note_frame, &seen);
    is_uint(seen.frames, 0, "finalizing: a detached thread's stack is empty");
    mprof_recorder_stack(0x2000, note_frame, &seen);
    is_uint(seen.frames, 1, "finalizing: an attached thread's is not");
    mprof_recorder_stack(0x3000, note_frame, &seen);
    is_uint(seen.frames, 2, "before: both are walked");
    mprof_recorder_stop();
}

/* Mean of what the totals say over many seeds, and its standard error. `run` allocates `truth` bytes. */
static void is_unbiased(const char *what, double (*run)(uint64_t seed), double truth, int seeds)
{
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < seeds; i++) {
        double x = run((uint64_t)i + 1);
        sum += x;
        squares += x * x;
    }
    double mean = sum / seeds;
    double error = sqrt((squares / seeds - mean * mean) / seeds);
    ok(fabs(mean - truth) < 3 * error, "%s: mean of %d runs within 3 standard errors", what, seeds);
    diag("truth %g, mean %g, standard error %g", truth, mean, error);
}

static double total_bytes(void)
{
    struct mprof_recorder_totals totals;
    mprof_recorder_totals(&totals);
    return totals.bytes;
}

/* After a thinning gaps are drawn at the coarser rate; clear goes back to the finer one. */
static double run_clear(uint64_t seed)
{
    fake_depth = 0;
    fake_start(1000, 8, seed, 50);
    for (uintptr_t i = 0; i < 4000; i++)
        fake_malloc(0x100000 + 16 * i, 100);
    mprof_recorder_clear();
    for (uintptr_t i = 0; i < 100; i++)
        fake_malloc(0x200000 + 16 * i, 100);
    double total = total_bytes();
    mprof_recorder_stop();
    return total;
}

/* The first gap of a session counts from its start. */
static double run_restart(uint64_t seed)
{
    fake_depth = 0;
    fake_start(100000, 8, seed, 0);
    fake_malloc(0x100000, 100);
    mprof_recorder_stop();
    fake_malloc(0x100000, 100);
    fake_start(1000, 8, seed, 0);
    for (uintptr_t i = 0; i < 100; i++)
        fake_malloc(0x200000 + 16 * i, 100);
    double total = total_bytes();
    mprof_recorder_stop();
    return total;
}

/* Which of 64 allocations a session samples. */
static uint64_t sampled_pattern(struct mprof_recorder_options *options)
{
    uint64_t pattern = 0;
    fake_depth = 0;
    mprof_recorder_start(options);
    for (uintptr_t i = 0; i < 64; i++) {
        fake_malloc(0x100000 + 16 * i, 1000);
        pattern = pattern << 1 | is_recorded(0x100000 + 16 * i);
    }
    mprof_recorder_stop();
    return pattern;
}

/* Hazard 10: no two sessions sample alike, unless a test asks for it. */
static void test_seed(void)
{
    struct mprof_recorder_options options = {
        .sample_rate = 1000, .max_frames = 8, .seeded = true, .seed = 1, .source = &fake_source};
    uint64_t one = sampled_pattern(&options);
    ok(one == sampled_pattern(&options), "the same seed samples the same allocations");
    options.seed = 2;
    ok(one != sampled_pattern(&options), "another seed others");
    options.seeded = false;
    one = sampled_pattern(&options);
    ok(one != sampled_pattern(&options), "without a seed each session samples others");
}

int main(void)
{
    test_seed();
    test_life_cycle();
    test_one_block();
    test_stack_of_a_block();
    test_frame_limit();
    test_realloc();
    test_reuse();
    test_reentrance();
    test_lost_frees();
    test_interrupted_walk();
    test_finalizing();
    for (uint64_t seed = 1; seed <= 3; seed++)
        test_against_model(1, seed);
    for (uint64_t seed = 4; seed <= 6; seed++)
        test_against_model(3000, seed);
    is_unbiased("restart", run_restart, 100 * 100, 1000);
    is_unbiased("clear after a thinning", run_clear, 100 * 100, 1000);
    return done();
}
