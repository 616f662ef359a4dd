/* OpenAI's streams: a job's previews, then its pictures, as server-sent events. */
#include "server/job_json.h"
#include "server/openai_images.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct stream {
    struct job_listener listener; /* first */
    struct task task;
    struct server *server;
    exchange *x;
    job *j;
    struct openai_answer *answer;
    uint32_t image, partials; /* which one is under way, and how many of its previews were sent */
};

/* "image_generation.completed" */
static void name_event(const struct stream *s, const char *what, char *out, size_t size) {
    snprintf(out, size, "%s.%s", s->answer->call == OPENAI_EDITS ? "image_edit" : "image_generation", what);
}

static cJSON *event_json(const struct stream *s, const char *type, bool jpeg, const uint8_t *data,
                         size_t size) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "type", type);
    if (!openai_add_base64(json, data, size)) {
        cJSON_Delete(json);
        return NULL;
    }
    cJSON_AddNumberToObject(json, "created_at", (double)(int64_t)s->j->row.created);
    openai_add_size(json, s->j);
    cJSON_AddStringToObject(json, "quality", s->answer->quality);
    cJSON_AddStringToObject(json, "background", "opaque");
    cJSON_AddStringToObject(json, "output_format", jpeg ? "jpeg" : "png");
    return json;
}

static void send_partial(struct stream *s, const job *j) {
    char type[48], *text;
    name_event(s, "partial_image", type, sizeof type);
    cJSON *json = event_json(s, type, true, j->preview, j->preview_size);
    if (!json)
        return;
    cJSON_AddNumberToObject(json, "partial_image_index", s->partials);
    if ((text = cJSON_PrintUnformatted(json)))
        send_sse(s->x, type, text);
    cJSON_free(text);
    cJSON_Delete(json);
    s->partials++;
}

/* Whether enough steps were made for the next of the previews, which come at even distances. */
static bool partial_is_due(struct stream *s, const job *j) {
    if (j->image != s->image) {
        s->image = j->image;
        s->partials = 0;
    }
    uint64_t wanted = s->answer->partials;
    return j->preview && j->phase == SD_PHASE_STEP && s->partials < wanted && j->step < j->steps &&
           j->step * (wanted + 1) >= (uint64_t)j->steps * (s->partials + 1);
}

static void send_error(struct stream *s) {
    const job *j = s->j;
    cJSON *json = cJSON_CreateObject(), *error;
    cJSON_AddStringToObject(json, "type", "error");
    error = cJSON_AddObjectToObject(json, "error");
    cJSON_AddStringToObject(error, "message", j->row.error ? j->row.error : "the job failed");
    cJSON_AddStringToObject(error, "type",
                            openai_status(j->row.status) == 400 ? "invalid_request_error" : "server_error");
    cJSON_AddNullToObject(error, "param");
    cJSON_AddStringToObject(error, "code", sd_status_name(j->row.status));
    char *text = cJSON_PrintUnformatted(json);
    if (text)
        send_sse(s->x, "error", text);
    cJSON_free(text);
    cJSON_Delete(json);
}

static void send_picture(struct stream *s, const struct store_image *image) {
    char type[48], *text = NULL, *event = NULL;
    name_event(s, "completed", type, sizeof type);
    cJSON *json = event_json(s, type, image->jpeg, image->data, image->size);
    if (json) {
        openai_add_usage(json);
        json_add_integer(json, "seed", image->seed);
        text = cJSON_PrintUnformatted(json);
    }
    size_t size = text ? strlen(text) + sizeof type + 32 : 0;
    if (text && (event = malloc(size)))
        exchange_write_result(s->x, event,
                              (size_t)snprintf(event, size, "event: %s\ndata: %s\n\n", type, text));
    free(event);
    cJSON_free(text);
    cJSON_Delete(json);
}

static void finish(struct task *task) {
    struct stream *s = (struct stream *)((char *)task - offsetof(struct stream, task));
    if (s->j->row.state == JOB_DONE)
        for (uint32_t i = 0; i < s->j->row.images; i++)
            send_picture(s, &s->j->results[i]);
    else
        send_error(s);
    exchange_end(s->x);
    job_release(s->server->jobs, &s->j);
    free(s->answer);
    free(s);
}

static void on_event(struct job_listener *listener, const job *j, enum job_event event) {
    struct stream *s = (struct stream *)listener;
    if (event == JOB_ENDED) {
        /* The pictures are encoded where nobody waits for it. */
        pool_run(s->server->pool, &s->task);
        return;
    }
    if (partial_is_due(s, j))
        send_partial(s, j);
    /* A comment keeps proxies from giving up, and shows whether the client is still there. */
    if (!exchange_write(s->x, ":\n\n", 3))
        sd_cancel_request(&s->j->cancel);
}

void openai_stream(struct server *server, exchange *x, job *j, struct openai_answer *answer) {
    struct stream *s = calloc(1, sizeof *s);
    if (!s) {
        jobs_cancel(server->jobs, j->row.id);
        job_release(server->jobs, &j);
        free(answer);
        reply_error(x, 503, NULL, "out of memory");
        return;
    }
    *s = (struct stream){.listener = {on_event, NULL},
                         .task = {finish, NULL},
                         .server = server,
                         .x = x,
                         .j = j,
                         .answer = answer};
    exchange_add_header(x, "Cache-Control", "no-store");
    exchange_stream(x, "text/event-stream");
    if (!jobs_listen(server->jobs, j, &s->listener))
        finish(&s->task);
}
