/* SPDX-License-Identifier: MIT */
/* helgrind_atomics.h -- tells valgrind's helgrind what order atomic instructions make.
 *
 * WHAT    Included before everything else (-include) in the build that `make sanitize` runs under helgrind, it puts
 *         around each atomic operation what helgrind has to know: that the word is not for it to check, and, by the
 *         memory order that the source asks for, that a release happens before the acquire that sees it. A relaxed
 *         operation orders nothing.
 * WHY     helgrind knows the order that pthread functions make, and takes an atomic instruction for a plain access. With
 *         this it judges everything else: what the locks and the published words are there to protect.
 *         In a forked child helgrind goes on with the parent's threads, which are not there; nothing is reported of one.
 * LIMITS  Of one word every earlier release counts, not only the one whose value was read. Fences say nothing.
 * LOCKS   none.
 * MEMORY  none of its own; helgrind keeps a clock for each word that was released. */
#ifndef MPROF_TESTS_HELGRIND_ATOMICS_H
#define MPROF_TESTS_HELGRIND_ATOMICS_H

#define MPROF_TESTS_HELGRIND 1

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <valgrind/helgrind.h>

/* Its header must not come before a file's own choice of what the headers declare. */
int pthread_atfork(void (*)(void), void (*)(void), void (*)(void));

static void hg_be_silent(void)
{
    VALGRIND_DISABLE_ERROR_REPORTING;
}

/* Before main(), so that in the child it comes before the handlers of what is tested. */
__attribute__((constructor)) static void hg_prepare(void)
{
    pthread_atfork(NULL, NULL, hg_be_silent);
}

#define HG_WORD(word) VALGRIND_HG_DISABLE_CHECKING((word), sizeof *(word))
#define HG_BEFORE(word, order)                                                                                         \
    do {                                                                                                               \
        if ((order) == __ATOMIC_RELEASE || (order) == __ATOMIC_ACQ_REL || (order) == __ATOMIC_SEQ_CST)                 \
            ANNOTATE_HAPPENS_BEFORE(word);                                                                             \
    } while (0)
#define HG_AFTER(word, order)                                                                                          \
    do {                                                                                                               \
        if ((order) == __ATOMIC_ACQUIRE || (order) == __ATOMIC_ACQ_REL || (order) == __ATOMIC_SEQ_CST)                 \
            ANNOTATE_HAPPENS_AFTER(word);                                                                              \
    } while (0)

/* A macro's name inside itself is the compiler's function. */
#define __atomic_load_n(word, order)                                                                                   \
    ({                                                                                                                 \
        HG_WORD(word);                                                                                                 \
        __auto_type hg_value = __atomic_load_n(word, order);                                                           \
        HG_AFTER(word, order);                                                                                         \
        hg_value;                                                                                                      \
    })

#define __atomic_store_n(word, value, order)                                                                           \
    ({                                                                                                                 \
        HG_WORD(word);                                                                                                 \
        HG_BEFORE(word, order);                                                                                        \
        __atomic_store_n(word, value, order);                                                                          \
    })

#define HG_CHANGE(word, order, operation)                                                                              \
    ({                                                                                                                 \
        HG_WORD(word);                                                                                                 \
        HG_BEFORE(word, order);                                                                                        \
        __auto_type hg_value = operation;                                                                              \
        HG_AFTER(word, order);                                                                                         \
        hg_value;                                                                                                      \
    })

#define __atomic_exchange_n(word, value, order) HG_CHANGE(word, order, __atomic_exchange_n(word, value, order))
#define __atomic_fetch_add(word, value, order) HG_CHANGE(word, order, __atomic_fetch_add(word, value, order))
#define __atomic_fetch_sub(word, value, order) HG_CHANGE(word, order, __atomic_fetch_sub(word, value, order))
#define __atomic_fetch_and(word, value, order) HG_CHANGE(word, order, __atomic_fetch_and(word, value, order))
#define __atomic_fetch_or(word, value, order) HG_CHANGE(word, order, __atomic_fetch_or(word, value, order))
/* What is not exchanged counts as released all the same; as acquired by its own order. */
#define __atomic_compare_exchange_n(word, expected, value, weak, order, otherwise)                                     \
    ({                                                                                                                 \
        HG_WORD(word);                                                                                                 \
        HG_BEFORE(word, order);                                                                                        \
        bool hg_changed = __atomic_compare_exchange_n(word, expected, value, weak, order, otherwise);                  \
        if (hg_changed)                                                                                                \
            HG_AFTER(word, order);                                                                                     \
        else                                                                                                           \
            HG_AFTER(word, otherwise);                                                                                 \
        hg_changed;                                                                                                    \
    })

/* C11's generic functions, by the same. */
#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_exchange
#undef atomic_fetch_add
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub
#undef atomic_fetch_sub_explicit
#undef atomic_compare_exchange_strong
#define atomic_load_explicit(word, order) __atomic_load_n(word, order)
#define atomic_load(word) __atomic_load_n(word, __ATOMIC_SEQ_CST)
#define atomic_store_explicit(word, value, order) __atomic_store_n(word, value, order)
#define atomic_store(word, value) __atomic_store_n(word, value, __ATOMIC_SEQ_CST)
#define atomic_exchange(word, value) __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST)
#define atomic_fetch_add_explicit(word, value, order) __atomic_fetch_add(word, value, order)
#define atomic_fetch_add(word, value) __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST)
#define atomic_fetch_sub_explicit(word, value, order) __atomic_fetch_sub(word, value, order)
#define atomic_fetch_sub(word, value) __atomic_fetch_sub(word, value, __ATOMIC_SEQ_CST)
#define atomic_compare_exchange_strong(word, expected, value)                                                          \
    __atomic_compare_exchange_n(word, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)

#endif
