/* Options, flags, memory, and what clients ask for between pictures. */
#include "server/a1111.h"
#include "server/a1111_routes.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* The title and hash in place of the catalog's name. */
static sd_status show_model(struct server *server, cJSON *options, sd_error *err) {
    struct a1111_models models;
    struct a1111_refusal r = {0};
    sd_status status = a1111_models_list(server->catalog, &models, err);
    if (status)
        return status;
    const char *name = json_text(options, "sd_model_checkpoint", "");
    const struct a1111_model *m = a1111_models_find(&models, name, "sd_model_checkpoint", &r);
    cJSON_AddItemToObject(options, "sd_checkpoint_hash",
                          m && m->sha256[0] ? cJSON_CreateString(m->sha256) : cJSON_CreateNull());
    if (m)
        cJSON_ReplaceItemInObjectCaseSensitive(options, "sd_model_checkpoint", cJSON_CreateString(m->title));
    a1111_models_clear(&models);
    return SD_OK;
}

void a1111_get_options(struct server *server, exchange *x, const struct route_parts *parts) {
    cJSON *options = a1111_options_copy(server->a1111);
    sd_error err = {SD_E_MEMORY, "out of memory"};
    (void)parts;
    if (!options || show_model(server, options, &err)) {
        cJSON_Delete(options);
        reply_error(x, status_of(err.status), NULL, "%s", err.message);
        return;
    }
    cJSON_AddStringToObject(options, "face_restoration_model", "");
    cJSON_AddBoolToObject(options, "return_grid", false);
    reply_json(x, 200, options);
}

void a1111_post_options(struct server *server, exchange *x, const struct route_parts *parts) {
    struct a1111_refusal r = {0};
    cJSON *body = a1111_body(x, true);
    (void)parts;
    if (!body)
        return;
    if (a1111_options_keep(server->a1111, body, &r))
        exchange_reply_text(x, 200, "application/json", "null");
    else
        a1111_reply_refusal(x, &r);
    cJSON_Delete(body);
}

void a1111_get_cmd_flags(struct server *server, exchange *x, const struct route_parts *parts) {
    const char *listen = server->config.listen, *colon = strrchr(listen, ':');
    cJSON *json = cJSON_CreateObject();
    (void)parts;
    cJSON_AddBoolToObject(json, "api", true);
    cJSON_AddBoolToObject(json, "nowebui", false);
    cJSON_AddBoolToObject(json, "api_server_stop", false);
    cJSON_AddBoolToObject(json, "listen", strncmp(listen, "127.", 4) && strncmp(listen, "[::1]", 5) && colon);
    cJSON_AddNumberToObject(json, "port", strtoul(colon ? colon + 1 : listen, NULL, 10));
    cJSON_AddItemToObject(json, "device_id",
                          server->config.device ? cJSON_CreateString(server->config.device)
                                                : cJSON_CreateNull());
    cJSON_AddBoolToObject(json, "no_half",
                          server->config.precision && !strcmp(server->config.precision, "f32"));
    reply_json(x, 200, json);
}

/* ---- memory ---- */

static void add_use(cJSON *json, const char *name, double total, double used) {
    cJSON *use = cJSON_AddObjectToObject(json, name);
    cJSON_AddNumberToObject(use, "free", total - used);
    cJSON_AddNumberToObject(use, "used", used);
    cJSON_AddNumberToObject(use, "total", total);
}

static void add_peak(cJSON *json, const char *name, double bytes) {
    cJSON *use = cJSON_AddObjectToObject(json, name);
    cJSON_AddNumberToObject(use, "current", bytes);
    cJSON_AddNumberToObject(use, "peak", bytes);
}

/* What is known of the device is its size and the weights on it. */
void a1111_memory(struct server *server, exchange *x, const struct route_parts *parts) {
    struct worker_state state;
    cJSON *json = cJSON_CreateObject();
    double page = (double)sysconf(_SC_PAGESIZE), total = page * (double)sysconf(_SC_PHYS_PAGES);
    double available = page * (double)sysconf(_SC_AVPHYS_PAGES);
    (void)parts;
    worker_look(server->worker, &state);
    add_use(json, "ram", total, total - available);
    cJSON *cuda = cJSON_AddObjectToObject(json, "cuda"), *events;
    double weights = (double)state.weight_bytes;
    add_use(cuda, "system", (double)state.device.memory, weights);
    add_peak(cuda, "active", weights);
    add_peak(cuda, "allocated", weights);
    add_peak(cuda, "reserved", weights);
    add_peak(cuda, "inactive", 0);
    events = cJSON_AddObjectToObject(cuda, "events");
    cJSON_AddNumberToObject(events, "retries", 0);
    cJSON_AddNumberToObject(events, "oom", 0);
    reply_json(x, 200, json);
}

/* ---- models ---- */

void a1111_unload(struct server *server, exchange *x, const struct route_parts *parts) {
    (void)parts;
    worker_unload(server->worker);
    exchange_reply_text(x, 200, "application/json", "{}");
}

/* reload-checkpoint: the next job loads what it needs. */
void a1111_do_nothing(struct server *server, exchange *x, const struct route_parts *parts) {
    (void)server;
    (void)parts;
    exchange_reply_text(x, 200, "application/json", "{}");
}

/* Folders are read anew whenever they are asked for. */
void a1111_refresh(struct server *server, exchange *x, const struct route_parts *parts) {
    (void)server;
    (void)parts;
    exchange_reply_text(x, 200, "application/json", "null");
}
