/* SPDX-License-Identifier: MIT */
/* hooks.c -- see hooks.h.
 *
 * Two sets of functions a domain, from one template. The sampled set passes what the countdown lets pass. The general
 * set reports everything while the recorder is in exact mode, and counts down otherwise, because another tool may keep
 * a set in place after our stop and into our next start. For the same reason the slow ways of the sampled set know exact
 * mode; all requests go these, for the countdown is 0 then.
 *
 * PyMem_SetAllocator copies five words, and callers read function and context separately, without a lock. So any
 * function may meet any context: ours ignore it, and we install with the context of the allocator below, which is what
 * its functions expect. What is below is kept for ever, in `below`, and reached through one pointer a domain; the
 * sampled set saves itself that pointer, and is installed only over the allocator that the domain was first met with.
 *
 * So no word needs a lock against the hooks, which run in all threads at once where there is no GIL:
 *     Python's five words   each is old or new, in any mix: see above. Writers: PyMem_SetAllocator's own lock (3.13 on),
 *                           the GIL before.
 *     first, below[i]       written once, before a function that reads them is installed.
 *     base_of[domain]       one pointer, atomic; what it has pointed to stays what it was.
 *     the others            prepare, install and remove only: the module's lock.
 * PyMem_SetAllocator has no barrier, so a thread could meet a new function and still see the words above as they were,
 * where the processor reorders. Between the two, install makes every thread pass a barrier there. (The thread sanitizer
 * does not know of it, and calls the reads of `first` a race.)
 * A hook that finds the old ones while start or stop is at work passes its request on unrecorded, or reports it to a
 * recorder that is not active; its block is in the right hands in any case.
 *
 * A block is counted once however the domains nest. While a MEM or OBJ request is in the base allocator, what it asks
 * of RAW in turn is a part of it: in exact mode `nested` says so; in sampled mode the countdown is set out of reach
 * meanwhile, so RAW's fast path needs no look at a flag. Small requests never nest: pymalloc serves 1 to 512 bytes,
 * debug hooks add 32 at most. (What pymalloc asks of RAW for the table of its arenas is no part of a block.)
 *
 * Order, always: forget the record before the base allocator gets the block back; record a block only after the base
 * allocator gave it. */
#include "hooks.h"

#include "compat.h"

#include "base/compiler.h"
#include "base/os.h"
#include "core/recorder.h"

#include <stddef.h>
#include <stdint.h>

/* In the order of PyMemAllocatorDomain. */
enum { DOMAINS = 3, BELOW = 32 };

/* Largest request of MEM or OBJ that cannot reach RAW from inside. */
static const size_t NEVER_NESTS = 448;

static PyMemAllocatorEx below[BELOW];
static unsigned below_count;
static const PyMemAllocatorEx *base_of[DOMAINS];
/* The first allocator that each domain was met with: written before our functions are installed, never again. The
 * sampled functions load its words straight from here. */
static PyMemAllocatorEx first[DOMAINS];
static bool left_in_chain[DOMAINS];
/* `first` or `base_of` has changed since other threads were made to see it. */
static bool unseen;

MPROF_INLINE const PyMemAllocatorEx *base(PyMemAllocatorDomain domain)
{
    return __atomic_load_n(&base_of[domain], __ATOMIC_ACQUIRE); /* what it points to was written before it */
}

enum kind { MALLOC, CALLOC, REALLOC };

/* What is asked of the base allocator. */
struct request {
    enum kind kind;
    void *old;
    size_t count; /* calloc only */
    size_t size;  /* of one element */
};

MPROF_INLINE void *pass_on(const PyMemAllocatorEx *allocator, const struct request *request)
{
    switch (request->kind) {
    case MALLOC:
        return allocator->malloc(allocator->ctx, request->size);
    case CALLOC:
        return allocator->calloc(allocator->ctx, request->count, request->size);
    case REALLOC:
        return allocator->realloc(allocator->ctx, request->old, request->size);
    }
    return NULL;
}

/* SIZE_MAX if the product overflows, which every base allocator refuses. */
MPROF_INLINE size_t product(size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? SIZE_MAX : bytes;
}

MPROF_INLINE size_t bytes_of(const struct request *request)
{
    return request->kind == CALLOC ? product(request->count, request->size) : request->size;
}

/* The allocator below; of the sampled set it is the same for ever, at a fixed address. */
MPROF_INLINE const PyMemAllocatorEx *below_of(PyMemAllocatorDomain domain, bool general)
{
    return general ? base(domain) : &first[domain];
}

