/* SPDX-License-Identifier: MIT */
/* test_prune.c -- code that is generated for ever (hazard 13) and addresses that name other code later (hazard 14). */
#include "addresses.h"
#include "fake_source.h"
#include "tap.h"

#include "core/recorder_private.h"
#include "core/snapshot.h"

enum { MANY = 1000000, POOL = 4096 };

static struct fake_code root;
static struct fake_code pool[POOL];

/* Whether a stack of a snapshot ends in a function of this name. */
static bool ends_in(const struct mprof_snapshot *snapshot, const struct mprof_stack *stack, const char *name)
{
    uint32_t function = mprof_snapshot_nodes(snapshot)[stack->node].function;
    size_t length;
    const char *text = mprof_snapshot_string(snapshot, mprof_snapshot_functions(snapshot)[function].name, &length);
    return length == strlen(name) && memcmp(text, name, length) == 0;
}

struct seen {
    char text[256];
};

static int note_frame(void *context, const struct mprof_frame_view *view)
{
    struct seen *seen = context;
    size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof seen->text - used, "%.*s ", (int)view->name_length, view->name);
    return 0;
}

static const char *stack_at(uintptr_t address)
{
    static struct seen seen;
    seen.text[0] = 0;
    return mprof_recorder_stack(address, note_frame, &seen) == 1 ? seen.text : "(none)";
}

static bool stack_is(uintptr_t address, uint32_t id)
{
    char want[64];
    snprintf(want, sizeof want, "f%u f0 ", id);
    return check(strcmp(stack_at(address), want) == 0, "%#zx has stack %s, want %s", (size_t)address, stack_at(address),
                 want);
}

/* The code object in a slot of the pool dies, another takes its place. */
static struct fake_code *next_code(uint32_t id, bool seen)
{
    struct fake_code *code = &pool[id % POOL];
    if (seen && code->id != 0)
        fake_free((uintptr_t)code);
    *code = fake_code(id, id / 10, id % 1000);
    return code;
}

static void allocate(const struct fake_code *code, uint32_t offset, uintptr_t address, uint64_t size)
{
    fake_depth = 0;
    fake_call(&root, 2);
    fake_call(code, offset);
    fake_malloc(address, size);
}

/* A block that comes and goes. */
static void touch(const struct fake_code *code, uint64_t size)
{
    allocate(code, 0, 0x1000, size);
    fake_free(0x1000);
}

struct most {
    uint32_t nodes;
    uint32_t stacks;
    uint32_t functions;
    uint32_t strings;
    uint32_t codes;
    size_t memory;
};

static void note_most(struct most *most)
{
    const struct mprof_recorder *r = &mprof_recorder;
    most->nodes = r->trie.used > most->nodes ? r->trie.used : most->nodes;
    most->stacks = r->trie.stack_used > most->stacks ? r->trie.stack_used : most->stacks;
    most->functions = r->functions.used > most->functions ? r->functions.used : most->functions;
    most->strings = r->strings.used > most->strings ? r->strings.used : most->strings;
    most->codes = r->functions.code_capacity > most->codes ? r->functions.code_capacity : most->codes;
    most->memory = r->arena.mapped > most->memory ? r->arena.mapped : most->memory;
}

static uintptr_t kept_address(uint32_t i)
{
    return TEST_HEAP + 64 * (uintptr_t)i;
}

