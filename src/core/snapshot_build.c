/* SPDX-License-Identifier: MIT */
/* snapshot_build.c -- the builder of snapshot.h.
 *
 * WHAT    Arrays that double, and for strings, functions and nodes an open-addressed index from content to position:
 *
 *           slots   | 0 | {position, tag} | 0 | {position, tag} | ...     0: free; positions begin at 1
 *
 *         String 0, function 0 and node 0 are there from the start and never looked up, so that 0 can mean "free".
 * WHY     Content may come from a file that somebody made to hurt: the hash is keyed at random (a polynomial modulo
 *         2^61-1 at a secret point, two strings of n words collide with probability n/2^61), so that no file can bring
 *         all keys into one place.
 * LOCKS   none: one thread builds.
 * MEMORY  the arena of the snapshot to be. The indices are given back in mprof_builder_finish. */
#include "core/snapshot.h"

#include "base/compiler.h"
#include "base/os.h"
#include "base/wide.h"
#include "core/snapshot_private.h"

#include <string.h>

enum { FIRST_CAPACITY = 64, KNOWN = 256 };

struct slot {
    uint32_t position; /* 0: free */
    uint32_t tag;      /* low half of the hash */
};

struct index {
    struct slot *slots;
    size_t size; /* a power of two, or 0 */
    size_t used;
};

struct mprof_builder {
    struct mprof_snapshot *snapshot;
    uint64_t key; /* point of the polynomial, in [2, 2^61-1) */
    uint64_t mix;
    struct index strings;
    struct index functions;
    struct index nodes;
    struct mprof_array stack_of_node; /* uint32_t: 1 + the stack of each node; 0: none */
};

/* ---- arrays ---- */

/* Room for `more` further items, and for one in any case: afterwards items is not NULL. New room is zero. */
static int array_reserve(struct mprof_arena *arena, struct mprof_array *array, size_t more, size_t item_size)
{
    if (array->items && more <= array->capacity - array->count)
        return 0;
    size_t need = array->count + more;
    if (need < more || need > SIZE_MAX / 2 / item_size)
        return -1;
    size_t capacity = array->capacity ? 2 * array->capacity : FIRST_CAPACITY;
    if (capacity < need)
        capacity = need;
    void *items = mprof_arena_resize(arena, array->items, array->capacity * item_size, capacity * item_size);
    if (!items)
        return -1;
    array->items = items;
    array->capacity = capacity;
    return 0;
}

/* Gives back unused room where that gives back pages. Cannot fail: at worst the room stays. */
static void array_trim(struct mprof_arena *arena, struct mprof_array *array, size_t item_size)
{
    size_t used = array->count * item_size;
    size_t held = array->capacity * item_size;
    if (used < MPROF_ARENA_LARGE || held - used < MPROF_OS_PAGE)
        return;
    void *items = mprof_arena_resize(arena, array->items, held, used);
    if (items) {
        array->items = items;
        array->capacity = array->count;
    }
}

/* ---- hashing ---- */

#define PRIME (((uint64_t)1 << 61) - 1)

/* hash * key + word modulo 2^61-1, but for a multiple of the modulus. word < 2^61. */
static uint64_t hash_word(const struct mprof_builder *builder, uint64_t hash, uint64_t word)
{
    struct mprof_wide product = mprof_wide_multiply_add(hash, builder->key, word);
    uint64_t folded = (product.low & PRIME) + (product.high << 3 | product.low >> 61);
    return folded >= PRIME ? folded - PRIME : folded;
}

