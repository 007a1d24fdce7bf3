/* SPDX-License-Identifier: MIT */
/* test_system_faults.c -- files, histories and the operating system behind base/os.h, where calls fail that hardly ever do.
 *
 * The linker brings some calls here (--wrap, tests/meson.build). */
#define _GNU_SOURCE
#include "scratch.h"
#include "tap.h"

#include "base/arena.h"
#include "base/os.h"
#include "publish/file.h"
#include "publish/history.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[256];

/* ---- the wrapped calls ---- */

static bool no_entropy;       /* of the system */
static bool same_entropy;     /* always the same number */
static bool writes_nothing;   /* write returns 0 */
static bool no_more;          /* arenas give nothing */
static const char *read_text; /* what read reads; NULL: what is there */
static bool read_fails;

ssize_t __real_getrandom(void *bytes, size_t size, unsigned flags);
ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags);
uint64_t __real_mprof_os_entropy(void);
uint64_t __wrap_mprof_os_entropy(void);
ssize_t __real_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length);
ssize_t __real_read(int fd, void *bytes, size_t length);
ssize_t __wrap_read(int fd, void *bytes, size_t length);
void *__real_mprof_arena_reserve(struct mprof_arena *arena, void *array, uint32_t *capacity, uint64_t need,
                                 size_t item);
void *__wrap_mprof_arena_reserve(struct mprof_arena *arena, void *array, uint32_t *capacity, uint64_t need,
                                 size_t item);

ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags)
{
    if (!no_entropy)
        return __real_getrandom(bytes, size, flags);
    errno = ENOSYS;
    return -1;
}

uint64_t __wrap_mprof_os_entropy(void)
{
    return same_entropy ? UINT64_C(0x0123456789abcdef) : __real_mprof_os_entropy();
}

ssize_t __wrap_write(int fd, const void *bytes, size_t length)
{
    return writes_nothing ? 0 : __real_write(fd, bytes, length);
}

ssize_t __wrap_read(int fd, void *bytes, size_t length)
{
    if (read_fails) {
        errno = EIO;
        return -1;
    }
    if (!read_text)
        return __real_read(fd, bytes, length);
    size_t size = strlen(read_text) < length ? strlen(read_text) : length;
    memcpy(bytes, read_text, size);
    return (ssize_t)size;
}

void *__wrap_mprof_arena_reserve(struct mprof_arena *arena, void *array, uint32_t *capacity, uint64_t need, size_t item)
{
    return no_more ? NULL : __real_mprof_arena_reserve(arena, array, capacity, need, item);
}

/* ---- helpers ---- */

static const char *in_directory(const char *name)
{
    static char path[2][700];
    static unsigned turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", directory, name);
    return path[turn];
}

static bool exists(const char *name)
{
    struct stat status;
    return lstat(in_directory(name), &status) == 0;
}

