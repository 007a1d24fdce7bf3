/* SPDX-License-Identifier: MIT */
/* test_memory_faults.c -- everything that is done with snapshots, without memory.
 *
 * Each operation is done once undisturbed, to count its requests N to all arenas, whoever owns them, then again for each
 * n <= N with the n-th refused, and with all that follow; then with the system refusing its mappings. It fails or, where
 * memory was for speed only, gives the same result; it leaves no mapping behind; and with memory again it works again.
 *
 * The linker brings the calls of mprof_arena_get and others here (--wrap, tests/meson.build). */
#define _GNU_SOURCE
#include "fake_source.h"
#include "random_snapshot.h"

#include "base/arena.h"
#include "base/os.h"
#include "core/folding.h"
#include "core/merge.h"
#include "core/selection.h"
#include "pprof/decode.h"
#include "pprof/encode.h"
#include "publish/publication.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* ---- the wrapped calls ---- */

static struct {
    bool mappings; /* what is counted: requests to arenas, or those of arenas to the system */
    uint64_t requests;
    uint64_t fail_at; /* 0: none */
    bool rest;
    int64_t mapped; /* bytes that the system has given and not got back */
} faults;

static bool refuse(bool mapping)
{
    if (mapping != faults.mappings)
        return false;
    faults.requests++;
    return faults.fail_at != 0 && (faults.rest ? faults.requests >= faults.fail_at : faults.requests == faults.fail_at);
}

void *__real_mprof_arena_get(struct mprof_arena *arena, size_t size);
void *__wrap_mprof_arena_get(struct mprof_arena *arena, size_t size);
void *__real_mprof_arena_array(struct mprof_arena *arena, size_t count, size_t item);
void *__wrap_mprof_arena_array(struct mprof_arena *arena, size_t count, size_t item);
void *__real_mprof_arena_resize(struct mprof_arena *arena, void *memory, size_t old_size, size_t new_size);
void *__wrap_mprof_arena_resize(struct mprof_arena *arena, void *memory, size_t old_size, size_t new_size);
void *__real_mprof_arena_reserve(struct mprof_arena *arena, void *array, uint32_t *capacity, uint64_t need,
                                 size_t item);
void *__wrap_mprof_arena_reserve(struct mprof_arena *arena, void *array, uint32_t *capacity, uint64_t need,
                                 size_t item);
void *__real_mprof_os_map(size_t size);
void *__wrap_mprof_os_map(size_t size);
void *__real_mprof_os_map_present(size_t size);
void *__wrap_mprof_os_map_present(size_t size);
void __real_mprof_os_unmap(void *address, size_t size);
void __wrap_mprof_os_unmap(void *address, size_t size);
void *__real_mprof_os_remap(void *address, size_t old_size, size_t new_size);
void *__wrap_mprof_os_remap(void *address, size_t old_size, size_t new_size);

void *__wrap_mprof_arena_get(struct mprof_arena *arena, size_t size)
{
    return refuse(false) ? NULL : __real_mprof_arena_get(arena, size);
}

void *__wrap_mprof_arena_array(struct mprof_arena *arena, size_t count, size_t item)
{
    return refuse(false) ? NULL : __real_mprof_arena_array(arena, count, item);
}

void *__wrap_mprof_arena_resize(struct mprof_arena *arena, void *memory, size_t old_size, size_t new_size)
{
    return refuse(false) ? NULL : __real_mprof_arena_resize(arena, memory, old_size, new_size);
}

void *__wrap_mprof_arena_reserve(struct mprof_arena *arena, void *array, uint32_t *capacity, uint64_t need, size_t item)
{
    if (need > *capacity && refuse(false))
        return NULL;
    return __real_mprof_arena_reserve(arena, array, capacity, need, item);
}

static void *counted(void *mapping, size_t size)
{
    faults.mapped += mapping ? (int64_t)size : 0;
    return mapping;
}

void *__wrap_mprof_os_map(size_t size)
{
    return refuse(true) ? NULL : counted(__real_mprof_os_map(size), size);
}

void *__wrap_mprof_os_map_present(size_t size)
{
    return refuse(true) ? NULL : counted(__real_mprof_os_map_present(size), size);
}

