/* SPDX-License-Identifier: MIT */
/* traces_pickle.c -- Traces objects in a pickle: see traces.h.
 *
 * WHAT    __reduce__ gives the arrays of the snapshot as bytes, behind a version and the byte order; _restore_traces
 *         takes them back.
 * WHY     Arrays as bytes pickle 10^6 blocks in the time of a copy, and keep what trace tuples do not have: weights,
 *         ids, births. A pickle may be older, newer, cut short or made by hand: every index in it is checked, and the
 *         snapshot is made by the builder like any other.
 * LOCKS   the GIL where there is one.
 * MEMORY  The builder's; dropped on every error. */
#define PY_SSIZE_T_CLEAN

#include "cpython/traces.h"

#include "core/snapshot_private.h"

#include <string.h>

static int no_memory(void)
{
    PyErr_NoMemory();
    return -1;
}

enum { STATE_VERSION = 1 };

/* A stack without what finish computes. */
struct state_stack {
    uint32_t node;
    uint32_t total_frames;
    struct mprof_figures alloc;
    struct mprof_figures peak;
};

static PyObject *bytes_of(const struct mprof_array *array, size_t item)
{
    return PyBytes_FromStringAndSize(array->items, (Py_ssize_t)(array->count * item));
}

static PyObject *bytes_of_stacks(const struct mprof_snapshot *snapshot)
{
    uint32_t count = mprof_snapshot_stack_count(snapshot);
    const struct mprof_stack *stacks = mprof_snapshot_stacks(snapshot);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(count * sizeof(struct state_stack)));
    for (uint32_t i = 0; bytes && i < count; i++) {
        struct state_stack state = {stacks[i].node, stacks[i].total_frames, stacks[i].alloc, stacks[i].peak};
        memcpy(PyBytes_AS_STRING(bytes) + i * sizeof state, &state, sizeof state);
    }
    return bytes;
}

/* The arrays are laid out as the machine does; 64 bits are the rule. */
static const char *byte_order(void)
{
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    if (sizeof(size_t) == 8)
        return first ? "little" : "big";
    return first ? "32-bit little" : "32-bit big";
}

PyObject *mprof_traces_reduce(PyObject *self, PyObject *Py_UNUSED(unused))
{
    const struct mprof_snapshot *snapshot = ((struct mprof_traces *)(void *)self)->snapshot;
    PyObject *module = PyImport_ImportModule("mprofile._core");
    PyObject *restore = module ? PyObject_GetAttrString(module, "_restore_traces") : NULL;
    Py_XDECREF(module);
    if (!restore)
        return NULL;
    PyObject *state = Py_BuildValue(
        "(isNNNNNNNNLI)", STATE_VERSION, byte_order(),
        PyBytes_FromStringAndSize((const char *)&snapshot->meta, sizeof snapshot->meta), bytes_of(&snapshot->text, 1),
        bytes_of(&snapshot->ends, sizeof(size_t)), bytes_of(&snapshot->functions, sizeof(struct mprof_function)),
        bytes_of(&snapshot->nodes, sizeof(struct mprof_node)), bytes_of_stacks(snapshot),
        bytes_of(&snapshot->live, sizeof(struct mprof_live)), bytes_of(&snapshot->blocks, sizeof(struct mprof_block)),
        (long long)snapshot->birth_base_ns, snapshot->birth_shift);
    PyObject *comments = state ? bytes_of(&snapshot->comments, sizeof(uint32_t)) : NULL;
    PyObject *result = comments ? Py_BuildValue("(O(OO))", restore, state, comments) : NULL;
    Py_XDECREF(comments);
    Py_XDECREF(state);
    Py_DECREF(restore);
    return result;
}

/* An array of the state: bytes of a whole number of items. */
struct part {
    const char *bytes;
    Py_ssize_t length;
    size_t count;
};

struct restoring {
    struct mprof_builder *builder;
    struct mprof_arena arena; /* of the new indices */
    uint32_t *strings;
    uint32_t *functions;
    uint32_t *nodes;
    uint32_t *stacks;
};

static int damaged(const char *what)
{
    PyErr_Format(PyExc_ValueError, "damaged snapshot: %s", what);
    return -1;
}

static int count_items(struct part *part, size_t item, const char *what)
{
    part->count = (size_t)part->length / item;
    return (size_t)part->length % item || part->count > UINT32_MAX ? damaged(what) : 0;
}

