/* Jobs as the native face shows them. */
#ifndef SERVER_JOB_JSON_H
#define SERVER_JOB_JSON_H

#include "server/server.h"

/* A job by its id, from memory while it lives, else from the store. NULL with SD_E_NOT_FOUND or another
 * error. */
cJSON *job_json(struct server *server, const char *id, sd_error *err);
/* One that has ended, or its state when the store last knew it. */
cJSON *job_json_row(const struct store_row *row);
/* One that may be read now (jobs.h); `position` of a waiting one. */
cJSON *job_json_live(const job *j, uint32_t position);

/* One server-sent event. */
bool send_sse(exchange *x, const char *name, const char *data);

#endif
