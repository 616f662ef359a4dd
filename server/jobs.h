/* The queue. Every face's request becomes a job: accepted, waiting, running, ended once. One thread takes
 * jobs and renders them (worker.h); others submit, watch and cancel. Thread-safe. */
#ifndef SERVER_JOBS_H
#define SERVER_JOBS_H

#include "server/catalog.h"
#include "server/job_request.h"
#include "server/store.h"

typedef struct jobs jobs;
typedef struct job job;

enum job_event {
    JOB_STARTED,
    JOB_PROGRESS, /* step, phase or preview changed */
    JOB_ENDED     /* the last event */
};

/* Within the object that listens. `event` is called in the thread that made it happen, with the jobs' lock
 * held: it may read the job, but not call functions of this header, and must not wait. */
struct job_listener {
    void (*event)(struct job_listener *listener, const job *j, enum job_event event);
    struct job_listener *next;
};

/* Read under the jobs' lock (listeners), or freely once the job has ended. */
struct job {
    struct store_row row; /* its request is NULL: see `request` */
    struct job_request request;
    sd_cancel cancel, skip; /* skip: of the picture under way */
    sd_phase phase;
    uint32_t image, images, step, steps;
    double progress;  /* 0..1 of the whole job */
    double estimate;  /* seconds that are left, negative when unknown */
    uint8_t *preview; /* JPEG, or NULL */
    size_t preview_size;
    uint32_t preview_number;     /* counts previews; 0 before the first */
    struct store_image *results; /* [row.images] once ended: those that were made */
    double seconds;              /* that rendering took */
    /* Of the jobs. */
    struct job_listener *listeners;
    struct job *next;
    unsigned holders;
    double steady_start;
    bool parked; /* stopped by the server's end, to go on after a restart */
};

struct job_spec {
    struct job_request *request; /* taken over, whatever happens */
    const char *face, *owner;
    bool durable;
    const char *idempotency, *webhook; /* or NULL */
    const char *verdict;               /* version of the policy that allowed it, or NULL */
    uint32_t daily;                    /* pictures that the owner may have in a day (UTC), 0: any number */
};

enum submitted {
    SUBMITTED,
    SUBMITTED_BEFORE, /* the same Idempotency-Key: that job */
    SUBMIT_INVALID,   /* err and field say what */
    SUBMIT_FULL,
    SUBMIT_DAILY, /* it asks for more pictures than are left of `daily` */
    SUBMIT_STOPPING,
    SUBMIT_STORE /* err says why it cannot be kept */
};

/* Takes up what the store holds from before: durable jobs are queued again, others have failed. */
sd_status jobs_open(jobs **out, const struct config *config, const catalog *catalog, sd_error *err);
/* All listeners have been told an end by then: jobs_stop first. NULL-safe. */
void jobs_close(jobs **jobs);
store *jobs_store(jobs *all);
/* Forgets a job that has ended. */
sd_status jobs_forget(jobs *all, const char *id, sd_error *err);
/* Whether ends and new jobs can be kept; tried where the last one could not. */
sd_status jobs_check_store(jobs *all, sd_error *err);

/* *out is held by the caller until job_release; NULL unless SUBMITTED. With SUBMITTED_BEFORE `id` (JOB_ID
 * bytes) names the job. */
enum submitted jobs_submit(jobs *all, const struct job_spec *spec, job **out, char *id, char *field,
                           sd_error *err);
/* The job if it has not been forgotten by memory yet (waiting, running, or just ended and held); else NULL.
 * Held by the caller. */
job *jobs_find(jobs *all, const char *id);
void job_release(jobs *all, job **j);

/* Who hears of every job, under the lock: a job that is about to be accepted, with its request as text, which
 * an error refuses, and one that has ended. Set before the first job. */
struct job_observer {
    void *user;
    sd_status (*accepted)(void *user, const job *j, const char *request, sd_error *err);
    void (*ended)(void *user, const job *j);
};
void jobs_observe(jobs *all, const struct job_observer *observer);

/* From now on `listener` hears of j; true when it has not ended. False: it will hear nothing. */
bool jobs_listen(jobs *all, job *j, struct job_listener *listener);
/* NULL-safe; afterwards it is not called any more. */
void jobs_unlisten(jobs *all, job *j, struct job_listener *listener);

/* Lets `look` read a job while it cannot change. */
void jobs_look(jobs *all, job *j, void (*look)(void *user, const job *j), void *user);
/* Jobs before it, 0 for the next and for those that are not waiting. */
uint32_t jobs_position(jobs *all, const job *j);
/* The job that runs, held by the caller, or NULL. */
job *jobs_running(jobs *all);
uint32_t jobs_waiting(jobs *all);
/* Median seconds of the last jobs; 0 before the first. */
double jobs_typical(jobs *all);

/* Within a step for a running job, whose pictures that are done stay. False when there is none such that has
 * not ended. */
bool jobs_cancel(jobs *all, const char *id);
/* Leaves out the picture that a running job makes, and goes on with its next. */
void job_skip(job *j);

/* Nothing is accepted from now on. What waits ends (durable jobs are parked); what runs is cancelled when
 * `now`. */
void jobs_stop(jobs *all, bool now);

/* ---- for the worker ---- */

/* Waits for a job; false once stopped. *out is NULL after a nudge. */
bool jobs_take(jobs *all, job **out);
/* Lets the worker look up from its wait, or from its queue once. */
void jobs_nudge(jobs *all);
/* A preview is copied. */
void jobs_progress(jobs *all, job *j, const sd_progress *progress, const uint8_t *preview,
                   size_t preview_size);
/* Ends the job with status and error, and with the `count` pictures that were made, which are taken over.
 * Releases it. */
void jobs_finish(jobs *all, job **j, sd_status status, const char *error, struct store_image *images,
                 uint32_t count);

#endif
