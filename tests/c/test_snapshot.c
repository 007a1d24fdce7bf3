/* SPDX-License-Identifier: MIT */
/* test_snapshot.c -- the builder, the accessors, and the arithmetic of figures. */
#include "sanitizer.h"
#include "tap.h"

#include "core/snapshot.h"
#include "core/snapshot_private.h"

enum { MANY = 100000 };

static uint32_t string(struct mprof_builder *builder, const char *text)
{
    uint32_t index = UINT32_MAX;
    if (mprof_builder_string(builder, text, strlen(text), &index) < 0)
        bail("no memory for a string");
    return index;
}

static uint32_t function(struct mprof_builder *builder, uint32_t name, uint32_t filename, uint32_t line)
{
    uint32_t index = UINT32_MAX;
    struct mprof_function it = {.name = name, .filename = filename, .firstlineno = line};
    if (mprof_builder_function(builder, &it, &index) < 0)
        bail("no memory for a function");
    return index;
}

static uint32_t node(struct mprof_builder *builder, uint32_t parent, uint32_t of, uint32_t line)
{
    uint32_t index = UINT32_MAX;
    struct mprof_node it = {.parent = parent, .function = of, .line = line};
    if (mprof_builder_node(builder, &it, &index) < 0)
        bail("no memory for a node");
    return index;
}

static uint32_t stack(struct mprof_builder *builder, uint32_t at)
{
    uint32_t index = UINT32_MAX;
    struct mprof_stack it = {.node = at};
    if (mprof_builder_stack(builder, &it, &index) < 0)
        bail("no memory for a stack");
    return index;
}

static struct mprof_snapshot *finish(struct mprof_builder *builder)
{
    struct mprof_meta meta = {.sample_rate = 1.0, .time_ns = 42};
    struct mprof_snapshot *snapshot = mprof_builder_finish(builder, &meta);
    if (!snapshot)
        bail("no memory to finish");
    return snapshot;
}

static bool string_is(const struct mprof_snapshot *snapshot, uint32_t index, const void *text, size_t length)
{
    size_t got;
    const char *bytes = mprof_snapshot_string(snapshot, index, &got);
    return got == length && memcmp(bytes, text, length) == 0;
}

static void test_empty(void)
{
    struct mprof_snapshot *snapshot = finish(mprof_builder_new());
    is_uint(mprof_snapshot_string_count(snapshot), 1, "empty: one string");
    ok(string_is(snapshot, 0, "", 0), "empty: string 0 is empty");
    is_uint(mprof_snapshot_function_count(snapshot), 1, "empty: function 0 is there");
    is_uint(mprof_snapshot_functions(snapshot)[0].name, 0, "empty: function 0 is zero");
    is_uint(mprof_snapshot_node_count(snapshot), 1, "empty: the root is there");
    is_uint(mprof_snapshot_stack_count(snapshot), 0, "empty: no stack");
    is_uint(mprof_snapshot_block_count(snapshot), 0, "empty: no block");
    is_uint(mprof_snapshot_comment_count(snapshot), 0, "empty: no comment");
    is_int(mprof_snapshot_meta(snapshot)->time_ns, 42, "empty: meta is kept");
    mprof_snapshot_incref(snapshot);
    mprof_snapshot_decref(snapshot);
    is_int(mprof_snapshot_meta(snapshot)->time_ns, 42, "a second reference keeps it alive");
    mprof_snapshot_decref(snapshot);
    mprof_snapshot_decref(NULL);
    mprof_builder_drop(NULL);
}

