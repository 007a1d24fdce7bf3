/* SPDX-License-Identifier: MIT */
/* statictls.c -- a library that takes SIZE bytes of the static thread-local storage that the C library has left for
 * libraries which are loaded late. */
#ifndef SIZE
#error "SIZE: how many bytes"
#endif

static _Thread_local char taken[SIZE] __attribute__((tls_model("initial-exec")));

char *statictls_taken(void);

char *statictls_taken(void)
{
    return taken;
}