void __wrap_mprof_os_unmap(void *address, size_t size)
{
    faults.mapped -= (int64_t)size;
    __real_mprof_os_unmap(address, size);
}

void *__wrap_mprof_os_remap(void *address, size_t old_size, size_t new_size)
{
    void *moved = refuse(true) ? NULL : __real_mprof_os_remap(address, old_size, new_size);
    faults.mapped += moved ? (int64_t)new_size - (int64_t)old_size : 0;
    return moved;
}

/* ---- operations ---- */

enum { SNAPSHOTS = 3, FUNCTIONS = 200 };

static struct mprof_snapshot *snapshots[SNAPSHOTS]; /* exact, sampled, sampled later in the same recording */
static unsigned char *encoded;
static size_t encoded_length;
static struct mprof_publication publication;
static char path[256];

/* What an operation gives: a number that stands for its result, 0 if it says that it had no memory. */
typedef uint64_t operation(void);

static uint64_t sum_of(struct mprof_snapshot *snapshot)
{
    if (!snapshot)
        return 0;
    uint64_t sum = 1 + mprof_snapshot_block_count(snapshot) + 1000 * mprof_snapshot_stack_count(snapshot) +
                   1000000 * (uint64_t)mprof_snapshot_node_count(snapshot) +
                   1000000000 * (uint64_t)mprof_snapshot_comment_count(snapshot);
    mprof_snapshot_decref(snapshot);
    return sum;
}

static uint64_t merge(void)
{
    return sum_of(mprof_merge((const struct mprof_snapshot *const *)snapshots, SNAPSHOTS));
}

static uint64_t merge_one_twice(void)
{
    const struct mprof_snapshot *const same[] = {snapshots[1], snapshots[1]};
    return sum_of(mprof_merge(same, 2));
}

static uint64_t select_some(void)
{
    uint8_t files_wanted[64] = {0};
    for (size_t i = 0; i < sizeof files_wanted; i += 2)
        files_wanted[i] = 1;
    const struct mprof_filter filters[] = {
        {.inclusive = true, .all_frames = true, .files = files_wanted, .line = MPROF_ANY, .domain = MPROF_ANY},
        {.inclusive = false, .files = NULL, .line = 1, .domain = MPROF_ANY},
        {.inclusive = true, .files = NULL, .line = MPROF_ANY, .domain = 0},
    };
    if (mprof_snapshot_string_count(snapshots[1]) >= sizeof files_wanted)
        bail("more names than expected");
    return sum_of(mprof_select(snapshots[1], filters, sizeof filters / sizeof *filters));
}

static uint64_t select_blocks(void)
{
    static uint8_t keep[1000];
    for (size_t i = 0; i < sizeof keep; i += 3)
        keep[i] = 1;
    return sum_of(mprof_select_blocks(snapshots[0], keep));
}

static uint64_t select_all(void)
{
    static const struct mprof_comment comments[] = {{"one", 3}, {"two", 3}, {"mprofile: command=x", 19}};
    struct mprof_snapshot *all = mprof_select_all(snapshots[1], comments, 3);
    struct mprof_figures before[MPROF_MEASURES], after[MPROF_MEASURES];
    mprof_grouping_totals(snapshots[1], before);
    if (all)
        mprof_grouping_totals(all, after);
    for (unsigned m = 0; all && m < MPROF_MEASURES; m++)
        if (!check(same_figures(&after[m], &before[m]), "measure %u", m))
            return UINT64_MAX;
    return sum_of(all);
}

static uint64_t statistics(void)
{
    uint64_t sum = 1;
    for (unsigned key = MPROF_KEY_LINE; key <= MPROF_KEY_STACK && sum; key++) {
        struct mprof_arena arena;
        struct mprof_statistics result;
        mprof_arena_init(&arena, 0);
        bool cumulative = key == MPROF_KEY_LINE || key == MPROF_KEY_FILE;
        int code = mprof_grouping_statistics(&result, &arena, (enum mprof_key)key, snapshots[0], cumulative);
        sum = code == 0 ? sum * 31 + result.count : 0;
        mprof_arena_drop(&arena);
    }
    return sum;
}