/* A million functions, each with one block; one block in `keep_every` is not freed (0: none is kept). */
static void test_generated(const char *what, double rate, uint32_t keep_every, bool seen)
{
    struct most most = {0, 0, 0, 0, 0, 0};
    memset(pool, 0, sizeof pool);
    if (fake_start(rate, 8, 1, 0) != 0)
        bail("cannot start");
    double allocated = 0;
    for (uint32_t i = 1; i <= MANY; i++) {
        bool keep = keep_every && i % keep_every == 0;
        uintptr_t address = keep ? kept_address(i) : 0x1000;
        uint64_t size = 100 + i % 7;
        allocated += (double)size;
        /* Where deaths go unseen, an offset that an address did not have before makes the recorder look. */
        allocate(next_code(i, seen), 2 * (i / POOL), address, size);
        if (!keep)
            fake_free(address);
        if (i % 1000 == 0)
            note_most(&most);
    }
    diag("%s: %u nodes, %u stacks, %u functions, %u strings, room for %u codes, %zu KiB", what, most.nodes, most.stacks,
         most.functions, most.strings, most.codes, most.memory >> 10);
    uint32_t kept = keep_every ? MANY / keep_every : 0;
    ok(most.nodes < 25000 + 3 * kept && most.stacks < 25000 + 3 * kept, "%s: nodes and stacks are bounded", what);
    ok(most.functions < 30000 + 3 * kept && most.strings < 60000 + 6 * kept && most.codes <= 4 * POOL,
       "%s: functions, names and codes are bounded", what);
    ok(most.memory < (16 << 20), "%s: memory is bounded", what);
    ok(mprof_recorder.prunes > 10, "%s: pruned %" PRIu64 " times", what, mprof_recorder.prunes);
    ok(mprof_recorder_valid(), "%s: invariants", what);

    struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
    struct mprof_figures alloc = {0, 0, 0, 0, 0, 0};
    struct mprof_figures inuse = {0, 0, 0, 0, 0, 0};
    struct mprof_figures peak = {0, 0, 0, 0, 0, 0};
    bool pruned = false;
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++) {
        const struct mprof_stack *stack = &mprof_snapshot_stacks(snapshot)[i];
        mprof_figures_add(&alloc, &stack->alloc);
        mprof_figures_add(&inuse, &stack->inuse);
        mprof_figures_add(&peak, &stack->peak);
        pruned = pruned || (ends_in(snapshot, stack, "<pruned>") && stack->alloc.blocks > 0);
    }
    struct mprof_recorder_totals totals;
    mprof_recorder_totals(&totals);
    ok(pruned, "%s: what pruned stacks allocated is at \"<pruned>\"", what);
    if (rate > 1) {
        is_near(alloc.bytes, allocated, 4 * sqrt(alloc.bytes_var), "%s: allocated bytes within 4 standard errors",
                what);
        is_near(alloc.seen / 103, alloc.samples, alloc.samples / 10, "%s: samples and bytes seen agree", what);
    } else {
        is_double(alloc.bytes, allocated, "%s: allocated bytes are exact", what);
        is_double(alloc.blocks, MANY, "%s: allocated blocks are exact", what);
        bool right = true;
        for (uint32_t i = 1; i <= MANY && right; i++) {
            if (keep_every && i % keep_every == 0)
                right = stack_is(kept_address(i), i);
        }
        ok(right, "%s: kept blocks have the stacks they had", what);
    }
    is_near(inuse.bytes, totals.bytes, 1e-6 * totals.bytes, "%s: stacks add up to what is in use", what);
    is_near(peak.bytes, totals.peak_bytes, 1e-6 * totals.peak_bytes, "%s: stacks add up to the peak", what);
    mprof_snapshot_decref(snapshot);
    mprof_recorder_stop();
}

/* Stacks that hold the peak stay, though all their blocks are gone. */
static void test_peak_stays(void)
{
    fake_start(1, 8, 1, 0);
    memset(pool, 0, sizeof pool);
    for (uint32_t i = 1; i <= 100; i++)
        allocate(next_code(i, true), 0, kept_address(i), 1000);
    for (uint32_t i = 1; i <= 100; i++)
        fake_free(kept_address(i));
    for (uint32_t i = 101; i <= 100000; i++)
        touch(next_code(i, true), 10);
    ok(mprof_recorder.prunes > 2, "pruned");
    struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
    uint32_t at_peak = 0;
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++) {
        const struct mprof_stack *stack = &mprof_snapshot_stacks(snapshot)[i];
        at_peak += stack->peak.bytes > 999 && stack->peak.bytes < 1001;
    }
    is_uint(at_peak, 100, "each of the stacks that held the peak is there with its share");
    mprof_snapshot_decref(snapshot);
    mprof_recorder_stop();
}

