/* SPDX-License-Identifier: MIT */
/* fuzz_history.c -- names of files in a directory of history.
 *
 * WHAT    The input as a name is parsed. What is accepted must be written the same again, but for leading zeros of the
 *         process; its first bytes as a time and a process make a name, which must be parsed as them, and its date must
 *         be the C library's.
 * WHY     The directory may hold anything, and a name that is misread is a file that is removed too early.
 * LOCKS   none.
 * MEMORY  the stack, and a copy of the input that ends where the input does. */
#define _GNU_SOURCE
#include "fuzz.h"
#include "publish/history.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

static void read_name(const unsigned char *data, size_t size)
{
    char *name = malloc(size + 1);
    fuzz_require(name != NULL, "no memory for the fuzzer");
    if (size > 0)
        memcpy(name, data, size);
    name[size] = '\0';
    int64_t time_ms = -1, pid = -1;
    if (mprof_history_parse(name, &time_ms, &pid)) {
        char again[MPROF_HISTORY_NAME];
        fuzz_require(time_ms >= 0 && pid >= 0, "a time or a process below 0");
        fuzz_require(mprof_history_name(time_ms, pid, again), "a name that cannot be written again");
        size_t stem = strlen("20260131T235959.123Z.");
        fuzz_require(memcmp(name, again, stem) == 0, "another time");
        const char *digits = name + stem;
        while (digits[0] == '0' && digits[1] != '.')
            digits++;
        fuzz_require(strcmp(digits, again + stem) == 0, "another process");
    }
    free(name);
}

static void write_name(struct fuzz_input *input)
{
    int64_t time_ms = (int64_t)fuzz_number(input, 8);
    if (fuzz_byte(input) & 1)
        time_ms = (int64_t)((uint64_t)time_ms % 253402300800000u); /* to the end of the year 9999 */
    int64_t pid = (int64_t)fuzz_number(input, 4);
    char name[MPROF_HISTORY_NAME];
    bool written = mprof_history_name(time_ms, pid, name);
    fuzz_require(written == (time_ms >= 0 && time_ms < 253402300800000), "the years 1970 to 9999 have names");
    if (!written)
        return;
    int64_t read_ms, read_pid;
    fuzz_require(mprof_history_parse(name, &read_ms, &read_pid), "a name that cannot be read");
    fuzz_require(read_ms == time_ms && read_pid == pid, "read as another");
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm utc;
    char expected[96];
    fuzz_require(gmtime_r(&seconds, &utc) != NULL, "no date");
    snprintf(expected, sizeof expected, "%04d%02d%02dT%02d%02d%02d.%03dZ.%" PRId64 ".pb.gz", utc.tm_year + 1900,
             utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, (int)(time_ms % 1000), pid);
    fuzz_require(strcmp(name, expected) == 0, "another date than the C library's");
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct fuzz_input input = {data, data + size};
    read_name(data, size);
    write_name(&input);
    return 0;
}
