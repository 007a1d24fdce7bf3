/* SPDX-License-Identifier: MIT */
/* coverage_exit.c -- _exit for coverage builds of C tests (tools/coverage.sh): writes what has been counted first.
 *
 * The linker's --wrap=_exit brings the calls of forked children here. */
#include <unistd.h>

void __gcov_dump(void);
void __real__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status) __attribute__((noreturn));

void __wrap__exit(int status)
{
    __gcov_dump();
    __real__exit(status);
}
