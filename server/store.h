/* Jobs and their pictures on disk (SQLite in WAL mode): what was accepted survives the server. A finished job
 * and its pictures appear in one transaction. Thread-safe. */
#ifndef SERVER_STORE_H
#define SERVER_STORE_H

#include "sd/sd.h"

typedef struct store store;

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_CANCELLED };
/* "queued", "running", "done", "failed", "cancelled". */
const char *job_state_name(enum job_state state);

enum { JOB_ID = 37 };

/* Strings are owned by whoever has the row; store_row_clear. */
struct store_row {
    char id[JOB_ID];
    enum job_state state;
    bool durable; /* is run after a restart; others have a client that waits, who is gone then */
    char *face, *owner, *request, *idempotency, *webhook,
        *verdict;                      /* verdict: version of the policy that allowed it */
    double created, started, finished; /* seconds since 1970; 0 before */
    int64_t seed;                      /* of the first picture, drawn when the job was accepted */
    uint32_t images;
    sd_status status; /* why it failed */
    char *error;
};
void store_row_clear(struct store_row *row);

struct store_image {
    uint8_t *data;
    size_t size;
    bool jpeg;
    int64_t seed;
    char *infotext, *json;
};
void store_image_clear(struct store_image *image);

/* `folder` NULL: in memory. Errors name the file. One process at a time: the folder stays locked (flock)
 * until the store is closed. */
sd_status store_open(store **out, const char *folder, sd_error *err);
void store_close(store **store);

/* Why the last write was not made, such as "the job store: the disk is full"; false when it was. Does not
 * wait for other calls. */
bool store_trouble(store *s, char *out, size_t size);
/* Writes something, to see whether that can be done. */
sd_status store_probe(store *s, sd_error *err);

/* `wanted`: pictures that it asks for. */
sd_status store_add(store *s, const struct store_row *row, uint32_t wanted, sd_error *err);
sd_status store_started(store *s, const char *id, double when, sd_error *err);
/* The end of a job: state, status, error, finished and the pictures that were made, at once. */
sd_status store_finish(store *s, const struct store_row *row, const struct store_image *images,
                       sd_error *err);

/* SD_E_NOT_FOUND when there is no such job or picture; `err` may be NULL. */
sd_status store_get(store *s, const char *id, struct store_row *out, sd_error *err);
sd_status store_get_image(store *s, const char *id, uint32_t n, struct store_image *out, sd_error *err);
/* The job that the same owner accepted under this Idempotency-Key. */
sd_status store_find(store *s, const char *owner, const char *key, struct store_row *out, sd_error *err);

/* Whether there is such a job, and of this owner. */
bool store_owns(store *s, const char *id, const char *owner);
/* Days (UTC) since 1970. */
int64_t store_day(double seconds);
/* Pictures that an owner's jobs of that day asked for, less those that were not made. Forgotten jobs count.
 */
sd_status store_pictures(store *s, const char *owner, int64_t day, uint64_t *out, sd_error *err);

/* Rows, newest first, after skipping `skip`; only of this owner unless NULL. The callback owns the row. */
sd_status store_list(store *s, const char *owner, uint32_t skip, uint32_t count,
                     void (*each)(void *user, struct store_row *row), void *user, sd_error *err);
/* Jobs that had not ended, oldest first. */
sd_status store_unfinished(store *s, void (*each)(void *user, struct store_row *row), void *user,
                           sd_error *err);
/* Jobs that have ended and whose webhook is still to be told. */
sd_status store_webhooks(store *s, void (*each)(void *user, struct store_row *row), void *user,
                         sd_error *err);
/* It was told, or given up: address and secret are forgotten. */
sd_status store_webhook_done(store *s, const char *id, sd_error *err);
/* Forgets the oldest finished jobs beyond `keep`, but none whose webhook is still to be told. */
sd_status store_prune(store *s, uint32_t keep, sd_error *err);
/* Forgets one finished job. */
sd_status store_remove(store *s, const char *id, sd_error *err);

#endif
