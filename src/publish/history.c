/* SPDX-License-Identifier: MIT */
/* history.c -- see history.h. */
#define _GNU_SOURCE
#include "publish/history.h"

#include "base/os.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };
static const int64_t DAY = 24 * (int64_t)HOUR;

/* ---- names ---- */

struct date {
    int64_t year;
    int64_t month; /* 1 .. 12 */
    int64_t day;   /* 1 .. 31 */
};

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && is_leap(year));
}

/* Days from 1970 to the first of January. */
static int64_t days_before_year(int64_t year)
{
    int64_t past = year - 1;
    return 365 * (year - 1970) + (past / 4 - past / 100 + past / 400) - (1969 / 4 - 1969 / 100 + 1969 / 400);
}

static struct date date_of(int64_t days)
{
    struct date date = {1970 + days / 366, 1, 1}; /* not later than the true year */
    while (days_before_year(date.year + 1) <= days)
        date.year++;
    days -= days_before_year(date.year);
    for (; days >= days_in_month(date.year, date.month); date.month++)
        days -= days_in_month(date.year, date.month);
    date.day = days + 1;
    return date;
}

static int64_t days_of(const struct date *date)
{
    int64_t days = days_before_year(date->year);
    for (int64_t month = 1; month < date->month; month++)
        days += days_in_month(date->year, month);
    return days + date->day - 1;
}

bool mprof_history_name(int64_t time_ms, int64_t pid, char name[MPROF_HISTORY_NAME])
{
    if (time_ms < 0 || time_ms / DAY >= days_before_year(10000))
        return false;
    struct date date = date_of(time_ms / DAY);
    int64_t rest = time_ms % DAY;
    int length = snprintf(name, MPROF_HISTORY_NAME,
                          "%04" PRId64 "%02" PRId64 "%02" PRId64 "T%02" PRId64 "%02" PRId64 "%02" PRId64 ".%03" PRId64
                          "Z.%" PRId64 ".pb.gz",
                          date.year, date.month, date.day, rest / HOUR, rest / MINUTE % 60, rest / SECOND % 60,
                          rest % SECOND, pid);
    return length > 0 && length < MPROF_HISTORY_NAME;
}

/* Reads `digits` digits. -1: there are not so many. */
static int64_t number(const char **at, int digits)
{
    int64_t value = 0;
    for (; digits > 0; digits--, (*at)++) {
        if (**at < '0' || **at > '9')
            return -1;
        value = value * 10 + (**at - '0');
    }
    return value;
}

static bool skip(const char **at, char expected)
{
    return *(*at)++ == expected;
}

bool mprof_history_parse(const char *name, int64_t *time_ms, int64_t *pid)
{
    const char *at = name;
    if (strspn(name, "0123456789") != 8)
        return false;
    struct date date;
    date.year = number(&at, 4);
    date.month = number(&at, 2);
    date.day = number(&at, 2);
    if (date.year < 1970 || date.month < 1 || date.month > 12 || date.day < 1 ||
        date.day > days_in_month(date.year, date.month) || !skip(&at, 'T'))
        return false;
    int64_t hour = number(&at, 2);
    int64_t minute = hour < 0 ? -1 : number(&at, 2);
    int64_t second = minute < 0 ? -1 : number(&at, 2);
    if (second < 0 || hour > 23 || minute > 59 || second > 59 || !skip(&at, '.'))
        return false;
    int64_t milliseconds = number(&at, 3);
    if (milliseconds < 0 || !skip(&at, 'Z') || !skip(&at, '.'))
        return false;
    int digits = (int)strspn(at, "0123456789");
    if (digits < 1 || digits > 10)
        return false;
    *pid = number(&at, digits);
    *time_ms = days_of(&date) * DAY + hour * HOUR + minute * MINUTE + second * SECOND + milliseconds;
    return strcmp(at, ".pb.gz") == 0;
}

/* ---- thinning ---- */

/* The order of sorting: by process, then by time; or by time alone. */
static bool before(const struct mprof_history_file *a, const struct mprof_history_file *b, bool by_process)
{
    if (by_process && a->pid != b->pid)
        return a->pid < b->pid;
    return a->time_ms != b->time_ms ? a->time_ms < b->time_ms : a->pid < b->pid;
}

static void sink(struct mprof_history_file *files, size_t at, size_t count, bool by_process)
{
    struct mprof_history_file file = files[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && before(&files[child], &files[child + 1], by_process))
            child++;
        if (!before(&file, &files[child], by_process))
            break;
        files[at] = files[child];
    }
    files[at] = file;
}