/* Everything that the fast path does not pass. Its arguments travel in registers, so that the fast path stores nothing.
 */
static MPROF_NOINLINE void *allocate(PyMemAllocatorDomain domain, enum kind kind, void *old, size_t count, size_t size,
                                     bool general)
{
    const struct request asked = {kind, old, count, size};
    const struct request *request = &asked;
    const PyMemAllocatorEx *allocator = below_of(domain, general);
    bool exact = mprof_recorder_is_exact();
    bool attached = domain != PYMEM_DOMAIN_RAW;
    if (mprof_unlikely(mprof_tls.probe)) {
        mprof_tls.probe |= 2u << domain;
        return pass_on(allocator, request);
    }
    struct mprof_taken taken = {.found = false};
    if (request->kind == REALLOC && request->old && mprof_recorder_watched((uintptr_t)request->old))
        mprof_recorder_take((uintptr_t)request->old, &taken);
    /* A part of a block that is counted outside; but one that has a record of its own is a block of its own. */
    if (mprof_tls.nested && !taken.found)
        return pass_on(allocator, request);

    uint64_t countdown = mprof_sampler_countdown();
    uint32_t nested = mprof_tls.nested;
    mprof_tls.nested = attached && exact;
    if (!exact)
        mprof_sampler_set(MPROF_COUNTDOWN_NEVER);
    void *block = pass_on(allocator, request);
    mprof_tls.nested = nested;
    mprof_sampler_set(countdown);

    if (taken.found && (block || request->size == 0))
        mprof_recorder_settle(&taken);
    size_t bytes = bytes_of(request);
    bool passes = !exact && mprof_sampler_pass_any(bytes);
    if (block && !passes)
        mprof_recorder_add(attached, (uintptr_t)block, bytes);
    else if (!block && !passes && !exact)
        mprof_recorder_refused();
    if (!block && taken.found && request->size != 0)
        mprof_recorder_restore(&taken); /* the old block lives on; realloc(p, 0) has given it back */
    return block;
}

/* A request in exact mode that is no part of another block: allocate() without what only sampling needs. */
MPROF_INLINE void *allocate_exactly(PyMemAllocatorDomain domain, const struct request *request)
{
    bool attached = domain != PYMEM_DOMAIN_RAW;
    mprof_tls.nested = attached;
    void *block = pass_on(base(domain), request);
    mprof_tls.nested = 0;
    if (mprof_likely(block != NULL))
        mprof_recorder_add(attached, (uintptr_t)block, bytes_of(request));
    return block;
}

/* Whether a malloc or calloc may be passed on at once, unrecorded; counts it then. pymalloc asks RAW for 0 bytes. */
MPROF_INLINE bool pass(PyMemAllocatorDomain domain, bool general, size_t bytes)
{
    if (general && mprof_recorder_is_exact())
        return false;
    if (domain == PYMEM_DOMAIN_RAW)
        return mprof_likely(mprof_sampler_pass_any(bytes));
    return mprof_likely(bytes - 1 < NEVER_NESTS) && mprof_likely(mprof_sampler_pass(bytes));
}

/* A request of MEM or OBJ that may nest and is passed on unrecorded; `countdown` is what is left after it. */
MPROF_INLINE void *pass_on_alone(const PyMemAllocatorEx *allocator, const struct request *request, uint64_t countdown)
{
    mprof_sampler_set(MPROF_COUNTDOWN_NEVER);
    void *block = pass_on(allocator, request);
    mprof_sampler_set(countdown);
    return block;
}

/* What `pass` refuses: a request that may nest, or one to be recorded. */
MPROF_INLINE void *slow(PyMemAllocatorDomain domain, bool general, enum kind kind, void *old, size_t count, size_t size)
{
    if (general && kind != REALLOC && mprof_recorder_is_exact() && !mprof_tls.nested && !mprof_tls.probe) {
        const struct request request = {kind, old, count, size};
        return allocate_exactly(domain, &request);
    }
    if (domain != PYMEM_DOMAIN_RAW && kind != REALLOC && !(general && mprof_recorder_is_exact())) {
        const struct request request = {kind, old, count, size};
        size_t bytes = bytes_of(&request);
        bytes += bytes == 0;
        uint64_t countdown = mprof_sampler_countdown();
        if (mprof_likely(bytes <= countdown))
            return pass_on_alone(below_of(domain, general), &request, countdown - bytes);
    }
    return allocate(domain, kind, old, count, size, general);
}

