/* Compiling the wanted pipelines by several threads.
 *
 * Most drivers compile in vkCreateComputePipelines. Mesa's llvmpipe only translates there and leaves the
 * compiler, nine tenths of the work, to the first dispatch, in the one thread of the queue. So every pipeline
 * is dispatched once without workgroups; and as that driver keeps its code in a cache on disk, the other
 * threads do the same on devices of their own, after which the real device finds the code there. */
#include "sd/base/clock.h"
#include "sd/base/thread.h"
#include "sd/vk/internal.h"

#include <unistd.h>

enum { most_threads = 16 };

struct job {
    sd_vk *vk;
    pthread_t caller;
    sd_vk_compile_progress progress;
    void *user;
    sd_vk_pipeline_state created; /* what a pipeline is after its creation */
    uint32_t all;
    /* Shared, like the states of pipelines: */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a helper has finished with a pipeline */
    uint32_t done;
    sd_status status; /* not SD_OK: stop */
    sd_error *err;
};

static void stop(struct job *job, sd_status status, const char *why) {
    pthread_mutex_lock(&job->lock);
    if (!job->status)
        job->status = sd_fail(job->err, status, "%s", why);
    pthread_mutex_unlock(&job->lock);
}

/* Only in the caller's thread. */
static void report(struct job *job) {
    pthread_mutex_lock(&job->lock);
    uint32_t done = job->done;
    pthread_mutex_unlock(&job->lock);
    if (job->progress && job->progress(job->user, done, job->all))
        stop(job, SD_E_CANCELLED, "cancelled");
}

/* The cheapest or the dearest pipeline in one state, which is the calling thread's from then on. */
static sd_vk_pipeline *take(struct job *job, sd_vk_pipeline_state from, bool dearest) {
    sd_vk_pipeline *best = NULL;
    pthread_mutex_lock(&job->lock);
    for (sd_vk_pipeline *p = job->vk->pipelines; p && !job->status; p = p->next)
        if (p->state == from && (!best || (p->seconds > best->seconds) == dearest))
            best = p;
    if (best)
        best->state = SD_VK_TAKEN;
    pthread_mutex_unlock(&job->lock);
    return best;
}

static void put(struct job *job, sd_vk_pipeline *p, sd_vk_pipeline_state state) {
    pthread_mutex_lock(&job->lock);
    p->state = state;
    job->done += state == SD_VK_READY;
    pthread_cond_signal(&job->changed);
    pthread_mutex_unlock(&job->lock);
}

/* Starts helpers for `tasks` tasks that the calling thread shares. Where the system gives no threads the
 * caller does it all. */
static uint32_t start(pthread_t *threads, uint32_t tasks, void *(*work)(void *), struct job *job) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t count = tasks < most_threads ? tasks : most_threads, started = 0;
    if (cores < (long)count)
        count = cores > 1 ? (uint32_t)cores : 1;
    while (started + 1 < count && sd_thread_start(&threads[started], work, job))
        started++;
    return started;
}