/* Heap sort: qsort may call malloc. */
static void sort(struct mprof_history_file *files, size_t count, bool by_process)
{
    for (size_t i = count / 2; i > 0; i--)
        sink(files, i - 1, count, by_process);
    for (size_t last = count; last > 1; last--) {
        struct mprof_history_file largest = files[0];
        files[0] = files[last - 1];
        files[last - 1] = largest;
        sink(files, 0, last - 1, by_process);
    }
}

/* How long a stretch of time one file of this age stands for. */
static int64_t stretch_of(int64_t age_ms)
{
    if (age_ms < MINUTE)
        return SECOND;
    return age_ms < HOUR ? MINUTE : HOUR;
}

void mprof_history_thin(struct mprof_history_file *files, size_t count, int64_t now_ms, uint64_t bytes)
{
    sort(files, count, true);
    for (size_t i = 0; i + 1 < count; i++) {
        const struct mprof_history_file *next = &files[i + 1];
        int64_t stretch = stretch_of(now_ms - files[i].time_ms);
        /* The next one is newer; where it is in a finer stretch, it does not stand for this one yet. */
        files[i].drop = next->pid == files[i].pid && stretch_of(now_ms - next->time_ms) == stretch &&
                        next->time_ms / stretch == files[i].time_ms / stretch;
    }
    if (count > 0)
        files[count - 1].drop = false;
    sort(files, count, false);
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += files[i].drop ? 0 : files[i].size;
    for (size_t i = 0; i + 1 < count && bytes != 0 && total > bytes; i++) {
        total -= files[i].drop ? 0 : files[i].size;
        files[i].drop = true;
    }
}

/* ---- the directory ---- */

struct listing {
    const char *directory;
    struct mprof_arena *arena;
    struct mprof_history_file *files;
    uint32_t count;
    uint32_t capacity;
};

static bool join(const char *directory, const char *name, char path[MPROF_FILE_PATH])
{
    int length = snprintf(path, MPROF_FILE_PATH, "%s/%s", directory, name);
    return length > 0 && length < MPROF_FILE_PATH;
}

static int list_entry(void *context, const char *name)
{
    struct listing *listing = context;
    char path[MPROF_FILE_PATH];
    struct stat status;
    struct mprof_history_file file = {0, 0, 0, false};
    if (!mprof_history_parse(name, &file.time_ms, &file.pid) || !join(listing->directory, name, path) ||
        lstat(path, &status) != 0 || !S_ISREG(status.st_mode))
        return 0;
    file.size = (uint64_t)status.st_size;
    struct mprof_history_file *files = mprof_arena_reserve(listing->arena, listing->files, &listing->capacity,
                                                           (uint64_t)listing->count + 1, sizeof *files);
    if (!files)
        return -1;
    listing->files = files;
    files[listing->count++] = file;
    return 0;
}

/* Thinning that fails now succeeds after the next write. */
static void thin(const char *directory, uint64_t bound, int64_t now_ms, struct mprof_arena *arena)
{
    struct listing listing = {.directory = directory, .arena = arena};
    (void)mprof_os_list(directory, list_entry, &listing);
    mprof_history_thin(listing.files, listing.count, now_ms, bound);
    for (uint32_t i = 0; i < listing.count; i++) {
        char name[MPROF_HISTORY_NAME];
        char path[MPROF_FILE_PATH];
        if (listing.files[i].drop && mprof_history_name(listing.files[i].time_ms, listing.files[i].pid, name) &&
            join(directory, name, path))
            (void)unlink(path);
    }
    mprof_arena_put(arena, listing.files, listing.capacity * sizeof *listing.files);
}

int mprof_history_add(const char *directory, uint64_t bound, int64_t time_ms, const void *bytes, size_t length,
                      struct mprof_arena *arena, struct mprof_file_failure *failure)
{
    char name[MPROF_HISTORY_NAME];
    char path[MPROF_FILE_PATH];
    if (!mprof_history_name(time_ms, getpid(), name) || !join(directory, name, path)) {
        *failure = (struct mprof_file_failure){ENAMETOOLONG, "open"};
        return -1;
    }
    if (mprof_file_write(path, bytes, length, false, failure) != 0)
        return -1;
    int saved = errno;
    thin(directory, bound, time_ms, arena);
    errno = saved;
    return 0;
}

static bool is_history(const void *context, const char *name, size_t length)
{
    (void)context;
    char whole[MPROF_HISTORY_NAME];
    int64_t time_ms, pid;
    if (length >= sizeof whole)
        return false;
    memcpy(whole, name, length);
    whole[length] = '\0';
    return mprof_history_parse(whole, &time_ms, &pid);
}

void mprof_history_sweep(const char *directory)
{
    mprof_file_sweep(directory, is_history, NULL);
}