/* The functions as Python calls them. X(name, domain, whether it is of the general set)
 *
 * The sampled set has the shortest way, and one allocator below for ever. The general set asks each time which mode is
 * on and what lies below. A slow way has the arguments of its hook, where they are: the fast path moves nothing. */
#define SETS(X)                                                                                                        \
    X(raw_sampled, PYMEM_DOMAIN_RAW, false)                                                                            \
    X(mem_sampled, PYMEM_DOMAIN_MEM, false)                                                                            \
    X(obj_sampled, PYMEM_DOMAIN_OBJ, false)                                                                            \
    X(raw_general, PYMEM_DOMAIN_RAW, true)                                                                             \
    X(mem_general, PYMEM_DOMAIN_MEM, true)                                                                             \
    X(obj_general, PYMEM_DOMAIN_OBJ, true)

#define DEFINE_SET(name, domain, general)                                                                              \
    static MPROF_AS_WRITTEN void *name##_slow_malloc(void *ctx, size_t size)                                           \
    {                                                                                                                  \
        (void)ctx;                                                                                                     \
        return slow(domain, general, MALLOC, NULL, 0, size);                                                           \
    }                                                                                                                  \
    static MPROF_AS_WRITTEN void *name##_slow_calloc(void *ctx, size_t count, size_t size)                             \
    {                                                                                                                  \
        (void)ctx;                                                                                                     \
        return slow(domain, general, CALLOC, NULL, count, size);                                                       \
    }                                                                                                                  \
    static MPROF_AS_WRITTEN void *name##_slow_realloc(void *ctx, void *old, size_t size)                               \
    {                                                                                                                  \
        (void)ctx;                                                                                                     \
        return slow(domain, general, REALLOC, old, 0, size);                                                           \
    }                                                                                                                  \
    static MPROF_AS_WRITTEN void name##_slow_free(void *ctx, void *block)                                              \
    {                                                                                                                  \
        (void)ctx;                                                                                                     \
        mprof_recorder_remove((uintptr_t)block);                                                                       \
        const PyMemAllocatorEx *allocator = below_of(domain, general);                                                 \
        allocator->free(allocator->ctx, block);                                                                        \
    }                                                                                                                  \
    static MPROF_LINE_ALIGNED void *name##_malloc(void *ctx, size_t size)                                              \
    {                                                                                                                  \
        if (!pass(domain, general, size))                                                                              \
            return name##_slow_malloc(ctx, size);                                                                      \
        const PyMemAllocatorEx *allocator = below_of(domain, general);                                                 \
        return allocator->malloc(allocator->ctx, size);                                                                \
    }                                                                                                                  \
    static MPROF_LINE_ALIGNED void *name##_calloc(void *ctx, size_t count, size_t size)                                \
    {                                                                                                                  \
        if (!pass(domain, general, product(count, size)))                                                              \
            return name##_slow_calloc(ctx, count, size);                                                               \
        const PyMemAllocatorEx *allocator = below_of(domain, general);                                                 \
        return allocator->calloc(allocator->ctx, count, size);                                                         \
    }                                                                                                                  \
    static MPROF_LINE_ALIGNED void *name##_realloc(void *ctx, void *old, size_t size)                                  \
    {                                                                                                                  \
        uint64_t countdown = mprof_sampler_countdown();                                                                \
        if ((general && mprof_recorder_is_exact()) || mprof_unlikely(mprof_recorder_watched((uintptr_t)old)) ||        \
            mprof_unlikely(size - 1 >= countdown))                                                                     \
            return name##_slow_realloc(ctx, old, size);                                                                \
        const PyMemAllocatorEx *allocator = below_of(domain, general);                                                 \
        const struct request request = {REALLOC, old, 0, size};                                                        \
        if (domain != PYMEM_DOMAIN_RAW) /* a small new size nests, too, when the old block is large */                 \
            return pass_on_alone(allocator, &request, countdown - size);                                               \
        mprof_sampler_set(countdown - size);                                                                           \
        return allocator->realloc(allocator->ctx, old, size);                                                          \
    }                                                                                                                  \
    static MPROF_LINE_ALIGNED void name##_free(void *ctx, void *block)                                                 \
    {                                                                                                                  \
        if ((general && mprof_recorder_is_exact()) || mprof_unlikely(mprof_recorder_watched((uintptr_t)block))) {      \
            name##_slow_free(ctx, block);                                                                              \
            return;                                                                                                    \
        }                                                                                                              \
        const PyMemAllocatorEx *allocator = below_of(domain, general);                                                 \
        allocator->free(allocator->ctx, block);                                                                        \
    }
SETS(DEFINE_SET)

