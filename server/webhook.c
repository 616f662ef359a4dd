#include "server/webhook.h"

#include "server/job_json.h"
#include "server/thread.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/pem.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { most_at_once = 16, call_seconds = 15, connect_seconds = 5, farewell_seconds = 5, longest_wait = 3600 };

struct call {
    struct call *next;
    char id[JOB_ID];
    char *url, *secret, *body;
    uint32_t tries;
    double due; /* of a steady clock */
    CURL *easy; /* while it runs */
    struct curl_slist *headers;
};

struct webhook {
    pthread_t thread;
    const struct config *config;
    jobs *jobs;
    CURLM *multi;
    struct call *calls;
    unsigned running;
    atomic_bool more, stopping;
};

static double steady(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- calls ---- */

static void free_call(struct call *c) {
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    free(c->url);
    free(c->secret);
    cJSON_free(c->body);
    free(c);
}

static struct call *make_call(const struct store_row *row) {
    struct call *c = calloc(1, sizeof *c);
    cJSON *field = json_parse(row->webhook, strlen(row->webhook)), *told = job_json_row(row);
    if (c) {
        memcpy(c->id, row->id, sizeof c->id);
        c->url = strdup(json_text(field, "url", ""));
        c->secret = strdup(json_text(field, "secret", ""));
        c->body = cJSON_PrintUnformatted(told);
    }
    cJSON_Delete(field);
    cJSON_Delete(told);
    if (c && (!c->url || !c->secret || !c->body)) {
        free_call(c);
        c = NULL;
    }
    return c;
}

/* A row of the store whose end is to be told; what memory has no room for now is found again later. */
static void take_up(void *user, struct store_row *row) {
    webhook *w = user;
    struct call *c = w->calls;
    while (c && strcmp(c->id, row->id) != 0)
        c = c->next;
    if (!c && (c = make_call(row))) {
        c->next = w->calls;
        w->calls = c;
    }
    store_row_clear(row);
}

static size_t discard(char *data, size_t size, size_t count, void *user) {
    (void)data;
    (void)user;
    return size * count;
}

static bool add_headers(struct call *c) {
    char signature[WEBHOOK_SIGNATURE], lines[5][128];
    int64_t now = (int64_t)time(NULL);
    if (!webhook_sign(signature, c->secret, c->id, now, c->body))
        return false;
    snprintf(lines[0], sizeof *lines, "Content-Type: application/json");
    snprintf(lines[1], sizeof *lines, "User-Agent: sdvk-server/%s", sd_version());
    snprintf(lines[2], sizeof *lines, "webhook-id: %s", c->id);
    snprintf(lines[3], sizeof *lines, "webhook-timestamp: %lld", (long long)now);
    snprintf(lines[4], sizeof *lines, "webhook-signature: %s", signature);
    for (int i = 0; i < 5; i++) {
        struct curl_slist *longer = curl_slist_append(c->headers, lines[i]);
        if (!longer)
            return false;
        c->headers = longer;
    }
    return true;
}

/* The environment's proxies are not used, and answers that send elsewhere are not followed. */
static bool start(webhook *w, struct call *c) {
    CURL *easy = c->easy = curl_easy_init();
    if (!easy || !add_headers(c))
        return false;
    curl_easy_setopt(easy, CURLOPT_URL, c->url);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, c->body);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, discard);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, c);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)connect_seconds);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT, (long)call_seconds);
    if (w->config->webhook_ca) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, w->config->webhook_ca);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    return !curl_multi_add_handle(w->multi, easy);
}

static void forget(webhook *w, struct call *c) {
    struct call **at = &w->calls;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    free_call(c);
}

/* Taken, given up, or to be tried again after 1, 2, 4 ... seconds. */
static void conclude(webhook *w, struct call *c, bool taken, const char *why) {
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    c->easy = NULL;
    c->headers = NULL;
    c->tries++;
    bool over = taken || c->tries >= w->config->webhook_tries;
    if (over && !taken)
        fprintf(stderr, "sdvk-server: warning: the webhook of job %s is given up after %u tries: %s\n", c->id,
                c->tries, why);
    if (over && !store_webhook_done(jobs_store(w->jobs), c->id, NULL)) {
        forget(w, c);
        return;
    }
    double wait = c->tries > 12 ? longest_wait : (double)(1u << (c->tries - 1));
    c->due = steady() + (wait < longest_wait ? wait : longest_wait);
}

