/* From a face's request to a job: the owner's rate and quota, the policy, the audit log, the queue. */
#ifndef SERVER_SUBMIT_H
#define SERVER_SUBMIT_H

#include "server/server.h"

struct submission {
    cJSON *json; /* the native request; taken over */
    const char *face;
    bool durable;
    const char *idempotency, *webhook;
};

/* The job, held by the caller, or NULL: then `x` was answered, or, when `before` is not NULL and holds an id
 * (JOB_ID bytes), the same Idempotency-Key made that job before. */
job *submit(struct server *server, exchange *x, const struct submission *s, char *before);

#endif
