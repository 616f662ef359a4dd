/* The page at /, and what it offers to choose from. */
#include "server/server.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const char server_page[];
extern const size_t server_page_size;

/* 'sha256-...' of what stands between two marks, for the content security policy. */
static void hash_between(const char *from, const char *to, char *out, size_t size) {
    uint8_t hash[32];
    const char *begin = strstr(server_page, from) + strlen(from), *end = strstr(begin, to);
    EVP_Digest(begin, (size_t)(end - begin), hash, NULL, EVP_sha256(), NULL);
    char *text = base64_encode(hash, sizeof hash);
    snprintf(out, size, "'sha256-%s'", text ? text : "");
    free(text);
}

static void get_page(struct server *server, exchange *x, const struct route_parts *parts) {
    char script[80], style[80], sources[512];
    (void)server;
    (void)parts;
    hash_between("<script>", "</script>", script, sizeof script);
    hash_between("<style>", "</style>", style, sizeof style);
    snprintf(
        sources, sizeof sources,
        "default-src 'none'; script-src %s; style-src %s; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        script, style);
    exchange_add_header(x, "Content-Security-Policy", sources);
    exchange_add_header(x, "Referrer-Policy", "no-referrer");
    exchange_add_header(x, "Cross-Origin-Opener-Policy", "same-origin");
    exchange_add_header(x, "Cache-Control", "no-cache");
    exchange_reply_text(x, 200, "text/html; charset=utf-8", server_page);
}

static void append(void *user, const sd_library_file *file) {
    cJSON_AddItemToArray(user, cJSON_CreateString(file->name));
}

static void add_names(cJSON *json, const char *name, const catalog *files, sd_library_kind kind) {
    /* A folder that is not there has no files. */
    catalog_each(files, kind, append, cJSON_AddArrayToObject(json, name), NULL);
}

static void add_choices(cJSON *json, const char *name, bool (*each)(size_t index, sd_names *out)) {
    cJSON *list = cJSON_AddArrayToObject(json, name);
    sd_names names;
    for (size_t i = 0; each(i, &names); i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(names.name));
}

static void get_catalog(struct server *server, exchange *x, const struct route_parts *parts) {
    const struct config *c = &server->config;
    struct worker_state state;
    cJSON *json = cJSON_CreateObject();
    (void)parts;
    worker_look(server->worker, &state);
    cJSON_AddStringToObject(json, "default", catalog_default(server->catalog));
    add_names(json, "models", server->catalog, SD_LIBRARY_CHECKPOINT);
    add_names(json, "loras", server->catalog, SD_LIBRARY_LORA);
    add_names(json, "vaes", server->catalog, SD_LIBRARY_VAE);
    add_names(json, "embeddings", server->catalog, SD_LIBRARY_EMBEDDING);
    add_choices(json, "samplers", sd_sampler_at);
    add_choices(json, "schedules", sd_schedule_at);
    cJSON *limits = cJSON_AddObjectToObject(json, "limits");
    cJSON_AddNumberToObject(limits, "steps", c->max_steps);
    cJSON_AddNumberToObject(limits, "count", c->max_count);
    cJSON_AddNumberToObject(limits, "side", c->max_side);
    cJSON_AddNumberToObject(limits, "pixels", (double)c->max_pixels * 1000);
    cJSON_AddItemToObject(json, "device",
                          state.ready ? cJSON_CreateString(state.device.name) : cJSON_CreateNull());
    cJSON_AddStringToObject(json, "version", sd_version());
    reply_json(x, 200, json);
}

const struct route routes_page[] = {
    {"GET", "/", get_page, ROUTE_OPEN}, {"GET", "/v1/catalog", get_catalog, 0}, {NULL, NULL, NULL, 0}};
