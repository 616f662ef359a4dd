/* The access log (one JSON line a request) and the audit log (who asked for what, and what came of it). */
#ifndef SERVER_RECORD_H
#define SERVER_RECORD_H

#include "server/policy.h"
#include "server/server.h"

typedef struct recorder recorder;

/* Opens both where the configuration names them. */
sd_status recorder_open(recorder **out, const struct config *config, sd_error *err);
void recorder_close(recorder **r);

/* A request was answered. */
void record_access(struct server *server, exchange *x);
/* A request that the policy refused. */
void record_refusal(struct server *server, exchange *x, const cJSON *request, const struct verdict *verdict);
/* A job was accepted. An error refuses it: nothing is rendered that the log does not know. */
sd_status record_accepted(void *recorder, const job *j, const char *request, sd_error *err);
/* A job has ended. What the log cannot take now, it gets before the next entry. */
void record_ended(void *recorder, const job *j);

/* Why the last entry of the audit log was not written, false when it was. Does not wait for the disk. */
bool record_trouble(recorder *r, char *out, size_t size);
/* Whether entries can be written: where the last one could not, one that tells so is tried. */
sd_status record_check(recorder *r, sd_error *err);

/* Requests by status, for the metrics. */
uint64_t record_count(const recorder *r, unsigned status);

#endif
