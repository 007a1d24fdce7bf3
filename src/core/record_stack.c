/* SPDX-License-Identifier: MIT */
/* record_stack.c -- from the frames of a thread to the record of its stack. See recorder.h.
 *
 * The way from a walk to a node of the tree is shortened twice.
 *
 *   1. A thread's next capture usually shares all but its innermost frames with the last one. The walk stops where the
 * rest is as it was (source.h), and the nodes of that are remembered beside its frames:
 *
 *          last capture   main:12  serve:40  parse:9           nodes  1  2  4
 *          this capture   main:12  serve:40  render:3                 1  2  ?      one step to look up
 *
 *   2. A step (parent, code, offset) -> node is looked up in a small direct-mapped memory first, and only then by way
 * of the code's function and the tree's hash. A second one knows function and line of (code, offset), which take
 * longest.
 *
 * All remember addresses of code objects, so all are void when the epoch moves: a code object has died, or the tree
 * was pruned. */
#include "core/recorder_private.h"

/* Function of a code object, learnt now if need be. 0: no memory. */
static uint32_t function_of(struct mprof_recorder *r, const void *code)
{
    const struct mprof_source *source = r->options.source;
    uint64_t fingerprint = source->fingerprint(code);
    uint32_t function = mprof_functab_find(&r->functions, code, fingerprint);
    if (mprof_likely(function != 0))
        return function;
    struct mprof_description *d = r->description;
    source->describe(code, d);
    struct mprof_funcentry entry = {d->lines_hash, 0, 0, d->firstlineno, 0};
    if (mprof_strtab_intern(&r->strings, &r->arena, d->name, d->name_length, &entry.name) != 0 ||
        mprof_strtab_intern(&r->strings, &r->arena, d->filename, d->filename_length, &entry.filename) != 0 ||
        mprof_functab_intern(&r->functions, &r->arena, &entry, &function) != 0)
        return 0;
    int known = mprof_functab_learn(&r->functions, &r->arena, code, fingerprint, function);
    if (known < 0)
        return 0;
    if (known == 0)
        mprof_recorder_watch_locked(r, (uintptr_t)code);
    else
        mprof_recorder_void_captures_locked(r); /* another code at this address, and nobody saw the first one die */
    return function;
}

/* Where an instruction is remembered; NULL: nowhere. */
static struct mprof_instruction *instruction_of(const struct mprof_recorder *r, const struct mprof_rawframe *frame)
{
    uint64_t hash = mprof_recorder_hash(0, frame);
    return r->memory ? &r->memory->instructions[hash >> (64 - MPROF_INSTRUCTION_BITS)] : NULL;
}

/* Node of `frame` called from `parent`. -1: no memory. */
static int step_down(struct mprof_recorder *r, uint32_t parent, const struct mprof_rawframe *frame, uint32_t *node)
{
    struct mprof_step *step = mprof_recorder_step(r, parent, frame);
    if (step && mprof_recorder_step_known(r, step, parent, frame)) {
        *node = step->node;
        return 0;
    }
    struct mprof_instruction *instruction = instruction_of(r, frame);
    bool known = instruction && instruction->code == frame->code && instruction->offset == frame->offset &&
                 instruction->epoch == (uint32_t)r->epoch;
    uint32_t function = known ? instruction->function : function_of(r, frame->code);
    if (function == 0)
        return -1;
    int made = mprof_stacktrie_child(&r->trie, &r->arena, parent, function, frame->offset, node);
    if (made < 0)
        return -1;
    uint32_t *line = &r->trie.nodes[*node].line;
    if (made)
        *line = known ? instruction->line : r->options.source->line(frame->code, frame->offset);
    if (instruction && !known)
        *instruction = (struct mprof_instruction){frame->code, frame->offset, function, *line, (uint32_t)r->epoch};
    if (step)
        *step = (struct mprof_step){frame->code, frame->offset, parent, *node, (uint32_t)r->epoch};
    return 0;
}

/* Nodes of the frames of the thread's capture from `from` on, outermost first. -1: no memory. */
static int find_nodes(struct mprof_recorder *r, struct mprof_rawframe *stack, uint32_t from, uint32_t count)
{
    uint64_t epoch;
    do {
        epoch = r->epoch;
        uint32_t node = from ? stack[from - 1].node : 0;
        for (uint32_t i = from; i < count; i++) {
            if (step_down(r, node, &stack[i], &node) != 0)
                return -1;
            stack[i].node = node;
        }
        from = 0; /* if an address turned out to be another code: the remembered nodes may be of the old one */
    } while (mprof_unlikely(epoch != r->epoch));
    return 0;
}

int mprof_recorder_find_stack_locked(struct mprof_recorder *r, struct mprof_thread *thread, bool attached,
                                     struct mprof_walked walked, uint32_t *stack)
{
    struct mprof_lastwalk *last = &thread->last;
    /* What is kept may have been remembered in vain, or be gone: a signal handler that allocated since. */
    if (mprof_unlikely(walked.kept > last->count || (walked.kept != 0 && thread->epoch != r->epoch))) {
        last->count = 0;
        walked = thread->source->walk(attached, last, thread->frames, thread->max_frames);
    }
    uint32_t count = walked.kept + walked.count;
    last->count = 0;
    for (uint32_t i = 0; i < walked.count; i++) {
        const struct mprof_rawframe *frame = &thread->frames[walked.count - 1 - i];
        mprof_recorder_keep_frame(&thread->stack[walked.kept + i], frame, 0);
        last->slots[mprof_source_slot(frame->place)] = (uint16_t)(walked.kept + i);
    }
    if (find_nodes(r, thread->stack, walked.kept, count) != 0)
        return -1;
    last->count = count;
    last->cut = walked.more != NULL;
    thread->epoch = r->epoch;

    uint32_t node = count ? thread->stack[count - 1].node : 0;
    int made = mprof_stacktrie_stack(&r->trie, &r->arena, node, r->peak_stamp, stack);
    if (made < 0)
        return -1;
    struct mprof_stackinfo *info = &r->trie.infos[*stack];
    if (made)
        info->total_frames =
            count + (walked.more ? r->options.source->count(walked.more, MPROF_MAX_FRAMES - count) : 0);
    info->recent = r->phase;
    return 0;
}