static uint64_t differences(void)
{
    struct mprof_arena arena;
    struct mprof_differences result;
    mprof_arena_init(&arena, 0);
    int code = mprof_grouping_differences(&result, &arena, MPROF_KEY_TRACEBACK, snapshots[2], snapshots[1], false);
    uint64_t sum = code == 0 ? 1 + result.count : 0;
    mprof_arena_drop(&arena);
    return sum;
}

static uint64_t rows(void)
{
    uint64_t sum = 1;
    for (unsigned key = MPROF_KEY_LINE; key <= MPROF_KEY_STACK && sum; key++) {
        struct mprof_arena arena;
        struct mprof_rows result;
        mprof_arena_init(&arena, 0);
        sum =
            mprof_grouping_rows(&result, &arena, (enum mprof_key)key, snapshots[1]) == 0 ? sum * 31 + result.count : 0;
        mprof_arena_drop(&arena);
    }
    return sum;
}

static uint64_t sums(void)
{
    static const uint32_t group_of[FUNCTIONS];
    struct mprof_arena arena;
    struct mprof_row *result;
    mprof_arena_init(&arena, 0);
    uint64_t sum = mprof_grouping_sums(&result, &arena, snapshots[1], group_of, 1) == 0
                       ? 1 + (uint64_t)result[0].flat[MPROF_INUSE].bytes
                       : 0;
    mprof_arena_drop(&arena);
    return sum;
}

static uint64_t fold(void)
{
    static uint32_t numbers[FUNCTIONS];
    for (uint32_t i = 0; i < FUNCTIONS; i++)
        numbers[i] = i;
    const struct mprof_snapshot *const both[] = {snapshots[2], snapshots[1]};
    const struct mprof_fold_options options = {{numbers, numbers}, FUNCTIONS, -1.0, 100};
    struct mprof_arena arena;
    struct mprof_fold result;
    mprof_arena_init(&arena, 0);
    uint64_t sum = mprof_fold(&result, &arena, both, 2, &options) == 0 ? 1 + result.node_count : 0;
    mprof_arena_drop(&arena);
    return sum;
}

static uint64_t encode(void)
{
    static const struct mprof_encode_comment comments[] = {{"a comment", 9}, {"", 0}};
    static uint32_t chosen[] = {0, 5, 7};
    const struct mprof_encode_options options[] = {
        {.binary = "/usr/bin/python", .binary_length = 15, .comments = comments, .comment_count = 2},
        {.selection = chosen, .selected = 3},
    };
    uint64_t sum = 1;
    for (unsigned i = 0; i < 2 * SNAPSHOTS && sum; i++) {
        struct mprof_arena arena;
        unsigned char *bytes;
        size_t length;
        mprof_arena_init(&arena, 0);
        int code = mprof_pprof_encode(snapshots[i / 2], &options[i % 2], &arena, &bytes, &length);
        sum = code == 0 ? sum + length : 0;
        mprof_arena_drop(&arena);
    }
    return sum;
}

static uint64_t decode(void)
{
    struct mprof_snapshot *snapshot;
    struct mprof_decode_error error;
    if (mprof_pprof_decode(encoded, encoded_length, &snapshot, &error) == 0)
        return sum_of(snapshot);
    return check(error.memory && strcmp(error.text, "out of memory") == 0, "says %s", error.text) ? 0 : UINT64_MAX;
}

static uint64_t take(void)
{
    return sum_of(mprof_recorder_snapshot());
}

static uint64_t take_unmerged(void)
{
    return sum_of(mprof_recorder_snapshot_unmerged());
}

/* Of the history in the file a further point each time. */
static uint64_t publish(void)
{
    int result = mprof_publication_publish(&publication, true);
    if (result == 0)
        return access(path, R_OK) == 0;
    bool says = publication.failure.error == ENOMEM;
    return check(result == -1 && says, "result %d, error %d", result, publication.failure.error) ? 0 : UINT64_MAX;
}

/* ---- each, with each request refused ---- */