/* What a snapshot says a function has allocated, in blocks; it is not there: 0. */
static double allocated_by(uint32_t id)
{
    char name[32];
    snprintf(name, sizeof name, "f%u", id);
    double blocks = 0;
    struct mprof_snapshot *snapshot = mprof_recorder_snapshot();
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++) {
        const struct mprof_stack *stack = &mprof_snapshot_stacks(snapshot)[i];
        if (ends_in(snapshot, stack, name))
            blocks += stack->alloc.blocks;
    }
    mprof_snapshot_decref(snapshot);
    return blocks;
}

/* A stack that has nothing alive stays if it allocated in the last phase, and only then. */
static void test_recent_stays(void)
{
    enum { PEAK = 9000001, ONCE, ALWAYS, LATE };
    static struct fake_code codes[4];
    for (uint32_t i = 0; i < 4; i++)
        codes[i] = fake_code(PEAK + i, 1, 10);
    fake_start(1, 8, 1, 0);
    memset(pool, 0, sizeof pool);
    double always = 0;
    double late = 0;
    touch(&codes[0], 1000000);
    touch(&codes[1], 10);
    for (uint32_t id = 1; mprof_recorder.prunes < 1; id++) {
        bool last_phase = mprof_recorder.phases_left == 1;
        touch(&codes[2], 10);
        always++;
        if (last_phase && late < 1) {
            touch(&codes[3], 10);
            late++;
        }
        touch(next_code(id, true), 10);
    }
    is_double(allocated_by(PEAK), 1, "what was at the peak stays");
    is_double(allocated_by(ONCE), 0, "a stack that allocated before the last phase alone is folded");
    is_double(allocated_by(ALWAYS), always, "one that allocates again and again keeps its figures");
    is_double(allocated_by(LATE), late, "so does one that allocated once, in the last phase");
    ok(mprof_recorder_valid(), "invariants");
    mprof_recorder_stop();
}

/* One stack that takes as many nodes as several phases ends one phase, and the next one has all of its growth. */
static void test_leap(void)
{
    fake_start(1, 8, 1, 0);
    memset(pool, 0, sizeof pool);
    struct mprof_recorder *r = &mprof_recorder;
    uint32_t nodes = r->phase_nodes;
    r->phase_ends = 1; /* as if the first stack, of two nodes, had leapt over it by more than a phase */
    r->phase_nodes = 1;
    touch(next_code(1, true), 10);
    is_uint(r->phases_left, MPROF_PRUNE_PHASES - 1, "one event ends one phase");
    r->phase_nodes = nodes;
    for (int i = 0; i < 10; i++)
        touch(&pool[1], 10);
    is_uint(r->phases_left, MPROF_PRUNE_PHASES - 1, "events that make no node end none");
    is_uint(r->prunes, 0, "nothing is pruned");
    mprof_recorder_stop();
}

/* A realloc that fails after the tree was pruned. */
static void test_restore(void)
{
    struct mprof_taken once;
    struct mprof_taken twice;
    struct mprof_recorder_totals totals;
    fake_start(1, 8, 1, 0);
    memset(pool, 0, sizeof pool);
    uint32_t id = 1;
    allocate(next_code(id++, true), 0, kept_address(1), 1000);
    allocate(next_code(id++, true), 0, kept_address(2), 1000);
    mprof_recorder_take(kept_address(2), &twice);
    mprof_recorder_reset_peak(); /* it must not be the peak that saves the stack */
    while (mprof_recorder.prunes < 1)
        allocate(next_code(id++, true), 0, 0x1000, 10);
    mprof_recorder_take(kept_address(1), &once);
    while (mprof_recorder.prunes < 2)
        allocate(next_code(id++, true), 0, 0x1000, 10);
    mprof_recorder_restore(&once);
    ok(stack_is(kept_address(1), 1), "restored after a prune, with its stack");
    while (mprof_recorder.prunes < 4)
        allocate(next_code(id++, true), 0, 0x1000, 10);
    mprof_recorder_restore(&twice);
    mprof_recorder_totals(&totals);
    is_uint(totals.drops, 0, "after more prunes: nothing is dropped");
    ok(stack_is(kept_address(2), 2), "restored as well, with its stack");
    mprof_recorder_take(kept_address(2), &twice);
    mprof_recorder_settle(&twice);
    uint32_t pins = 0;
    for (uint32_t i = 0; i < mprof_recorder.trie.stack_used; i++)
        pins += mprof_recorder.trie.infos[i].pins;
    is_uint(pins, 0, "what is settled or restored pins no stack");
    ok(mprof_recorder_valid(), "invariants");
    mprof_recorder_stop();
}

