#include "server/await.h"

#include <stdlib.h>

struct waiter {
    struct job_listener listener;
    struct task task;
    struct server *server;
    enum face face;
    exchange *x;
    job *j;
    job_answer answer;
    void *user;
};

static void finish(struct waiter *w) {
    w->answer(w->server, w->x, w->j, w->user);
    job_release(w->server->jobs, &w->j);
    free(w->user);
    free(w);
}

static void run(struct task *task) {
    finish((struct waiter *)((char *)task - offsetof(struct waiter, task)));
}

static void on_event(struct job_listener *listener, const job *j, enum job_event event) {
    struct waiter *w = (struct waiter *)listener;
    (void)j;
    if (event == JOB_ENDED)
        pool_run(w->server->pool, &w->task);
    else if (w->face == FACE_OPENAI && exchange_left(w->x))
        sd_cancel_request(&w->j->cancel);
}

void await_job(struct server *server, exchange *x, job *j, job_answer answer, void *user) {
    struct waiter *w = calloc(1, sizeof *w);
    if (!w) {
        jobs_cancel(server->jobs, j->row.id);
        job_release(server->jobs, &j);
        free(user);
        reply_error(x, 503, NULL, "out of memory");
        return;
    }
    *w = (struct waiter){.listener = {on_event, NULL},
                         .task = {run, NULL},
                         .server = server,
                         .face = face_of(exchange_path(x)),
                         .x = x,
                         .j = j,
                         .answer = answer,
                         .user = user};
    if (!jobs_listen(server->jobs, j, &w->listener))
        finish(w);
}
