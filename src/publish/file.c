/* SPDX-License-Identifier: MIT */
/* file.c -- see file.h. */
#define _GNU_SOURCE
#include "publish/file.h"

#include "base/compiler.h"
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_ATTEMPTS = 4, HEX_DIGITS = 16 };

static const char SUFFIX[] = ".tmp";
enum { SUFFIX_LENGTH = sizeof SUFFIX - 1 };

/* The temporary file being written; -1: none. */
static int open_file = -1;

/* ---- tests: calls that fail ---- */

static unsigned calls;
static unsigned fail_at;
static int fail_error;
static size_t most_bytes;

void mprof_file_fail(unsigned n, int error)
{
    calls = 0;
    fail_at = n;
    fail_error = error;
}

unsigned mprof_file_calls(void)
{
    return calls;
}

void mprof_file_shorten(size_t most)
{
    most_bytes = most;
}

/* True, with errno set, if the call at hand is to fail. */
static bool refused(void)
{
    if (mprof_likely(++calls != fail_at))
        return false;
    errno = fail_error;
    return true;
}

static int call_open(const char *path)
{
    return refused() ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static ssize_t call_write(int fd, const char *bytes, size_t length)
{
    if (most_bytes && length > most_bytes)
        length = most_bytes;
    return refused() ? -1 : write(fd, bytes, length);
}

static int call_fsync(int fd)
{
    return refused() ? -1 : fsync(fd);
}

/* The descriptor is gone whatever close returns. */
static int call_close(int fd)
{
    int result = close(fd);
    return refused() ? -1 : result;
}

static int call_rename(const char *from, const char *to)
{
    return refused() ? -1 : rename(from, to);
}

/* ---- writing ---- */

/* The part of a path after its last slash. */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* False: too long. */
static bool temporary_name(const char *path, char *name, size_t size)
{
    const char *base = base_name(path);
    int length = snprintf(name, size, "%.*s.%.*s.%ld.%016" PRIx64 "%s", (int)(base - path), path, MPROF_FILE_STEM, base,
                          (long)getpid(), mprof_os_entropy(), SUFFIX);
    return length > 0 && (size_t)length < size;
}

static int failed(struct mprof_file_failure *failure, const char *call)
{
    *failure = (struct mprof_file_failure){errno, call};
    return -1;
}

static int create(const char *path, char *name, size_t size, struct mprof_file_failure *failure)
{
    for (int attempt = 0;; attempt++) {
        if (!temporary_name(path, name, size)) {
            errno = ENAMETOOLONG;
            return failed(failure, "open");
        }
        int fd = call_open(name);
        if (fd >= 0) {
            (void)flock(fd, LOCK_EX | LOCK_NB); /* where locks do not work, the process id alone protects the file */
            return fd;
        }
        if (errno != EINTR && (errno != EEXIST || attempt == NAME_ATTEMPTS))
            return failed(failure, "open");
    }
}

static int write_all(int fd, const char *bytes, size_t length, struct mprof_file_failure *failure)
{
    while (length > 0) {
        ssize_t written = call_write(fd, bytes, length);
        if (written < 0) {
            if (errno == EINTR)
                continue;
            return failed(failure, "write");
        }
        if (written == 0) {
            errno = ENOSPC;
            return failed(failure, "write");
        }
        bytes += written;
        length -= (size_t)written;
    }
    return 0;
}

static int sync_all(int fd, struct mprof_file_failure *failure)
{
    while (call_fsync(fd) != 0) {
        if (errno == EINTR)
            continue;
        /* A file system without it says EINVAL: then there is nothing to wait for. */
        return errno == EINVAL ? 0 : failed(failure, "fsync");
    }
    return 0;
}

/* close that was interrupted has closed. */
static int close_file(int fd, struct mprof_file_failure *failure)
{
    __atomic_store_n(&open_file, -1, __ATOMIC_RELAXED);
    return call_close(fd) != 0 && errno != EINTR ? failed(failure, "close") : 0;
}

static int rename_file(const char *from, const char *to, struct mprof_file_failure *failure)
{
    while (call_rename(from, to) != 0) {
        if (errno != EINTR)
            return failed(failure, "rename");
    }
    return 0;
}

int mprof_file_write(const char *path, const void *bytes, size_t length, bool sync, struct mprof_file_failure *failure)
{
    char name[MPROF_FILE_PATH + 128];
    struct mprof_file_failure ignored;
    int saved = errno;
    int fd = create(path, name, sizeof name, failure);
    int result = fd < 0 ? -1 : 0;
    if (fd >= 0) {
        __atomic_store_n(&open_file, fd, __ATOMIC_RELAXED);
        result = write_all(fd, bytes, length, failure);
        if (result == 0 && sync)
            result = sync_all(fd, failure);
        if (close_file(fd, result == 0 ? failure : &ignored) != 0)
            result = -1;
        if (result == 0)
            result = rename_file(name, path, failure);
        if (result != 0)
            (void)unlink(name);
    }
    errno = saved;
    return result;
}

void mprof_file_after_fork(void)
{
    int fd = __atomic_exchange_n(&open_file, -1, __ATOMIC_RELAXED);
    if (fd >= 0)
        (void)close(fd);
}

/* ---- sweeping ---- */

struct sweep {
    const char *directory;
    bool (*matches)(const void *context, const char *name, size_t length);
    const void *context;
};

/* Takes ".TARGET.PID.HEX.tmp" apart. False: it is something else. */
static bool parse_name(const char *name, size_t *stem_length, int64_t *pid)
{
    size_t length = strlen(name);
    size_t tail = HEX_DIGITS + SUFFIX_LENGTH;
    if (name[0] != '.' || length < tail + 5 || strcmp(name + length - SUFFIX_LENGTH, SUFFIX) != 0)
        return false;
    size_t at = length - tail;
    if (strspn(name + at, "0123456789abcdef") != HEX_DIGITS || name[at - 1] != '.')
        return false;
    size_t end = --at; /* of the process id */
    while (at > 1 && name[at - 1] >= '0' && name[at - 1] <= '9')
        at--;
    if (at == end || end - at > 10 || at < 3 || name[at - 1] != '.')
        return false;
    *pid = 0;
    for (size_t i = at; i < end; i++)
        *pid = *pid * 10 + (name[i] - '0');
    *stem_length = at - 2;
    return true;
}

/* Whether a process is there, and more than an entry that nobody has waited for. */
static bool is_alive(pid_t pid)
{
    char path[64], text[512];
    if (kill(pid, 0) != 0)
        return errno != ESRCH;
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        (void)close(fd);
    text[length > 0 ? length : 0] = '\0';
    const char *name_end = strrchr(text, ')'); /* "PID (NAME) STATE ..." */
    return !name_end || strncmp(name_end, ") Z", 3) != 0;
}

/* Nobody is writing it: its process is gone as far as we can see, and nobody holds its lock. */
static bool abandoned(const char *path, int64_t pid)
{
    if (pid <= 0 || pid > INT32_MAX || is_alive((pid_t)pid))
        return false;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    struct stat status;
    bool ours = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid();
    bool free = ours && flock(fd, LOCK_EX | LOCK_NB) == 0;
    (void)close(fd);
    return free;
}

static int sweep_entry(void *context, const char *name)
{
    const struct sweep *sweep = context;
    char path[MPROF_FILE_PATH + 256];
    size_t stem;
    int64_t pid;
    if (!parse_name(name, &stem, &pid) || !sweep->matches(sweep->context, name + 1, stem))
        return 0;
    int length = snprintf(path, sizeof path, "%s/%s", sweep->directory, name);
    if (length > 0 && (size_t)length < sizeof path && abandoned(path, pid))
        (void)unlink(path);
    return 0;
}

void mprof_file_sweep(const char *directory, bool (*matches)(const void *context, const char *name, size_t length),
                      const void *context)
{
    struct sweep sweep = {directory, matches, context};
    int saved = errno;
    (void)mprof_os_list(directory, sweep_entry, &sweep);
    errno = saved;
}

/* ---- reasons ---- */

/* strerror may look for a translation, for which it calls malloc. */
const char *mprof_file_reason(int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
        return "permission denied";
    case EBUSY:
        return "the file or its directory is busy";
    case EDQUOT:
        return "disk quota exceeded";
    case EEXIST:
        return "every temporary name is taken";
    case EFBIG:
        return "the file would be larger than the process may write";
    case EIO:
        return "input/output error";
    case EISDIR:
        return "it is a directory";
    case ELOOP:
        return "too many symbolic links";
    case EMFILE:
    case ENFILE:
        return "too many open files";
    case ENAMETOOLONG:
        return "the name is too long";
    case ENOENT:
        return "there is no such directory";
    case ENOMEM:
        return "no memory";
    case ENOSPC:
        return "no space left on the disk";
    case ENOTDIR:
        return "a part of the path is not a directory";
    case EROFS:
        return "the file system is read-only";
    case ESTALE:
        return "the network file system has lost the directory";
    default:
        return "error";
    }
}