static void test_operation(const char *name, operation *operate)
{
    for (int mode = 0; mode < 4; mode++) {
        faults.mappings = mode >= 2;
        faults.rest = mode % 2;
        faults.fail_at = 0;
        uint64_t wanted = operate();
        faults.requests = 0;
        int64_t mapped = faults.mapped;
        bool right = check(operate() == wanted && wanted != 0, "undisturbed") &&
                     check(faults.mapped == mapped, "%" PRId64 " bytes more", faults.mapped - mapped);
        uint64_t requests = faults.requests;
        uint64_t failures = 0;
        for (uint64_t n = 1; n <= requests && right; n++) {
            faults.requests = 0;
            faults.fail_at = n;
            uint64_t got = operate();
            faults.fail_at = 0;
            failures += got == 0;
            right = check(got == 0 || got == wanted, "request %" PRIu64 ": got %" PRIu64, n, got) &&
                    check(faults.mapped == mapped, "request %" PRIu64 ": %" PRId64 " bytes more", n,
                          faults.mapped - mapped) &&
                    check(operate() == wanted, "request %" PRIu64 ": no recovery", n);
        }
        ok(right && failures > 0, "%s: each of %" PRIu64 " %s refused%s: %" PRIu64 " failures", name, requests,
           faults.mappings ? "mappings" : "requests", faults.rest ? " with all that follow" : "", failures);
    }
}

static void make_snapshots(void)
{
    static const struct mprof_comment comments[] = {{"shared", 6}, {"of the first", 12}};
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 11);
    const struct shape shapes[SNAPSHOTS] = {
        {.blocks = 900}, {120, true, 7, 1}, {.blocks = 150, .sampled = true, .recording = 7, .first_id = 60}};
    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        struct mprof_snapshot *plain = random_snapshot(&rng, &shapes[i]);
        snapshots[i] = mprof_select_all(plain, comments, i == 0 ? 2 : 1);
        mprof_snapshot_decref(plain);
        if (!snapshots[i] || mprof_snapshot_function_count(snapshots[i]) > FUNCTIONS)
            bail("no snapshot");
    }
}

static void make_publication(void)
{
    const char *directory = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/mprofile-memory-%ld.pb", directory ? directory : "/tmp", (long)getpid());
    const struct mprof_publication_options options = {.target = path, .comments = "why=a test", .comments_size = 11};
    if (mprof_publication_begin(&publication, &options) != 0)
        bail("cannot begin");
}

int main(void)
{
    struct mprof_arena arena;
    static struct fake_code code[40];
    make_snapshots();
    mprof_arena_init(&arena, 0);
    if (mprof_pprof_encode(snapshots[1], NULL, &arena, &encoded, &encoded_length) != 0)
        bail("no profile");
    test_operation("merge", merge);
    test_operation("merge of one with itself", merge_one_twice);
    test_operation("select", select_some);
    test_operation("select blocks", select_blocks);
    test_operation("select all", select_all);
    test_operation("statistics", statistics);
    test_operation("differences", differences);
    test_operation("rows", rows);
    test_operation("sums", sums);
    test_operation("fold", fold);
    test_operation("encode", encode);
    test_operation("decode", decode);
    mprof_arena_drop(&arena);
    for (unsigned i = 0; i < SNAPSHOTS; i++)
        mprof_snapshot_decref(snapshots[i]);

    /* Failures are told on stderr, once. */
    int stderr_copy = dup(STDERR_FILENO);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDERR_FILENO);
    for (unsigned sampled = 0; sampled < 2; sampled++) {
        fake_start(sampled ? 100 : 1, 16, 1, 0);
        for (uint32_t i = 0; i < 40; i++) {
            code[i] = fake_code(i, i % 5, 10 * i);
            fake_call(&code[i], 2 * i);
            for (uintptr_t k = 0; k < 8; k++)
                fake_malloc(0x100000 + 64 * (8 * (uintptr_t)i + k), 50 + i);
            if (i % 7 == 6)
                fake_return(5);
        }
        fake_return(fake_depth);
        test_operation(sampled ? "snapshot, sampled" : "snapshot, exact", take);
        test_operation(sampled ? "snapshot to write, sampled" : "snapshot to write, exact", take_unmerged);
        make_publication();
        test_operation(sampled ? "publication, sampled" : "publication, exact", publish);
        mprof_publication_end(&publication);
        mprof_recorder_stop();
        unlink(path);
    }
    dup2(stderr_copy, STDERR_FILENO);
    return done();
}
