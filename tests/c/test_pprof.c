/* SPDX-License-Identifier: MIT */
/* test_pprof.c -- a snapshot written as a pprof profile and read again. Files from elsewhere: test_pprof_input.c. */
#define _GNU_SOURCE
#include "same_snapshot.h"
#include "tap.h"

#include "base/os.h"
#include "core/snapshot.h"
#include "core/snapshot_private.h"
#include "pprof/decode.h"
#include "pprof/decode_private.h"
#include "pprof/encode.h"
#include "pprof/sizes.h"

/* ---- snapshots to try ---- */

static uint64_t state;

static uint64_t draw(uint64_t below)
{
    state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = (state ^ (state >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

enum { MIXED_RATES = 1, FEW_SIZES = 2, LARGE_SIZES = 4, FEW_BLOCKS = 8 };

static uint64_t random_size(unsigned kind)
{
    if (kind & FEW_SIZES)
        return 16 * draw(10); /* times the domains below: fewer than 32 */
    uint64_t size = draw(UINT64_C(1) << draw(kind & LARGE_SIZES ? 40 : 22));
    return draw(50) == 0 ? 0 : size;
}

static void add_blocks(struct mprof_builder *builder, uint32_t stack, uint64_t count, double rate, unsigned kind)
{
    for (uint64_t i = 0; i < count; i++) {
        struct mprof_figures figures = {0};
        double own = kind & MIXED_RATES && draw(4) == 0 ? (draw(2) ? 1.0 : 2.0 * rate) : rate;
        struct mprof_block block = {.stack = stack, .size = random_size(kind), .samples = 1, .rate = own};
        if (draw(8) == 0)
            block.domain = (uint32_t)(draw(2) || kind & FEW_SIZES ? draw(3) : draw(UINT32_MAX));
        if (draw(3))
            block.birth_ns = SNAPSHOT_TIME - (int64_t)draw(UINT64_C(1) << draw(46)); /* up to a day before */
        mprof_figures_add_samples(&figures, block.size, own, 1);
        block.blocks = figures.blocks;
        block.bytes = figures.bytes;
        if (mprof_builder_block(builder, &block) < 0)
            bail("no memory for a block");
    }
}

static struct mprof_snapshot *random_snapshot(uint64_t seed, double rate, uint32_t stacks, unsigned kind)
{
    state = seed;
    struct mprof_builder *builder = mprof_builder_new();
    uint32_t functions[40];
    for (unsigned i = 0; i < 40; i++) {
        char text[40];
        struct mprof_function function = {.firstlineno = (uint32_t)draw(1000)};
        snprintf(text, sizeof text, draw(3) ? "<module %u>" : "caf\xc3\xa9 %u", i);
        mprof_builder_string(builder, text, draw(20) ? strlen(text) : 0, &function.name);
        snprintf(text, sizeof text, "/srv/app/%u.py", (unsigned)draw(10));
        mprof_builder_string(builder, text, draw(20) ? strlen(text) : 0, &function.filename);
        mprof_builder_function(builder, &function, &functions[i]);
    }
    uint32_t *nodes = calloc(stacks, sizeof *nodes);
    for (uint32_t i = 0; i < stacks; i++) {
        struct mprof_stack stack = {.total_frames = draw(5) ? 0 : 1000};
        if (i > 0) {
            struct mprof_node node = {.function = functions[draw(40)], .line = (uint32_t)draw(3000)};
            node.parent = nodes[draw(4) ? i - 1 : draw(i)];
            mprof_builder_node(builder, &node, &nodes[i]);
        }
        stack.node = nodes[i];
        uint64_t size = random_size(kind);
        mprof_figures_add_samples(&stack.alloc, size, rate, 1 + draw(100));
        mprof_figures_add_samples(&stack.alloc, size / 2, rate, draw(100));
        mprof_figures_add_samples(&stack.peak, size, rate, draw(3));
        uint32_t index;
        if (mprof_builder_stack(builder, &stack, &index) < 0)
            bail("no memory for a stack");
        add_blocks(builder, index, draw(3) || kind & FEW_BLOCKS ? draw(6) : draw(120), rate, kind);
    }
    free(nodes);
    mprof_builder_comment(builder, "the first", 9);
    mprof_builder_comment(builder, "", 0);
    mprof_builder_comment(builder, "mprofile: something=else", 24);
    struct mprof_meta meta = {.sample_rate = rate,
                              .max_frames = (uint32_t)draw(200),
                              .drops = draw(2) * draw(UINT64_MAX),
                              .thinnings = draw(3),
                              .start_ns = (int64_t)draw(1u << 31) * 1000000000,
                              .time_ns = SNAPSHOT_TIME,
                              .peak_ns = -(int64_t)draw(1u << 31),
                              .recording = draw(UINT64_MAX)};
    struct mprof_snapshot *snapshot = mprof_builder_finish(builder, &meta);
    if (!snapshot)
        bail("no memory for a snapshot");
    return snapshot;
}

/* ---- helpers ---- */

struct file {
    struct mprof_arena arena;
    unsigned char *bytes;
    size_t length;
};

static void encode(struct file *file, const struct mprof_snapshot *snapshot, const struct mprof_encode_options *options)
{
    mprof_arena_init(&file->arena, 0);
    if (mprof_pprof_encode(snapshot, options, &file->arena, &file->bytes, &file->length) < 0)
        bail("no memory to encode");
}

static struct mprof_snapshot *decode(const struct file *file)
{
    struct mprof_snapshot *snapshot;
    struct mprof_decode_error error;
    if (mprof_pprof_decode(file->bytes, file->length, &snapshot, &error) < 0)
        bail("cannot read what was written: %s", error.text);
    return snapshot;
}

static struct mprof_snapshot *through_file(const struct mprof_snapshot *snapshot,
                                           const struct mprof_encode_options *options)
{
    struct file file;
    encode(&file, snapshot, options);
    struct mprof_snapshot *read = decode(&file);
    mprof_arena_drop(&file.arena);
    return read;
}

/* Sum of one column over all samples of a file that we wrote. */
static int64_t column_sum(const struct file *file, unsigned column)
{
    struct mprof_wire top = {.bytes = file->bytes, .end = file->length};
    struct mprof_field field;
    int64_t sum = 0;
    while (mprof_wire_next(&top, &field) > 0) {
        struct mprof_field inner;
        struct mprof_wire sample = field.body;
        if (field.number != MPROF_PROFILE_SAMPLE)
            continue;
        while (mprof_wire_next(&sample, &inner) > 0) {
            uint64_t value = 0;
            if (inner.number != MPROF_SAMPLE_VALUE)
                continue;
            for (unsigned i = 0; i <= column; i++)
                if (mprof_wire_varint(&inner.body, &value) < 0)
                    bail("sample without column %u", column);
            sum += (int64_t)value;
        }
    }
    return sum;
}

static struct mprof_figures total_inuse(const struct mprof_snapshot *snapshot)
{
    struct mprof_figures sum = {0};
    for (uint32_t i = 0; i < mprof_snapshot_stack_count(snapshot); i++)
        mprof_figures_add(&sum, &mprof_snapshot_stacks(snapshot)[i].inuse);
    return sum;
}

/* ---- the tests ---- */

static void test_sampled(void)
{
    static const double rates[] = {2.0, 16.0, 4096.0, 131072.0, 524288.0, 0x1p40};
    for (unsigned r = 0; r < sizeof rates / sizeof *rates; r++) {
        bool fine = true;
        for (uint64_t seed = 1; fine && seed <= 10; seed++) {
            unsigned kind = (seed % 2 ? MIXED_RATES : 0) | (seed % 3 ? 0 : FEW_SIZES) | (seed % 5 ? 0 : LARGE_SIZES);
            struct mprof_snapshot *a = random_snapshot(seed, rates[r], 60, kind);
            struct file file;
            encode(&file, a, NULL);
            struct mprof_snapshot *b = decode(&file);
            struct mprof_snapshot *c = through_file(b, NULL);
            struct mprof_figures sum = total_inuse(a);
            fine = check(same_snapshot(a, b, true), "seed %" PRIu64, seed) &&
                   check(same_snapshot(b, c, true), "seed %" PRIu64 ", a second time", seed) &&
                   check(fabs((double)column_sum(&file, MPROF_COLUMN_INUSE + 1) - sum.bytes) <= 0.5 + 1e-12 * sum.bytes,
                         "sum of inuse_space is the rounded total %.3f", sum.bytes) &&
                   check(fabs((double)column_sum(&file, MPROF_COLUMN_INUSE) - sum.blocks) <= 0.5 + 1e-12 * sum.blocks,
                         "sum of inuse_objects is the rounded total %.3f", sum.blocks);
            mprof_arena_drop(&file.arena);
            mprof_snapshot_decref(a);
            mprof_snapshot_decref(b);
            mprof_snapshot_decref(c);
        }
        ok(fine, "sampled at %g: everything comes back", rates[r]);
    }
}

static void test_exact(void)
{
    bool fine = true;
    for (uint64_t seed = 1; fine && seed <= 10; seed++) {
        struct mprof_snapshot *a = random_snapshot(seed, 1.0, 60, FEW_SIZES);
        struct mprof_snapshot *b = through_file(a, NULL);
        fine = check(same_snapshot(a, b, true), "seed %" PRIu64, seed);
        mprof_snapshot_decref(a);
        mprof_snapshot_decref(b);
    }
    ok(fine, "exact, up to 32 sizes a stack: everything comes back");

    struct mprof_builder *builder = mprof_builder_new();
    struct mprof_stack stack = {.node = 0};
    uint32_t index;
    mprof_builder_stack(builder, &stack, &index);
    for (uint64_t size = 1; size <= 1000; size++) {
        struct mprof_block block = {.size = size, .samples = 1, .blocks = 1, .bytes = (double)size, .rate = 1};
        mprof_builder_block(builder, &block);
    }
    struct mprof_meta meta = {.sample_rate = 1.0};
    struct mprof_snapshot *a = mprof_builder_finish(builder, &meta);
    struct mprof_snapshot *b = through_file(a, NULL);
    is_uint(mprof_snapshot_block_count(b), 10, "1000 sizes become 10 classes");
    uint64_t low = 1;
    fine = true;
    for (size_t i = 0; i < mprof_snapshot_block_count(b); i++, low *= 2) {
        struct mprof_block block;
        mprof_snapshot_block(b, i, &block);
        uint64_t high = low == 512 ? 1000 : 2 * low - 1;
        uint64_t count = high - low + 1;
        fine =
            fine && check(same(block.blocks, (double)count) && same(block.bytes, (double)((low + high) * count / 2)) &&
                              block.size == (low + high + 1) / 2 && block.samples == count,
                          "class from %" PRIu64, low);
    }
    ok(fine, "a class holds its blocks, its bytes and its mean size");
    is_double(total_inuse(b).bytes, 500500.0, "no byte is lost");
    is_double(total_inuse(b).samples, 1000.0, "no block is lost");
    mprof_snapshot_decref(a);
    mprof_snapshot_decref(b);
}

static void test_selection(void)
{
    struct mprof_snapshot *all = random_snapshot(7, 4096.0, 30, 0);
    size_t count = mprof_snapshot_block_count(all);
    uint32_t stacks = mprof_snapshot_stack_count(all);
    uint32_t *selection = calloc(count, sizeof *selection);
    unsigned char *mask = calloc(stacks, 1);
    unsigned char *named = calloc(stacks, 1);
    struct mprof_encode_options options = {.selection = selection};
    double bytes = 0.0, masked = 0.0;
    uint32_t kept = 0, kept_both = 0;
    for (uint32_t i = 0; i < stacks; i += 2)
        mask[i] = 1;
    for (size_t i = 0; i < count; i += 3) {
        struct mprof_block block;
        mprof_snapshot_block(all, i, &block);
        selection[options.selected++] = (uint32_t)i;
        kept += !named[block.stack];
        kept_both += mask[block.stack] != 0;
        named[block.stack] = 1;
        bytes += block.bytes;
        masked += mask[block.stack] ? block.bytes : 0.0;
    }
    struct mprof_snapshot *some = through_file(all, &options);
    is_uint(mprof_snapshot_stack_count(some), kept, "only the stacks of selected blocks are written");
    is_near(total_inuse(some).bytes, bytes, 1e-6 * bytes, "only selected blocks are written");
    mprof_snapshot_decref(some);

    options.stack_mask = mask;
    some = through_file(all, &options);
    is_uint(mprof_snapshot_stack_count(some), (stacks + 1) / 2, "a mask decides on the stacks");
    is_near(total_inuse(some).bytes, masked, 1e-6 * bytes, "blocks must be selected and in a stack of the mask");
    is_double(total_inuse(some).samples, kept_both, "and none of them is lost");
    mprof_snapshot_decref(some);

    options = (struct mprof_encode_options){.selection = selection, .selected = 0};
    struct file file;
    encode(&file, all, &options);
    some = decode(&file);
    is_uint(mprof_snapshot_stack_count(some), 0, "an empty selection writes no stack");
    bool found = false;
    for (size_t i = 0; i + 5 < file.length; i++)
        found = found || memcmp(file.bytes + i, "/srv/", 5) == 0;
    ok(!found, "and no name of one");
    mprof_arena_drop(&file.arena);
    mprof_snapshot_decref(some);
    mprof_snapshot_decref(all);
    free(selection);
    free(mask);
    free(named);
}

static void test_meta(void)
{
    static const struct {
        double rate;
        double back;
    } rates[] = {{0.0, 1.0}, {1.0, 1.0}, {1000.5, 1000.5}, {524288.0, 524288.0}, {0x1p62, 0x1p62}};
    for (unsigned i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct mprof_meta meta = {.sample_rate = rates[i].rate};
        struct mprof_snapshot *a = mprof_builder_finish(mprof_builder_new(), &meta);
        struct mprof_snapshot *b = through_file(a, NULL);
        is_double(mprof_snapshot_meta(b)->sample_rate, rates[i].back, "sample rate %g", rates[i].rate);
        is_uint(mprof_snapshot_comment_count(b), 0, "its comment is not left over");
        mprof_snapshot_decref(a);
        mprof_snapshot_decref(b);
    }
}

static void test_names(void)
{
    static const struct {
        const char *name;
        const char *written;
    } names[] = {
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d"},
        {"lone \xed\xb2\x80 surrogate", "lone \\udc80 surrogate"},
        {"two \xed\xa0\xbd\xed\xb0\x8d", "two \\ud83d\\udc0d"},
        {"\xff\x80", "\\xff\\x80"},
        {"overlong \xc0\x80 \xe0\x80\x80 \xf0\x80\x80\x80", "overlong \\xc0\\x80 \\xe0\\x80\\x80 \\xf0\\x80\\x80\\x80"},
        {"beyond \xf4\x90\x80\x80", "beyond \\xf4\\x90\\x80\\x80"},
        {"\xf4\x8f\xbf\xbf last", "\xf4\x8f\xbf\xbf last"},
        {"cut \xe2\x82", "cut \\xe2\\x82"},
        {"cut \xed\xb2", "cut \\xed\\xb2"},
        {"back\\slash", "back\\slash"},
    };
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        struct mprof_builder *builder = mprof_builder_new();
        struct mprof_function function = {.firstlineno = 1};
        struct mprof_node node = {.line = 2};
        struct mprof_stack stack = {.alloc = {.blocks = 1.0, .bytes = 1.0, .samples = 1.0, .seen = 1.0}};
        struct mprof_meta meta = {.sample_rate = 1.0};
        uint32_t index;
        mprof_builder_string(builder, names[i].name, strlen(names[i].name), &function.name);
        mprof_builder_function(builder, &function, &node.function);
        mprof_builder_node(builder, &node, &stack.node);
        mprof_builder_stack(builder, &stack, &index);
        struct mprof_snapshot *a = mprof_builder_finish(builder, &meta);
        struct mprof_snapshot *b = through_file(a, NULL);
        size_t length;
        const struct mprof_node *read = &mprof_snapshot_nodes(b)[mprof_snapshot_stacks(b)[0].node];
        const char *text = mprof_snapshot_string(b, mprof_snapshot_functions(b)[read->function].name, &length);
        ok(length == strlen(names[i].written) && memcmp(text, names[i].written, length) == 0,
           "name %u is written as UTF-8", i);
        mprof_snapshot_decref(a);
        mprof_snapshot_decref(b);
    }
}

/* A stack of whose blocks nothing is left, not even figures, leaves nothing of itself in the file. */
static void test_no_figures(void)
{
    static const char *const names[] = {"with_blocks", "with_figures", "cut_short", "without_anything"};
    struct mprof_builder *builder = mprof_builder_new();
    for (unsigned i = 0; i < 4; i++) {
        struct mprof_function function = {.name = 0};
        struct mprof_node node = {.line = 1};
        struct mprof_stack stack = {.total_frames = i == 2 ? 9 : 0};
        const struct mprof_block block = {.size = 100, .samples = 1, .blocks = 1, .bytes = 100, .rate = 1};
        uint32_t index;
        if (i == 1)
            mprof_figures_add_samples(&stack.alloc, 100, 1, 1);
        mprof_builder_string(builder, names[i], strlen(names[i]), &function.name);
        mprof_builder_function(builder, &function, &node.function);
        mprof_builder_node(builder, &node, &stack.node);
        mprof_builder_stack(builder, &stack, &index);
        if (i == 0)
            mprof_builder_block(builder, &block);
    }
    const struct mprof_meta meta = {.sample_rate = 1, .max_frames = 8};
    struct mprof_snapshot *snapshot = mprof_builder_finish(builder, &meta);
    struct file file;
    encode(&file, snapshot, NULL);
    for (unsigned i = 0; i < 4; i++)
        ok((memmem(file.bytes, file.length, names[i], strlen(names[i])) != NULL) == (i < 3), "a stack %s", names[i]);
    mprof_arena_drop(&file.arena);
    mprof_snapshot_decref(snapshot);
}

/* Every request of the encoder may be refused. */
static void test_encode_no_memory(void)
{
    struct mprof_snapshot *snapshot = random_snapshot(3, 4096.0, 3000, MIXED_RATES);
    bool clean = true;
    uint64_t n = 0;
    int code = -1;
    while (code < 0 && n < 1000) {
        struct mprof_arena arena;
        unsigned char *bytes = NULL;
        size_t length = 0;
        mprof_arena_init(&arena, 0);
        arena.fail_at = ++n;
        arena.fail_count = 1;
        code = mprof_pprof_encode(snapshot, NULL, &arena, &bytes, &length);
        clean = clean && check(code == 0 || arena.large == NULL, "request %" PRIu64 ": a mapping is left", n);
        mprof_arena_drop(&arena);
    }
    ok(n > 15 && n < 1000, "encode: each of %" PRIu64 " requests can fail", n - 1);
    ok(clean, "encode: and nothing stays taken");
    mprof_snapshot_decref(snapshot);
}

static void test_decode_no_memory(void)
{
    struct mprof_snapshot *snapshot = random_snapshot(3, 4096.0, 2000, MIXED_RATES);
    struct file file;
    encode(&file, snapshot, NULL);
    for (unsigned which = 0; which < 2; which++) {
        bool clean = true;
        uint64_t n = 0;
        int code = -1;
        while (code < 0 && n < 1000) {
            struct mprof_arena arena;
            struct mprof_decode_error error;
            struct mprof_snapshot *read = NULL;
            n++;
            mprof_arena_init(&arena, 0);
            arena.fail_at = which ? n : 0;
            arena.fail_count = 1;
            struct mprof_builder *builder = mprof_builder_new_limited(0, which ? 0 : n, 1);
            code = mprof_decode_with(file.bytes, file.length, builder, &arena, &read, &error);
            clean = clean && check(arena.large == NULL, "request %" PRIu64 ": a mapping is left", n);
            if (code == 0)
                mprof_snapshot_decref(read);
            else
                clean = clean && check(error.memory && strcmp(error.text, "out of memory") == 0, "says %s", error.text);
            mprof_arena_drop(&arena);
        }
        ok(n > 5 && n < 1000, "decode, %s: each of %" PRIu64 " requests can fail", which ? "tables" : "snapshot",
           n - 1);
        ok(clean, "decode: and nothing stays taken");
    }
    mprof_arena_drop(&file.arena);
    mprof_snapshot_decref(snapshot);
}

static void test_large(void)
{
    struct mprof_snapshot *a = random_snapshot(11, 524288.0, 100000, FEW_BLOCKS);
    struct file file;
    int64_t start = mprof_os_monotonic_ns();
    encode(&file, a, NULL);
    int64_t middle = mprof_os_monotonic_ns();
    struct mprof_snapshot *b = decode(&file);
    int64_t end = mprof_os_monotonic_ns();
    diag("%u stacks, %zu blocks, %u nodes: %zu bytes, encode %.0f ms, decode %.0f ms, snapshot %zu bytes",
         mprof_snapshot_stack_count(a), mprof_snapshot_block_count(a), mprof_snapshot_node_count(a), file.length,
         (double)(middle - start) * 1e-6, (double)(end - middle) * 1e-6, mprof_snapshot_memory(b));
    ok(same_snapshot(a, b, false), "100000 stacks come back");
    is_near(total_inuse(b).bytes / total_inuse(a).bytes, 1.0, 1e-9, "with what is in use");
    is_double(total_inuse(b).samples, total_inuse(a).samples, "and every sample");
    mprof_arena_drop(&file.arena);
    mprof_snapshot_decref(a);
    mprof_snapshot_decref(b);
}

int main(void)
{
    test_sampled();
    test_exact();
    test_selection();
    test_meta();
    test_names();
    test_no_figures();
    test_encode_no_memory();
    test_decode_no_memory();
    test_large();
    return done();
}