static void test_intern(void)
{
    struct mprof_builder *builder = mprof_builder_new();
    uint32_t nul_a, nul_b;
    uint32_t a = string(builder, "a.py");
    is_uint(a, 1, "the first string is 1");
    is_uint(string(builder, ""), 0, "the empty string is 0");
    is_uint(string(builder, "b.py"), 2, "another string is 2");
    is_uint(string(builder, "a.py"), a, "an equal string has the same index");
    mprof_builder_string(builder, "x\0y", 3, &nul_a);
    mprof_builder_string(builder, "x\0z", 3, &nul_b);
    ok(nul_a != nul_b, "strings differ behind a NUL");
    mprof_builder_string(builder, "x\0", 2, &nul_b);
    ok(nul_a != nul_b && nul_b != string(builder, "x"), "a NUL at the end counts");

    uint32_t f = function(builder, a, 2, 7);
    is_uint(f, 1, "the first function is 1");
    is_uint(function(builder, a, 2, 8), 2, "another line makes another function");
    is_uint(function(builder, 0, 0, 0), 3, "a function without any name is not function 0");
    is_uint(function(builder, a, 2, 7), f, "an equal function has the same index");

    uint32_t outer = node(builder, 0, f, 10);
    uint32_t inner = node(builder, outer, 2, 11);
    is_uint(node(builder, 0, f, 10), outer, "an equal node has the same index");
    ok(node(builder, 0, f, 11) != outer && node(builder, outer, f, 10) != outer, "line and parent tell nodes apart");

    uint32_t bottom = stack(builder, 0);
    uint32_t s = stack(builder, inner);
    is_uint(stack(builder, inner), s, "a node has one stack");
    struct mprof_stack more = {.node = inner, .total_frames = 9, .frames = 77};
    more.alloc.bytes = 5.0;
    more.peak.blocks = 2.0;
    more.inuse.bytes = 1e9;
    mprof_builder_stack(builder, &more, &s);
    more.total_frames = 4;
    mprof_builder_stack(builder, &more, &s);
    mprof_builder_comment(builder, "one", 3);
    mprof_builder_comment(builder, "", 0);
    mprof_builder_comment(builder, "one", 3);

    struct mprof_snapshot *snapshot = finish(builder);
    const struct mprof_stack *stacks = mprof_snapshot_stacks(snapshot);
    ok(string_is(snapshot, nul_a, "x\0y", 3), "a string with a NUL comes back");
    is_uint(stacks[s].frames, 2, "frames are counted");
    is_uint(stacks[s].total_frames, 9, "the larger total of frames is kept");
    is_uint(stacks[bottom].frames, 0, "the root has no frames");
    is_double(stacks[s].alloc.bytes, 10.0, "alloc adds up");
    is_double(stacks[s].peak.blocks, 4.0, "peak adds up");
    is_double(stacks[s].inuse.bytes, 0.0, "in use is computed, not taken");
    is_uint(mprof_snapshot_comment_count(snapshot), 3, "comments are kept, all of them");
    ok(string_is(snapshot, mprof_snapshot_comment(snapshot, 2), "one", 3), "comments are in order");
    mprof_snapshot_decref(snapshot);
}

static void test_many(void)
{
    struct mprof_builder *builder = mprof_builder_new();
    uint32_t last = 0;
    bool fine = true;
    char text[32];
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(text, sizeof text, "name %u", i);
        uint32_t name = string(builder, text);
        fine = fine && check(name == i + 1, "string %u has index %u", i, name);
        uint32_t f = function(builder, name, 0, i % 3);
        fine = fine && check(f == i + 1, "function %u has index %u", i, f);
        last = node(builder, last, f, i);
        fine = fine && check(last == i + 1, "node %u has index %u", i, last);
        stack(builder, last);
    }
    for (uint32_t i = 0; i < MANY; i += 7) {
        snprintf(text, sizeof text, "name %u", i);
        fine = fine && check(string(builder, text) == i + 1, "string %u is found again", i);
        fine = fine && check(node(builder, i, i + 1, i) == i + 1, "node %u is found again", i);
    }
    ok(fine, "%d strings, functions and nodes are told apart", MANY);
    struct mprof_snapshot *snapshot = finish(builder);
    const struct mprof_node *nodes = mprof_snapshot_nodes(snapshot);
    for (uint32_t i = 1; i < mprof_snapshot_node_count(snapshot); i++)
        fine = fine && nodes[i].parent < i;
    ok(fine, "parents come before children");
    is_uint(mprof_snapshot_stacks(snapshot)[MANY - 1].frames, MANY, "a stack of %d frames", MANY);
    mprof_snapshot_decref(snapshot);
}

