/* Threads of the library. */
#ifndef SD_BASE_THREAD_H
#define SD_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* pthread_create with all signals blocked in the new thread, since signals are for the application's threads.
 * False where the system gives none: the caller then does the work itself. Thread-safe. */
bool sd_thread_start(pthread_t *out, void *(*work)(void *), void *user);

#endif
