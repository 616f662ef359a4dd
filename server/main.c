/* sdvk-server: the pipeline over HTTP. */
#include "server/a1111.h"
#include "server/guard.h"
#include "server/keys.h"
#include "server/record.h"
#include "server/webhook.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { pool_threads = 4, grace_seconds = 30 };

static bool admit(void *user, exchange *x) {
    return guard_admit(user, x);
}

static bool at_once(void *user, exchange *x) {
    const struct route *route = guard_session(x)->route;
    if (!(route->flags & ROUTE_AT_ONCE))
        return false;
    route->handle(user, x, &guard_session(x)->parts);
    return true;
}

static void handle(void *user, exchange *x) {
    const struct session *s = guard_session(x);
    s->route->handle(user, x, &s->parts);
}

static void finished(void *user, exchange *x) {
    record_access(user, x);
    guard_end(x);
}

static int fail(const char *message) {
    fprintf(stderr, "sdvk-server: %s\n", message);
    return EXIT_FAILURE;
}

/* The sample model: beside the program's source, or where it is installed. */
static bool find_samples(struct config *c) {
    static char models[4096], model[4200];
    static const char *const places[] = {"../samples", "../share/sdvk/samples", "../../samples"};
    char self[4000];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return false;
    self[n] = 0;
    *strrchr(self, '/') = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(models, sizeof models, "%s/%s", self, places[i]);
        snprintf(model, sizeof model, "%s/mockup", models);
        if (!access(model, R_OK)) {
            c->model = model;
            c->models = models;
            return true;
        }
    }
    return false;
}

/* Every client is an open file; the usual limit is 1024. */
static void allow_files(const struct config *c) {
    enum { others = 256 }; /* models, the device, logs, the job store */
    struct rlimit limit;
    rlim_t wanted = (rlim_t)c->max_connections + others;
    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Waits for a signal to end, or, with `seconds`, for that long. True when one came. Being stopped and
 * continued (a shell's job control, a debugger) interrupts the wait and is no such signal. */
static bool wait_for_signal(int seconds) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    const struct timespec limit = {seconds, 0};
    int number;
    do
        number = seconds ? sigtimedwait(&set, NULL, &limit) : sigwaitinfo(&set, NULL);
    while (number < 0 && errno == EINTR);
    return number > 0;
}

/* The job that runs may end; then, or at a second signal, it is parked for the next start. */
static void finish_jobs(struct server *s) {
    jobs_stop(s->jobs, false);
    for (int i = 0; i < grace_seconds; i++) {
        job *j = jobs_running(s->jobs);
        if (!j)
            return;
        job_release(s->jobs, &j);
        if (wait_for_signal(1))
            break;
    }
    jobs_stop(s->jobs, true);
}

static int serve(struct server *s) {
    const struct http_events events = {s, admit, at_once, handle, finished};
    char message[512];
    sd_error err;
    if (!(s->worker = worker_start(&s->config, s->jobs, s->catalog, s->policy, &err)))
        return fail(err.message);
    if (!http_start(&s->http, &s->config, s->pool, &events, message, sizeof message)) {
        jobs_stop(s->jobs, true);
        return fail(message);
    }
    if (!s->config.quiet) {
        char host[256];
        const char *colon = strrchr(s->config.listen, ':');
        snprintf(host, sizeof host, "%.*s", colon ? (int)(colon - s->config.listen) : 9,
                 colon ? s->config.listen : "127.0.0.1");
        printf("http://%s:%u/\n", host, http_port(s->http));
        fflush(stdout);
    }
    wait_for_signal(0);
    http_quiesce(s->http);
    finish_jobs(s);
    return EXIT_SUCCESS;
}

static sd_status on_accepted(void *user, const job *j, const char *request, sd_error *err) {
    const struct server *s = user;
    return record_accepted(s->recorder, j, request, err);
}

static void on_ended(void *user, const job *j) {
    const struct server *s = user;
    record_ended(s->recorder, j);
    webhook_ended(s->webhook, j);
}

static sd_status open_all(struct server *s, sd_error *err) {
    const struct config *c = &s->config;
    sd_status status = guard_check(c, err);
    if (!status && c->keys)
        status = keys_open(&s->keys, c->keys, err);
    if (!status && c->policy)
        status = policy_open(&s->policy, c->policy, err);
    if (!status)
        status = recorder_open(&s->recorder, c, err);
    if (!status)
        status = catalog_open(&s->catalog, c, err);
    if (!status)
        status = jobs_open(&s->jobs, c, s->catalog, err);
    if (!status)
        status = webhook_start(&s->webhook, c, s->jobs, err);
    if (!status)
        jobs_observe(s->jobs, &(struct job_observer){s, on_accepted, on_ended});
    return status;
}

int main(int argc, char **argv) {
    static struct server s;
    sigset_t set;
    bool done;
    sd_error err;
    int code = config_read(&s.config, argc, argv, &done);
    if (code || done)
        return code;
    if (!s.config.models && !s.config.model && !find_samples(&s.config))
        return fail("expected --models DIR or --model NAME, found neither, and no sample model");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes is met like a full disk */
    allow_files(&s.config);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (open_all(&s, &err))
        code = fail(err.message);
    else if (!(s.pool = pool_start(pool_threads)))
        code = fail("cannot start threads");
    else if (!(s.a1111 = a1111_options_create(s.catalog)))
        code = fail("out of memory");
    else
        code = serve(&s);
    worker_stop(s.worker); /* its last job wakes requests, which the pool answers */
    pool_stop(s.pool);
    http_stop(&s.http); /* until now clients that are connected may ask for more */
    pool_destroy(&s.pool);
    worker_destroy(&s.worker);
    webhook_stop(&s.webhook);
    a1111_options_destroy(&s.a1111);
    jobs_close(&s.jobs);
    catalog_close(&s.catalog);
    recorder_close(&s.recorder);
    policy_close(&s.policy);
    keys_close(&s.keys);
    return code;
}
