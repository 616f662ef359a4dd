#include "server/job_json.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* RFC 3339 in UTC, milliseconds. */
static void add_time(cJSON *json, const char *name, double seconds) {
    char text[64], day[40];
    time_t whole = (time_t)seconds;
    struct tm tm;
    if (seconds <= 0) {
        cJSON_AddNullToObject(json, name);
        return;
    }
    gmtime_r(&whole, &tm);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof text, "%s.%03dZ", day, (int)((seconds - (double)whole) * 1000));
    cJSON_AddStringToObject(json, name, text);
}

static void add_images(cJSON *json, const struct store_row *row) {
    cJSON *list = cJSON_AddArrayToObject(json, "images");
    char address[96];
    for (uint32_t i = 0; i < row->images; i++) {
        cJSON *image = cJSON_CreateObject();
        snprintf(address, sizeof address, "/v1/jobs/%s/images/%u", row->id, i);
        cJSON_AddStringToObject(image, "url", address);
        json_add_integer(image, "seed", row->seed + i);
        cJSON_AddItemToArray(list, image);
    }
}

cJSON *job_json_row(const struct store_row *row) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", row->id);
    cJSON_AddStringToObject(json, "state", job_state_name(row->state));
    cJSON_AddStringToObject(json, "face", row->face);
    json_add_integer(json, "seed", row->seed);
    add_time(json, "created", row->created);
    add_time(json, "started", row->started);
    add_time(json, "finished", row->finished);
    if (row->state == JOB_DONE || row->images)
        add_images(json, row);
    if (row->error && row->state != JOB_DONE) {
        cJSON *error = cJSON_AddObjectToObject(json, "error");
        cJSON_AddStringToObject(error, "code", sd_status_name(row->status));
        cJSON_AddStringToObject(error, "message", row->error);
    }
    return json;
}

cJSON *job_json_live(const job *j, uint32_t position) {
    static const char *const phases[] = {[SD_PHASE_TEXT] = "text",
                                         [SD_PHASE_ENCODE] = "encode",
                                         [SD_PHASE_STEP] = "step",
                                         [SD_PHASE_DECODE] = "decode",
                                         [SD_PHASE_COMPILE] = "compile"};
    cJSON *json = job_json_row(&j->row);
    if (j->row.state == JOB_QUEUED)
        cJSON_AddNumberToObject(json, "position", position);
    if (j->row.state != JOB_RUNNING)
        return json;
    cJSON *progress = cJSON_AddObjectToObject(json, "progress");
    cJSON_AddNumberToObject(progress, "fraction", j->progress);
    cJSON_AddStringToObject(progress, "phase", phases[j->phase]);
    cJSON_AddNumberToObject(progress, "image", j->image);
    cJSON_AddNumberToObject(progress, "images", j->images);
    cJSON_AddNumberToObject(progress, "step", j->step);
    cJSON_AddNumberToObject(progress, "steps", j->steps);
    if (j->estimate >= 0)
        cJSON_AddNumberToObject(progress, "seconds_left", j->estimate);
    return json;
}

struct look {
    cJSON *json;
    uint32_t position;
    double typical; /* seconds of a job */
};

static void look(void *user, const job *j) {
    struct look *l = user;
    l->json = job_json_live(j, l->position);
    if (j->row.state == JOB_QUEUED && l->typical > 0)
        cJSON_AddNumberToObject(l->json, "estimate", l->typical * (l->position + 1));
}

cJSON *job_json(struct server *server, const char *id, sd_error *err) {
    struct store_row row;
    job *j = jobs_find(server->jobs, id);
    if (j) {
        struct look l = {.position = jobs_position(server->jobs, j), .typical = jobs_typical(server->jobs)};
        jobs_look(server->jobs, j, look, &l);
        job_release(server->jobs, &j);
        return l.json;
    }
    if (store_get(jobs_store(server->jobs), id, &row, err))
        return NULL;
    cJSON *json = job_json_row(&row);
    store_row_clear(&row);
    return json;
}

bool send_sse(exchange *x, const char *name, const char *data) {
    char head[64];
    size_t n = (size_t)snprintf(head, sizeof head, "event: %s\ndata: ", name);
    return exchange_write(x, head, n) && exchange_write(x, data, strlen(data)) &&
           exchange_write(x, "\n\n", 2);
}