/* Spreads all bits over all bits; neighbours in the field must not become neighbours in the table. */
static uint64_t hash_end(const struct mprof_builder *builder, uint64_t hash)
{
    hash = (hash ^ builder->mix) * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ (hash >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return hash ^ (hash >> 29);
}

static uint64_t hash_bytes(const struct mprof_builder *builder, const char *text, size_t length)
{
    uint64_t hash = hash_word(builder, 1, length & (PRIME >> 1));
    while (length > 0) {
        uint64_t word = 0;
        size_t step = length < 7 ? length : 7; /* 56 bits: below the modulus */
        memcpy(&word, text, step);
        hash = hash_word(builder, hash, word);
        text += step;
        length -= step;
    }
    return hash_end(builder, hash);
}

static uint64_t hash_three(const struct mprof_builder *builder, uint32_t a, uint32_t b, uint32_t c)
{
    uint64_t hash = hash_word(builder, 1, a);
    return hash_end(builder, hash_word(builder, hash_word(builder, hash, b), c));
}

/* ---- the index ---- */

/* To at least `size` slots, and the double of what it has. */
static int index_grow(struct mprof_arena *arena, struct index *index, size_t least)
{
    size_t size = index->size ? 2 * index->size : 2 * (size_t)FIRST_CAPACITY;
    while (size < least && size <= SIZE_MAX / 4)
        size *= 2;
    if (size > SIZE_MAX / 2 / sizeof(struct slot))
        return -1;
    struct slot *slots = mprof_arena_get(arena, size * sizeof *slots);
    if (!slots)
        return -1;
    for (size_t i = 0; i < index->size; i++) {
        struct slot slot = index->slots[i];
        if (slot.position == 0)
            continue;
        size_t at = slot.tag & (size - 1);
        while (slots[at].position != 0)
            at = (at + 1) & (size - 1);
        slots[at] = slot;
    }
    mprof_arena_put(arena, index->slots, index->size * sizeof *slots);
    index->slots = slots;
    index->size = size;
    return 0;
}

/* Makes room for one more and finds where a hash begins. */
static int index_begin(struct mprof_arena *arena, struct index *index, uint64_t hash, size_t *at)
{
    if (2 * (index->used + 1) > index->size && index_grow(arena, index, 0) < 0)
        return -1;
    *at = (uint32_t)hash & (index->size - 1);
    return 0;
}

static void index_set(struct index *index, size_t at, uint64_t hash, uint32_t position)
{
    index->slots[at] = (struct slot){.position = position, .tag = (uint32_t)hash};
    index->used++;
}

static void index_free(struct mprof_arena *arena, struct index *index)
{
    mprof_arena_put(arena, index->slots, index->size * sizeof *index->slots);
    memset(index, 0, sizeof *index);
}

/* ---- begin and end ---- */

struct mprof_builder *mprof_builder_new_limited(size_t limit, uint64_t fail_at, uint64_t fail_count)
{
    _Static_assert(sizeof(struct mprof_snapshot) <= 4096, "a snapshot's struct takes one page");
    struct mprof_snapshot *snapshot = mprof_os_map(MPROF_OS_PAGE);
    if (!snapshot)
        return NULL;
    struct mprof_arena *arena = &snapshot->arena;
    mprof_arena_init(arena, limit);
    arena->huge = true;
    arena->fail_at = fail_at;
    arena->fail_count = fail_count;
    atomic_init(&snapshot->references, 1);
    struct mprof_builder *builder = mprof_arena_get(arena, sizeof *builder);
    if (!builder || array_reserve(arena, &snapshot->ends, 1, sizeof(size_t)) < 0 ||
        array_reserve(arena, &snapshot->functions, 1, sizeof(struct mprof_function)) < 0 ||
        array_reserve(arena, &snapshot->nodes, 1, sizeof(struct mprof_node)) < 0 ||
        array_reserve(arena, &builder->stack_of_node, 1, sizeof(uint32_t)) < 0) {
        mprof_snapshot_decref(snapshot);
        return NULL;
    }
    snapshot->ends.count = snapshot->functions.count = snapshot->nodes.count = 1; /* all zero */
    builder->stack_of_node.count = 1;
    builder->snapshot = snapshot;
    builder->key = 2 + mprof_os_entropy() % (PRIME - 2);
    builder->mix = mprof_os_entropy();
    return builder;
}

struct mprof_builder *mprof_builder_new(void)
{
    return mprof_builder_new_limited(0, 0, 0);
}

int mprof_builder_reserve(struct mprof_builder *builder, size_t nodes, size_t stacks, bool indexed)
{
    struct mprof_snapshot *snapshot = builder->snapshot;
    return array_reserve(&snapshot->arena, &snapshot->nodes, nodes, sizeof(struct mprof_node)) < 0 ||
                   array_reserve(&snapshot->arena, &builder->stack_of_node, nodes, sizeof(uint32_t)) < 0 ||
                   array_reserve(&snapshot->arena, &snapshot->stacks, stacks, sizeof(struct mprof_stack)) < 0 ||
                   (indexed && index_grow(&snapshot->arena, &builder->nodes, 2 * nodes) < 0)
               ? -1
               : 0;
}

uint64_t mprof_builder_requests(const struct mprof_builder *builder)
{
    return builder->snapshot->arena.requests;
}

void mprof_builder_drop(struct mprof_builder *builder)
{
    if (builder)
        mprof_snapshot_decref(builder->snapshot); /* the builder lives in its arena */
}

/* Fills in `frames` of every stack. */
static int count_frames(struct mprof_snapshot *snapshot)
{
    const struct mprof_node *nodes = snapshot->nodes.items;
    struct mprof_stack *stacks = snapshot->stacks.items;
    size_t size = snapshot->nodes.count * sizeof(uint32_t);
    uint32_t *depth = mprof_arena_get(&snapshot->arena, size);
    if (!depth)
        return -1;
    for (size_t i = 1; i < snapshot->nodes.count; i++)
        depth[i] = depth[nodes[i].parent] + 1;
    for (size_t i = 0; i < snapshot->stacks.count; i++) {
        stacks[i].frames = depth[stacks[i].node];
        if (stacks[i].total_frames < stacks[i].frames)
            stacks[i].total_frames = stacks[i].frames;
    }
    mprof_arena_put(&snapshot->arena, depth, size);
    return 0;
}

/* Programs ask for few sizes: what was computed for one is kept for the next. */
struct known {
    uint64_t size;
    double rate; /* 0: free */
    double unsure;
};

static double unsure(struct known *known, const struct mprof_block *block)
{
    if (!(block->rate > 1.0))
        return 0;
    known += (block->size ^ block->size >> 11) / 8 % KNOWN;
    if (known->size != block->size || known->rate < block->rate || known->rate > block->rate)
        *known = (struct known){block->size, block->rate, mprof_figures_unsure(block->size, block->rate)};
    return known->unsure;
}

static void sum_inuse(struct mprof_snapshot *snapshot)
{
    struct mprof_stack *stacks = snapshot->stacks.items;
    struct known known[KNOWN];
    memset(known, 0, sizeof known);
    for (size_t i = 0; i < snapshot->live.count; i++) {
        struct mprof_block block;
        mprof_snapshot_block(snapshot, i, &block);
        mprof_assert(mprof_snapshot_block_stack(snapshot, i) == block.stack);
        mprof_assert(block.stack < snapshot->stacks.count);
        mprof_figures_add_unsure(&stacks[block.stack].inuse, &block, unsure(known, &block));
    }
}

static struct mprof_snapshot *finish(struct mprof_builder *builder, const struct mprof_meta *meta, bool sums)
{
    struct mprof_snapshot *snapshot = builder->snapshot;
    struct mprof_arena *arena = &snapshot->arena;
    index_free(arena, &builder->strings);
    index_free(arena, &builder->functions);
    index_free(arena, &builder->nodes);
    mprof_arena_put(arena, builder->stack_of_node.items, builder->stack_of_node.capacity * sizeof(uint32_t));
    mprof_arena_put(arena, builder, sizeof *builder);
    snapshot->meta = *meta;
    if (count_frames(snapshot) < 0) {
        mprof_snapshot_decref(snapshot);
        return NULL;
    }
    if (sums)
        sum_inuse(snapshot);
    array_trim(arena, &snapshot->text, 1);
    array_trim(arena, &snapshot->ends, sizeof(size_t));
    array_trim(arena, &snapshot->functions, sizeof(struct mprof_function));
    array_trim(arena, &snapshot->nodes, sizeof(struct mprof_node));
    array_trim(arena, &snapshot->stacks, sizeof(struct mprof_stack));
    array_trim(arena, &snapshot->live, sizeof(struct mprof_live));
    array_trim(arena, &snapshot->blocks, sizeof(struct mprof_block));
    array_trim(arena, &snapshot->comments, sizeof(uint32_t));
    return snapshot;
}

struct mprof_snapshot *mprof_builder_finish(struct mprof_builder *builder, const struct mprof_meta *meta)
{
    return finish(builder, meta, true);
}

struct mprof_snapshot *mprof_builder_finish_unsummed(struct mprof_builder *builder, const struct mprof_meta *meta)
{
    return finish(builder, meta, false);
}

/* ---- interned content ---- */

int mprof_builder_string(struct mprof_builder *builder, const char *text, size_t length, uint32_t *index)
{
    struct mprof_snapshot *snapshot = builder->snapshot;
    struct mprof_array *ends = &snapshot->ends;
    if (length == 0) {
        *index = 0;
        return 0;
    }
    uint64_t hash = hash_bytes(builder, text, length);
    size_t at;
    if (index_begin(&snapshot->arena, &builder->strings, hash, &at) < 0)
        return -1;
    for (struct slot slot; (slot = builder->strings.slots[at]).position != 0;) {
        if (slot.tag == (uint32_t)hash) {
            size_t found;
            const char *other = mprof_snapshot_string(snapshot, slot.position, &found);
            if (found == length && memcmp(other, text, length) == 0) {
                *index = slot.position;
                return 0;
            }
        }
        at = (at + 1) & (builder->strings.size - 1);
    }
    if (ends->count >= UINT32_MAX || array_reserve(&snapshot->arena, ends, 1, sizeof(size_t)) < 0 ||
        array_reserve(&snapshot->arena, &snapshot->text, length, 1) < 0)
        return -1;
    memcpy((char *)snapshot->text.items + snapshot->text.count, text, length);
    snapshot->text.count += length;
    ((size_t *)ends->items)[ends->count] = snapshot->text.count;
    *index = (uint32_t)ends->count++;
    index_set(&builder->strings, at, hash, *index);
    return 0;
}

int mprof_builder_function(struct mprof_builder *builder, const struct mprof_function *function, uint32_t *index)
{
    struct mprof_snapshot *snapshot = builder->snapshot;
    struct mprof_array *array = &snapshot->functions;
    mprof_assert(function->name < snapshot->ends.count && function->filename < snapshot->ends.count);
    uint64_t hash = hash_three(builder, function->name, function->filename, function->firstlineno);
    size_t at;
    if (index_begin(&snapshot->arena, &builder->functions, hash, &at) < 0)
        return -1;
    for (struct slot slot; (slot = builder->functions.slots[at]).position != 0;) {
        const struct mprof_function *other = (const struct mprof_function *)array->items + slot.position;
        if (slot.tag == (uint32_t)hash && other->name == function->name && other->filename == function->filename &&
            other->firstlineno == function->firstlineno) {
            *index = slot.position;
            return 0;
        }
        at = (at + 1) & (builder->functions.size - 1);
    }
    if (array->count >= UINT32_MAX || array_reserve(&snapshot->arena, array, 1, sizeof *function) < 0)
        return -1;
    ((struct mprof_function *)array->items)[array->count] = *function;
    *index = (uint32_t)array->count++;
    index_set(&builder->functions, at, hash, *index);
    return 0;
}

int mprof_builder_append_node(struct mprof_builder *builder, const struct mprof_node *node, uint32_t *index)
{
    struct mprof_snapshot *snapshot = builder->snapshot;
    struct mprof_array *array = &snapshot->nodes;
    if (array->count >= UINT32_MAX || array_reserve(&snapshot->arena, array, 1, sizeof *node) < 0 ||
        array_reserve(&snapshot->arena, &builder->stack_of_node, 1, sizeof(uint32_t)) < 0)
        return -1;
    ((struct mprof_node *)array->items)[array->count] = *node;
    ((uint32_t *)builder->stack_of_node.items)[builder->stack_of_node.count++] = 0;
    *index = (uint32_t)array->count++;
    return 0;
}

int mprof_builder_node(struct mprof_builder *builder, const struct mprof_node *node, uint32_t *index)
{
    struct mprof_snapshot *snapshot = builder->snapshot;
    struct mprof_array *array = &snapshot->nodes;
    mprof_assert(node->parent < array->count);
    mprof_assert(node->function != 0 && node->function < snapshot->functions.count);
    uint64_t hash = hash_three(builder, node->parent, node->function, node->line);
    size_t at;
    if (index_begin(&snapshot->arena, &builder->nodes, hash, &at) < 0)
        return -1;
    for (struct slot slot; (slot = builder->nodes.slots[at]).position != 0;) {
        const struct mprof_node *other = (const struct mprof_node *)array->items + slot.position;
        if (slot.tag == (uint32_t)hash && other->parent == node->parent && other->function == node->function &&
            other->line == node->line) {
            *index = slot.position;
            return 0;
        }
        at = (at + 1) & (builder->nodes.size - 1);
    }
    if (mprof_builder_append_node(builder, node, index) < 0)
        return -1;
    index_set(&builder->nodes, at, hash, *index);
    return 0;
}

int mprof_builder_stack(struct mprof_builder *builder, const struct mprof_stack *stack, uint32_t *index)
{
    struct mprof_snapshot *snapshot = builder->snapshot;
    struct mprof_array *array = &snapshot->stacks;
    mprof_assert(stack->node < snapshot->nodes.count);
    uint32_t *of_node = (uint32_t *)builder->stack_of_node.items + stack->node;
    if (*of_node != 0) {
        *index = *of_node - 1;
        struct mprof_stack *old = (struct mprof_stack *)array->items + *index;
        mprof_figures_add(&old->alloc, &stack->alloc);
        mprof_figures_add(&old->peak, &stack->peak);
        if (old->total_frames < stack->total_frames)
            old->total_frames = stack->total_frames;
        return 0;
    }
    if (array->count >= UINT32_MAX - 1 || array_reserve(&snapshot->arena, array, 1, sizeof *stack) < 0)
        return -1;
    struct mprof_stack *added = (struct mprof_stack *)array->items + array->count;
    *added = *stack;
    added->frames = 0;
    memset(&added->inuse, 0, sizeof added->inuse);
    *index = (uint32_t)array->count++;
    *of_node = *index + 1;
    return 0;
}

int mprof_builder_comment(struct mprof_builder *builder, const char *text, size_t length)
{
    struct mprof_array *array = &builder->snapshot->comments;
    uint32_t string;
    if (mprof_builder_string(builder, text, length, &string) < 0 || array->count >= UINT32_MAX ||
        array_reserve(&builder->snapshot->arena, array, 1, sizeof string) < 0)
        return -1;
    ((uint32_t *)array->items)[array->count++] = string;
    return 0;
}

/* ---- blocks ---- */

void mprof_builder_set_births(struct mprof_builder *builder, int64_t base_ns, unsigned shift)
{
    mprof_assert(builder->snapshot->live.count == 0 && shift < 47);
    builder->snapshot->birth_base_ns = base_ns;
    builder->snapshot->birth_shift = shift;
}

int mprof_builder_reserve_live(struct mprof_builder *builder, size_t n, struct mprof_live **entries)
{
    struct mprof_array *array = &builder->snapshot->live;
    if (array_reserve(&builder->snapshot->arena, array, n, sizeof **entries) < 0)
        return -1;
    *entries = n ? (struct mprof_live *)array->items + array->count : NULL;
    array->count += n;
    return 0;
}

int mprof_builder_reserve_blocks(struct mprof_builder *builder, size_t n, struct mprof_block **blocks, uint32_t *first)
{
    struct mprof_array *array = &builder->snapshot->blocks;
    if (n > MPROF_LIVE_WIDE - array->count || array_reserve(&builder->snapshot->arena, array, n, sizeof **blocks) < 0)
        return -1;
    *blocks = n ? (struct mprof_block *)array->items + array->count : NULL;
    *first = (uint32_t)array->count;
    array->count += n;
    return 0;
}

/* True, and the key, if a live entry says all that the record says (any rate <= 1 comes back as 1). */
static bool compact(const struct mprof_snapshot *snapshot, const struct mprof_block *block, uint64_t *key)
{
    if (block->samples != 1 || !(block->rate <= 1.0) || block->blocks != 1.0 || block->domain != 0 || block->id != 0 ||
        block->size >= MPROF_LIVE_WIDE || block->bytes != (double)block->size ||
        block->address >> MPROF_LIVE_ADDRESS_BITS != 0)
        return false;
    uint64_t age = (uint64_t)block->birth_ns - (uint64_t)snapshot->birth_base_ns;
    uint64_t code = age >> snapshot->birth_shift;
    if (code > UINT16_MAX || code << snapshot->birth_shift != age)
        return false;
    *key = block->address | code << MPROF_LIVE_ADDRESS_BITS;
    return true;
}

int mprof_builder_block(struct mprof_builder *builder, const struct mprof_block *block)
{
    mprof_assert(block->stack < builder->snapshot->stacks.count);
    struct mprof_live *live;
    uint64_t key;
    if (compact(builder->snapshot, block, &key)) {
        if (mprof_builder_reserve_live(builder, 1, &live) < 0)
            return -1;
        *live = (struct mprof_live){.key = key, .stack = block->stack, .size = (uint32_t)block->size};
        return 0;
    }
    struct mprof_block *wide;
    uint32_t at;
    if (mprof_builder_reserve_blocks(builder, 1, &wide, &at) < 0 || mprof_builder_reserve_live(builder, 1, &live) < 0)
        return -1;
    *wide = *block;
    *live = (struct mprof_live){.stack = block->stack, .size = MPROF_LIVE_WIDE | at};
    return 0;
}
