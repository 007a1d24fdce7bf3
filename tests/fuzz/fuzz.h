/* SPDX-License-Identifier: MIT */
/* fuzz.h -- what the fuzzers share.
 *
 * WHAT    The input as a sequence of numbers, for fuzzers that take it as a list of steps to make; the check that ends
 *         the program; and LLVMFuzzerTestOneInput, which each fuzzer defines.
 *         With libFuzzer: -fsanitize=fuzzer,address,undefined. Without it, the definition MPROF_FUZZ_MAIN makes a
 *         program that replays the files named on its command line.
 * WHY     After its last byte an input goes on with zeros, so that every input is a whole list of steps, and one that
 *         is cut short still says the same up to there.
 * LOCKS   none.
 * MEMORY  none. */
#ifndef MPROF_FUZZ_FUZZ_H
#define MPROF_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

struct fuzz_input {
    const unsigned char *at;
    const unsigned char *end;
};

static inline bool fuzz_more(const struct fuzz_input *input)
{
    return input->at < input->end;
}

static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
    return fuzz_more(input) ? *input->at++ : 0;
}

/* The next `bytes` bytes as a number, the least significant first. */
static inline uint64_t fuzz_number(struct fuzz_input *input, unsigned bytes)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < bytes; i++)
        number |= (uint64_t)fuzz_byte(input) << 8 * i;
    return number;
}

/* Not an assertion: it stays in every build. */
static inline void fuzz_require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

static inline bool fuzz_same(double a, double b)
{
    return !(a < b) && !(a > b);
}

#ifdef MPROF_FUZZ_MAIN
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file) {
            perror(argv[i]);
            return 1;
        }
        size_t size = 0, room = 0;
        unsigned char *data = NULL;
        do {
            room = room ? 2 * room : 65536;
            data = realloc(data, room);
            if (!data) {
                perror(argv[i]);
                return 1;
            }
            size += fread(data + size, 1, room - size, file);
        } while (size == room);
        fclose(file);
        LLVMFuzzerTestOneInput(data, size);
        free(data);
        printf("%s: %zu bytes\n", argv[i], size);
    }
    return 0;
}
#endif

#endif