static void touch(const char *name)
{
    int fd = open(in_directory(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        bail("cannot make %s", name);
    close(fd);
}

static unsigned count_files(void)
{
    unsigned count = 0;
    DIR *stream = opendir(directory);
    for (struct dirent *entry; stream && (entry = readdir(stream));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(stream);
    return count;
}

static void remove_all(void)
{
    DIR *stream = opendir(directory);
    for (struct dirent *entry; stream && (entry = readdir(stream));)
        (void)remove(in_directory(entry->d_name));
    closedir(stream);
}

/* ---- writing ---- */

static void test_writing(void)
{
    struct mprof_file_failure failure = {0, NULL};
    char name[64];
    snprintf(name, sizeof name, ".heap.%ld.0123456789abcdef.tmp", (long)getpid());
    touch(name);
    same_entropy = true;
    is_int(mprof_file_write(in_directory("heap"), "text", 4, false, &failure), -1, "every temporary name is taken");
    ok(failure.error == EEXIST && strcmp(failure.call, "open") == 0, "which is said");
    ok(exists(name) && count_files() == 1, "what was there is left alone");
    same_entropy = false;
    is_int(mprof_file_write(in_directory("heap"), "text", 4, false, &failure), 0, "another name is free");

    writes_nothing = true;
    is_int(mprof_file_write(in_directory("heap"), "other", 5, false, &failure), -1, "a write that writes nothing");
    writes_nothing = false;
    ok(failure.error == ENOSPC && strcmp(failure.call, "write") == 0, "is a full disk");
    is_uint(count_files(), 2, "and leaves nothing");

    mprof_file_fail(3, EINTR);
    is_int(mprof_file_write(in_directory("heap"), "later", 5, false, &failure), 0,
           "a close that is interrupted closes");
    mprof_file_fail(0, 0);
    char text[8] = "";
    int fd = open(in_directory("heap"), O_RDONLY | O_CLOEXEC);
    ok(read(fd, text, 7) == 5 && strcmp(text, "later") == 0, "the last content is there");
    close(fd);
    remove_all();
}

/* ---- sweeping ---- */

static bool matches_all(const void *context, const char *name, size_t length)
{
    (void)context;
    return name && length > 0;
}

static void sweep(void)
{
    mprof_file_sweep(directory, matches_all, NULL);
}

/* Files named as a dead process's temporary ones that are something else, or somebody else's. */
static void test_what_is_not_swept(void)
{
    static const char fifo[] = ".heap.2147483000.0123456789abcdef.tmp";
    static const char link[] = ".heap.2147483001.0123456789abcdef.tmp";
    static const char plain[] = ".heap.2147483002.0123456789abcdef.tmp";
    static const char foreign[] = ".heap.2147483003.0123456789abcdef.tmp";
    if (mkfifo(in_directory(fifo), 0600) != 0 || symlink("heap", in_directory(link)) != 0)
        bail("cannot make a fifo and a link");
    touch(plain);
    sweep();
    ok(exists(fifo) && exists(link) && !exists(plain), "only plain files are swept");
    if (geteuid() == 0) {
        touch(foreign);
        if (chown(in_directory(foreign), 12345, (gid_t)-1) != 0)
            bail("cannot give a file away");
        sweep();
        ok(exists(foreign), "another user's file is not ours to remove");
    } else {
        skip(1, "only root can give a file away");
    }
    remove_all();
}

/* A process that nobody has waited for is gone, if /proc can be read and says so. */
static void test_processes_that_are_gone(void)
{
    char name[64];
    pid_t pid = fork();
    if (pid < 0)
        bail("cannot fork");
    if (pid == 0)
        _exit(0);
    siginfo_t info;
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) != 0)
        bail("cannot wait");
    snprintf(name, sizeof name, ".heap.%ld.0123456789abcdef.tmp", (long)pid);
    touch(name);
    read_fails = true;
    sweep();
    read_fails = false;
    ok(exists(name), "/proc cannot be read: it may be alive");
    read_text = "no parenthesis at all Z";
    sweep();
    ok(exists(name), "/proc says something else: it may be alive");
    read_text = "4711 (a name) with a) S 1 2";
    sweep();
    ok(exists(name), "/proc says that it sleeps: it is alive");
    read_text = NULL;
    sweep();
    ok(!exists(name), "/proc says that it has ended: it is gone");
    (void)waitpid(pid, NULL, 0);
    remove_all();
}

/* ---- histories ---- */

static void test_history(void)
{
    const int64_t now = INT64_C(1700000000000);
    struct mprof_file_failure failure = {0, NULL};
    struct mprof_arena arena;
    char name[MPROF_HISTORY_NAME], folder[MPROF_HISTORY_NAME];
    mprof_arena_init(&arena, 0);
    if (!mprof_history_name(now - 90000000, 77, folder) || mkdir(in_directory(folder), 0700) != 0)
        bail("cannot make %s", folder);
    is_int(mprof_history_add(directory, 10, now, "0123456", 7, &arena, &failure), 0, "the first file");
    is_int(mprof_history_add(directory, 10, now + 2000, "0123456", 7, &arena, &failure), 0, "the second");
    mprof_history_name(now, getpid(), name);
    ok(!exists(name), "there is room for one");
    ok(exists(folder), "a directory that is named as a file is none");
    no_more = true;
    is_int(mprof_history_add(directory, 10, now + 4000, "0123456", 7, &arena, &failure), 0, "a file without memory");
    no_more = false;
    mprof_history_name(now + 2000, getpid(), name);
    ok(exists(name), "is not made room for");
    is_int(mprof_history_add(directory, 10, now + 6000, "0123456", 7, &arena, &failure), 0, "the next one");
    ok(!exists(name) && count_files() == 2, "makes room for both");
    is_int(mprof_history_add(directory, 10, -1, "0123456", 7, &arena, &failure), -1, "a time that has no name");
    ok(failure.error == ENAMETOOLONG && strcmp(failure.call, "open") == 0, "is told as one that is too long");
    static char deep[MPROF_FILE_PATH];
    memset(deep, '/', sizeof deep - 1);
    memcpy(deep, directory, strlen(directory));
    is_int(mprof_history_add(deep, 10, now, "0123456", 7, &arena, &failure), -1,
           "a directory whose files have no room");
    is_int(failure.error, ENAMETOOLONG, "for their names");
    mprof_arena_drop(&arena);
    remove_all();
}

static void test_thinning_of_several_processes(void)
{
    struct mprof_history_file files[] = {
        {.time_ms = 5000, .pid = 3, .size = 1}, {.time_ms = 5000, .pid = 1, .size = 1},
        {.time_ms = 5000, .pid = 2, .size = 1}, {.time_ms = 4000, .pid = 2, .size = 1},
        {.time_ms = 5000, .pid = 4, .size = 1},
    };
    mprof_history_thin(files, 5, 6000, 3);
    bool right = true;
    const int64_t order[] = {2, 1, 2, 3, 4};
    for (size_t i = 0; i < 5; i++)
        right = check(files[i].pid == order[i] && files[i].drop == (i < 2), "file %zu", i) && right;
    ok(right, "files of one moment are dropped in the order of their processes");
    mprof_history_thin(files, 0, 6000, 3);
}

/* ---- the system ---- */

static int remove_while_listed(void *context, const char *name)
{
    unsigned *count = context;
    (void)name;
    (void)rmdir(in_directory("listed"));
    return ++*count > 100;
}

static void test_system(void)
{
    unsigned listed = 0;
    no_entropy = true;
    uint64_t first = mprof_os_entropy();
    usleep(1000);
    ok(first != 0 && mprof_os_entropy() != first, "without entropy of the system there are clocks");
    no_entropy = false;

    if (mkdir(in_directory("listed"), 0700) != 0)
        bail("cannot make a directory");
    is_int(mprof_os_list(in_directory("listed"), remove_while_listed, &listed), ENOENT, "a directory that goes away");
    is_uint(listed, 2, "while it is listed");

    ok(mprof_os_resident() > 100000, "memory of this process");
    static const struct {
        const char *text;
        uint64_t pages;
    } cases[] = {{"100 25 7\n", 25}, {"100 25", 25}, {"100 ", 0}, {"100", 0}, {"", 0}, {"100 many", 0}, {"100 :", 0}};
    bool right = true;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        read_text = cases[i].text;
        uint64_t pages = mprof_os_resident() / (uint64_t)sysconf(_SC_PAGESIZE);
        read_text = NULL;
        right = check(pages == cases[i].pages, "\"%s\" is %d pages", cases[i].text, (int)pages) && right;
    }
    read_fails = true;
    right = check(mprof_os_resident() == 0, "it cannot be read") && right;
    read_fails = false;
    ok(right, "texts that may stand there");
}

int main(void)
{
    scratch_directory(directory, "system");
    test_writing();
    test_what_is_not_swept();
    test_processes_that_are_gone();
    test_history();
    test_thinning_of_several_processes();
    test_system();
    rmdir(directory);
    return done();
}
