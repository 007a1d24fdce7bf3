/* SPDX-License-Identifier: MIT */
/* test_gzip.c -- compression where zlib is missing, too old, without memory or at odds with itself.
 *
 * The linker brings dlopen and dlsym here (--wrap, tests/meson.build). The library is looked for once a process: each case
 * has a forked child. */
#define _GNU_SOURCE
#include "scratch.h"
#include "tap.h"

#include "base/arena.h"
#include "publish/gzip.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the wrapped calls ---- */

static bool no_library;
static const char *missing = "";  /* the function that the library has not got */
static const char *replaced = ""; /* the one that is `replacement` */
static void *replacement;
static unsigned opened;
static size_t arena_limit = SIZE_MAX; /* of a request */

void *__real_dlopen(const char *path, int flags);
void *__wrap_dlopen(const char *path, int flags);
void *__real_dlsym(void *library, const char *name);
void *__wrap_dlsym(void *library, const char *name);
void *__real_mprof_arena_get(struct mprof_arena *arena, size_t size);
void *__wrap_mprof_arena_get(struct mprof_arena *arena, size_t size);

void *__wrap_dlopen(const char *path, int flags)
{
    opened++;
    return no_library ? NULL : __real_dlopen(path, flags);
}

void *__wrap_dlsym(void *library, const char *name)
{
    if (strcmp(name, missing) == 0)
        return NULL;
    return strcmp(name, replaced) == 0 ? replacement : __real_dlsym(library, name);
}

void *__wrap_mprof_arena_get(struct mprof_arena *arena, size_t size)
{
    return size > arena_limit ? NULL : __real_mprof_arena_get(arena, size);
}

/* ---- cases ---- */

enum { LENGTH = 100000 };

static unsigned char text[LENGTH];

static int compress(struct mprof_arena *arena, size_t length, unsigned char **packed, size_t *packed_length)
{
    *packed = text;
    *packed_length = 7;
    return mprof_gzip(text, length, 6, arena, packed, packed_length);
}

/* Nothing is compressed, and what the caller has stays as it was. */
static bool leaves_it(size_t length)
{
    struct mprof_arena arena;
    unsigned char *packed;
    size_t packed_length;
    mprof_arena_init(&arena, 0);
    bool right = compress(&arena, length, &packed, &packed_length) == -1 && packed == text && packed_length == 7;
    mprof_arena_drop(&arena);
    return right;
}

/* Compresses, and what gzip makes of it is the same again. */
static bool works(void)
{
    static unsigned char again[LENGTH + 1];
    char path[256], command[300];
    struct mprof_arena arena;
    unsigned char *packed;
    size_t length;
    mprof_arena_init(&arena, 0);
    bool right = compress(&arena, LENGTH, &packed, &length) == 0 && length < LENGTH / 4;
    scratch_template(path, "gzip");
    int fd = mkstemp(path);
    right = right && fd >= 0 && write(fd, packed, length) == (ssize_t)length;
    close(fd);
    mprof_arena_drop(&arena);
    snprintf(command, sizeof command, "gzip -cd < '%s'", path);
    FILE *stream = popen(command, "re");
    right = right && stream && fread(again, 1, sizeof again, stream) == LENGTH && memcmp(again, text, LENGTH) == 0;
    right = stream && pclose(stream) == 0 && right;
    unlink(path);
    return right;
}

static int no_init(void *stream, int level, int method, int bits, int memory, int strategy, const char *version,
                   int size)
{
    (void)stream, (void)level, (void)method, (void)bits, (void)memory, (void)strategy, (void)version, (void)size;
    return -6; /* Z_VERSION_ERROR */
}

static int no_deflate(void *stream, int flush)
{
    (void)stream, (void)flush;
    return -2; /* Z_STREAM_ERROR */
}

static unsigned long huge_bound(void *stream, unsigned long length)
{
    (void)stream;
    return length + UINT32_MAX;
}

/* Runs one case in a child, for which the library has not been looked for yet. */
static void in_child(bool (*judge)(void), const char *name)
{
    int status = -1;
    pid_t pid = fork();
    if (pid < 0)
        bail("cannot fork");
    if (pid == 0) {
        alarm(60);
        _exit(judge() ? 0 : 1);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", name);
}

static bool without_library(void)
{
    no_library = true;
    bool right = !mprof_gzip_load() && leaves_it(LENGTH);
    no_library = false;
    return right && !mprof_gzip_load() && opened == 1; /* it is not looked for again */
}

static bool not_looked_for(void)
{
    return leaves_it(LENGTH) && opened == 0;
}

static bool too_old(void)
{
    return !mprof_gzip_load() && leaves_it(LENGTH);
}

static bool refused_by_a_function(void)
{
    return mprof_gzip_load() && leaves_it(LENGTH);
}

static bool in_order(void)
{
    return mprof_gzip_load() && mprof_gzip_load() && opened == 1 && works() && works();
}

static bool too_long(void)
{
    return mprof_gzip_load() && leaves_it((size_t)UINT32_MAX / 2 + 1) && works();
}

/* First nothing for zlib's own state, then nothing for its result. */
static bool without_memory(void)
{
    bool right = mprof_gzip_load();
    for (arena_limit = 0; arena_limit < 400000 && right; arena_limit += 1000) {
        struct mprof_arena arena;
        unsigned char *packed;
        size_t length;
        mprof_arena_init(&arena, 0);
        int result = compress(&arena, LENGTH, &packed, &length);
        right = result == 0 ? packed != text : packed == text && length == 7;
        if (arena_limit == 0)
            right = right && result == -1;
        mprof_arena_drop(&arena);
    }
    arena_limit = SIZE_MAX;
    return right && works();
}

int main(void)
{
    static const char *const needed[] = {"deflateInit2_", "deflate", "deflateEnd", "deflateBound"};
    for (size_t i = 0; i < LENGTH; i++)
        text[i] = (unsigned char)("the same again "[i % 15] + (i % 1000 == 0));
    in_child(without_library, "there is no zlib");
    in_child(not_looked_for, "nobody has looked for it");
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        missing = needed[i];
        in_child(too_old, needed[i]);
    }
    missing = "";
    if (!__real_dlopen("libz.so.1", RTLD_NOW)) {
        skip(6, "no libz.so.1");
        return done();
    }
    replaced = "deflateInit2_";
    *(int (**)(void *, int, int, int, int, int, const char *, int))(void *)&replacement = no_init;
    in_child(refused_by_a_function, "zlib does not know our structure");
    replaced = "deflate";
    *(int (**)(void *, int))(void *)&replacement = no_deflate;
    in_child(refused_by_a_function, "compressing fails");
    replaced = "deflateBound";
    *(unsigned long (**)(void *, unsigned long))(void *)&replacement = huge_bound;
    if (sizeof(unsigned long) > sizeof(unsigned))
        in_child(refused_by_a_function, "the result may need more than fits in zlib's numbers");
    else
        skip(1, "zlib's numbers are as long as its bound");
    replaced = "";
    in_child(too_long, "more bytes than zlib takes at once");
    in_child(without_memory, "no memory for a part of it");
    in_child(in_order, "zlib is there");
    return done();
}
