/* SPDX-License-Identifier: MIT */
/* tap.h -- what a C test says, in the Test Anything Protocol.
 *
 * WHAT    A test is a program:
 *
 *             int main(void)
 *             {
 *                 plan(2);                                    or no plan, and the count at the end
 *                 ok(sum == 3, "one and two");                "ok 1 - one and two"
 *                 is_int(sum, 3, "sum of %d numbers", 2);     says what it got if it is something else
 *                 return done();                              0 if all passed and the plan was kept
 *             }
 *
 *         Every check returns whether it passed, so that a test can stop where going on makes no sense. In a loop, use
 *         check(): it prints only what fails, and counts for nothing by itself; report the loop as a whole with ok().
 * WHY     A header alone: nothing to build, link or install.
 * LOCKS   none; call from one thread.
 * MEMORY  none but stdio's. */
#ifndef MPROF_TESTS_TAP_H
#define MPROF_TESTS_TAP_H

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAP_PRINTF(text, first) __attribute__((format(printf, text, first), unused))
#define TAP_UNUSED __attribute__((unused))

static struct {
    unsigned planned; /* 0: no plan */
    unsigned run;
    unsigned failed;
} tap;

TAP_UNUSED static void plan(unsigned tests)
{
    tap.planned = tests;
    printf("1..%u\n", tests);
}

TAP_PRINTF(1, 2) static void diag(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("# ", stdout);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
}

/* Ends the test program: nothing after this can be tested. */
TAP_PRINTF(1, 2) static void bail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("Bail out! ", stdout);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
    fflush(stdout);
    exit(255);
}

TAP_PRINTF(2, 0) static bool tap_report(bool passed, const char *format, va_list arguments)
{
    tap.run++;
    if (!passed)
        tap.failed++;
    printf("%s %u - ", passed ? "ok" : "not ok", tap.run);
    vprintf(format, arguments);
    putchar('\n');
    fflush(stdout);
    return passed;
}

TAP_PRINTF(2, 3) static bool ok(bool passed, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tap_report(passed, format, arguments);
    va_end(arguments);
    return passed;
}

/* Inside a loop: silent when it passes, a diagnostic when it does not. */
TAP_PRINTF(2, 3) static bool check(bool passed, const char *format, ...)
{
    if (passed)
        return true;
    va_list arguments;
    va_start(arguments, format);
    fputs("# failed: ", stdout);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
    return false;
}

TAP_PRINTF(3, 4) static bool is_int(int64_t got, int64_t want, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tap_report(got == want, format, arguments);
    va_end(arguments);
    if (got != want)
        diag("got %" PRId64 ", want %" PRId64, got, want);
    return got == want;
}

TAP_PRINTF(3, 4) static bool is_uint(uint64_t got, uint64_t want, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tap_report(got == want, format, arguments);
    va_end(arguments);
    if (got != want)
        diag("got %" PRIu64 ", want %" PRIu64, got, want);
    return got == want;
}

/* Equal to the last bit; two NaNs are equal. */
TAP_PRINTF(3, 4) static bool is_double(double got, double want, const char *format, ...)
{
    bool same = !(got < want) && !(got > want) && isnan(got) == isnan(want);
    va_list arguments;
    va_start(arguments, format);
    tap_report(same, format, arguments);
    va_end(arguments);
    if (!same)
        diag("got %.17g, want %.17g", got, want);
    return same;
}

/* |got - want| <= tolerance */
TAP_PRINTF(4, 5) static bool is_near(double got, double want, double tolerance, const char *format, ...)
{
    bool near = fabs(got - want) <= tolerance;
    va_list arguments;
    va_start(arguments, format);
    tap_report(near, format, arguments);
    va_end(arguments);
    if (!near)
        diag("got %.17g, want %.17g +- %g", got, want, tolerance);
    return near;
}

/* NULL equals only NULL. */
TAP_PRINTF(3, 4) static bool is_str(const char *got, const char *want, const char *format, ...)
{
    bool same = got && want ? strcmp(got, want) == 0 : got == want;
    va_list arguments;
    va_start(arguments, format);
    tap_report(same, format, arguments);
    va_end(arguments);
    if (!same)
        diag("got \"%s\", want \"%s\"", got ? got : "(null)", want ? want : "(null)");
    return same;
}

/* The next `tests` tests cannot run here. */
TAP_PRINTF(2, 3) static void skip(unsigned tests, const char *format, ...)
{
    for (unsigned i = 0; i < tests; i++) {
        va_list arguments;
        va_start(arguments, format);
        printf("ok %u # SKIP ", ++tap.run);
        vprintf(format, arguments);
        putchar('\n');
        va_end(arguments);
    }
}

/* Exit status for main. */
TAP_UNUSED static int done(void)
{
    if (tap.planned == 0)
        printf("1..%u\n", tap.run);
    else if (tap.planned != tap.run)
        diag("planned %u tests, ran %u", tap.planned, tap.run);
    if (tap.failed)
        diag("%u of %u tests failed", tap.failed, tap.run);
    fflush(stdout);
    return tap.failed || tap.run == 0 || (tap.planned && tap.planned != tap.run);
}

#endif