static bool same_block(const struct mprof_block *a, const struct mprof_block *b)
{
    return a->stack == b->stack && a->domain == b->domain && a->size == b->size && a->samples == b->samples &&
           a->id == b->id && a->birth_ns == b->birth_ns && a->address == b->address && !(a->blocks < b->blocks) &&
           !(a->blocks > b->blocks) && !(a->bytes < b->bytes) && !(a->bytes > b->bytes) && !(a->rate < b->rate) &&
           !(a->rate > b->rate);
}

static void test_blocks(void)
{
    const int64_t base = INT64_C(1700000000000000000);
    struct mprof_block exact = {.size = 100, .samples = 1, .blocks = 1, .bytes = 100, .rate = 1, .birth_ns = base};
    struct mprof_block blocks[16];
    const char *what[16];
    unsigned n = 0;
#define CASE(text, change)                                                                                             \
    do {                                                                                                               \
        blocks[n] = exact;                                                                                             \
        what[n] = text;                                                                                                \
        change;                                                                                                        \
        n++;                                                                                                           \
    } while (0)
    CASE("plain", (void)0);
    CASE("address", blocks[n].address = UINT64_C(0x7fffdeadbeef));
    CASE("highest address of 48 bits", blocks[n].address = UINT64_C(0xffffffffffff));
    CASE("address of 49 bits", blocks[n].address = UINT64_C(1) << 48);
    CASE("birth", blocks[n].birth_ns = base + (INT64_C(65535) << 20));
    CASE("birth too late for its code", blocks[n].birth_ns = base + (INT64_C(65536) << 20));
    CASE("birth between two codes", blocks[n].birth_ns = base + 1);
    CASE("birth before the base", blocks[n].birth_ns = base - 1);
    CASE("birth unknown", blocks[n].birth_ns = 0);
    CASE("size 0", blocks[n].size = 0; blocks[n].bytes = 0.0);
    CASE("largest size of 31 bits", blocks[n].size = 0x7fffffff; blocks[n].bytes = 0x7fffffff);
    CASE("size of 32 bits", blocks[n].size = 0x80000000; blocks[n].bytes = 0x80000000);
    CASE("domain", blocks[n].domain = 3);
    CASE("id", blocks[n].id = 99);
    CASE("sampled", blocks[n].rate = 512.0; blocks[n].blocks = 5.5; blocks[n].bytes = 550.0);
    CASE("several blocks", blocks[n].samples = 3; blocks[n].blocks = 3.0; blocks[n].bytes = 301.0);
#undef CASE
    struct mprof_builder *builder = mprof_builder_new();
    mprof_builder_set_births(builder, base, 20);
    uint32_t f = function(builder, string(builder, "f"), 0, 1);
    stack(builder, node(builder, 0, f, 1));
    uint32_t s = stack(builder, node(builder, 0, f, 2));
    struct mprof_figures sum = {0};
    for (unsigned i = 0; i < n; i++) {
        blocks[i].stack = s;
        mprof_figures_add_block(&sum, &blocks[i]);
        if (mprof_builder_block(builder, &blocks[i]) < 0)
            bail("no memory for a block");
    }
    struct mprof_snapshot *snapshot = finish(builder);
    is_uint(mprof_snapshot_block_count(snapshot), n, "all blocks are there");
    for (unsigned i = 0; i < n; i++) {
        struct mprof_block got;
        mprof_snapshot_block(snapshot, i, &got);
        ok(same_block(&got, &blocks[i]), "block comes back: %s", what[i]);
    }
    is_uint(mprof_snapshot_block_stack(snapshot, 3), s, "stack of a full record");
    is_uint(snapshot->blocks.count, 10, "only what does not fit in a live entry is a full record");
    const struct mprof_figures *inuse = &mprof_snapshot_stacks(snapshot)[s].inuse;
    is_double(inuse->bytes, sum.bytes, "bytes in use of the stack");
    is_double(inuse->bytes_var, sum.bytes_var, "variance in use of the stack");
    is_double(inuse->samples, sum.samples, "samples in use of the stack");
    is_double(mprof_snapshot_stacks(snapshot)[0].inuse.samples, 0.0, "nothing in use in the other stack");
    mprof_snapshot_decref(snapshot);
}

