/* The one thread that owns the device: takes jobs, keeps models loaded, renders. */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include "server/jobs.h"
#include "server/policy.h"

typedef struct worker worker;

/* What the thread is about, for readiness and metrics. */
struct worker_state {
    bool ready;  /* the device is open */
    bool failed; /* the device could not be opened; it is tried again with the next job */
    sd_device device;
    char error[256];
    char model[128]; /* the one that was used last, "" before */
    uint32_t models; /* that are loaded */
    uint64_t weight_bytes, lost_devices;
    uint64_t done, failures, cancelled, pictures, steps;
    double step_seconds, busy_seconds;
};

/* Opens the device and the default model in the thread, while the server already answers. `rules` may be
 * NULL. */
worker *worker_start(const struct config *config, jobs *all, const catalog *files, const policy *rules,
                     sd_error *err);
/* Waits until the job that runs has ended; jobs_stop must have been called. It may still be looked at.
 * NULL-safe. */
void worker_stop(worker *w);
void worker_destroy(worker **worker); /* NULL-safe */
void worker_look(worker *w, struct worker_state *out);
/* Closes the models that are loaded (A1111's unload-checkpoint), when no job runs; the next one opens its
 * own. */
void worker_unload(worker *w);

#endif
