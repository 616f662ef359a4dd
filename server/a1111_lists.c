/* What there is to choose from. */
#include "server/a1111.h"
#include "server/a1111_routes.h"

#include <stdlib.h>
#include <string.h>

/* ---- samplers and schedules ---- */

static void add_names(cJSON *item, const sd_names *names) {
    cJSON *aliases = cJSON_AddArrayToObject(item, "aliases");
    cJSON_AddItemToArray(aliases, cJSON_CreateString(names->name));
    for (const char *const *a = names->aliases; a && *a; a++)
        cJSON_AddItemToArray(aliases, cJSON_CreateString(*a));
}

void a1111_samplers(struct server *server, exchange *x, const struct route_parts *parts) {
    cJSON *list = cJSON_CreateArray();
    sd_names names;
    (void)server;
    (void)parts;
    for (size_t i = 0; sd_sampler_at(i, &names); i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", names.label);
        add_names(item, &names);
        cJSON_AddObjectToObject(item, "options");
        cJSON_AddItemToArray(list, item);
    }
    reply_json(x, 200, list);
}

static void add_schedule(cJSON *list, const sd_names *names) {
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "name", names->name);
    cJSON_AddStringToObject(item, "label", names->label);
    if (names->aliases)
        add_names(item, names);
    else
        cJSON_AddNullToObject(item, "aliases");
    cJSON_AddNumberToObject(item, "default_rho", -1);
    cJSON_AddBoolToObject(item, "need_inner_model", false);
    cJSON_AddItemToArray(list, item);
}

void a1111_schedulers(struct server *server, exchange *x, const struct route_parts *parts) {
    cJSON *list = cJSON_CreateArray();
    sd_names names = {.name = "automatic", .label = "Automatic"};
    (void)server;
    (void)parts;
    add_schedule(list, &names);
    for (size_t i = 0; sd_schedule_at(i, &names); i++)
        add_schedule(list, &names);
    reply_json(x, 200, list);
}

/* ---- files ---- */

void a1111_sd_models(struct server *server, exchange *x, const struct route_parts *parts) {
    struct a1111_models models;
    sd_error err;
    (void)parts;
    if (a1111_models_list(server->catalog, &models, &err)) {
        reply_error(x, status_of(err.status), NULL, "%s", err.message);
        return;
    }
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < models.count; i++) {
        const struct a1111_model *m = &models.items[i];
        char hash[11] = "";
        cJSON *item = cJSON_CreateObject();
        memcpy(hash, m->sha256, 10);
        cJSON_AddStringToObject(item, "title", m->title);
        cJSON_AddStringToObject(item, "model_name", m->model_name);
        cJSON_AddItemToObject(item, "hash", *hash ? cJSON_CreateString(hash) : cJSON_CreateNull());
        cJSON_AddItemToObject(item, "sha256", *hash ? cJSON_CreateString(m->sha256) : cJSON_CreateNull());
        /* Not where the server keeps it, which is nobody's business. */
        cJSON_AddStringToObject(item, "filename", m->file);
        cJSON_AddNullToObject(item, "config");
        cJSON_AddItemToArray(list, item);
    }
    a1111_models_clear(&models);
    reply_json(x, 200, list);
}

static void reply_files(struct server *server, exchange *x, sd_library_kind kind,
                        void (*add)(void *user, const sd_library_file *file), cJSON *user, cJSON *whole) {
    sd_error err;
    if (catalog_each(server->catalog, kind, add, user, &err)) {
        cJSON_Delete(whole);
        reply_error(x, status_of(err.status), NULL, "%s", err.message);
    } else
        reply_json(x, 200, whole);
}

static void add_vae(void *list, const sd_library_file *file) {
    cJSON *item = cJSON_CreateObject();
    char *name = a1111_file_of(file);
    cJSON_AddStringToObject(item, "model_name", name ? name : file->name);
    cJSON_AddStringToObject(item, "filename", name ? name : file->name);
    cJSON_AddItemToArray(list, item);
    free(name);
}

void a1111_sd_vae(struct server *server, exchange *x, const struct route_parts *parts) {
    cJSON *list = cJSON_CreateArray();
    (void)parts;
    reply_files(server, x, SD_LIBRARY_VAE, add_vae, list, list);
}