#define SET_ENTRY(name, domain, general)                                                                               \
    [general][domain] = {                                                                                              \
        .malloc = name##_malloc, .calloc = name##_calloc, .realloc = name##_realloc, .free = name##_free},

static const PyMemAllocatorEx sets[2][DOMAINS] = {SETS(SET_ENTRY)};

static bool is_ours(const PyMemAllocatorEx *allocator, PyMemAllocatorDomain domain)
{
    return allocator->malloc == sets[0][domain].malloc || allocator->malloc == sets[1][domain].malloc;
}

static void request_and_free(PyMemAllocatorDomain domain, size_t size)
{
    if (domain == PYMEM_DOMAIN_RAW)
        PyMem_RawFree(PyMem_RawMalloc(size));
    else if (domain == PYMEM_DOMAIN_MEM)
        PyMem_Free(PyMem_Malloc(size));
    else
        PyObject_Free(PyObject_Malloc(size));
}

/* Whether requests of a domain come by our hooks, however many other tools lie on top: asks for a block, and the hook
 * that sees it leaves its mark. A tool on top may allocate for itself meanwhile, from any domain: only this counts. And
 * it may have blocks of some sizes in a pool of its own: hence several, none so large that malloc would map it and
 * remember. */
static bool in_chain(PyMemAllocatorDomain domain)
{
    static const size_t sizes[] = {64, 1000, 100000};
    uint64_t saved = mprof_sampler_countdown();
    bool seen = false;
    mprof_sampler_set(0); /* no fast path */
    mprof_tls.probe = 1;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && !seen; i++) {
        request_and_free(domain, sizes[i]);
        seen = mprof_tls.probe & 2u << domain;
    }
    mprof_tls.probe = 0;
    mprof_sampler_set(saved);
    return seen;
}

static bool same(const PyMemAllocatorEx *a, const PyMemAllocatorEx *b)
{
    return a->ctx == b->ctx && a->malloc == b->malloc && a->calloc == b->calloc && a->realloc == b->realloc &&
           a->free == b->free;
}

/* The allocator's entry in `below`; NULL: no room. */
static const PyMemAllocatorEx *keep(const PyMemAllocatorEx *allocator)
{
    for (unsigned i = 0; i < below_count; i++) {
        if (same(&below[i], allocator))
            return &below[i];
    }
    if (below_count == BELOW)
        return NULL;
    below[below_count] = *allocator;
    return &below[below_count++];
}

int mprof_hooks_prepare(void)
{
    for (int i = 0; i < DOMAINS; i++) {
        PyMemAllocatorDomain domain = (PyMemAllocatorDomain)i;
        PyMemAllocatorEx current;
        PyMem_GetAllocator(domain, &current);
        /* Whatever was done to the chain since our last stop: our own function must never become what lies below. */
        left_in_chain[i] = is_ours(&current, domain) || in_chain(domain);
        if (left_in_chain[i])
            continue;
        const PyMemAllocatorEx *kept = keep(&current);
        if (!kept)
            return -1;
        unseen |= base_of[i] != kept; /* `first` is written with the first of these */
        __atomic_store_n(&base_of[i], kept, __ATOMIC_RELEASE);
        if (!first[i].malloc)
            first[i] = current;
    }
    return 0;
}

void mprof_hooks_install(bool exact)
{
    __atomic_thread_fence(__ATOMIC_RELEASE); /* what our functions read comes before the functions */
    if (!MPROF_IN_ORDER && unseen && !mprof_os_prepare_barrier())
        (void)mprof_os_barrier();
    unseen = false;
    for (int i = 0; i < DOMAINS; i++) {
        PyMemAllocatorDomain domain = (PyMemAllocatorDomain)i;
        PyMemAllocatorEx ours;
        PyMem_GetAllocator(domain, &ours);
        if (left_in_chain[i] && !is_ours(&ours, domain))
            continue; /* below another tool, in whatever mode it was; it serves either */
        ours = sets[exact || !same(base_of[i], &first[i])][i];
        ours.ctx = base_of[i]->ctx;
        PyMem_SetAllocator(domain, &ours);
    }
}

void mprof_hooks_remove(void)
{
    for (int i = 0; i < DOMAINS; i++) {
        PyMemAllocatorDomain domain = (PyMemAllocatorDomain)i;
        PyMemAllocatorEx current;
        PyMem_GetAllocator(domain, &current);
        left_in_chain[i] = !is_ours(&current, domain);
        if (left_in_chain[i])
            continue;
        current = *base_of[i];
        PyMem_SetAllocator(domain, &current);
    }
}
