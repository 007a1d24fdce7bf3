/* SPDX-License-Identifier: MIT */
/* test_selection.c -- filters and copies of snapshots, against the plain definition, block by block. */
#include "core/selection.h"

#include "random_snapshot.h"
#include "tap.h"

static bool filter_matches(const struct mprof_filter *filter, const struct mprof_snapshot *snapshot,
                           const struct mprof_block *block)
{
    uint32_t node = mprof_snapshot_stacks(snapshot)[block->stack].node;
    bool match = false;
    do {
        const struct mprof_node *frame = &mprof_snapshot_nodes(snapshot)[node];
        uint32_t file =
            node ? mprof_snapshot_functions(snapshot)[frame->function].filename : mprof_snapshot_string_count(snapshot);
        match |= (!filter->files || filter->files[file]) && (filter->line == MPROF_ANY || filter->line == frame->line);
        node = frame->parent;
    } while (filter->all_frames && node);
    return match && (filter->domain == MPROF_ANY || filter->domain == block->domain);
}

static bool same_block(const struct mprof_snapshot *a, size_t i, const struct mprof_snapshot *b, size_t k)
{
    struct mprof_block one;
    struct mprof_block two;
    char one_path[TEXT];
    char two_path[TEXT];
    mprof_snapshot_block(a, i, &one);
    mprof_snapshot_block(b, k, &two);
    path_text(a, MPROF_KEY_STACK, mprof_snapshot_stacks(a)[one.stack].node, one_path);
    path_text(b, MPROF_KEY_STACK, mprof_snapshot_stacks(b)[two.stack].node, two_path);
    return one.size == two.size && one.domain == two.domain && one.id == two.id && near(one.bytes, two.bytes) &&
           near(one.rate, two.rate) && strcmp(one_path, two_path) == 0;
}

static void test_selection(struct mprof_rng *rng)
{
    bool good = true;
    for (unsigned round = 0; round < 200; round++) {
        struct shape shape = {.blocks = below(rng, 100), .sampled = round % 2, .recording = 7, .first_id = 1};
        struct mprof_snapshot *snapshot = random_snapshot(rng, &shape);
        uint8_t match_files[3][64] = {{0}};
        struct mprof_filter filters[3];
        size_t count = below(rng, 4);
        for (size_t i = 0; i < count; i++) {
            for (unsigned k = 0; k < 64; k++)
                match_files[i][k] = below(rng, 2) != 0;
            filters[i] = (struct mprof_filter){
                .inclusive = below(rng, 2),
                .all_frames = below(rng, 2),
                .files = below(rng, 4) ? match_files[i] : NULL,
                .line = below(rng, 2) ? MPROF_ANY : (int64_t)below(rng, LINES),
                .domain = below(rng, 2) ? MPROF_ANY : (int64_t)below(rng, 3) - (below(rng, 8) == 0 ? 2 : 0),
            };
        }
        struct mprof_snapshot *selected = mprof_select(snapshot, filters, count);
        if (!selected)
            bail("no memory");
        size_t kept = 0;
        uint8_t keep[128] = {0};
        for (size_t i = 0; i < mprof_snapshot_block_count(snapshot); i++) {
            struct mprof_block block;
            bool must = false;
            bool any = false;
            bool pass = true;
            mprof_snapshot_block(snapshot, i, &block);
            for (size_t f = 0; f < count; f++) {
                bool match = filter_matches(&filters[f], snapshot, &block);
                must |= filters[f].inclusive;
                any |= filters[f].inclusive && match;
                pass &= filters[f].inclusive || !match;
            }
            if (!pass || (must && !any))
                continue;
            keep[i] = 1;
            good &= check(kept < mprof_snapshot_block_count(selected) && same_block(snapshot, i, selected, kept),
                          "round %u: block %zu is kept as number %zu", round, i, kept);
            kept++;
        }
        good &= check(kept == mprof_snapshot_block_count(selected), "round %u: %zu blocks, not %zu", round,
                      mprof_snapshot_block_count(selected), kept);
        struct mprof_snapshot *by_hand = mprof_select_blocks(snapshot, keep);
        struct mprof_arena arena;
        bool same = false;
        mprof_arena_init(&arena, 0);
        if (!by_hand || mprof_grouping_same_traces(selected, by_hand, &arena, &same) < 0)
            bail("no memory");
        good &= check(same, "round %u: the same blocks by hand", round);
        mprof_arena_drop(&arena);
        mprof_snapshot_decref(by_hand);
        mprof_snapshot_decref(selected);
        mprof_snapshot_decref(snapshot);
    }
    ok(good, "selections keep the blocks that pass, in order, with all they have");
}

static void test_copy(struct mprof_rng *rng)
{
    struct shape shape = {.blocks = 100, .sampled = true, .recording = 7, .first_id = 1};
    struct mprof_snapshot *snapshot = random_snapshot(rng, &shape);
    struct mprof_comment comments[2] = {{"one", 3}, {"", 0}};
    struct mprof_snapshot *copy = mprof_select_all(snapshot, comments, 2);
    struct mprof_arena arena;
    bool same = false;
    mprof_arena_init(&arena, 0);
    if (!copy || mprof_grouping_same_traces(snapshot, copy, &arena, &same) < 0)
        bail("no memory");
    ok(same, "a copy has the same traces");
    ok(mprof_snapshot_comment_count(copy) == 2 && strcmp(text_of(copy, mprof_snapshot_comment(copy, 0)), "one") == 0 &&
           strcmp(text_of(copy, mprof_snapshot_comment(copy, 1)), "") == 0,
       "and the comments that were added");
    struct mprof_figures totals[2][MPROF_MEASURES];
    mprof_grouping_totals(snapshot, totals[0]);
    mprof_grouping_totals(copy, totals[1]);
    ok(same_figures(&totals[0][MPROF_ALLOC], &totals[1][MPROF_ALLOC]) &&
           same_figures(&totals[0][MPROF_PEAK], &totals[1][MPROF_PEAK]),
       "and what was allocated and in use at the peak");
    struct mprof_snapshot *other = random_snapshot(rng, &shape);
    if (mprof_grouping_same_traces(snapshot, other, &arena, &same) < 0)
        bail("no memory");
    ok(!same, "another snapshot has other traces");
    mprof_arena_drop(&arena);
    mprof_snapshot_decref(other);
    mprof_snapshot_decref(copy);
    mprof_snapshot_decref(snapshot);
}

int main(void)
{
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 20240602);
    test_selection(&rng);
    test_copy(&rng);
    return done();
}
