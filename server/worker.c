#include "server/worker.h"

#include "server/sizes.h"
#include "server/thread.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { slots = 16 };

/* A model that is loaded, with the VAE that it was opened with. */
struct loaded {
    sd_model *model;
    char *path, *vae; /* vae NULL: its own */
    uint64_t used;
};

struct worker {
    pthread_t thread;
    pthread_mutex_t lock; /* of `state` */
    struct worker_state state;
    const struct config *config;
    jobs *jobs;
    const catalog *catalog;
    const policy *policy;
    sd_context *context;
    struct loaded models[slots];
    uint64_t clock;
    job *job; /* that runs */
    atomic_bool unload;
    sd_cancel stop; /* of what is loaded before the first job */
};

/* ---- models ---- */

static void count_models(worker *w) {
    uint32_t count = 0;
    uint64_t bytes = 0;
    for (int i = 0; i < slots; i++)
        if (w->models[i].model) {
            sd_model_info info;
            sd_model_get_info(w->models[i].model, &info);
            bytes += info.weight_bytes;
            count++;
        }
    pthread_mutex_lock(&w->lock);
    w->state.models = count;
    w->state.weight_bytes = bytes;
    pthread_mutex_unlock(&w->lock);
}

static void close_slot(struct loaded *slot) {
    sd_model_close(&slot->model);
    free(slot->path);
    free(slot->vae);
    *slot = (struct loaded){0};
}

/* Closes what was used longest ago until at most `keep` are left; never `except`. True when any was closed.
 */
static bool evict(worker *w, uint32_t keep, const struct loaded *except) {
    bool any = false;
    for (;;) {
        struct loaded *oldest = NULL;
        uint32_t count = 0;
        for (int i = 0; i < slots; i++)
            if (w->models[i].model && &w->models[i] != except) {
                count++;
                if (!oldest || w->models[i].used < oldest->used)
                    oldest = &w->models[i];
            }
        if (count <= keep)
            return any;
        close_slot(oldest);
        any = true;
    }
}

static struct loaded *find_loaded(worker *w, const char *path, const char *vae) {
    for (int i = 0; i < slots; i++) {
        const struct loaded *l = &w->models[i];
        if (l->model && !strcmp(l->path, path) && !strcmp(l->vae ? l->vae : "", vae ? vae : ""))
            return &w->models[i];
    }
    return NULL;
}

static sd_status open_model(worker *w, const char *path, const char *vae, sd_cancel *cancel,
                            struct loaded **out, sd_error *err) {
    const char *p = w->config->precision;
    const sd_model_options options = {.vae = vae,
                                      .lenient = w->config->lenient,
                                      .cancel = cancel,
                                      .precision = p && !strcmp(p, "f32")   ? SD_PRECISION_F32
                                                   : p && !strcmp(p, "f16") ? SD_PRECISION_F16
                                                                            : SD_PRECISION_AUTO};
    struct loaded *slot = NULL;
    /* Room for it before it is loaded: two models at once may be more than the device has. */
    evict(w, w->config->keep_models, NULL);
    for (int i = 0; i < slots && !slot; i++)
        slot = w->models[i].model ? NULL : &w->models[i];
    sd_status status = sd_model_open(&slot->model, w->context, path, &options, err);
    if (status == SD_E_DEVICE_MEMORY && evict(w, 0, NULL))
        status = sd_model_open(&slot->model, w->context, path, &options, err);
    if (!status) {
        slot->path = strdup(path);
        slot->vae = vae ? strdup(vae) : NULL;
        if (!slot->path || (vae && !slot->vae)) {
            close_slot(slot);
            status = sd_fail(err, SD_E_MEMORY, "out of memory");
        }
    }
    *out = slot;
    return status;
}

static sd_status use_model(worker *w, const char *name, const char *vae_name, sd_cancel *cancel,
                           struct loaded **out, sd_error *err) {
    char *path = NULL, *vae = NULL;
    sd_status status = catalog_model(w->catalog, name, &path, err);
    if (!status && vae_name)
        status = catalog_file(w->catalog, SD_LIBRARY_VAE, vae_name, &vae, err);
    if (!status && !(*out = find_loaded(w, path, vae)))
        status = open_model(w, path, vae, cancel, out, err);
    if (!status) {
        (*out)->used = ++w->clock;
        pthread_mutex_lock(&w->lock);
        snprintf(w->state.model, sizeof w->state.model, "%s", name ? name : catalog_default(w->catalog));
        pthread_mutex_unlock(&w->lock);
    }
    count_models(w);
    free(path);
    free(vae);
    return status;
}

