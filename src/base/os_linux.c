/* SPDX-License-Identifier: MIT */
/* os_linux.c -- os.h for Linux. See os.h for the contracts. */
#define _GNU_SOURCE
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void *mprof_os_map(size_t size)
{
    int saved = errno;
    void *address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = saved;
    return address == MAP_FAILED ? NULL : address;
}

void mprof_os_advise_huge(void *address, size_t size)
{
    int saved = errno;
    (void)madvise(address, size, MADV_HUGEPAGE);
    errno = saved;
}

void *mprof_os_map_present(size_t size)
{
    volatile char *pages = mprof_os_map(size);
    if (!pages)
        return NULL;
    mprof_os_advise_huge((void *)pages, size);
    for (size_t at = 0; at < size; at += MPROF_OS_PAGE)
        pages[at] = 0;
    return (void *)pages;
}

void mprof_os_unmap(void *address, size_t size)
{
    int saved = errno;
    (void)munmap(address, size);
    errno = saved;
}

void *mprof_os_remap(void *address, size_t old_size, size_t new_size)
{
    int saved = errno;
    void *moved = mremap(address, old_size, new_size, MREMAP_MAYMOVE);
    errno = saved;
    return moved == MAP_FAILED ? NULL : moved;
}

static int64_t now(clockid_t clock)
{
    struct timespec time = {0, 0};
    (void)clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * INT64_C(1000000000) + (int64_t)time.tv_nsec;
}

int64_t mprof_os_monotonic_ns(void)
{
    return now(CLOCK_MONOTONIC);
}

int64_t mprof_os_monotonic_coarse_ns(void)
{
    return now(CLOCK_MONOTONIC_COARSE);
}

int64_t mprof_os_wall_ns(void)
{
    return now(CLOCK_REALTIME);
}

uint64_t mprof_os_entropy(void)
{
    int saved = errno;
    uint64_t value = 0;
    if (getrandom(&value, sizeof value, GRND_NONBLOCK) != (ssize_t)sizeof value) {
        value = (uint64_t)now(CLOCK_MONOTONIC) ^ ((uint64_t)now(CLOCK_REALTIME) << 20) ^ (uint64_t)(uintptr_t)&value ^
                ((uint64_t)getpid() << 48);
    }
    errno = saved;
    return value;
}

void mprof_os_wait(uint32_t *word, uint32_t expected)
{
    int saved = errno;
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
    errno = saved;
}

void mprof_os_wait_for(uint32_t *word, uint32_t expected, int64_t ns)
{
    int saved = errno;
    struct timespec time = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &time, NULL, 0);
    errno = saved;
}

static void wake(uint32_t *word, int waiters)
{
    int saved = errno;
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, waiters, NULL, NULL, 0);
    errno = saved;
}

void mprof_os_wake(uint32_t *word)
{
    wake(word, 1);
}

void mprof_os_wake_all(uint32_t *word)
{
    wake(word, INT_MAX);
}

/* What getdents64 fills in, entry after entry. */
struct entry {
    uint64_t inode;
    int64_t next;
    uint16_t length;
    uint8_t type;
    char name[];
};

/* opendir calls malloc; this does not. */
int mprof_os_list(const char *directory, int (*entry)(void *context, const char *name), void *context)
{
    _Alignas(struct entry) char buffer[4096];
    int saved = errno;
    int result = 0;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        result = errno;
    for (bool more = fd >= 0; more;) {
        long length = syscall(SYS_getdents64, fd, buffer, sizeof buffer);
        if (length < 0)
            result = errno;
        more = length > 0;
        for (long at = 0; at < length && more;) {
            const struct entry *it = (const struct entry *)(const void *)(buffer + at);
            more = entry(context, it->name) == 0;
            at += it->length;
        }
    }
    if (fd >= 0)
        (void)close(fd);
    errno = saved;
    return result;
}

/* In the kernel's header from 4.14 on; the numbers are for ever. */
enum { BARRIER = 1 << 3, REGISTER_BARRIER = 1 << 4 };

/* No longer than this is a store on its way to other processors, by far. */
static const long BARRIER_BY_TIME_NS = 5000000;

bool mprof_os_prepare_barrier(void)
{
#ifdef SYS_membarrier
    int saved = errno;
    bool prepared = syscall(SYS_membarrier, REGISTER_BARRIER, 0, 0) == 0 && syscall(SYS_membarrier, BARRIER, 0, 0) == 0;
    errno = saved;
    return prepared;
#else
    return false;
#endif
}

bool mprof_os_barrier(void)
{
    int saved = errno;
    bool done = false;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#ifdef SYS_membarrier
    done = syscall(SYS_membarrier, BARRIER, 0, 0) == 0;
#endif
    if (!done) { /* a filter of system calls that the program has put on since */
        int64_t end = mprof_os_monotonic_ns() + BARRIER_BY_TIME_NS;
        do { /* a signal ends a sleep early, and a filter may refuse that, too */
            struct timespec time = {0, BARRIER_BY_TIME_NS};
            (void)nanosleep(&time, NULL);
        } while (mprof_os_monotonic_ns() < end);
    }
    errno = saved;
    return done;
}

long mprof_os_thread(void)
{
    return (long)syscall(SYS_gettid);
}

bool mprof_os_thread_lives(long thread)
{
    int saved = errno;
    bool gone = syscall(SYS_tgkill, getpid(), thread, 0) != 0 && errno == ESRCH;
    errno = saved;
    return !gone;
}

bool mprof_os_readable(const void *address)
{
    int saved = errno;
    /* The set is read first and what to do with it looked at then; nothing is done, for there is no such thing to do. */
    bool readable = syscall(SYS_rt_sigprocmask, -1, address, NULL, 8) != 0 && errno == EINVAL;
    errno = saved;
    return readable;
}

uint64_t mprof_os_resident(void)
{
    char text[128];
    int saved = errno;
    ssize_t length = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        length = read(fd, text, sizeof text - 1);
        (void)close(fd);
    }
    errno = saved;
    ssize_t at = 0;
    while (at < length && text[at] != ' ') /* the first number is the size of the address space */
        at++;
    uint64_t pages = 0;
    for (at++; at < length && text[at] >= '0' && text[at] <= '9'; at++)
        pages = pages * 10 + (uint64_t)(text[at] - '0');
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
