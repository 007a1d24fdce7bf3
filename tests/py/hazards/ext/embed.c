/* SPDX-License-Identifier: MIT */
/* embed.c -- a program that has an interpreter three times, one after the other, for tests.
 *
 * WHAT    embed CODE: initialises Python, runs CODE, finalises, uses PyMem_Raw without Python, and all that twice more.
 *         Exit status 0 if CODE raised nothing and every block kept its content.
 * WHY     An extension that has been loaded once meets a new interpreter with its old static variables.
 * LOCKS   none: one thread.
 * MEMORY  a few blocks that outlive the interpreter in which they were made. */
#include <Python.h>

#include <stdio.h>
#include <string.h>

enum { ROUNDS = 3, BLOCKS = 100, BYTES = 3000 };

static int whole(const unsigned char *block, int value)
{
    for (int i = 0; i < BYTES; i++) {
        if (block[i] != value)
            return 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    unsigned char *kept[ROUNDS][BLOCKS];
    if (argc != 2)
        return 2;
    for (int round = 0; round < ROUNDS; round++) {
        Py_Initialize();
        if (PyRun_SimpleString(argv[1]) != 0)
            return 1;
        for (int i = 0; i < BLOCKS; i++) {
            kept[round][i] = PyMem_RawMalloc(BYTES);
            if (!kept[round][i])
                return 3;
            memset(kept[round][i], i, BYTES);
        }
        if (Py_FinalizeEx() != 0)
            return 4;
        for (int i = 0; i < BLOCKS; i++)
            PyMem_RawFree(PyMem_RawMalloc(BYTES));
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            if (!whole(kept[round][i], i))
                return 5;
            PyMem_RawFree(kept[round][i]);
        }
    }
    puts("finished");
    return 0;
}
