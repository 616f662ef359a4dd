/* OpenAI's image calls. */
#include "server/openai_images.h"

#include "server/await.h"
#include "server/openai_form.h"
#include "server/submit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* ---- shapes of answers ---- */

void openai_add_usage(cJSON *json) {
    static const char *const sums[] = {"total_tokens", "input_tokens", "output_tokens"};
    cJSON *usage = cJSON_AddObjectToObject(json, "usage"), *details;
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        cJSON_AddNumberToObject(usage, sums[i], 0);
    details = cJSON_AddObjectToObject(usage, "input_tokens_details");
    cJSON_AddNumberToObject(details, "text_tokens", 0);
    cJSON_AddNumberToObject(details, "image_tokens", 0);
}

bool openai_add_base64(cJSON *json, const uint8_t *data, size_t size) {
    char *text = base64_encode(data, size);
    bool added = text && cJSON_AddStringToObject(json, "b64_json", text);
    free(text);
    return added;
}

void openai_add_size(cJSON *json, const job *j) {
    char size[32];
    double width = j->request.params.width, height = j->request.params.height;
    if ((width == 0 || height == 0) && j->row.state == JOB_DONE) {
        /* The model's own, which only the picture's record tells. */
        const char *text = j->results[0].json;
        cJSON *record = text ? json_parse(text, strlen(text)) : NULL;
        width = json_number(record, "width", 0);
        height = json_number(record, "height", 0);
        cJSON_Delete(record);
    }
    if (width == 0 || height == 0)
        return;
    snprintf(size, sizeof size, "%.0fx%.0f", width, height);
    cJSON_AddStringToObject(json, "size", size);
}

unsigned openai_status(sd_status status) {
    unsigned code = status_of(status);
    return code == 422 ? 400 : code;
}

/* The address of a picture, as the client calls this server. */
static void add_url(cJSON *json, struct server *server, const exchange *x, const job *j, uint32_t n) {
    const char *host = exchange_header(x, "Host"), *proxy = exchange_header(x, "X-Forwarded-Proto");
    char here[32], url[512];
    snprintf(here, sizeof here, "127.0.0.1:%u", http_port(server->http));
    snprintf(url, sizeof url, "%s://%.300s/v1/jobs/%s/images/%u",
             proxy && !strcasecmp(proxy, "https") ? "https" : "http", host && *host ? host : here, j->row.id,
             n);
    cJSON_AddStringToObject(json, "url", url);
}

/* ---- whole answers ---- */

static void reply_failure(exchange *x, const job *j) {
    bool later = j->row.status == SD_E_DEVICE_LOST || j->row.status == SD_E_CANCELLED;
    if (!later)
        exchange_add_header(x, "x-should-retry", "false");
    reply_error(x, openai_status(j->row.status), NULL, "%s", j->row.error ? j->row.error : "the job failed");
}

static void answer(struct server *server, exchange *x, const job *j, void *user) {
    const struct openai_answer *a = user;
    if (j->row.state != JOB_DONE) {
        reply_failure(x, j);
        return;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "created", (double)(int64_t)j->row.finished);
    cJSON *data = cJSON_AddArrayToObject(json, "data");
    bool whole = true;
    for (uint32_t i = 0; i < j->row.images; i++) {
        cJSON *item = cJSON_CreateObject();
        if (a->url)
            add_url(item, server, x, j, i);
        else
            whole = openai_add_base64(item, j->results[i].data, j->results[i].size) && whole;
        json_add_integer(item, "seed", j->results[i].seed);
        cJSON_AddItemToArray(data, item);
    }
    cJSON_AddStringToObject(json, "background", "opaque");
    cJSON_AddStringToObject(json, "output_format", j->request.encoding.jpeg ? "jpeg" : "png");
    openai_add_size(json, j);
    if (!strcmp(a->quality, "low") || !strcmp(a->quality, "medium") || !strcmp(a->quality, "high"))
        cJSON_AddStringToObject(json, "quality", a->quality);
    openai_add_usage(json);
    if (whole)
        reply_json(x, 200, json);
    else {
        cJSON_Delete(json);
        reply_error(x, 503, NULL, "out of memory");
    }
}

static void wait_for(struct server *server, exchange *x, job *j, struct openai_answer *a) {
    await_job(server, x, j, answer, a);
}

/* ---- requests ---- */

static bool is_form(const exchange *x) {
    const char *type = exchange_header(x, "Content-Type");
    return type && !strncasecmp(type, "multipart/form-data", 19);
}

/* The body as JSON, or NULL after refusing it. */
static cJSON *read_body(exchange *x, enum openai_call call, bool form) {
    size_t size;
    char field[64];
    sd_error err;
    if (form && call == OPENAI_GENERATIONS) {
        reply_error(x, 400, NULL, "expected a JSON object, found a form");
        return NULL;
    }
    const uint8_t *body = exchange_body(x, &size);
    cJSON *json = form ? openai_form(x, field, &err) : json_parse(body, size);
    if (!json && form)
        reply_error(x, err.status == SD_E_MEMORY ? 503 : 400, field, "%s", err.message);
    else if (!json)
        reply_error(x, 400, NULL, "expected a JSON object%s%s",
                    call == OPENAI_GENERATIONS ? "" : " or a form (multipart/form-data)",
                    json_found(body, size));
    return json;
}

static void run(struct server *server, exchange *x, struct openai_request *r) {
    const struct submission s = {.json = r->json, .face = "openai"};
    struct openai_answer *a = malloc(sizeof *a);
    r->json = NULL;
    if (*r->warnings)
        exchange_add_header(x, "X-Sdvk-Warnings", r->warnings);
    job *j = submit(server, x, &s, NULL);
    if (j && a) {
        *a = (struct openai_answer){.call = r->call, .url = r->url, .partials = r->partials};
        snprintf(a->quality, sizeof a->quality, "%s", r->quality);
        (r->stream ? openai_stream : wait_for)(server, x, j, a);
        return;
    }
    free(a);
    if (!j)
        return;
    jobs_cancel(server->jobs, j->row.id);
    job_release(server->jobs, &j);
    reply_error(x, 503, NULL, "out of memory");
}

static void handle(struct server *server, exchange *x, enum openai_call call) {
    struct openai_request r;
    char field[64];
    sd_error err;
    bool form = is_form(x);
    cJSON *body = read_body(x, call, form);
    if (!body)
        return;
    sd_status status = openai_read(&r, call, body, form, &server->config, field, &err);
    if (status)
        reply_error(x, openai_status(status), field, "%s", err.message);
    else
        run(server, x, &r);
}

static void generations(struct server *server, exchange *x, const struct route_parts *parts) {
    (void)parts;
    handle(server, x, OPENAI_GENERATIONS);
}

static void edits(struct server *server, exchange *x, const struct route_parts *parts) {
    (void)parts;
    handle(server, x, OPENAI_EDITS);
}

static void variations(struct server *server, exchange *x, const struct route_parts *parts) {
    (void)parts;
    handle(server, x, OPENAI_VARIATIONS);
}

const struct route routes_openai[] = {{"POST", "/v1/images/generations", generations, 0},
                                      {"POST", "/v1/images/edits", edits, 0},
                                      {"POST", "/v1/images/variations", variations, 0},
                                      {"GET", "/v1/models", openai_models, 0},
                                      {"GET", "/v1/models/{id}", openai_model, 0},
                                      {"GET", "/v1/models/{folder}/{id}", openai_model, 0},
                                      {NULL, NULL, NULL, 0}};
