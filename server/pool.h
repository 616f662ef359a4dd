/* Threads that work through requests, so that the one that reads sockets never waits. */
#ifndef SERVER_POOL_H
#define SERVER_POOL_H

#include <stdbool.h>

typedef struct pool pool;

/* NULL when memory or threads run out. */
pool *pool_start(unsigned threads);
/* Runs what was given before, then ends its threads; nothing is taken any more. NULL-safe. */
void pool_stop(pool *pool);
/* After pool_stop, once nobody gives it anything. NULL-safe. */
void pool_destroy(pool **pool);

/* A piece of work, within the object that it works on. */
struct task {
    void (*run)(struct task *task);
    struct task *next;
};
/* Runs the task in one of the threads, in order; it must live until it ran. False: the pool has stopped, and
 * the task is not run. Any thread. */
bool pool_run(pool *pool, struct task *task);

#endif
