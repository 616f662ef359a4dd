/* Telling other servers that a job has ended: a POST of its JSON, signed, tried again until it is taken. What
 * is still to be told lies in the store, so that it survives the server; it is told at least once. */
#ifndef SERVER_WEBHOOK_H
#define SERVER_WEBHOOK_H

#include "server/jobs.h"

/* The native face's field {"url": ..., "secret": ...} as the text that the store keeps; free(). NULL after
 * saying why it is refused: only hosts that the operator has listed are called. */
char *webhook_read(const cJSON *item, const struct config *config, sd_error *err);

/* Whether the operator has listed the address's host. */
sd_status webhook_check_url(const char *url, const struct config *config, sd_error *err);

typedef struct webhook webhook;

/* Starts the thread that calls, unless no hosts are listed (*out NULL). */
sd_status webhook_start(webhook **out, const struct config *config, jobs *all, sd_error *err);
/* Hears of the end of every job, as an observer of jobs. NULL-safe. */
void webhook_ended(webhook *w, const job *j);
/* Lets calls that were never tried end, for a few seconds. No job may end any more. NULL-safe. */
void webhook_stop(webhook **w);

/* The header's value "v1,BASE64" for a call, as the Standard Webhooks specification has it: HMAC-SHA-256 of
 * "ID.TIMESTAMP.BODY", keyed with the secret, or with what it holds in base64 behind "whsec_". False when the
 * secret cannot be read. */
enum { WEBHOOK_SIGNATURE = 48 };
bool webhook_sign(char out[WEBHOOK_SIGNATURE], const char *secret, const char *id, int64_t time,
                  const char *body);

#endif
