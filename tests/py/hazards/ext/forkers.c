/* SPDX-License-Identifier: MIT */
/* forkers.c -- a library that, before the process forks, waits for a thread of its own which allocates.
 *
 * Loaded through ctypes, not imported: its handlers are registered as soon as it is loaded. */
#include <Python.h>

#include <pthread.h>
#include <semaphore.h>

static pthread_t worker;
static sem_t quit;
static int running;

static void *work(void *unused)
{
    (void)unused;
    sem_wait(&quit);
    for (int i = 0; i < 100; i++)
        PyMem_RawFree(PyMem_RawMalloc(1000));
    return NULL;
}

static void before_fork(void)
{
    if (running) {
        sem_post(&quit);
        pthread_join(worker, NULL);
        running = 0;
    }
}

static void __attribute__((constructor)) begin(void)
{
    sem_init(&quit, 0, 0);
    running = pthread_create(&worker, NULL, work, NULL) == 0;
    pthread_atfork(before_fork, NULL, NULL);
}