static void item_at(const struct part *part, size_t index, size_t size, void *item)
{
    memcpy(item, part->bytes + index * size, size);
}

static int restore_strings(struct restoring *to, const struct part *text, const struct part *ends)
{
    size_t start = 0;
    for (size_t i = 0; i < ends->count; i++) {
        size_t end;
        item_at(ends, i, sizeof end, &end);
        if (end < start || end > (size_t)text->length)
            return damaged("strings out of order");
        if (mprof_builder_string(to->builder, text->bytes + start, end - start, &to->strings[i]) < 0)
            return no_memory();
        start = end;
    }
    return 0;
}

static int restore_tree(struct restoring *to, const struct part *ends, const struct part *functions,
                        const struct part *nodes)
{
    for (size_t i = 1; i < functions->count; i++) {
        struct mprof_function function;
        item_at(functions, i, sizeof function, &function);
        if (function.name >= ends->count || function.filename >= ends->count)
            return damaged("a function without a name");
        function.name = to->strings[function.name];
        function.filename = to->strings[function.filename];
        if (mprof_builder_function(to->builder, &function, &to->functions[i]) < 0)
            return no_memory();
    }
    for (size_t i = 1; i < nodes->count; i++) {
        struct mprof_node node;
        item_at(nodes, i, sizeof node, &node);
        if (node.parent >= i || node.function == 0 || node.function >= functions->count)
            return damaged("a frame without a function or a caller");
        node.parent = to->nodes[node.parent];
        node.function = to->functions[node.function];
        if (mprof_builder_node(to->builder, &node, &to->nodes[i]) < 0)
            return no_memory();
    }
    return 0;
}

/* A number that sums and roots can be made of, and an int of those. */
static bool is_figure(double value)
{
    return value >= 0 && value <= 1e60;
}

static bool are_figures(const struct mprof_figures *figures)
{
    return is_figure(figures->bytes) && is_figure(figures->blocks) && is_figure(figures->bytes_var) &&
           is_figure(figures->blocks_var) && is_figure(figures->seen) && is_figure(figures->samples);
}

static int restore_stacks(struct restoring *to, const struct part *stacks, size_t node_count)
{
    for (size_t i = 0; i < stacks->count; i++) {
        struct state_stack state;
        item_at(stacks, i, sizeof state, &state);
        if (state.node >= node_count)
            return damaged("a stack without frames");
        if (!are_figures(&state.alloc) || !are_figures(&state.peak))
            return damaged("figures of a stack");
        struct mprof_stack stack = {
            .node = to->nodes[state.node],
            .total_frames = state.total_frames,
            .alloc = state.alloc,
            .peak = state.peak,
        };
        if (mprof_builder_stack(to->builder, &stack, &to->stacks[i]) < 0)
            return no_memory();
    }
    return 0;
}

static int restore_blocks(struct restoring *to, const struct part *live, const struct part *blocks, size_t stack_count)
{
    for (size_t i = 0; i < live->count; i++) {
        struct mprof_live entry;
        item_at(live, i, sizeof entry, &entry);
        if (entry.stack >= stack_count)
            return damaged("a block without a stack");
        int status;
        if (entry.size & MPROF_LIVE_WIDE) {
            struct mprof_block block;
            if ((entry.size & ~MPROF_LIVE_WIDE) >= blocks->count)
                return damaged("a block without a record");
            item_at(blocks, entry.size & ~MPROF_LIVE_WIDE, sizeof block, &block);
            if (!is_figure(block.blocks) || !is_figure(block.bytes) || !is_figure(block.rate))
                return damaged("figures of a block");
            block.stack = to->stacks[entry.stack];
            status = mprof_builder_block(to->builder, &block);
        } else {
            struct mprof_live *slot;
            status = mprof_builder_reserve_live(to->builder, 1, &slot);
            entry.stack = to->stacks[entry.stack];
            if (status == 0)
                *slot = entry;
        }
        if (status < 0)
            return no_memory();
    }
    return 0;
}

