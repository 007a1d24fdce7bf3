/* SPDX-License-Identifier: MIT */
/* gzip.c -- see gzip.h. The few declarations of zlib's interface that are needed are written out here: they have been
 * the same since 1995, and zlib's header need not be installed to build. */
#include "publish/gzip.h"

#include <dlfcn.h>
#include <stdint.h>

/* z_stream. Its layout is part of zlib's binary interface, which deflateInit2_ checks by its size. */
struct stream {
    const unsigned char *next_in;
    unsigned int avail_in;
    unsigned long total_in;
    unsigned char *next_out;
    unsigned int avail_out;
    unsigned long total_out;
    const char *message;
    void *state;
    void *(*allocate)(void *opaque, unsigned int items, unsigned int size);
    void (*release)(void *opaque, void *address);
    void *opaque;
    int data_type;
    unsigned long adler;
    unsigned long reserved;
};

enum { Z_OK = 0, Z_STREAM_END = 1, Z_FINISH = 4, Z_DEFLATED = 8, GZIP_15_BITS = 16 + 15, MEMORY_LEVEL = 8 };

typedef int (*init_function)(struct stream *, int level, int method, int bits, int memory, int strategy,
                             const char *version, int size);
typedef int (*deflate_function)(struct stream *, int flush);
typedef int (*end_function)(struct stream *);
typedef unsigned long (*bound_function)(struct stream *, unsigned long length);

static struct {
    bool looked;
    bool found;
    init_function init;
    deflate_function deflate;
    end_function end;
    bound_function bound;
} zlib;

bool mprof_gzip_load(void)
{
    if (zlib.looked)
        return zlib.found;
    zlib.looked = true;
    void *library = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return false;
    /* A pointer to a function by way of a pointer to data: what POSIX asks of dlsym's callers. */
    *(void **)(void *)&zlib.init = dlsym(library, "deflateInit2_");
    *(void **)(void *)&zlib.deflate = dlsym(library, "deflate");
    *(void **)(void *)&zlib.end = dlsym(library, "deflateEnd");
    *(void **)(void *)&zlib.bound = dlsym(library, "deflateBound");
    zlib.found = zlib.init && zlib.deflate && zlib.end && zlib.bound;
    return zlib.found;
}

static void *allocate(void *arena, unsigned int items, unsigned int size)
{
    uint64_t bytes = (uint64_t)items * size;
    return bytes && bytes <= SIZE_MAX / 2 ? mprof_arena_get(arena, (size_t)bytes) : NULL;
}

/* zlib does not say how large it was; the arena is dropped as a whole. */
static void release(void *arena, void *address)
{
    (void)arena;
    (void)address;
}

int mprof_gzip(const unsigned char *bytes, size_t length, int level, struct mprof_arena *arena, unsigned char **packed,
               size_t *packed_length)
{
    struct stream stream = {.allocate = allocate, .release = release, .opaque = arena};
    if (!zlib.found || length > UINT32_MAX / 2)
        return -1;
    if (zlib.init(&stream, level, Z_DEFLATED, GZIP_15_BITS, MEMORY_LEVEL, 0, "1", (int)sizeof stream) != Z_OK)
        return -1;
    unsigned long room = zlib.bound(&stream, (unsigned long)length);
    unsigned char *out = mprof_arena_get(arena, room);
    int result = -1;
    if (out && room <= UINT32_MAX) {
        stream.next_in = bytes;
        stream.avail_in = (unsigned int)length;
        stream.next_out = out;
        stream.avail_out = (unsigned int)room;
        if (zlib.deflate(&stream, Z_FINISH) == Z_STREAM_END) {
            *packed = out;
            *packed_length = (size_t)(room - stream.avail_out);
            result = 0;
        }
    }
    (void)zlib.end(&stream);
    return result;
}
