/* SPDX-License-Identifier: MIT */
/* addresses.h -- addresses that tests make up, on platforms of 32 and of 64 bits.
 *
 * WHAT    TEST_HEAP: where an allocator's blocks could lie. TEST_REGION: a distance in which a thread of a test has
 *         its own; the regions 1 to 13 end below the heap.
 * WHY     The core only compares addresses, so the tests need no memory behind them. But they must stay different:
 *         cut to 32 bits they would not.
 * LOCKS   none.
 * MEMORY  none. */
#ifndef MPROF_TESTS_ADDRESSES_H
#define MPROF_TESTS_ADDRESSES_H

#include <stdint.h>

#if UINTPTR_MAX > UINT32_MAX
#define TEST_HEAP ((uintptr_t)0x7f0000000000)
#define TEST_REGION ((uintptr_t)1 << 32)
#else
#define TEST_HEAP ((uintptr_t)0x70000000)
#define TEST_REGION ((uintptr_t)1 << 27)
#endif

#endif
