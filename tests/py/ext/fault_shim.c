/* SPDX-License-Identifier: MIT */
/* fault_shim.c -- preloaded into a process (LD_PRELOAD): lets the n-th system call of one shared object fail.
 *
 * WHAT    fault_watch names the object, fault_arm the call. A call belongs to the object if it returns into it; those of
 *         the interpreter and of other libraries go through untouched, whoever they are made for.
 * LOCKS   counters are atomic; watch before threads start.
 * MEMORY  none. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>

/* The headers may declare these with attributes or as macros of their own; only their binary interface matters here. */
#define SHOWN __attribute__((visibility("default")))

static uintptr_t from, to; /* the object's addresses */
static long calls;         /* atomic; since fault_arm */
static long at;            /* 0: none */
static bool rest;          /* and all that follow */
static int paused;         /* atomic */
static int error;
static size_t most; /* bytes a write may write; 0: all */
static const char *volatile first;

/* ---- for the test ---- */

static int visit(struct dl_phdr_info *info, size_t size, void *part)
{
    (void)size;
    const char *slash = strrchr(info->dlpi_name, '/');
    if (!slash || !strstr(slash, part))
        return 0;
    from = UINTPTR_MAX;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type != PT_LOAD)
            continue;
        from = start < from ? start : from;
        to = start + segment->p_memsz > to ? start + segment->p_memsz : to;
    }
    return 1;
}

/* 0, or -1: no object's file name contains `part`. */
SHOWN int fault_watch(const char *part)
{
    return dl_iterate_phdr(visit, (void *)(uintptr_t)part) ? 0 : -1;
}

/* The n-th call from now fails with `number`, and all that follow if so asked; n = 0: none. If the error is EINTR, calls
 * that cannot be interrupted are not counted. */
SHOWN void fault_arm(long n, int number, int all_that_follow)
{
    __atomic_store_n(&at, 0, __ATOMIC_SEQ_CST);
    first = "";
    error = number;
    rest = all_that_follow != 0;
    __atomic_store_n(&calls, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&at, n, __ATOMIC_SEQ_CST);
}

/* From here to fault_pause(0) nothing is counted. */
SHOWN void fault_pause(int pause)
{
    __atomic_store_n(&paused, pause, __ATOMIC_SEQ_CST);
}

SHOWN void fault_shorten(size_t bytes)
{
    most = bytes;
}

/* Calls since fault_arm. */
SHOWN long fault_calls(void)
{
    return __atomic_load_n(&calls, __ATOMIC_SEQ_CST);
}

/* The first one that was made to fail. */
SHOWN const char *fault_first(void)
{
    return first;
}

/* ---- the calls ---- */

static bool watched(const void *caller)
{
    return (uintptr_t)caller - from < to - from;
}

static bool refused(const void *caller, const char *name, bool interruptible)
{
    if (!watched(caller) || __atomic_load_n(&paused, __ATOMIC_SEQ_CST) || (error == EINTR && !interruptible))
        return false;
    long number = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    long bad = __atomic_load_n(&at, __ATOMIC_SEQ_CST);
    if (bad == 0 || number < bad || (number > bad && !rest))
        return false;
    if (!*first)
        first = name;
    errno = error;
    return true;
}

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

#define CALLER __builtin_return_address(0)

#define WRAP(type, name, interruptible, parameters, arguments)                                                         \
    SHOWN type name parameters;                                                                                        \
    type name parameters                                                                                               \
    {                                                                                                                  \
        static type(*real) parameters;                                                                                 \
        if (!real)                                                                                                     \
            *(void **)(void *)&real = next(#name);                                                                     \
        return refused(CALLER, #name, interruptible) ? (type)-1 : real arguments;                                      \
    }

WRAP(void *, mmap, false, (void *a, size_t n, int p, int f, int fd, long o), (a, n, p, f, fd, o))
WRAP(void *, mmap64, false, (void *a, size_t n, int p, int f, int fd, long o), (a, n, p, f, fd, o))
WRAP(void *, mremap, false, (void *a, size_t n, size_t m, int f, ...), (a, n, m, f))
WRAP(int, madvise, false, (void *a, size_t n, int advice), (a, n, advice))
WRAP(long, read, true, (int fd, void *bytes, size_t n), (fd, bytes, n))
WRAP(int, fsync, true, (int fd), (fd))
WRAP(int, flock, true, (int fd, int operation), (fd, operation))
WRAP(int, rename, true, (const char *old, const char *new), (old, new))
WRAP(int, unlink, false, (const char *path), (path))
WRAP(int, kill, false, (int pid, int number), (pid, number))
WRAP(int, fstat, false, (int fd, void *status), (fd, status))
WRAP(int, fstat64, false, (int fd, void *status), (fd, status))
WRAP(int, lstat, false, (const char *path, void *status), (path, status))
WRAP(int, lstat64, false, (const char *path, void *status), (path, status))
WRAP(long, getrandom, false, (void *bytes, size_t n, unsigned flags), (bytes, n, flags))

#define WRAP_OPEN(name)                                                                                                \
    SHOWN int name(const char *path, int flags, ...);                                                                  \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        static int (*real)(const char *, int, ...);                                                                    \
        if (!real)                                                                                                     \
            *(void **)(void *)&real = next(#name);                                                                     \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, unsigned) : 0;                               \
        va_end(arguments);                                                                                             \
        return refused(CALLER, "open", true) ? -1 : real(path, flags, mode);                                           \
    }

WRAP_OPEN(open)
WRAP_OPEN(open64)

SHOWN long write(int fd, const void *bytes, size_t n);
long write(int fd, const void *bytes, size_t n)
{
    static long (*real)(int, const void *, size_t);
    if (!real)
        *(void **)(void *)&real = next("write");
    if (refused(CALLER, "write", true))
        return -1;
    return real(fd, bytes, most && n > most && watched(CALLER) ? most : n);
}

/* The descriptor is gone whatever close returns. */
SHOWN int close(int fd);
int close(int fd)
{
    static int (*real)(int);
    if (!real)
        *(void **)(void *)&real = next("close");
    int result = real(fd);
    return refused(CALLER, "close", true) ? -1 : result;
}

/* Of the calls made by number only the one that reads a directory fails. */
SHOWN long syscall(long number, ...);
long syscall(long number, ...)
{
    static long (*real)(long, ...);
    if (!real)
        *(void **)(void *)&real = next("syscall");
    va_list arguments;
    va_start(arguments, number);
    long a[6];
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_getdents64 && refused(CALLER, "getdents64", false))
        return -1;
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

SHOWN int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real)
        *(void **)(void *)&real = next("pthread_create");
    return refused(CALLER, "pthread_create", false) ? error : real(thread, attributes, run, argument);
}
