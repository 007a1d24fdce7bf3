/* SPDX-License-Identifier: MIT */
/* coverage_exit.c -- linked into what is built for coverage (tools/coverage.sh): counts of processes that end early.
 *
 * WHAT    libgcov writes what it has counted when a process ends by exit(). The linker's --wrap brings the other ends here:
 *         _exit(), and a signal that a process sends itself. Python's own os._exit() is met by coverage_preload.c, to which
 *         each shared object tells how its counts are written.
 * LOCKS   libgcov's own.
 * MEMORY  none. */
#include <sys/types.h>
#include <unistd.h>

void __gcov_dump(void);
void __gcov_reset(void);
void __real__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status) __attribute__((noreturn));
int __real_kill(pid_t process, int number);
int __wrap_kill(pid_t process, int number);
void mprof_coverage_register(void (*write_counts)(void)) __attribute__((weak));

/* What comes after is counted from zero and added by the next call: the process may live on. */
static void write_counts(void)
{
    __gcov_dump();
    __gcov_reset();
}

void __wrap__exit(int status)
{
    write_counts();
    __real__exit(status);
}

int __wrap_kill(pid_t process, int number)
{
    if (process == getpid() && number != 0)
        write_counts();
    return __real_kill(process, number);
}

__attribute__((constructor)) static void introduce(void)
{
    if (mprof_coverage_register)
        mprof_coverage_register(write_counts);
}