/* Hazard 14: a code object dies, another is born at its address. */
static void test_reused_address(double rate, bool seen)
{
    const char *how = seen ? "the free is seen" : "the free is not seen";
    static struct fake_code code;
    bool exact = rate <= 1;
    uint64_t size = exact ? 10 : UINT64_C(1) << 30; /* always a sample */
    fake_start(rate, 8, 1, 0);
    code = fake_code(1, 1, 10);
    allocate(&code, 4, 0x1000, size);
    allocate(&code, 6, 0x2000, size);
    ok(mprof_recorder_watched((uintptr_t)&code), "rate %g, %s: the address of a known code is watched", rate, how);
    if (seen)
        fake_free((uintptr_t)&code);
    code = fake_code(2, 1, 10);
    allocate(&code, seen ? 6 : 8, 0x3000, size);
    allocate(&code, 4, 0x4000, size);
    allocate(&code, 6, 0x5000, size);
    ok(stack_is(0x1000, 1) && stack_is(0x2000, 1), "rate %g, %s: blocks of the old code keep its name", rate, how);
    ok(stack_is(0x3000, 2), "rate %g, %s: the new code has its own name", rate, how);
    ok(stack_is(0x4000, 2) && stack_is(0x5000, 2), "rate %g, %s: also at offsets that the old one had", rate, how);
    /* The same function again, from a module that was reloaded: no new entry. */
    uint32_t functions = mprof_recorder.functions.used;
    fake_free((uintptr_t)&code);
    code = fake_code(1, 1, 10);
    allocate(&code, 4, 0x6000, size);
    ok(stack_is(0x6000, 1) && mprof_recorder.functions.used == functions,
       "rate %g, %s: a reloaded function is the one it was", rate, how);
    ok(mprof_recorder_valid(), "rate %g, %s: invariants", rate, how);
    mprof_recorder_stop();
}

/* The address of a dead code object becomes an ordinary block, and the other way round. */
static void test_code_is_a_block(void)
{
    static struct fake_code code;
    uintptr_t address = (uintptr_t)&code;
    struct mprof_recorder_totals totals;
    fake_start(50, 8, 1, 0);
    fake_depth = 0;
    fake_malloc(address, 100000); /* the code object itself is a sample */
    code = fake_code(1, 1, 10);
    allocate(&code, 4, 0x1000, 100000);
    fake_free(address);
    mprof_recorder_totals(&totals);
    is_uint(totals.live, 1, "one free ends both the block and the code");
    ok(!mprof_recorder_watched(address), "its address is not watched any more");
    is_uint(mprof_recorder.functions.code_count, 1, "only the caller's code is known");
    fake_depth = 0;
    fake_malloc(address, 100000);
    fake_free(address);
    mprof_recorder_totals(&totals);
    is_uint(totals.live, 1, "a later block at the address comes and goes");
    ok(stack_is(0x1000, 1), "and the old stack keeps its name");
    ok(mprof_recorder_valid(), "invariants");
    mprof_recorder_stop();
}

int main(void)
{
    root = fake_code(0, 0, 1);
    test_reused_address(1, true);
    test_reused_address(1, false);
    test_reused_address(1000, true);
    test_reused_address(1000, false);
    test_code_is_a_block();
    test_peak_stays();
    test_recent_stays();
    test_leap();
    test_restore();
    test_generated("all freed", 1, 0, true);
    test_generated("some kept", 1, 1000, true);
    test_generated("deaths unseen", 1, 1000, false);
    test_generated("sampled", 300, 1000, true);
    return done();
}
