/* The native face: jobs. */
#include "server/guard.h"
#include "server/job_json.h"
#include "server/submit.h"
#include "server/webhook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- POST /v1/jobs ---- */

/* Takes the webhook, which is no part of what is rendered, out of the request. */
static bool detach_webhook(struct server *server, cJSON *json, char **text, sd_error *err) {
    cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(json, "webhook");
    bool wanted = item && !cJSON_IsNull(item);
    *text = wanted ? webhook_read(item, &server->config, err) : NULL;
    cJSON_Delete(item);
    return !wanted || *text;
}

static void post_job(struct server *server, exchange *x, const struct route_parts *parts) {
    size_t size;
    const uint8_t *body = exchange_body(x, &size);
    cJSON *json = json_parse(body, size);
    char before[JOB_ID], address[80];
    const char *key = exchange_header(x, "Idempotency-Key");
    sd_error err = {0};
    (void)parts;
    if (!cJSON_IsObject(json) || (key && (!*key || strlen(key) > 255))) {
        if (cJSON_IsObject(json))
            reply_error(x, 422, NULL, "Idempotency-Key: expected 1 to 255 characters");
        else
            reply_error(x, 422, NULL, "expected a JSON object%s", json_found(body, size));
        cJSON_Delete(json);
        return;
    }
    char *call = NULL;
    if (!detach_webhook(server, json, &call, &err)) {
        cJSON_Delete(json);
        reply_error(x, err.status == SD_E_MEMORY ? 503 : 422, "webhook", "%s", err.message);
        return;
    }
    const struct submission s = {
        .json = json, .face = "native", .durable = true, .idempotency = key, .webhook = call};
    job *j = submit(server, x, &s, before);
    free(call);
    if (!j && !*before)
        return;
    const char *id = j ? j->row.id : before;
    cJSON *answer = job_json(server, id, &err);
    snprintf(address, sizeof address, "/v1/jobs/%s", id);
    exchange_add_header(x, "Location", address);
    if (answer)
        reply_json(x, j ? 202 : 200, answer);
    else
        reply_error(x, 503, NULL, "%s", err.message);
    job_release(server->jobs, &j);
}

/* Answers and gives false when there is no such job of the caller's. */
static bool is_own(struct server *server, exchange *x, const struct route_parts *parts) {
    if (store_owns(jobs_store(server->jobs), parts->text[0], guard_owner(x)))
        return true;
    reply_error(x, 404, NULL, "there is no such job");
    return false;
}

/* ---- GET /v1/jobs, /v1/jobs/{id} ---- */

static void append(void *user, struct store_row *row) {
    cJSON_AddItemToArray(user, job_json_row(row));
    store_row_clear(row);
}

/* A number of the query; false after refusing it. */
static bool read_count(exchange *x, const char *name, uint32_t low, uint32_t high, uint32_t *out) {
    const char *text = exchange_query(x, name);
    char *end = NULL;
    unsigned long value = text && *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;
    if (!text)
        return true;
    if (!end || *end || value < low || value > high) {
        reply_error(x, 422, name, "%s: expected a whole number from %u to %u, found '%.40s'", name, low, high,
                    text);
        return false;
    }
    *out = (uint32_t)value;
    return true;
}

static void list_jobs(struct server *server, exchange *x, const struct route_parts *parts) {
    uint32_t skip = 0, limit = 50;
    sd_error err;
    (void)parts;
    if (!read_count(x, "skip", 0, INT32_MAX, &skip) || !read_count(x, "limit", 1, 500, &limit))
        return;
    cJSON *json = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(json, "jobs");
    if (store_list(jobs_store(server->jobs), guard_owner(x), skip, limit, append, list, &err)) {
        cJSON_Delete(json);
        reply_error(x, 503, NULL, "%s", err.message);
        return;
    }
    reply_json(x, 200, json);
}

static void get_job(struct server *server, exchange *x, const struct route_parts *parts) {
    sd_error err;
    if (!is_own(server, x, parts))
        return;
    cJSON *json = job_json(server, parts->text[0], &err);
    if (json)
        reply_json(x, 200, json);
    else
        reply_error(x, err.status == SD_E_NOT_FOUND ? 404 : 503, NULL, "%s", err.message);
}

/* A job that waits or runs is cancelled; one that has ended is forgotten. */
static void delete_job(struct server *server, exchange *x, const struct route_parts *parts) {
    const char *id = parts->text[0];
    sd_error err;
    if (!is_own(server, x, parts))
        return;
    bool cancelled = jobs_cancel(server->jobs, id);
    cJSON *json = job_json(server, id, &err);
    if (!json) {
        reply_error(x, err.status == SD_E_NOT_FOUND ? 404 : 503, NULL, "%s", err.message);
        return;
    }
    if (!cancelled && jobs_forget(server->jobs, id, &err)) {
        cJSON_Delete(json);
        reply_error(x, 503, NULL, "%s", err.message);
        return;
    }
    reply_json(x, cancelled ? 202 : 200, json);
}