static void test_reserve(void)
{
    struct mprof_builder *builder = mprof_builder_new();
    mprof_builder_set_births(builder, 1000, 4);
    uint32_t s = stack(builder, 0);
    struct mprof_live *live;
    struct mprof_block *wide;
    uint32_t first;
    ok(mprof_builder_reserve_live(builder, 0, &live) == 0 && !live, "room for no entries is NULL, and no failure");
    if (mprof_builder_reserve_blocks(builder, 2, &wide, &first) < 0 ||
        mprof_builder_reserve_live(builder, MANY, &live) < 0)
        bail("no memory");
    for (uint32_t i = 0; i < MANY; i++)
        live[i] = (struct mprof_live){.key = UINT64_C(3) << 48 | i, .stack = s, .size = i};
    wide[1] = (struct mprof_block){.stack = s, .size = 8, .samples = 1, .rate = 64, .blocks = 8.5, .bytes = 68};
    live[5] = (struct mprof_live){.stack = s, .size = MPROF_LIVE_WIDE | (first + 1)};
    struct mprof_snapshot *snapshot = finish(builder);
    struct mprof_block got;
    mprof_snapshot_block(snapshot, 4, &got);
    ok(got.size == 4 && got.address == 4 && got.birth_ns == 1048, "a live entry is read as it was written");
    mprof_snapshot_block(snapshot, 5, &got);
    ok(got.size == 8 && got.birth_ns == 0 && got.rate > 63, "a full record is read through its entry");
    is_double(mprof_snapshot_stacks(snapshot)[s].inuse.samples, MANY, "all are counted");
    size_t memory = mprof_snapshot_memory(snapshot);
    ok(memory < 17 * MANY + 4 * 65536, "%d blocks take 16 bytes each (%zu in all)", MANY, memory);
    mprof_snapshot_decref(snapshot);
}

static void test_figures(void)
{
    struct mprof_figures f = {0};
    mprof_figures_add_samples(&f, 1000, 131072.0, 76);
    long double p = -expm1l(-1000.0L / 131072.0L);
    is_near(f.blocks, (double)(76.0L / p), 1e-8, "blocks are n/p");
    is_near(f.bytes, (double)(76000.0L / p), 1e-5, "bytes are n s/p");
    is_near(f.blocks_var / (double)(76.0L * (1.0L - p) / (p * p)), 1.0, 1e-12, "variance of blocks is n (1-p)/p^2");
    is_near(f.bytes_var / (double)(76e6L * (1.0L - p) / (p * p)), 1.0, 1e-12, "variance of bytes is n s^2 (1-p)/p^2");
    is_double(f.seen, 76000.0, "seen is n s");
    is_double(f.samples, 76.0, "samples is n");
    /* 10,000 blocks of 1,000 bytes: 76 samples are expected, and the error of 10 MB is 1.14 MB. */
    is_near(f.bytes, 1e7, 5e4, "the worked example: bytes");
    is_near(sqrt(f.bytes_var), 1.14e6, 1e4, "the worked example: standard error");

    struct mprof_figures whole = {0};
    mprof_figures_add_samples(&whole, 100, 1.0, 3);
    mprof_figures_add_samples(&whole, 50, 0.0, 2);
    is_double(whole.bytes, 400.0, "exact bytes");
    is_double(whole.blocks, 5.0, "exact blocks");
    is_double(whole.bytes_var + whole.blocks_var, 0.0, "exact figures have no variance");

    struct mprof_figures zero = {0};
    mprof_figures_add_samples(&zero, 0, 4096.0, 2);
    is_double(zero.bytes, 0.0, "blocks of no bytes have no bytes");
    is_near(zero.blocks, 2.0 / -expm1(-1.0 / 4096.0), 1e-9, "blocks of no bytes count as one byte to be sampled");
    is_double(zero.bytes_var, 0.0, "no bytes, no variance of bytes");

    struct mprof_figures huge = {0};
    mprof_figures_add_samples(&huge, UINT64_C(1) << 63, 524288.0, 1);
    is_double(huge.bytes, 0x1p63, "a huge block is certain to be sampled");
    is_double(huge.bytes_var, 0.0, "and has no variance");

    struct mprof_figures a = {0}, b = {0}, both = {0};
    mprof_figures_add_samples(&a, 10, 64.0, 1);
    mprof_figures_add_samples(&b, 2000, 128.0, 1);
    mprof_figures_add_samples(&both, 10, 64.0, 1);
    mprof_figures_add_samples(&both, 2000, 128.0, 1);
    mprof_figures_add(&a, &b);
    ok(memcmp(&a, &both, sizeof a) == 0, "figures of disjoint sets add up");
}

