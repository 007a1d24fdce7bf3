/* SPDX-License-Identifier: MIT */
/* test_publish.c -- files that are whole or not there, the directory of history, the series, names, gzip.
 *
 * Everything happens in a directory of the test's own, below TMPDIR or /tmp. */
#define _GNU_SOURCE
#include "scratch.h"
#include "tap.h"

#include "base/os.h"
#include "base/rng.h"
#include "publish/file.h"
#include "publish/gzip.h"
#include "publish/history.h"
#include "publish/publication.h"
#include "publish/series.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[256];

static const char *in_directory(const char *name)
{
    static char paths[4][600];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

static unsigned count_files(const char *where)
{
    unsigned count = 0;
    DIR *stream = opendir(where);
    for (struct dirent *entry; stream && (entry = readdir(stream));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (stream)
        closedir(stream);
    return count;
}

static void empty(const char *where)
{
    char path[900];
    DIR *stream = opendir(where);
    for (struct dirent *entry; stream && (entry = readdir(stream));) {
        snprintf(path, sizeof path, "%s/%s", where, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlink(path);
    }
    if (stream)
        closedir(stream);
}

static bool holds(const char *path, const char *text)
{
    char content[4096] = "";
    int fd = open(path, O_RDONLY | O_NOFOLLOW);
    ssize_t length = fd < 0 ? -1 : read(fd, content, sizeof content);
    if (fd >= 0)
        close(fd);
    return length == (ssize_t)strlen(text) && memcmp(content, text, (size_t)length) == 0;
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        bail("cannot write %s", path);
    close(fd);
}

static int write_text(const char *path, const char *text, struct mprof_file_failure *failure)
{
    return mprof_file_write(path, text, strlen(text), true, failure);
}

/* ---- files ---- */

static void test_file(void)
{
    struct mprof_file_failure failure;
    struct stat status;
    const char *path = in_directory("heap.pb.gz");
    mode_t mask = umask(0);
    is_int(write_text(path, "one", &failure), 0, "a new file");
    umask(mask);
    ok(holds(path, "one") && stat(path, &status) == 0 && (status.st_mode & 07777) == 0600,
       "mode 0600, whatever the umask");
    is_int(write_text(path, "two", &failure), 0, "over it");
    ok(holds(path, "two"), "is there");
    is_int(mprof_file_write(path, "", 0, false, &failure), 0, "an empty file");
    ok(holds(path, ""), "is empty");

    put(in_directory("other"), "precious");
    unlink(path);
    if (symlink("other", path) != 0)
        bail("cannot make a link");
    is_int(write_text(path, "three", &failure), 0, "a link at the target");
    ok(holds(in_directory("other"), "precious") && holds(path, "three"), "is replaced, not followed");
    is_uint(count_files(directory), 2, "no temporary file stays");

    mkdir(in_directory("folder"), 0700);
    is_int(write_text(in_directory("folder"), "x", &failure), -1, "a directory at the target");
    ok(failure.error == EISDIR && strcmp(failure.call, "rename") == 0, "is left alone");
    rmdir(in_directory("folder"));
    is_int(write_text(in_directory("missing/heap"), "x", &failure), -1, "a directory that is not there");
    ok(failure.error == ENOENT && strcmp(failure.call, "open") == 0, "fails to open");
    char longest[5000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    is_int(write_text(longest, "x", &failure), -1, "a name that is too long");
    ok(failure.error == ENAMETOOLONG, "is refused");
    char name[300];
    memset(name, 'n', 255);
    name[255] = '\0';
    is_int(write_text(in_directory(name), "x", &failure), 0, "the longest name that there can be");
    empty(directory);
}

/* Every system call fails in turn, with several errors: the target keeps its content, and nothing else is there. */
static void test_every_failure(void)
{
    static const int errors[] = {ENOSPC, EIO, EDQUOT, EMFILE};
    struct mprof_file_failure failure;
    const char *path = in_directory("heap.pb.gz");
    write_text(path, "before", &failure);
    mprof_file_shorten(1);
    mprof_file_fail(0, 0);
    write_text(path, "before", &failure);
    unsigned calls = mprof_file_calls();
    ok(calls == 10, "open, six short writes, fsync, close, rename: %u calls", calls);
    bool right = true;
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
        for (unsigned n = 1; n <= calls; n++) {
            mprof_file_fail(n, errors[e]);
            int result = write_text(path, "after!", &failure);
            right =
                check(result == -1 && failure.error == errors[e], "call %u: %d, error %d", n, result, failure.error) &&
                check(holds(path, "before"), "call %u: target", n) &&
                check(count_files(directory) == 1, "call %u: files", n) && right;
        }
    }
    ok(right, "each of %u calls fails with each of 4 errors", calls);

    right = true;
    for (unsigned n = 1; n <= calls; n++) {
        mprof_file_fail(n, EINTR);
        right = check(write_text(path, n % 2 ? "odd" : "even", &failure) == 0, "call %u: interrupted", n) &&
                check(holds(path, n % 2 ? "odd" : "even"), "call %u: content", n) && right;
    }
    ok(right, "each call is interrupted once");
    mprof_file_fail(8, EINVAL);
    is_int(write_text(path, "before", &failure), 0, "a file system without fsync");
    mprof_file_fail(0, 0);
    mprof_file_shorten(0);

    mprof_file_fail(1, EEXIST);
    is_int(write_text(path, "again", &failure), 0, "a planted temporary name: another one is taken");
    mprof_file_fail(0, 0);
    empty(directory);
}

static bool matches_heap(const void *context, const char *name, size_t length)
{
    (void)context;
    return length == 10 && memcmp(name, "heap.pb.gz", 10) == 0;
}

/* A process id that nobody has. */
static long dead_pid(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    return (long)pid;
}

static void test_sweep(void)
{
    char stale[100], alive[100], held[100], link[100];
    long dead = dead_pid();
    snprintf(stale, sizeof stale, ".heap.pb.gz.%ld.0123456789abcdef.tmp", dead);
    snprintf(alive, sizeof alive, ".heap.pb.gz.%ld.0123456789abcdef.tmp", (long)getpid());
    snprintf(held, sizeof held, ".heap.pb.gz.%ld.0000000000000000.tmp", dead);
    snprintf(link, sizeof link, ".heap.pb.gz.%ld.1111111111111111.tmp", dead);
    const char *const others[] = {".heap.pb.gz.1.0123456789abcdef.tmp",
                                  ".heap.pb.gz.x.0123456789abcdef.tmp",
                                  ".heap.pb.gz.0123456789abcdef.tmp",
                                  ".heap.pb.gz.77.0123456789abcdeg.tmp",
                                  ".other.99999999.0123456789abcdef.tmp",
                                  "heap.pb.gz",
                                  ".tmp",
                                  "x.tmp"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        put(in_directory(others[i]), "x");
    put(in_directory(stale), "x");
    put(in_directory(alive), "x");
    put(in_directory(held), "x");
    if (symlink("heap.pb.gz", in_directory(link)) != 0)
        bail("cannot make a link");
    int fd = open(in_directory(held), O_RDONLY);
    flock(fd, LOCK_EX);
    mprof_file_sweep(directory, matches_heap, NULL);
    ok(access(in_directory(stale), F_OK) != 0, "what a dead process left is removed");
    ok(access(in_directory(alive), F_OK) == 0, "what a process is writing stays");
    ok(access(in_directory(held), F_OK) == 0, "what somebody holds the lock of stays, seen or not");
    struct stat status;
    ok(lstat(in_directory(link), &status) == 0, "a planted link stays");
    bool stay = true;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        stay = check(access(in_directory(others[i]), F_OK) == 0, "%s", others[i]) && stay;
    ok(stay, "other names stay");
    close(fd);
    mprof_file_sweep(directory, matches_heap, NULL);
    ok(access(in_directory(held), F_OK) != 0, "without the lock it goes, too");
    mprof_file_sweep(in_directory("missing"), matches_heap, NULL);
    pid_t zombie = fork();
    if (zombie == 0)
        _exit(0);
    siginfo_t ended;
    waitid(P_PID, (id_t)zombie, &ended, WEXITED | WNOWAIT);
    snprintf(stale, sizeof stale, ".heap.pb.gz.%ld.0123456789abcdef.tmp", (long)zombie);
    put(in_directory(stale), "x");
    mprof_file_sweep(directory, matches_heap, NULL);
    ok(access(in_directory(stale), F_OK) != 0, "that of a dead process that nobody has waited for goes, too");
    waitpid(zombie, NULL, 0);
    empty(directory);
}

static void test_reasons(void)
{
    static const int errors[] = {EACCES, EPERM,  EBUSY,  EDQUOT, EEXIST,       EFBIG,  EIO,     EISDIR, ELOOP,
                                 EMFILE, ENFILE, ENOENT, ENOMEM, ENAMETOOLONG, ENOSPC, ENOTDIR, EROFS,  ESTALE};
    bool named = true;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        named = check(strcmp(mprof_file_reason(errors[i]), "error") != 0, "%s", strerror(errors[i])) && named;
    ok(named && strcmp(mprof_file_reason(12345), "error") == 0, "every error that writing gives has words");
}

/* ---- names of processes ---- */

static void test_paths(void)
{
    static const char *const cases[][2] = {
        {"/a/heap.pb.gz", "/a/heap.7.pb.gz"}, {"/a.b/heap", "/a.b/heap.7"},       {"/a/heap.pprof", "/a/heap.7.pprof"},
        {"/a/.pb.gz", "/a/.pb.7.gz"},         {"/a/x.tar.zst", "/a/x.tar.7.zst"}, {"/a/.hidden", "/a/.hidden.7"},
        {"/a/h.1.pb.gz", "/a/h.1.7.pb.gz"},   {"/a/heap.gz", "/a/heap.7.gz"},     {"/a/heap.pb", "/a/heap.7.pb"},
    };
    char path[MPROF_FILE_PATH];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mprof_publication_path(cases[i][0], 7, path);
        is_str(path, cases[i][1], "%s", cases[i][0]);
    }
    char longest[MPROF_FILE_PATH];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    ok(!mprof_publication_path(longest, 7, path), "too long");
}

/* ---- history ---- */

static void test_history_names(void)
{
    char name[MPROF_HISTORY_NAME];
    int64_t time, pid;
    ok(mprof_history_name(0, 1, name) && strcmp(name, "19700101T000000.000Z.1.pb.gz") == 0, "the beginning");
    ok(mprof_history_name(1709210096789, 4711, name) && strcmp(name, "20240229T123456.789Z.4711.pb.gz") == 0,
       "a leap day: %s", name);
    ok(mprof_history_name(253402300799999, 1, name) && strcmp(name, "99991231T235959.999Z.1.pb.gz") == 0, "the end");
    ok(!mprof_history_name(253402300800000, 1, name) && !mprof_history_name(-1, 1, name), "nothing beyond");
    struct mprof_rng rng;
    mprof_rng_seed(&rng, 1);
    bool right = true;
    char before[MPROF_HISTORY_NAME] = "";
    int64_t before_time = 0;
    for (int i = 0; i < 100000 && right; i++) {
        int64_t moment = (int64_t)(mprof_rng_next(&rng) % UINT64_C(253402300800000));
        int64_t process = 1 + (int64_t)(mprof_rng_next(&rng) % 4194304);
        right = mprof_history_name(moment, process, name) && mprof_history_parse(name, &time, &pid) && time == moment &&
                pid == process;
        right = right && (moment == before_time || (strcmp(name, before) > 0) == (moment > before_time));
        memcpy(before, name, sizeof before);
        before_time = moment;
    }
    ok(right, "100,000 names: parsed again, and sorted as their times are");
    static const char *const wrong[] = {
        "",
        "20240229",
        "20240229T123456.789Z.4711.pb.g",
        "20240229T123456.789Z.4711.pb.gzz",
        "20240229T123456.789Z..pb.gz",
        "20240230T123456.789Z.4711.pb.gz",
        "20230229T123456.789Z.4711.pb.gz",
        "20241301T123456.789Z.4711.pb.gz",
        "20240229T243456.789Z.4711.pb.gz",
        "20240229T126056.789Z.4711.pb.gz",
        "20240229T12345.6789Z.4711.pb.gz",
        "20240229T123456.789.4711.pb.gz",
        "20240229T123456.789Z.12345678901.pb.gz",
        "19691231T235959.999Z.1.pb.gz",
    };
    bool refused = true;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        refused = check(!mprof_history_parse(wrong[i], &time, &pid), "%s", wrong[i]) && refused;
    ok(refused, "other names are refused");
}

static size_t kept(const struct mprof_history_file *files, size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += !files[i].drop;
    return sum;
}

static const struct mprof_history_file *find(const struct mprof_history_file *files, size_t count, int64_t time)
{
    for (size_t i = 0; i < count; i++)
        if (files[i].time_ms == time)
            return &files[i];
    return NULL;
}

static void test_thinning(void)
{
    enum { SECONDS = 2 * 86400, PER_SECOND = 4 };
    struct mprof_history_file *files = calloc((size_t)SECONDS * PER_SECOND, sizeof *files);
    int64_t now = INT64_C(1700000000000);
    size_t count = 0;
    /* Two days, four files a second, thinned every ten minutes as it goes. */
    for (int64_t t = 0; t < (int64_t)SECONDS * PER_SECOND; t++) {
        files[count++] = (struct mprof_history_file){.time_ms = now + t * 1000 / PER_SECOND, .size = 10, .pid = 7};
        if (t % (600 * PER_SECOND) == 0 || t == (int64_t)SECONDS * PER_SECOND - 1) {
            mprof_history_thin(files, count, files[count - 1].time_ms, 0);
            size_t left = 0;
            for (size_t i = 0; i < count; i++)
                if (!files[i].drop)
                    files[left++] = files[i];
            count = left;
        }
    }
    int64_t end = now + (int64_t)SECONDS * 1000 - 1000 / PER_SECOND;
    size_t seconds = 0, minutes = 0, hours = 0;
    bool gap = false;
    for (size_t i = 0; i < count; i++) {
        int64_t age = end - files[i].time_ms;
        seconds += age < 60000;
        minutes += age >= 60000 && age < 3600000;
        hours += age >= 3600000;
        int64_t most = age < 60000 ? 1000 : age < 3600000 ? 120000 : 7200000;
        gap = gap || (i + 1 < count && files[i + 1].time_ms - files[i].time_ms > most);
    }
    ok(seconds == 60 && !gap, "the last minute: %zu seconds", seconds);
    ok(minutes >= 58 && minutes <= 61, "the last hour: %zu minutes", minutes);
    ok(hours >= 47 && hours <= 49, "before: %zu hours", hours);

    const struct mprof_history_file mixed[] = {
        {.time_ms = now, .size = 100, .pid = 1},        {.time_ms = now + 100, .size = 100, .pid = 2},
        {.time_ms = now + 200, .size = 100, .pid = 1},  {.time_ms = now + 300, .size = 100, .pid = 2},
        {.time_ms = now + 5000, .size = 100, .pid = 3},
    };
    memcpy(files, mixed, sizeof mixed);
    mprof_history_thin(files, 5, now + 6000, 0);
    ok(kept(files, 5) == 3 && find(files, 5, now)->drop && find(files, 5, now + 100)->drop,
       "each process keeps its newest of a second");
    memcpy(files, mixed, sizeof mixed);
    mprof_history_thin(files, 5, now + 6000, 200);
    ok(kept(files, 5) == 2 && find(files, 5, now + 200)->drop && !find(files, 5, now + 300)->drop,
       "the bound: the oldest go first");
    memcpy(files, mixed, sizeof mixed);
    mprof_history_thin(files, 5, now + 6000, 1);
    ok(kept(files, 5) == 1 && !find(files, 5, now + 5000)->drop, "the newest always stays");
    mprof_history_thin(files, 0, now, 1);
    memcpy(files, mixed, sizeof *files);
    mprof_history_thin(files, 1, now - 1000, 1);
    is_uint(kept(files, 1), 1, "one file from the future stays");
    free(files);
}

static void test_history(void)
{
    struct mprof_file_failure failure;
    struct mprof_arena arena;
    mprof_arena_init(&arena, 0);
    int64_t now = INT64_C(1700000000000);
    put(in_directory("notes.txt"), "the user's own");
    put(in_directory("20230101T000000.000Z.5.pb.gz.bak"), "the user's own");
    mkdir(in_directory("20200101T000000.000Z.5.pb.gz"), 0700);
    bool written = true;
    for (int64_t i = 0; i < 3000; i++)
        written = mprof_history_add(directory, 50 * 100, now + i * 250,
                                    "0123456789"
                                    "0123456789"
                                    "0123456789"
                                    "0123456789"
                                    "0123456789",
                                    50, &arena, &failure) == 0 &&
                  written;
    ok(written, "3,000 moments");
    char name[MPROF_HISTORY_NAME];
    mprof_history_name(now + 2999 * 250, getpid(), name);
    ok(access(in_directory(name), F_OK) == 0, "the newest is there");
    unsigned files = count_files(directory) - 3;
    ok(files >= 70 && files <= 75, "60 seconds and 12 minutes: %u files", files);
    mprof_history_add(directory, 1000, now + 3000 * 250, "x", 1, &arena, &failure);
    is_uint(count_files(directory) - 3, 20, "a bound of 1,000 bytes leaves 19 files of 50 and one of 1");
    mprof_file_fail(2, ENOSPC);
    is_int(mprof_history_add(directory, 1000, now + 3001 * 250, "x", 1, &arena, &failure), -1, "no space");
    ok(failure.error == ENOSPC && count_files(directory) == 23, "leaves the directory as it was");
    mprof_file_fail(0, 0);
    is_int(mprof_history_add(in_directory("missing"), 0, now, "x", 1, &arena, &failure), -1, "no directory");
    is_int(mprof_history_add(directory, 0, -1, "x", 1, &arena, &failure), -1, "a time without a name");
    char stale[128];
    snprintf(stale, sizeof stale, ".%s.%ld.0123456789abcdef.tmp", name, dead_pid());
    put(in_directory(stale), "half");
    mprof_history_sweep(directory);
    ok(access(in_directory(stale), F_OK) != 0, "what a killed process left half written is removed");
    ok(holds(in_directory("notes.txt"), "the user's own") &&
           holds(in_directory("20230101T000000.000Z.5.pb.gz.bak"), "the user's own"),
       "other files stay");
    mprof_arena_drop(&arena);
    rmdir(in_directory("20200101T000000.000Z.5.pb.gz"));
    empty(directory);
}

/* ---- series ---- */

static void test_series(void)
{
    static struct mprof_series series;
    static char text[MPROF_SERIES_TEXT];
    size_t length = mprof_series_write(&series, text);
    is_str(text, "mprofile: history=", "empty");
    ok(length == strlen(text), "its length");
    const struct mprof_point points[] = {
        {1700000000000, 1 << 20, 3 << 20}, {1700000001500, 1025, 1023}, {1700000001501, 0, 4096}};
    for (int i = 0; i < 3; i++)
        mprof_series_add(&series, &points[i]);
    mprof_series_write(&series, text);
    is_str(text, "mprofile: history=1700000000000,1024,3072;1500,1,0;1,0,4", "three points");

    series.count = 0;
    uint64_t peak = UINT64_MAX >> 1;
    for (int64_t i = 0; i < 100000; i++) {
        const struct mprof_point point = {i, i == 31337 ? peak : (uint64_t)(i % 1000), UINT64_MAX};
        mprof_series_add(&series, &point);
    }
    bool found = false;
    bool ordered = true;
    for (uint32_t i = 0; i < series.count; i++) {
        found = found || series.points[i].heap == peak;
        ordered = ordered && (i == 0 || series.points[i - 1].time_ms < series.points[i].time_ms);
    }
    ok(series.count <= MPROF_SERIES_POINTS && series.count >= MPROF_SERIES_POINTS / 2, "100,000 points: %u stay",
       series.count);
    ok(found && ordered, "the peak among them, in order");
    is_int(series.points[series.count - 1].time_ms, 99999, "the last one, too");

    series.count = 0;
    for (int64_t i = 0; i < MPROF_SERIES_POINTS; i++) {
        const struct mprof_point point = {i % 2 ? INT64_MAX : INT64_MIN / 2 + 1, UINT64_MAX, UINT64_MAX};
        mprof_series_add(&series, &point);
    }
    series.points[0].time_ms = 0;
    for (uint32_t i = 1; i < series.count; i++)
        series.points[i].time_ms = i % 2 ? INT64_MAX : 0;
    length = mprof_series_write(&series, text);
    ok(length < MPROF_SERIES_TEXT && strlen(text) == length, "the longest numbers fit: %zu bytes", length);
}

/* ---- gzip ---- */

static void test_gzip(void)
{
    struct mprof_arena arena;
    unsigned char *packed = NULL;
    size_t length = 0;
    if (!mprof_gzip_load()) {
        skip(4, "no libz.so.1");
        return;
    }
    ok(mprof_gzip_load(), "zlib is there, and stays");
    enum { SIZE = 1 << 20 };
    unsigned char *plain = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        plain[i] = (unsigned char)(i * i >> 7);
    mprof_arena_init(&arena, 0);
    bool right = true;
    static const int levels[] = {1, 6};
    for (int i = 0; i < 2; i++) {
        right = mprof_gzip(plain, SIZE, levels[i], &arena, &packed, &length) == 0 && right;
        char command[700];
        const char *path = in_directory("packed.gz");
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        right = write(fd, packed, length) == (ssize_t)length && right;
        close(fd);
        snprintf(command, sizeof command, "gzip -cd '%s'", path);
        FILE *stream = popen(command, "re");
        unsigned char *back = malloc(SIZE + 1);
        right = fread(back, 1, SIZE + 1, stream) == SIZE && memcmp(back, plain, SIZE) == 0 && right;
        right = pclose(stream) == 0 && right;
        free(back);
    }
    ok(right, "what gzip unpacks is what was packed");
    is_int(mprof_gzip(plain, 0, 1, &arena, &packed, &length), 0, "nothing at all");
    mprof_arena_drop(&arena);
    bool failed = true;
    for (uint64_t n = 1; n <= 3; n++) {
        mprof_arena_init(&arena, 0);
        arena.fail_at = n;
        failed = mprof_gzip(plain, SIZE, 1, &arena, &packed, &length) == -1 && failed;
        mprof_arena_drop(&arena);
    }
    ok(failed, "no memory: no file, no crash");
    free(plain);
    empty(directory);
}

int main(void)
{
    scratch_directory(directory, "publish");
    test_file();
    test_every_failure();
    test_sweep();
    test_reasons();
    test_paths();
    test_history_names();
    test_thinning();
    test_history();
    test_series();
    test_gzip();
    rmdir(directory);
    return done();
}
