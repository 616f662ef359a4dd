#include "server/pool.h"

#include "server/thread.h"

#include <stdlib.h>

enum { most = 16 };

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct task *first, **last;
    pthread_t threads[most];
    unsigned count;
    bool stopping;
};

static void *work(void *user) {
    pool *p = user;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->first && !p->stopping)
            pthread_cond_wait(&p->more, &p->lock);
        struct task *task = p->first;
        if (!task)
            break;
        if (!(p->first = task->next))
            p->last = &p->first;
        pthread_mutex_unlock(&p->lock);
        task->run(task);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

pool *pool_start(unsigned threads) {
    pool *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->more, NULL);
    p->last = &p->first;
    for (; p->count < threads && p->count < most; p->count++)
        if (thread_start(&p->threads[p->count], work, p))
            break;
    if (!p->count)
        pool_destroy(&p);
    return p;
}

void pool_stop(pool *p) {
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->more);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->count; i++)
        pthread_join(p->threads[i], NULL);
}

void pool_destroy(pool **handle) {
    pool *p = *handle;
    if (!p)
        return;
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->more);
    free(p);
    *handle = NULL;
}

bool pool_run(pool *p, struct task *task) {
    pthread_mutex_lock(&p->lock);
    bool taken = !p->stopping;
    if (taken) {
        task->next = NULL;
        *p->last = task;
        p->last = &task->next;
        pthread_cond_signal(&p->more);
    }
    pthread_mutex_unlock(&p->lock);
    return taken;
}
