/* SPDX-License-Identifier: MIT */
/* compiler.h -- what the compiler is told beyond plain C11.
 *
 * WHAT    Branch hints, attributes, the assertion, and what the processor promises. The only place that names
 *         compiler extensions, but for the thread-local model in sampler.h.
 * WHY     gcc and clang agree on all of these; one header keeps the rest of the tree standard C.
 * LOCKS   none.
 * MEMORY  none. */
#ifndef MPROF_BASE_COMPILER_H
#define MPROF_BASE_COMPILER_H

#include <assert.h>

#define mprof_likely(x) __builtin_expect(!!(x), 1)
#define mprof_unlikely(x) __builtin_expect(!!(x), 0)
#define MPROF_NOINLINE __attribute__((noinline))
/* A function that begins a line of the cache: what it costs does not depend on what was linked before it. */
#define MPROF_LINE_ALIGNED __attribute__((aligned(64)))
/* Stays a function with the arguments that it is written with. */
#if defined(__clang__)
#define MPROF_AS_WRITTEN __attribute__((noinline))
#else
#define MPROF_AS_WRITTEN __attribute__((noinline, noclone))
#endif
#define MPROF_HIDDEN __attribute__((visibility("hidden"))) /* of a declaration: reached without the linker's table */
#define MPROF_EXPORT __attribute__((visibility("default")))
#define MPROF_COLD __attribute__((noinline, cold))
#define MPROF_INLINE static inline __attribute__((always_inline))
#define MPROF_PREFETCH_WRITE(address) __builtin_prefetch((address), 1, 3)

/* Whether no load overtakes an earlier one of its thread, nor a store an earlier store. */
#if defined(__x86_64__) || defined(__i386__)
#define MPROF_IN_ORDER 1
#else
#define MPROF_IN_ORDER 0
#endif

/* Cheap check, kept out of release builds (NDEBUG). */
#define mprof_assert(condition) assert(condition)

#endif
