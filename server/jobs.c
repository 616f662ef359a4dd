#include "server/jobs.h"

#include "server/draw.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { remembered = 16 }; /* durations of the last jobs */

struct jobs {
    pthread_mutex_t lock;
    pthread_cond_t more;
    const struct config *config;
    const catalog *catalog;
    store *store;
    job *first, **last; /* waiting */
    job *running;
    job *unsaved; /* have ended, which the store could not take yet */
    uint32_t waiting;
    bool stopping, nudged;
    double durations[remembered];
    uint32_t finished;
    struct job_observer observer;
};

static double steady(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- life of a job ---- */

static void drop_results(job *j) {
    for (uint32_t i = 0; j->results && i < j->row.images; i++)
        store_image_clear(&j->results[i]);
    free(j->results);
    j->results = NULL;
    j->row.images = 0;
}

static void destroy(job *j) {
    drop_results(j);
    free(j->preview);
    job_request_clear(&j->request);
    store_row_clear(&j->row);
    free(j);
}

/* With the lock held. */
static void let_go(job *j) {
    if (!--j->holders)
        destroy(j);
}

void job_release(jobs *all, job **j) {
    if (!*j)
        return;
    pthread_mutex_lock(&all->lock);
    let_go(*j);
    pthread_mutex_unlock(&all->lock);
    *j = NULL;
}

static void tell(job *j, enum job_event event) {
    struct job_listener *next;
    for (struct job_listener *l = j->listeners; l; l = next) {
        next = l->next; /* it may go with its last event */
        l->event(l, j, event);
    }
    if (event == JOB_ENDED)
        j->listeners = NULL;
}

static void enqueue(jobs *all, job *j) {
    *all->last = j;
    all->last = &j->next;
    all->waiting++;
    pthread_cond_signal(&all->more);
}

static void set_error(job *j, sd_status status, const char *text) {
    free(j->row.error);
    j->row.status = status;
    j->row.error = text ? strdup(text) : NULL;
}

/* Ends that the store can take now, after a full disk has room again. */
static void save_ends(jobs *all) {
    for (job *j; (j = all->unsaved) && !store_finish(all->store, &j->row, NULL, NULL);) {
        all->unsaved = j->next;
        let_go(j);
    }
}

/* A job whose pictures cannot be stored has failed. Its end is kept until the store takes it; when the server
 * is killed before that, the job is made again after the restart. */
static void keep_end(jobs *all, job *j, const sd_error *err) {
    drop_results(j);
    if (j->row.state == JOB_DONE) {
        j->row.state = JOB_FAILED;
        set_error(j, err->status, err->message);
    }
    j->holders++;
    j->next = all->unsaved;
    all->unsaved = j;
}

/* Writes the end to the store and tells it. */
static void end(jobs *all, job *j, enum job_state state) {
    sd_error err;
    j->row.state = state;
    j->row.finished = now();
    save_ends(all);
    if (!j->parked && store_finish(all->store, &j->row, j->results, &err))
        keep_end(all, j, &err);
    if (all->observer.ended)
        all->observer.ended(all->observer.user, j);
    tell(j, JOB_ENDED);
}

/* ---- opening ---- */

/* A row of the store as a job in memory; NULL when it cannot be read any more. */
static job *revive(jobs *all, struct store_row *row, sd_error *err) {
    job *j = calloc(1, sizeof *j);
    char field[64];
    if (!j)
        return NULL;
    cJSON *json = json_parse(row->request, strlen(row->request));
    if (job_request_read(&j->request, all->config, json, field, err)) {
        free(j);
        return NULL;
    }
    j->row = *row;
    free(j->row.request);
    j->row.request = NULL;
    *row = (struct store_row){0};
    j->images = j->request.params.count ? j->request.params.count : 1;
    j->estimate = -1;
    j->holders = 1;
    return j;
}

struct rows {
    struct store_row *items;
    size_t count, capacity;
};

static void collect(void *user, struct store_row *row) {
    struct rows *rows = user;
    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity ? 2 * rows->capacity : 64;
        struct store_row *grown = realloc(rows->items, capacity * sizeof *grown);
        if (!grown) {
            store_row_clear(row);
            return;
        }
        rows->items = grown;
        rows->capacity = capacity;
    }
    rows->items[rows->count++] = *row;
}

static void take_up(jobs *all, struct store_row *row) {
    sd_error err = {SD_E_CANCELLED, "the server was restarted before the job ended"};
    job *j = row->durable ? revive(all, row, &err) : NULL;
    if (j) {
        j->row.state = JOB_QUEUED;
        enqueue(all, j);
        return;
    }
    free(row->error);
    row->state = JOB_FAILED;
    row->status = err.status;
    row->error = strdup(err.message);
    row->finished = now();
    row->images = 0;
    store_finish(all->store, row, NULL, NULL);
}

