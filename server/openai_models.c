/* OpenAI's list of models: the checkpoints. */
#include "server/openai_images.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static cJSON *model_json(const sd_library_file *file) {
    struct stat st;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", file->name);
    cJSON_AddStringToObject(json, "object", "model");
    cJSON_AddNumberToObject(json, "created", stat(file->path, &st) ? 0 : (double)st.st_mtime);
    cJSON_AddStringToObject(json, "owned_by", "sdvk");
    return json;
}

static void append(void *user, const sd_library_file *file) {
    cJSON_AddItemToArray(user, model_json(file));
}

void openai_models(struct server *server, exchange *x, const struct route_parts *parts) {
    cJSON *json = cJSON_CreateObject();
    sd_error err;
    (void)parts;
    cJSON_AddStringToObject(json, "object", "list");
    sd_status status = catalog_each(server->catalog, SD_LIBRARY_CHECKPOINT, append,
                                    cJSON_AddArrayToObject(json, "data"), &err);
    if (status) {
        cJSON_Delete(json);
        reply_error(x, 503, NULL, "%s", err.message);
    } else
        reply_json(x, 200, json);
}

struct search {
    const char *name;
    cJSON *found;
};

static void compare(void *user, const sd_library_file *file) {
    struct search *s = user;
    if (!s->found && !strcmp(file->name, s->name))
        s->found = model_json(file);
}

void openai_model(struct server *server, exchange *x, const struct route_parts *parts) {
    char name[sizeof parts->text + 1];
    struct search s = {name, NULL};
    sd_error err;
    snprintf(name, sizeof name, "%s%s%s", parts->text[0], *parts->text[1] ? "/" : "", parts->text[1]);
    sd_status status = catalog_each(server->catalog, SD_LIBRARY_CHECKPOINT, compare, &s, &err);
    if (s.found)
        reply_json(x, 200, s.found);
    else if (status)
        reply_error(x, 503, NULL, "%s", err.message);
    else
        reply_error(x, 404, "model", "there is no model '%s'; /v1/models lists them", name);
}