/* Texts that are JSON objects are shown as such. */
static cJSON *metadata_of(const char *path) {
    char *text;
    if (sd_file_metadata_texts(path, &text, NULL))
        return cJSON_CreateObject();
    cJSON *json = cJSON_Parse(text), *next;
    free(text);
    for (cJSON *item = json ? json->child : NULL; item; item = next) {
        next = item->next;
        cJSON *value = *item->valuestring == '{' ? cJSON_Parse(item->valuestring) : NULL;
        if (value)
            cJSON_ReplaceItemInObjectCaseSensitive(json, item->string, value);
    }
    return json ? json : cJSON_CreateObject();
}

static void add_lora(void *list, const sd_library_file *file) {
    const char *slash = strrchr(file->name, '/'), *stem = slash ? slash + 1 : file->name;
    cJSON *item = cJSON_CreateObject(), *metadata = metadata_of(file->path);
    char *shown = a1111_file_of(file);
    cJSON_AddStringToObject(item, "name", stem);
    cJSON_AddStringToObject(item, "alias", json_text(metadata, "ss_output_name", stem));
    cJSON_AddStringToObject(item, "path", shown ? shown : file->name);
    cJSON_AddItemToObject(item, "metadata", metadata);
    cJSON_AddItemToArray(list, item);
    free(shown);
}

void a1111_loras(struct server *server, exchange *x, const struct route_parts *parts) {
    cJSON *list = cJSON_CreateArray();
    (void)parts;
    reply_files(server, x, SD_LIBRARY_LORA, add_lora, list, list);
}

static void add_embedding(void *user, const sd_library_file *file) {
    cJSON *whole = user, *item = cJSON_CreateObject();
    const char *slash = strrchr(file->name, '/');
    char *text = NULL;
    cJSON *info = sd_file_info(file->path, NULL, &text, NULL) ? NULL : cJSON_Parse(text);
    const cJSON *widths = cJSON_GetObjectItemCaseSensitive(info, "widths");
    cJSON_AddNullToObject(item, "step");
    cJSON_AddNullToObject(item, "sd_checkpoint");
    cJSON_AddNullToObject(item, "sd_checkpoint_name");
    cJSON_AddNumberToObject(item, "shape", cJSON_GetArraySize(widths) ? widths->child->valuedouble : 0);
    cJSON_AddNumberToObject(item, "vectors", json_number(info, "vectors", 0));
    cJSON_AddItemToObject(cJSON_GetObjectItemCaseSensitive(whole, widths ? "loaded" : "skipped"),
                          slash ? slash + 1 : file->name, item);
    cJSON_Delete(info);
    free(text);
}

void a1111_embeddings(struct server *server, exchange *x, const struct route_parts *parts) {
    cJSON *whole = cJSON_CreateObject();
    (void)parts;
    cJSON_AddObjectToObject(whole, "loaded");
    cJSON_AddObjectToObject(whole, "skipped");
    reply_files(server, x, SD_LIBRARY_EMBEDDING, add_embedding, whole, whole);
}

/* ---- what needs no file ---- */

void a1111_nothing(struct server *server, exchange *x, const struct route_parts *parts) {
    (void)server;
    (void)parts;
    exchange_reply_text(x, 200, "application/json", "[]");
}

void a1111_scripts(struct server *server, exchange *x, const struct route_parts *parts) {
    (void)server;
    (void)parts;
    exchange_reply_text(x, 200, "application/json", "{\"txt2img\":[],\"img2img\":[]}");
}

void a1111_upscalers(struct server *server, exchange *x, const struct route_parts *parts) {
    static const char *const names[] = {"None", "Lanczos"}, *const empty[] = {"model_name", "model_path",
                                                                              "model_url"};
    cJSON *list = cJSON_CreateArray();
    (void)server;
    (void)parts;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", names[i]);
        for (size_t k = 0; k < sizeof empty / sizeof *empty; k++)
            cJSON_AddNullToObject(item, empty[k]);
        cJSON_AddNumberToObject(item, "scale", 4);
        cJSON_AddItemToArray(list, item);
    }
    reply_json(x, 200, list);
}

void a1111_latent_modes(struct server *server, exchange *x, const struct route_parts *parts) {
    static const char *const names[] = {"Latent",           "Latent (antialiased)",
                                        "Latent (bicubic)", "Latent (bicubic antialiased)",
                                        "Latent (nearest)", "Latent (nearest-exact)"};
    cJSON *list = cJSON_CreateArray();
    (void)server;
    (void)parts;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", names[i]);
        cJSON_AddItemToArray(list, item);
    }
    reply_json(x, 200, list);
}