/* ---- the device ---- */

static void write_log(void *user, sd_log_level level, const char *text) {
    static const char *const names[] = {"error", "warning", "info", "debug"};
    (void)user;
    fprintf(stderr, "sdvk-server: %s: %s\n", names[level], text);
}

static void close_device(worker *w) {
    evict(w, 0, NULL);
    sd_context_destroy(&w->context);
    pthread_mutex_lock(&w->lock);
    w->state.ready = false;
    pthread_mutex_unlock(&w->lock);
}

static sd_status open_device(worker *w, sd_error *err) {
    const sd_context_options options = {
        .device = w->config->device,
        .models = w->config->models,
        .log = {.write = write_log, .level = w->config->verbose ? SD_LOG_INFO : SD_LOG_WARNING}};
    if (w->context)
        return SD_OK;
    sd_status status = sd_context_create(&w->context, &options, err);
    pthread_mutex_lock(&w->lock);
    w->state.failed = status != SD_OK;
    snprintf(w->state.error, sizeof w->state.error, "%.255s", status ? err->message : "");
    if (!status) {
        sd_context_device(w->context, &w->state.device);
        w->state.ready = true;
    }
    pthread_mutex_unlock(&w->lock);
    return status;
}

/* ---- rendering ---- */

static void on_progress(void *user, const sd_progress *progress) {
    worker *w = user;
    uint8_t *data = NULL;
    size_t size = 0;
    /* Below 90 JPEG halves the size of the colours, of which a small preview has few enough. */
    if (progress->preview)
        sd_picture_encode(progress->preview, &(sd_encoding){.jpeg = true, .quality = 90}, &data, &size, NULL);
    jobs_progress(w->jobs, w->job, progress, data, size);
    free(data);
}

/* The pictures of a job, as files, as they are made. */
struct made {
    const job *job;
    struct store_image *images;
    uint32_t count, capacity;
};

static sd_status keep_picture(void *user, uint32_t image, const sd_output *o, sd_error *err) {
    struct made *m = user;
    const sd_encoding *encoding = &m->job->request.encoding;
    (void)image;
    if (m->count == m->capacity) {
        uint32_t capacity = m->capacity ? 2 * m->capacity : 4;
        struct store_image *grown = realloc(m->images, capacity * sizeof *grown);
        if (!grown)
            return sd_fail(err, SD_E_MEMORY, "out of memory");
        m->images = grown;
        m->capacity = capacity;
    }
    struct store_image made = {
        .jpeg = encoding->jpeg, .seed = o->seed, .infotext = strdup(o->infotext), .json = strdup(o->json)};
    sd_status status = made.infotext && made.json ? sd_output_encode(o, encoding, &made.data, &made.size, err)
                                                  : sd_fail(err, SD_E_MEMORY, "out of memory");
    if (status)
        store_image_clear(&made);
    else
        m->images[m->count++] = made;
    return status;
}

static void drop(struct made *m) {
    for (uint32_t i = 0; i < m->count; i++)
        store_image_clear(&m->images[i]);
    m->count = 0;
}

static sd_status generate(worker *w, job *j, struct loaded *slot, struct made *made, sd_outputs **outputs,
                          sd_error *err) {
    sd_params params = j->request.params;
    /* Always a set, so that no picture depends on the one before it. */
    params.loras = j->request.loras;
    params.progress = on_progress;
    params.progress_user = w;
    params.made = keep_picture;
    params.made_user = made;
    params.cancel = &j->cancel;
    params.skip = &j->skip;
    sd_status status =
        sizes_fill(w->config, policy_pixels(w->policy, j->row.owner), slot->model, &params, err);
    if (!status)
        status = sd_generate(slot->model, &params, outputs, err);
    if (status == SD_E_DEVICE_MEMORY && evict(w, 0, slot)) {
        drop(made);
        status = sd_generate(slot->model, &params, outputs, err);
    }
    return status;
}

