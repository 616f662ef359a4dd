#include "server/submit.h"

#include "server/guard.h"
#include "server/keys.h"
#include "server/policy.h"
#include "server/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void too_many(exchange *x, uint32_t wait, const char *what) {
    char text[16];
    snprintf(text, sizeof text, "%u", wait);
    exchange_add_header(x, "Retry-After", text);
    reply_error(x, 429, NULL, "this key has had its %s; try again in %u seconds", what, wait);
}

/* Jobs a minute. */
static bool within_rate(struct server *server, exchange *x) {
    const struct key *key = guard_session(x)->key;
    uint32_t wait;
    if (!key || keys_take(server->keys, key, &wait))
        return true;
    too_many(x, wait, "jobs of this minute");
    return false;
}

/* What the policy says of it; false when it was answered. */
static bool judge(struct server *server, exchange *x, const struct job_request *r, struct verdict *verdict) {
    bool openai = face_of(exchange_path(x)) == FACE_OPENAI;
    policy_judge(server->policy, guard_owner(x), catalog_default(server->catalog), r, verdict);
    if (verdict->allowed)
        return true;
    record_refusal(server, x, r->json, verdict);
    reply_error(x, openai ? 400 : 403, verdict->field, "%s", verdict->reason);
    return false;
}

static job *enqueue(struct server *server, exchange *x, const struct submission *s, struct job_request *r,
                    const struct verdict *verdict, char *before) {
    char id[JOB_ID] = "", field[64];
    job *j;
    sd_error err = {0};
    const struct key *key = guard_session(x)->key;
    const struct job_spec spec = {.request = r,
                                  .face = s->face,
                                  .owner = guard_owner(x),
                                  .durable = s->durable,
                                  .idempotency = s->idempotency,
                                  .webhook = s->webhook,
                                  .verdict = verdict->version,
                                  .daily = key ? key->images : 0};
    enum submitted result = jobs_submit(server->jobs, &spec, &j, id, field, &err);
    memcpy(guard_session(x)->job, id, JOB_ID);
    if (j && server->config.log_prompts)
        guard_session(x)->prompt = strdup(j->request.params.prompt);
    if (result == SUBMITTED_BEFORE && before)
        memcpy(before, id, JOB_ID);
    else if (result == SUBMIT_DAILY)
        too_many(x, (uint32_t)(86400 - time(NULL) % 86400), "pictures of this day");
    else if (result != SUBMITTED)
        reply_refusal(x, result, field, &err);
    return j;
}

job *submit(struct server *server, exchange *x, const struct submission *s, char *before) {
    struct job_request r;
    struct verdict verdict;
    char field[64];
    sd_error err = {0};
    if (before)
        *before = 0;
    if (!within_rate(server, x)) {
        cJSON_Delete(s->json);
        return NULL;
    }
    if (job_request_read(&r, &server->config, s->json, field, &err)) {
        reply_refusal(x, SUBMIT_INVALID, field, &err);
        return NULL;
    }
    if (judge(server, x, &r, &verdict))
        return enqueue(server, x, s, &r, &verdict, before);
    job_request_clear(&r);
    return NULL;
}