static int restore_comments(struct restoring *to, const struct part *comments, const struct part *text,
                            const struct part *ends)
{
    for (size_t i = 0; i < comments->count; i++) {
        uint32_t string;
        item_at(comments, i, sizeof string, &string);
        if (string >= ends->count)
            return damaged("a comment without text");
        size_t start = 0;
        size_t end;
        if (string)
            item_at(ends, string - 1, sizeof start, &start);
        item_at(ends, string, sizeof end, &end);
        if (mprof_builder_comment(to->builder, text->bytes + start, end - start) < 0)
            return no_memory();
    }
    return 0;
}

static uint32_t *indices(struct restoring *to, size_t count)
{
    return mprof_arena_get(&to->arena, (count ? count : 1) * sizeof(uint32_t));
}

static int restore_all(struct restoring *to, struct part parts[8], struct part *comments)
{
    struct part *text = &parts[1];
    struct part *ends = &parts[2];
    struct part *functions = &parts[3];
    struct part *nodes = &parts[4];
    struct part *stacks = &parts[5];
    if (count_items(ends, sizeof(size_t), "strings") < 0 ||
        count_items(functions, sizeof(struct mprof_function), "functions") < 0 ||
        count_items(nodes, sizeof(struct mprof_node), "frames") < 0 ||
        count_items(stacks, sizeof(struct state_stack), "stacks") < 0 ||
        count_items(&parts[6], sizeof(struct mprof_live), "blocks") < 0 ||
        count_items(&parts[7], sizeof(struct mprof_block), "records of blocks") < 0 ||
        count_items(comments, sizeof(uint32_t), "comments") < 0)
        return -1;
    to->strings = indices(to, ends->count);
    to->functions = indices(to, functions->count);
    to->nodes = indices(to, nodes->count);
    to->stacks = indices(to, stacks->count);
    if (!to->strings || !to->functions || !to->nodes || !to->stacks)
        return no_memory();
    if (restore_strings(to, text, ends) < 0 || restore_tree(to, ends, functions, nodes) < 0 ||
        restore_stacks(to, stacks, nodes->count) < 0 || restore_blocks(to, &parts[6], &parts[7], stacks->count) < 0)
        return -1;
    return restore_comments(to, comments, text, ends);
}

PyObject *mprof_traces_restore(PyObject *module, PyObject *arguments)
{
    struct mprof_snapshot_types *types = mprof_traces_types(module);
    int version;
    const char *order;
    struct part parts[8] = {{0}};
    struct part comments = {0};
    long long birth_base;
    unsigned birth_shift;
    if (!types)
        return NULL;
    if (!PyArg_ParseTuple(arguments, "(isy#y#y#y#y#y#y#y#LI)y#:_restore_traces", &version, &order, &parts[0].bytes,
                          &parts[0].length, &parts[1].bytes, &parts[1].length, &parts[2].bytes, &parts[2].length,
                          &parts[3].bytes, &parts[3].length, &parts[4].bytes, &parts[4].length, &parts[5].bytes,
                          &parts[5].length, &parts[6].bytes, &parts[6].length, &parts[7].bytes, &parts[7].length,
                          &birth_base, &birth_shift, &comments.bytes, &comments.length))
        return NULL;
    if (version != STATE_VERSION)
        return PyErr_Format(PyExc_ValueError, "snapshot has format %d; this mprofile reads format %d", version,
                            STATE_VERSION);
    if (strcmp(order, byte_order()) != 0)
        return PyErr_Format(PyExc_ValueError, "snapshot is from a %s-endian machine; this one is %s-endian", order,
                            byte_order());
    struct mprof_meta meta;
    if (parts[0].length != (Py_ssize_t)sizeof meta || birth_shift >= 47) {
        damaged("description of the recording");
        return NULL;
    }
    memcpy(&meta, parts[0].bytes, sizeof meta);
    if (!is_figure(meta.sample_rate)) {
        damaged("sample rate");
        return NULL;
    }
    struct restoring to = {.builder = mprof_builder_new()};
    if (!to.builder)
        return PyErr_NoMemory();
    mprof_arena_init(&to.arena, 0);
    mprof_builder_set_births(to.builder, birth_base, birth_shift);
    int status = restore_all(&to, parts, &comments);
    mprof_arena_drop(&to.arena);
    if (status < 0) {
        mprof_builder_drop(to.builder);
        return NULL;
    }
    struct mprof_snapshot *snapshot = mprof_builder_finish(to.builder, &meta);
    return snapshot ? mprof_traces_new(types->traces, types->frame, snapshot) : PyErr_NoMemory();
}