sd_status jobs_open(jobs **out, const struct config *config, const catalog *files, sd_error *err) {
    jobs *all = *out = calloc(1, sizeof *all);
    struct rows rows = {0};
    if (!all) {
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    }
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->more, NULL);
    all->last = &all->first;
    all->config = config;
    all->catalog = files;
    sd_status status = store_open(&all->store, config->state, err);
    if (!status)
        status = store_unfinished(all->store, collect, &rows, err);
    for (size_t i = 0; i < rows.count; i++) {
        if (!status)
            take_up(all, &rows.items[i]);
        store_row_clear(&rows.items[i]);
    }
    free(rows.items);
    if (status)
        jobs_close(out);
    return status;
}

void jobs_close(jobs **handle) {
    jobs *all = *handle;
    if (!all)
        return;
    for (job *j = all->first, *next; j; j = next) {
        next = j->next;
        let_go(j);
    }
    save_ends(all);
    for (job *j; (j = all->unsaved);) {
        all->unsaved = j->next;
        let_go(j);
    }
    store_close(&all->store);
    pthread_mutex_destroy(&all->lock);
    pthread_cond_destroy(&all->more);
    free(all);
    *handle = NULL;
}

store *jobs_store(jobs *all) {
    return all->store;
}

sd_status jobs_forget(jobs *all, const char *id, sd_error *err) {
    pthread_mutex_lock(&all->lock);
    save_ends(all); /* its own may be one of them */
    sd_status status = store_remove(all->store, id, err);
    pthread_mutex_unlock(&all->lock);
    return status;
}

sd_status jobs_check_store(jobs *all, sd_error *err) {
    char trouble[256];
    if (!store_trouble(all->store, trouble, sizeof trouble))
        return SD_OK;
    sd_status status = store_probe(all->store, err);
    pthread_mutex_lock(&all->lock);
    if (!status)
        save_ends(all);
    pthread_mutex_unlock(&all->lock);
    return status;
}

/* ---- submitting ---- */

/* A job of the spec, valid and with its seed drawn, so that it gives the same picture whenever it runs. */
static sd_status make_job(jobs *all, const struct job_spec *spec, job *j, char *field, sd_error *err) {
    job_request_move(&j->request, spec->request);
    sd_status status = catalog_check(all->catalog, &j->request, field, err);
    if (status)
        return status;
    if (j->request.params.seed < 0) {
        uint32_t seed;
        if (!draw(&seed, sizeof seed)) {
            return sd_fail(err, SD_E_IO, "cannot draw a random seed");
        }
        j->request.params.seed = seed;
    }
    job_request_keep_seed(&j->request);
    j->row = (struct store_row){.state = JOB_QUEUED,
                                .durable = spec->durable,
                                .face = strdup(spec->face),
                                .owner = strdup(spec->owner),
                                .request = cJSON_PrintUnformatted(j->request.json),
                                .idempotency = spec->idempotency ? strdup(spec->idempotency) : NULL,
                                .webhook = spec->webhook ? strdup(spec->webhook) : NULL,
                                .verdict = spec->verdict && *spec->verdict ? strdup(spec->verdict) : NULL,
                                .created = now(),
                                .seed = j->request.params.seed};
    j->images = j->request.params.count ? j->request.params.count : 1;
    j->estimate = -1;
    if (!j->row.face || !j->row.owner || !j->row.request || !draw_id(j->row.id)) {
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    }
    return SD_OK;
}

static bool done_before(jobs *all, const struct job_spec *spec, char *id) {
    struct store_row row;
    if (!spec->idempotency || store_find(all->store, spec->owner, spec->idempotency, &row, NULL))
        return false;
    memcpy(id, row.id, JOB_ID);
    store_row_clear(&row);
    return true;
}

/* With the lock held. */
static enum submitted accept(jobs *all, const struct job_spec *spec, job *j, sd_error *err) {
    uint64_t had;
    if (all->stopping)
        return SUBMIT_STOPPING;
    if (all->waiting >= all->config->max_queue)
        return SUBMIT_FULL;
    if (spec->daily && store_pictures(all->store, spec->owner, store_day(j->row.created), &had, err))
        return SUBMIT_STORE;
    if (spec->daily && had + j->images > spec->daily)
        return SUBMIT_DAILY;
    if (all->observer.accepted && all->observer.accepted(all->observer.user, j, j->row.request, err))
        return SUBMIT_STORE;
    save_ends(all);
    if (store_add(all->store, &j->row, j->images, err)) {
        j->row.state = JOB_FAILED;
        if (all->observer.ended)
            all->observer.ended(all->observer.user, j);
        return SUBMIT_STORE;
    }
    free(j->row.request);
    j->row.request = NULL;
    j->holders = 2; /* the queue's and the caller's */
    enqueue(all, j);
    return SUBMITTED;
}

