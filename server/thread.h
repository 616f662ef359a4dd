/* Threads that leave signals to the main thread. */
#ifndef SERVER_THREAD_H
#define SERVER_THREAD_H

#include <pthread.h>

/* 0, or an errno value. */
int thread_start(pthread_t *thread, void *(*run)(void *user), void *user);

#endif
