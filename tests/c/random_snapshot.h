/* SPDX-License-Identifier: MIT */
/* random_snapshot.h -- snapshots for tests: few names, so that different nodes share a line, frames recur on a stack and
 * groups tie; and their paths as text, for tests that compare by the plain definition.
 *
 * WHAT    random_snapshot() and the helpers of test_grouping.c and test_selection.c.
 * WHY     What two tests need alike is written once.
 * LOCKS   none.
 * MEMORY  Without memory a test ends (bail). */
#ifndef MPROF_TESTS_RANDOM_SNAPSHOT_H
#define MPROF_TESTS_RANDOM_SNAPSHOT_H

#include "base/rng.h"
#include "core/grouping.h"
#include "tap.h"

enum { FILES = 3, LINES = 3, NAMES = 3, MOST_DEPTH = 7, TEXT = 256 };

static const char *const files[FILES] = {"b.py", "a.py", "\xed\xb2\x80.py"}; /* the last: a lone surrogate */
static const char *const names[NAMES] = {"f", "g", ""};

static uint32_t below(struct mprof_rng *rng, uint32_t limit)
{
    return (uint32_t)(mprof_rng_next(rng) % limit);
}

/* ---- random snapshots ---- */

struct shape {
    uint32_t blocks;
    bool sampled;
    uint64_t recording;
    uint64_t first_id;
};

static uint32_t random_stack(struct mprof_builder *builder, struct mprof_rng *rng)
{
    struct mprof_stack stack = {0};
    uint32_t depth = below(rng, MOST_DEPTH + 1);
    for (uint32_t i = 0; i < depth; i++) {
        struct mprof_function function = {.firstlineno = 1 + below(rng, 2)};
        struct mprof_node node = {.parent = stack.node, .line = below(rng, LINES)};
        const char *file = files[below(rng, FILES)];
        const char *name = names[below(rng, NAMES)];
        if (mprof_builder_string(builder, file, strlen(file), &function.filename) < 0 ||
            mprof_builder_string(builder, name, strlen(name), &function.name) < 0 ||
            mprof_builder_function(builder, &function, &node.function) < 0 ||
            mprof_builder_node(builder, &node, &stack.node) < 0)
            bail("no memory");
    }
    stack.total_frames = depth + (below(rng, 4) ? 0 : below(rng, 3));
    mprof_figures_add_samples(&stack.alloc, 10 + below(rng, 100), 64.0, 1 + below(rng, 3));
    mprof_figures_add_samples(&stack.peak, 10 + below(rng, 100), 64.0, below(rng, 3));
    uint32_t index;
    if (mprof_builder_stack(builder, &stack, &index) < 0)
        bail("no memory");
    return index;
}

static struct mprof_snapshot *random_snapshot(struct mprof_rng *rng, const struct shape *shape)
{
    struct mprof_builder *builder = mprof_builder_new();
    if (!builder)
        bail("no memory");
    for (uint32_t i = 0; i < shape->blocks; i++) {
        struct mprof_block block = {
            .stack = random_stack(builder, rng),
            .domain = below(rng, 8) ? 0 : below(rng, 3),
            .size = below(rng, 5) * 16,
            .samples = 1,
            .rate = shape->sampled ? 64.0 * (1 + below(rng, 2)) : 1.0,
            .id = shape->sampled ? shape->first_id + i : 0,
        };
        struct mprof_figures one = {0};
        mprof_figures_add_samples(&one, block.size, block.rate, 1);
        block.blocks = one.blocks;
        block.bytes = one.bytes;
        if (mprof_builder_block(builder, &block) < 0)
            bail("no memory");
    }
    struct mprof_meta meta = {.sample_rate = shape->sampled ? 128.0 : 1.0, .recording = shape->recording};
    struct mprof_snapshot *snapshot = mprof_builder_finish(builder, &meta);
    if (!snapshot)
        bail("no memory");
    return snapshot;
}

/* ---- paths as text ---- */

static const char *text_of(const struct mprof_snapshot *snapshot, uint32_t string)
{
    static char texts[4][32];
    static unsigned next;
    char *text = texts[next++ % 4];
    size_t length;
    const char *bytes = mprof_snapshot_string(snapshot, string, &length);
    snprintf(text, 32, "%.*s", (int)length, bytes);
    return text;
}

/* Names sort as the text of a key sorts: file, then line, one digit each. */
static void frame_text(const struct mprof_snapshot *snapshot, enum mprof_key key, uint32_t node, char *text)
{
    const struct mprof_node *frame = &mprof_snapshot_nodes(snapshot)[node];
    const struct mprof_function *function = &mprof_snapshot_functions(snapshot)[frame->function];
    const char *file = node ? text_of(snapshot, function->filename) : MPROF_UNKNOWN_FILE;
    const char *name = node ? text_of(snapshot, function->name) : "";
    switch (key) {
    case MPROF_KEY_FILE:
        snprintf(text, TEXT, "%s", file);
        break;
    case MPROF_KEY_FUNCTION:
        snprintf(text, TEXT, "%s:%u:%s", file, function->firstlineno, name);
        break;
    case MPROF_KEY_STACK:
        snprintf(text, TEXT, "%s:%u:%s:%u", file, function->firstlineno, name, frame->line);
        break;
    default:
        snprintf(text, TEXT, "%s:%u", file, frame->line);
    }
}

/* Oldest frame first, each ended by a byte that sorts before every other. */
static inline void path_text(const struct mprof_snapshot *snapshot, enum mprof_key key, uint32_t node, char *text)
{
    char frame[TEXT];
    uint32_t parent = mprof_snapshot_nodes(snapshot)[node].parent;
    text[0] = '\0';
    if (parent)
        path_text(snapshot, key, parent, text);
    frame_text(snapshot, key, node, frame);
    size_t length = strlen(text);
    size_t more = strlen(frame);
    if (length + more + 2 > TEXT)
        bail("a path is too long");
    memcpy(text + length, frame, more);
    memcpy(text + length + more, "\x01", 2);
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * (1.0 + fabs(b));
}

static bool same_figures(const struct mprof_figures *a, const struct mprof_figures *b)
{
    return near(a->bytes, b->bytes) && near(a->blocks, b->blocks) && near(a->bytes_var, b->bytes_var) &&
           near(a->blocks_var, b->blocks_var) && near(a->seen, b->seen) && near(a->samples, b->samples);
}

#endif