/* A bit of everything. False: out of memory, and all that was taken is given back. */
static bool build_limited(size_t limit, uint64_t fail_at, uint64_t count)
{
    struct mprof_builder *builder = mprof_builder_new_limited(limit, fail_at, count);
    if (!builder)
        return false;
    uint32_t parent = 0, s, f;
    for (uint32_t i = 0; i < 3000; i++) {
        char text[40];
        snprintf(text, sizeof text, "a rather long name, number %u", i);
        struct mprof_function it = {.firstlineno = i};
        if (mprof_builder_string(builder, text, strlen(text), &it.name) < 0 ||
            mprof_builder_function(builder, &it, &f) < 0)
            goto failed;
        struct mprof_node frame = {.parent = parent, .function = f, .line = i};
        struct mprof_stack at = {.node = 0};
        if (mprof_builder_node(builder, &frame, &parent) < 0)
            goto failed;
        at.node = parent;
        if (mprof_builder_stack(builder, &at, &s) < 0 || mprof_builder_comment(builder, text, strlen(text)) < 0)
            goto failed;
        struct mprof_block block = {
            .stack = s, .size = i, .samples = 1, .blocks = 1, .bytes = i, .rate = i % 2 ? 1 : 9};
        if (mprof_builder_block(builder, &block) < 0)
            goto failed;
    }
    struct mprof_meta meta = {.sample_rate = 1.0};
    struct mprof_snapshot *snapshot = mprof_builder_finish(builder, &meta);
    mprof_snapshot_decref(snapshot);
    return snapshot != NULL;

failed:
    mprof_builder_drop(builder);
    return false;
}

/* Pages that the process has mapped; 0 where it cannot be told. */
static size_t mapped_pages(void)
{
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file) {
        if (fscanf(file, "%zu", &pages) != 1)
            pages = 0;
        fclose(file);
    }
    return pages;
}

static void test_no_memory(void)
{
    ok(build_limited(0, 0, 0), "the example can be built");
    ok(!build_limited(100000, 0, 0), "a limit ends it");
    size_t before = mapped_pages();
    uint64_t n = 1;
    while (n < 10000 && !build_limited(0, n, 1))
        n++;
    /* The requests that only trim the arrays may fail without harm; they come last. */
    uint64_t trims = 0;
    while (trims < 100 && build_limited(0, n + trims, 1))
        trims++;
    ok(n > 50 && n < 10000, "each of %" PRIu64 " requests can fail", n - 1);
    is_uint(trims, 100, "and none after them matters");
    size_t after = mapped_pages();
    if (before == 0)
        skip(1, "the system does not say what is mapped");
    else if (running_emulated())
        skip(1, "the emulator's own memory is counted, too");
    else
        ok(after < before + 64, "nothing stays mapped (%zu pages before, %zu after)", before, after);
}

int main(void)
{
    test_empty();
    test_intern();
    test_many();
    test_blocks();
    test_reserve();
    test_figures();
    test_no_memory();
    return done();
}