static void count_job(worker *w, const job *j, sd_status status, uint32_t pictures,
                      const sd_outputs *outputs) {
    pthread_mutex_lock(&w->lock);
    w->state.done += !status;
    w->state.cancelled += status == SD_E_CANCELLED;
    w->state.failures += status && status != SD_E_CANCELLED;
    w->state.lost_devices += status == SD_E_DEVICE_LOST;
    w->state.pictures += pictures;
    if (!status) {
        w->state.steps += (uint64_t)j->steps * outputs->count;
        w->state.step_seconds += outputs->step_seconds;
        w->state.busy_seconds += outputs->seconds;
    }
    pthread_mutex_unlock(&w->lock);
}

static sd_status render(worker *w, job *j, struct made *made, sd_error *err) {
    struct loaded *slot = NULL;
    sd_outputs *outputs = NULL;
    sd_status status = open_device(w, err);
    if (!status)
        status = job_request_load(&j->request, w->config, err);
    if (!status)
        status = use_model(w, j->request.model, j->request.vae, &j->cancel, &slot, err);
    if (!status && sd_cancel_requested(&j->cancel))
        status = sd_fail(err, SD_E_CANCELLED, "cancelled");
    if (!status)
        status = generate(w, j, slot, made, &outputs, err);
    count_job(w, j, status, made->count, outputs);
    if (outputs)
        sd_outputs_free(&outputs);
    return status;
}

static void run(worker *w, job *j) {
    struct made made = {.job = j};
    sd_error err = {0};
    w->job = j;
    sd_status status = render(w, j, &made, &err);
    if (status == SD_E_DEVICE_LOST)
        close_device(w);
    catalog_hide(w->catalog, err.message);
    jobs_finish(w->jobs, &j, status, status ? err.message : NULL, made.images, made.count);
    w->job = NULL;
    if (status == SD_E_DEVICE_LOST && open_device(w, &err))
        write_log(NULL, SD_LOG_ERROR, err.message);
}

/* So that the first request does not wait for it. Its errors are those of the jobs that need it. */
static void warm_up(worker *w) {
    struct loaded *slot;
    sd_error err;
    if (open_device(w, &err) || use_model(w, NULL, NULL, &w->stop, &slot, &err)) {
        if (err.status != SD_E_CANCELLED)
            write_log(NULL, SD_LOG_ERROR, err.message);
    }
}

static void *work(void *user) {
    worker *w = user;
    job *j;
    warm_up(w);
    while (jobs_take(w->jobs, &j)) {
        if (atomic_exchange(&w->unload, false) && evict(w, 0, NULL))
            count_models(w);
        if (j)
            run(w, j);
    }
    close_device(w);
    return NULL;
}

worker *worker_start(const struct config *config, jobs *all, const catalog *files, const policy *rules,
                     sd_error *err) {
    worker *w = calloc(1, sizeof *w);
    if (!w) {
        sd_fail(err, SD_E_MEMORY, "out of memory");
        return NULL;
    }
    w->config = config;
    w->jobs = all;
    w->catalog = files;
    w->policy = rules;
    pthread_mutex_init(&w->lock, NULL);
    int code = thread_start(&w->thread, work, w);
    if (code) {
        sd_fail(err, SD_E_MEMORY, "cannot start a thread: %s", strerror(code));
        free(w);
        return NULL;
    }
    return w;
}

void worker_stop(worker *w) {
    if (!w)
        return;
    sd_cancel_request(&w->stop);
    pthread_join(w->thread, NULL);
}

void worker_destroy(worker **handle) {
    worker *w = *handle;
    if (!w)
        return;
    pthread_mutex_destroy(&w->lock);
    free(w);
    *handle = NULL;
}

void worker_look(worker *w, struct worker_state *out) {
    pthread_mutex_lock(&w->lock);
    *out = w->state;
    pthread_mutex_unlock(&w->lock);
}

void worker_unload(worker *w) {
    atomic_store(&w->unload, true);
    jobs_nudge(w->jobs);
}
