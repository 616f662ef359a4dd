/* POST txt2img and img2img: the answer waits for the job, no thread does. */
#include "server/a1111.h"
#include "server/a1111_routes.h"
#include "server/await.h"
#include "server/submit.h"

#include <stdlib.h>
#include <string.h>

/* The warnings as one line: what a client sent must not become a line of its own. */
static void add_warning_header(exchange *x, const cJSON *warnings) {
    char line[1024] = "";
    size_t n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, warnings) {
        const char *text = item->valuestring;
        size_t size = strlen(text);
        if (n + size + 3 > sizeof line)
            break;
        if (n) {
            memcpy(line + n, "; ", 2);
            n += 2;
        }
        for (; *text; text++)
            line[n++] = *text >= ' ' && *text <= '~' ? *text : '?';
    }
    if (n)
        exchange_add_header(x, "X-Sdvk-Warnings", line);
}

static void add_images(cJSON *reply, const job *j, bool wanted) {
    cJSON *images = cJSON_AddArrayToObject(reply, "images");
    for (uint32_t i = 0; wanted && i < j->row.images; i++) {
        char *text = base64_encode(j->results[i].data, j->results[i].size);
        cJSON_AddItemToArray(images, cJSON_CreateString(text ? text : ""));
        free(text);
    }
}

/* The request with all defaults; pictures go back only when they are asked for. */
static void add_parameters(cJSON *reply, struct a1111_request *q) {
    static const char *const pictures[] = {"init_images", "mask"}, *const seeds[] = {"seed", "subseed"};
    for (int i = 0; i < 2; i++)
        cJSON_ReplaceItemInObjectCaseSensitive(q->fields, seeds[i],
                                               json_integer((int64_t)json_number(q->fields, seeds[i], -1)));
    for (int i = 0; i < 2 && !json_flag(q->fields, "include_init_images", false); i++)
        if (q->task == A1111_IMG2IMG)
            cJSON_ReplaceItemInObjectCaseSensitive(q->fields, pictures[i], cJSON_CreateNull());
    cJSON_AddItemToObject(reply, "parameters", q->fields);
    q->fields = NULL;
}

static void answer(struct server *server, exchange *x, const job *j, void *user) {
    struct a1111_request *q = user;
    (void)server;
    if (j->row.state == JOB_FAILED) {
        struct a1111_refusal r = {0};
        a1111_translate(&r, "", j->row.error ? j->row.error : "out of memory");
        r.status = status_of(j->row.status);
        a1111_reply_refusal(x, &r);
    } else {
        cJSON *reply = cJSON_CreateObject(), *info = a1111_info(q, j);
        char *text = cJSON_PrintUnformatted(info);
        add_images(reply, j, json_flag(q->fields, "send_images", true));
        add_warning_header(x, q->warnings);
        add_parameters(reply, q);
        cJSON_AddStringToObject(reply, "info", text ? text : "");
        cJSON_free(text);
        cJSON_Delete(info);
        reply_json(x, 200, reply);
    }
    a1111_request_clear(q);
}

static void run(struct server *server, exchange *x, struct a1111_request *q, cJSON *native) {
    const struct submission s = {.json = native, .face = a1111_face};
    job *j = submit(server, x, &s, NULL);
    if (j) {
        await_job(server, x, j, answer, q);
        return;
    }
    a1111_request_clear(q);
    free(q);
}

static void generate(struct server *server, exchange *x, enum a1111_task task) {
    struct a1111_refusal r = {0};
    cJSON *body = a1111_body(x, true);
    if (!body)
        return;
    struct a1111_request *q = calloc(1, sizeof *q);
    cJSON *native = q ? a1111_request_read(q, server, body, task, &r) : NULL;
    if (native) {
        run(server, x, q, native);
        return;
    }
    if (q)
        a1111_reply_refusal(x, &r);
    else {
        cJSON_Delete(body);
        reply_error(x, 503, NULL, "out of memory");
    }
    free(q);
}

void a1111_txt2img(struct server *server, exchange *x, const struct route_parts *parts) {
    (void)parts;
    generate(server, x, A1111_TXT2IMG);
}

void a1111_post_img2img(struct server *server, exchange *x, const struct route_parts *parts) {
    (void)parts;
    generate(server, x, A1111_IMG2IMG);
}
