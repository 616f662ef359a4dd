/* Threads that work through requests, so that the one that reads sockets never waits. */
#ifndef SERVER_POOL_H
#define SERVER_POOL_H

#include <stdbool.h>

typedef struct pool pool;

/* NULL when memory or threads run out. */
pool *pool_start(unsigned threads);
/* Runs what was given before, then ends. NULL-safe. */
void pool_stop(pool **pool);

/* A piece of work, within the object that it works on. */
struct task {
    void (*run)(struct task *task);
    struct task *next;
};
/* Runs the task in one of the threads, in order. Never fails; `task` must live until it ran. Any thread. */
void pool_run(pool *pool, struct task *task);

#endif