static void start_due(webhook *w) {
    sd_error err;
    for (struct call *c = w->calls, *next; c && w->running < most_at_once; c = next) {
        next = c->next;
        if (c->easy || c->due > steady())
            continue;
        if (webhook_check_url(c->url, w->config, &err)) { /* the server was started with other hosts since */
            c->tries = w->config->webhook_tries;
            conclude(w, c, false, err.message);
        } else if (start(w, c))
            w->running++;
        else
            conclude(w, c, false, "out of memory");
    }
}

static void read_results(webhook *w) {
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(w->multi, &left));) {
        if (m->msg != CURLMSG_DONE)
            continue;
        struct call *c;
        long status = 0;
        char why[160];
        CURLcode result = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
        curl_easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        if (result)
            snprintf(why, sizeof why, "%.120s", curl_easy_strerror(result));
        else
            snprintf(why, sizeof why, "it answered with status %ld", status);
        curl_multi_remove_handle(w->multi, c->easy);
        w->running--;
        conclude(w, c, !result && status >= 200 && status < 300, why);
    }
}

/* Milliseconds until something is due. */
static int patience(const webhook *w) {
    double now = steady(), wait = 60;
    for (const struct call *c = w->calls; c; c = c->next)
        if (!c->easy && c->due - now < wait)
            wait = c->due - now;
    return wait <= 0 ? (w->running < most_at_once ? 0 : 1000) : (int)(wait * 1000) + 1;
}

static bool any_untried(const webhook *w) {
    for (const struct call *c = w->calls; c; c = c->next)
        if (!c->tries)
            return true;
    return false;
}

static void *work(void *user) {
    webhook *w = user;
    double end = 0;
    int running;
    for (;;) {
        bool stopping = atomic_load(&w->stopping);
        if (atomic_exchange(&w->more, false))
            store_webhooks(jobs_store(w->jobs), take_up, w, NULL);
        end = stopping && end == 0 ? steady() + farewell_seconds : end;
        if (stopping && (!any_untried(w) || steady() > end))
            return NULL;
        start_due(w);
        curl_multi_perform(w->multi, &running);
        read_results(w);
        int wait = patience(w);
        curl_multi_poll(w->multi, NULL, 0, stopping && wait > 100 ? 100 : wait, NULL);
    }
}

void webhook_ended(webhook *w, const job *j) {
    if (!w || !j->row.webhook || j->parked)
        return;
    atomic_store(&w->more, true);
    curl_multi_wakeup(w->multi);
}

/* That there are certificates in it shows now, and not when the first job has ended. */
static sd_status check_certificates(const char *path, sd_error *err) {
    FILE *file = fopen(path, "rb");
    if (!file)
        return sd_fail(err, SD_E_IO, "--webhook-ca: %s: %s", path, strerror(errno));
    X509 *first = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    if (!first)
        return sd_fail(err, SD_E_FORMAT, "--webhook-ca: %s: expected certificates as PEM, found none", path);
    X509_free(first);
    return SD_OK;
}

sd_status webhook_start(webhook **out, const struct config *config, jobs *all, sd_error *err) {
    *out = NULL;
    sd_status status = config->webhook_ca ? check_certificates(config->webhook_ca, err) : SD_OK;
    if (status || !config->webhook_hosts[0])
        return status;
    webhook *w = calloc(1, sizeof *w);
    if (!w || curl_global_init(CURL_GLOBAL_DEFAULT) || !(w->multi = curl_multi_init())) {
        free(w);
        return sd_fail(err, SD_E_MEMORY, "cannot start the HTTP client of webhooks");
    }
    w->config = config;
    w->jobs = all;
    w->more = true; /* what was left from before */
    int code = thread_start(&w->thread, work, w);
    if (code) {
        curl_multi_cleanup(w->multi);
        free(w);
        return sd_fail(err, SD_E_MEMORY, "cannot start a thread: %s", strerror(code));
    }
    *out = w;
    return SD_OK;
}

void webhook_stop(webhook **handle) {
    webhook *w = *handle;
    if (!w)
        return;
    atomic_store(&w->stopping, true);
    curl_multi_wakeup(w->multi);
    pthread_join(w->thread, NULL);
    for (struct call *c = w->calls, *next; c; c = next) {
        next = c->next;
        if (c->easy)
            curl_multi_remove_handle(w->multi, c->easy);
        free_call(c);
    }
    curl_multi_cleanup(w->multi);
    curl_global_cleanup();
    free(w);
    *handle = NULL;
}