enum submitted jobs_submit(jobs *all, const struct job_spec *spec, job **out, char *id, char *field,
                           sd_error *err) {
    *out = NULL;
    *field = 0;
    job *j = calloc(1, sizeof *j);
    if (!j) {
        job_request_clear(spec->request);
        sd_fail(err, SD_E_MEMORY, "out of memory");
        return SUBMIT_STORE;
    }
    sd_status status = make_job(all, spec, j, field, err);
    if (status) {
        destroy(j);
        return status == SD_E_MEMORY || status == SD_E_IO ? SUBMIT_STORE : SUBMIT_INVALID;
    }
    if (done_before(all, spec, id)) {
        destroy(j);
        return SUBMITTED_BEFORE;
    }
    pthread_mutex_lock(&all->lock);
    enum submitted result = accept(all, spec, j, err);
    pthread_mutex_unlock(&all->lock);
    if (result != SUBMITTED) {
        destroy(j);
        /* Two requests with one key at once: the second finds the first. */
        return result == SUBMIT_STORE && done_before(all, spec, id) ? SUBMITTED_BEFORE : result;
    }
    memcpy(id, j->row.id, JOB_ID);
    *out = j;
    return SUBMITTED;
}

/* ---- watching ---- */

static job *find(jobs *all, const char *id) {
    if (all->running && !strcmp(all->running->row.id, id))
        return all->running;
    for (job *j = all->first; j; j = j->next)
        if (!strcmp(j->row.id, id))
            return j;
    return NULL;
}

job *jobs_find(jobs *all, const char *id) {
    pthread_mutex_lock(&all->lock);
    job *j = find(all, id);
    for (job *k = all->unsaved; k && !j; k = k->next)
        j = strcmp(k->row.id, id) ? NULL : k;
    if (j)
        j->holders++;
    pthread_mutex_unlock(&all->lock);
    return j;
}

void jobs_observe(jobs *all, const struct job_observer *observer) {
    all->observer = *observer;
}

bool jobs_listen(jobs *all, job *j, struct job_listener *listener) {
    pthread_mutex_lock(&all->lock);
    bool goes_on = j->row.state <= JOB_RUNNING;
    if (goes_on) {
        listener->next = j->listeners;
        j->listeners = listener;
    }
    pthread_mutex_unlock(&all->lock);
    return goes_on;
}

void jobs_unlisten(jobs *all, job *j, struct job_listener *listener) {
    if (!j)
        return;
    pthread_mutex_lock(&all->lock);
    for (struct job_listener **at = &j->listeners; *at; at = &(*at)->next)
        if (*at == listener) {
            *at = listener->next;
            break;
        }
    pthread_mutex_unlock(&all->lock);
}

void jobs_look(jobs *all, job *j, void (*look)(void *user, const job *j), void *user) {
    pthread_mutex_lock(&all->lock);
    look(user, j);
    pthread_mutex_unlock(&all->lock);
}

uint32_t jobs_position(jobs *all, const job *wanted) {
    uint32_t position = 0;
    pthread_mutex_lock(&all->lock);
    job *j = all->first;
    for (; j && j != wanted; j = j->next)
        position++;
    pthread_mutex_unlock(&all->lock);
    return j ? position : 0;
}

job *jobs_running(jobs *all) {
    pthread_mutex_lock(&all->lock);
    job *j = all->running;
    if (j)
        j->holders++;
    pthread_mutex_unlock(&all->lock);
    return j;
}