static void join(const pthread_t *threads, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static void *create_some(void *user) {
    struct job *job = user;
    sd_vk_pipeline *p;
    sd_error err;
    while ((p = take(job, SD_VK_WANTED, false))) {
        sd_status status = sd_vk_pipeline_create(job->vk, p, &err);
        if (status)
            stop(job, status, err.message);
        else
            put(job, p, job->created);
        if (pthread_equal(pthread_self(), job->caller))
            report(job);
    }
    return NULL;
}

static sd_status dispatch_nothing(sd_vk *vk, sd_vk_pipeline *p, sd_error *err) {
    const uint32_t none[3] = {0, 0, 0};
    const unsigned char push[SD_VK_PUSH_BYTES] = {0};
    sd_vk_commands *commands;
    sd_status status = sd_vk_commands_create(vk, &commands, 0, err);
    if (status)
        return status;
    sd_vk_commands_dispatch(commands, p, push, sizeof push, none);
    if (!(status = sd_vk_commands_finish(commands, err)))
        status = sd_vk_submit(vk, &commands, 1, err);
    sd_vk_commands_destroy(vk, &commands);
    return status;
}

/* What goes wrong here costs time only: the caller compiles what it does not find in the cache. */
static void *fill_cache(void *user) {
    struct job *job = user;
    sd_vk_pipeline *p;
    sd_vk *twin;
    if (sd_vk_twin_open(&twin, job->vk, NULL))
        return NULL;
    while ((p = take(job, SD_VK_CREATED, true))) {
        sd_vk_pipeline copy = {.shader = p->shader, .spec_count = p->spec_count, .subgroup = p->subgroup};
        for (uint32_t i = 0; i < p->spec_count; i++)
            copy.spec[i] = p->spec[i];
        if (!sd_vk_pipeline_create(twin, &copy, NULL)) {
            dispatch_nothing(twin, &copy, NULL);
            vkDestroyPipeline(twin->device, copy.handle, NULL);
        }
        put(job, p, SD_VK_CACHED);
    }
    sd_vk_close(&twin);
    return NULL;
}

/* Waits for helpers until one of their pipelines is in the cache; NULL when they have none left. */
static sd_vk_pipeline *take_cached(struct job *job) {
    sd_vk_pipeline *found = NULL;
    bool busy = true;
    pthread_mutex_lock(&job->lock);
    while (!found && busy && !job->status) {
        busy = false;
        for (sd_vk_pipeline *p = job->vk->pipelines; p && !found; p = p->next) {
            found = p->state == SD_VK_CACHED ? p : NULL;
            busy = busy || p->state == SD_VK_TAKEN;
        }
        if (!found && busy)
            pthread_cond_wait(&job->changed, &job->lock);
    }
    if (found)
        found->state = SD_VK_TAKEN;
    pthread_mutex_unlock(&job->lock);
    return found;
}

/* The caller takes the cheapest first, helpers the dearest. They are only worth starting when the cache is
 * cold: compiling takes at least three times as long as translating, finding the code a fraction of it. */
static void compile_lazy(struct job *job) {
    pthread_t threads[most_threads];
    uint32_t started = 0;
    bool cold = false;
    sd_vk_pipeline *p;
    sd_error err;
    while ((p = take(job, SD_VK_CREATED, false)) || (p = take_cached(job))) {
        double began = sd_now();
        sd_status status = dispatch_nothing(job->vk, p, &err);
        if (status)
            stop(job, status, err.message);
        else
            put(job, p, SD_VK_READY);
        report(job);
        if (!cold && sd_now() - began > 2 * p->seconds) {
            cold = true;
            started = start(threads, job->all - job->done, fill_cache, job);
        }
    }
    join(threads, started);
}

sd_status sd_vk_pipelines_compile(sd_vk *vk, sd_vk_compile_progress progress, void *user, sd_error *err) {
    bool lazy = vk->info.kind == SD_VK_CPU && vk->info.vendor == VK_VENDOR_ID_MESA;
    pthread_t threads[most_threads];
    struct job job = {.vk = vk,
                      .caller = pthread_self(),
                      .progress = progress,
                      .user = user,
                      .created = lazy ? SD_VK_CREATED : SD_VK_READY,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .changed = PTHREAD_COND_INITIALIZER,
                      .err = err};
    for (const sd_vk_pipeline *p = vk->pipelines; p; p = p->next)
        job.all += p->state == SD_VK_WANTED;
    if (!job.all)
        return SD_OK;
    report(&job);
    uint32_t started = start(threads, job.all, create_some, &job);
    create_some(&job);
    join(threads, started);
    if (lazy)
        compile_lazy(&job);
    else
        report(&job);
    pthread_cond_destroy(&job.changed);
    pthread_mutex_destroy(&job.lock);
    for (sd_vk_pipeline *p = vk->pipelines; p; p = p->next)
        p->state = SD_VK_READY;
    sd_vk_pipelines_drop_wanted(vk);
    return job.status;
}
