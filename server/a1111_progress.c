/* GET progress, POST interrupt and skip: of the job that runs now, when it is one of this face's and the
 * caller's. */
#include "server/a1111.h"
#include "server/a1111_routes.h"
#include "server/guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char a1111_face[] = "a1111";

static job *running(struct server *server, const exchange *x) {
    job *j = jobs_running(server->jobs);
    if (j && (strcmp(j->row.face, a1111_face) || strcmp(j->row.owner, guard_owner(x))))
        job_release(server->jobs, &j);
    return j;
}

/* Clients take 0 and no jobs for idle. */
struct shown {
    double progress, left, started;
    uint32_t jobs, job, step, steps;
    bool img2img, interrupted, skipped, image;
    char *picture; /* base64 */
};

static void look(void *user, const job *j) {
    struct shown *s = user;
    /* Pictures are made one after the other, each of them is a job in A1111's words. */
    double each = 1.0 / j->images, step = j->steps ? (double)j->step / j->steps : 0;
    double progress = 0.01 + j->image * each + step * each;
    s->progress = progress < 1 ? progress : 1;
    s->left = j->estimate > 0 ? j->estimate : 0;
    s->started = j->row.started;
    s->jobs = j->images;
    s->job = j->image;
    s->step = j->step;
    s->steps = j->steps;
    s->img2img = json_get(j->request.json, "init_image") != NULL;
    s->interrupted = sd_cancel_requested(&j->cancel);
    s->skipped = sd_cancel_requested(&j->skip);
    if (s->image && j->preview)
        s->picture = base64_encode(j->preview, j->preview_size);
}

static cJSON *state_of(const struct shown *s) {
    cJSON *state = cJSON_CreateObject();
    char stamp[32] = "0";
    time_t whole = (time_t)s->started;
    struct tm tm;
    if (s->jobs) {
        localtime_r(&whole, &tm);
        strftime(stamp, sizeof stamp, "%Y%m%d%H%M%S", &tm);
    }
    cJSON_AddBoolToObject(state, "skipped", s->skipped);
    cJSON_AddBoolToObject(state, "interrupted", s->interrupted);
    cJSON_AddBoolToObject(state, "stopping_generation", s->interrupted);
    cJSON_AddStringToObject(state, "job", !s->jobs ? "" : s->img2img ? "scripts_img2img" : "scripts_txt2img");
    cJSON_AddNumberToObject(state, "job_count", s->jobs);
    cJSON_AddStringToObject(state, "job_timestamp", stamp);
    cJSON_AddNumberToObject(state, "job_no", s->job);
    cJSON_AddNumberToObject(state, "sampling_step", s->step);
    cJSON_AddNumberToObject(state, "sampling_steps", s->steps);
    return state;
}

void a1111_progress(struct server *server, exchange *x, const struct route_parts *parts) {
    const char *skip = exchange_query(x, "skip_current_image");
    struct shown s = {.image = !skip || !*skip || !strcmp(skip, "false") || !strcmp(skip, "0")};
    job *j = running(server, x);
    (void)parts;
    if (j)
        jobs_look(server->jobs, j, look, &s);
    job_release(server->jobs, &j);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "progress", s.progress);
    cJSON_AddNumberToObject(json, "eta_relative", s.left);
    cJSON_AddItemToObject(json, "state", state_of(&s));
    cJSON_AddItemToObject(json, "current_image",
                          s.picture ? cJSON_CreateString(s.picture) : cJSON_CreateNull());
    cJSON_AddNullToObject(json, "textinfo");
    free(s.picture);
    reply_json(x, 200, json);
}

void a1111_interrupt(struct server *server, exchange *x, const struct route_parts *parts) {
    job *j = running(server, x);
    (void)parts;
    if (j)
        jobs_cancel(server->jobs, j->row.id);
    job_release(server->jobs, &j);
    exchange_reply_text(x, 200, "application/json", "{}");
}

void a1111_skip(struct server *server, exchange *x, const struct route_parts *parts) {
    job *j = running(server, x);
    (void)parts;
    if (j)
        job_skip(j);
    job_release(server->jobs, &j);
    exchange_reply_text(x, 200, "application/json", "null");
}