uint32_t jobs_waiting(jobs *all) {
    pthread_mutex_lock(&all->lock);
    uint32_t waiting = all->waiting;
    pthread_mutex_unlock(&all->lock);
    return waiting;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double jobs_typical(jobs *all) {
    double sorted[remembered];
    pthread_mutex_lock(&all->lock);
    uint32_t count = all->finished < remembered ? all->finished : remembered;
    memcpy(sorted, all->durations, count * sizeof *sorted);
    pthread_mutex_unlock(&all->lock);
    qsort(sorted, count, sizeof *sorted, by_value);
    return count ? sorted[count / 2] : 0;
}

/* ---- ending ---- */

/* With the lock held. */
static void remove_waiting(jobs *all, job *wanted) {
    for (job **at = &all->first; *at; at = &(*at)->next)
        if (*at == wanted) {
            *at = wanted->next;
            if (!*at)
                all->last = at;
            all->waiting--;
            return;
        }
}

bool jobs_cancel(jobs *all, const char *id) {
    pthread_mutex_lock(&all->lock);
    job *j = find(all, id);
    if (j && j == all->running)
        sd_cancel_request(&j->cancel);
    else if (j) {
        remove_waiting(all, j);
        set_error(j, SD_E_CANCELLED, "cancelled");
        end(all, j, JOB_CANCELLED);
        let_go(j);
    }
    pthread_mutex_unlock(&all->lock);
    return j != NULL;
}

void job_skip(job *j) {
    sd_cancel_request(&j->skip);
}

void jobs_stop(jobs *all, bool cancel) {
    pthread_mutex_lock(&all->lock);
    all->stopping = true;
    for (job *j; (j = all->first);) {
        remove_waiting(all, j);
        j->parked = j->row.durable;
        set_error(j, SD_E_CANCELLED, "the server is stopping");
        end(all, j, JOB_FAILED);
        let_go(j);
    }
    if (cancel && all->running) {
        all->running->parked = all->running->row.durable;
        sd_cancel_request(&all->running->cancel);
    }
    pthread_cond_broadcast(&all->more);
    pthread_mutex_unlock(&all->lock);
}

/* ---- the worker's ---- */

bool jobs_take(jobs *all, job **out) {
    pthread_mutex_lock(&all->lock);
    while (!all->first && !all->stopping && !all->nudged)
        pthread_cond_wait(&all->more, &all->lock);
    job *j = *out = all->nudged ? NULL : all->first;
    bool goes_on = j || all->nudged;
    all->nudged = false;
    if (j) {
        remove_waiting(all, j);
        j->next = NULL;
        all->running = j;
        j->row.state = JOB_RUNNING;
        j->row.started = now();
        j->steady_start = steady();
        store_started(all->store, j->row.id, j->row.started, NULL);
        tell(j, JOB_STARTED);
    }
    pthread_mutex_unlock(&all->lock);
    return goes_on;
}

void jobs_nudge(jobs *all) {
    pthread_mutex_lock(&all->lock);
    all->nudged = true;
    pthread_cond_signal(&all->more);
    pthread_mutex_unlock(&all->lock);
}

/* Steps of all pictures, none before their number is known; the texts before them and the decoder behind each
 * count as one step. */
static double fraction(const job *j) {
    double each = j->steps + 1.0, done = j->phase == SD_PHASE_DECODE ? j->steps : j->step;
    return j->steps ? (1 + j->image * each + done) / (1 + j->images * each) : 0;
}

void jobs_progress(jobs *all, job *j, const sd_progress *p, const uint8_t *preview, size_t size) {
    uint8_t *copy = preview ? malloc(size) : NULL;
    if (copy)
        memcpy(copy, preview, size);
    pthread_mutex_lock(&all->lock);
    j->phase = p->phase;
    j->image = p->image;
    j->images = p->images;
    if (p->phase == SD_PHASE_STEP || p->phase == SD_PHASE_DECODE) {
        j->step = p->step;
        j->steps = p->steps;
    }
    double reached = p->phase == SD_PHASE_COMPILE ? j->progress : fraction(j);
    j->progress = reached > j->progress ? (reached < 1 ? reached : 1) : j->progress;
    double taken = steady() - j->steady_start;
    j->estimate = j->progress > 0.02 ? taken / j->progress - taken : -1;
    if (copy) {
        free(j->preview);
        j->preview = copy;
        j->preview_size = size;
        j->preview_number++;
    }
    tell(j, JOB_PROGRESS);
    pthread_mutex_unlock(&all->lock);
}

void jobs_finish(jobs *all, job **handle, sd_status status, const char *error, struct store_image *images,
                 uint32_t count) {
    job *j = *handle;
    pthread_mutex_lock(&all->lock);
    j->seconds = steady() - j->steady_start;
    j->results = images;
    j->row.images = count;
    j->progress = status ? j->progress : 1;
    set_error(j, status, error);
    all->running = NULL;
    if (!status)
        all->durations[all->finished++ % remembered] = j->seconds;
    /* Only the server's end parks a job; one that was done in time is done. */
    j->parked = j->parked && status == SD_E_CANCELLED;
    if (j->parked)
        drop_results(j); /* they are made again */
    end(all, j, !status ? JOB_DONE : status == SD_E_CANCELLED && !all->stopping ? JOB_CANCELLED : JOB_FAILED);
    let_go(j);
    store_prune(all->store, all->config->keep_jobs, NULL);
    pthread_mutex_unlock(&all->lock);
    *handle = NULL;
}