static void get_image(struct server *server, exchange *x, const struct route_parts *parts) {
    struct store_image image;
    char *end;
    sd_error err;
    if (!is_own(server, x, parts))
        return;
    unsigned long n = strtoul(parts->text[1], &end, 10);
    sd_status status = *end || n > UINT32_MAX ? sd_fail(&err, SD_E_NOT_FOUND, "there is no such picture")
                                              : store_get_image(jobs_store(server->jobs), parts->text[0],
                                                                (uint32_t)n, &image, &err);
    if (status) {
        reply_error(x, status == SD_E_NOT_FOUND ? 404 : 503, NULL, "%s", err.message);
        return;
    }
    exchange_add_header(x, "Cache-Control", "private, max-age=31536000, immutable");
    exchange_reply(x, 200, image.jpeg ? "image/jpeg" : "image/png", image.data, image.size);
    image.data = NULL;
    store_image_clear(&image);
}

/* ---- GET /v1/jobs/{id}/events ---- */

struct follower {
    struct job_listener listener; /* first */
    exchange *x;
    uint32_t preview; /* the last that was sent */
};

static void send_event(struct follower *f, const char *name, cJSON *data) {
    char *text = cJSON_PrintUnformatted(data);
    if (text)
        send_sse(f->x, name, text);
    cJSON_free(text);
    cJSON_Delete(data);
}

static void send_preview(struct follower *f, const job *j) {
    char *text = j->preview ? base64_encode(j->preview, j->preview_size) : NULL;
    if (!text)
        return;
    cJSON *data = cJSON_CreateObject();
    cJSON_AddNumberToObject(data, "step", j->step);
    cJSON_AddStringToObject(data, "jpeg", text);
    free(text);
    send_event(f, "preview", data);
    f->preview = j->preview_number;
}

static void on_event(struct job_listener *listener, const job *j, enum job_event event) {
    struct follower *f = (struct follower *)listener;
    if (event == JOB_PROGRESS && j->preview_number != f->preview)
        send_preview(f, j);
    send_event(f,
               event == JOB_ENDED     ? job_state_name(j->row.state)
               : event == JOB_STARTED ? "started"
                                      : "progress",
               job_json_live(j, 0));
    if (event == JOB_ENDED) {
        exchange_end(f->x);
        free(f);
    }
}

static void send_now(void *user, const job *j) {
    send_event(user, job_state_name(j->row.state), job_json_live(j, 0));
}

static void get_events(struct server *server, exchange *x, const struct route_parts *parts) {
    if (!is_own(server, x, parts))
        return;
    struct follower *f = calloc(1, sizeof *f);
    job *j = f ? jobs_find(server->jobs, parts->text[0]) : NULL;
    struct store_row row;
    sd_error err = {SD_E_MEMORY, "out of memory"};
    exchange_add_header(x, "Cache-Control", "no-store");
    if (f && !j && !store_get(jobs_store(server->jobs), parts->text[0], &row, &err)) {
        /* It ended before: one event says how. */
        exchange_stream(x, "text/event-stream");
        f->x = x;
        send_event(f, job_state_name(row.state), job_json_row(&row));
        store_row_clear(&row);
        exchange_end(x);
        free(f);
        return;
    }
    if (!j) {
        free(f);
        reply_error(x, err.status == SD_E_NOT_FOUND ? 404 : 503, NULL, "%s", err.message);
        return;
    }
    f->listener.event = on_event;
    f->x = x;
    exchange_stream(x, "text/event-stream");
    jobs_look(server->jobs, j, send_now, f);
    if (!jobs_listen(server->jobs, j, &f->listener)) {
        jobs_look(server->jobs, j, send_now, f);
        exchange_end(x);
        free(f);
    }
    job_release(server->jobs, &j);
}

const struct route routes_jobs[] = {{"POST", "/v1/jobs", post_job, 0},
                                    {"GET", "/v1/jobs", list_jobs, 0},
                                    {"GET", "/v1/jobs/{id}", get_job, 0},
                                    {"DELETE", "/v1/jobs/{id}", delete_job, 0},
                                    {"GET", "/v1/jobs/{id}/events", get_events, 0},
                                    {"GET", "/v1/jobs/{id}/images/{n}", get_image, 0},
                                    {NULL, NULL, NULL, 0}};
