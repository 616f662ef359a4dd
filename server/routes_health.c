/* Whether the server lives, and whether it can take jobs. */
#include "server/record.h"

/* A full disk is told, but does not make it unhealthy: a restart would not mend it. */
static void healthz(struct server *server, exchange *x, const struct route_parts *parts) {
    char trouble[256];
    cJSON *json = cJSON_CreateObject();
    (void)parts;
    cJSON_AddStringToObject(json, "status", "ok");
    if (store_trouble(jobs_store(server->jobs), trouble, sizeof trouble) ||
        record_trouble(server->recorder, trouble, sizeof trouble))
        cJSON_AddStringToObject(json, "trouble", trouble);
    reply_json(x, 200, json);
}

static void readyz(struct server *server, exchange *x, const struct route_parts *parts) {
    struct worker_state state;
    sd_error err;
    cJSON *json = cJSON_CreateObject();
    (void)parts;
    worker_look(server->worker, &state);
    bool keeps = !jobs_check_store(server->jobs, &err) && !record_check(server->recorder, &err);
    cJSON_AddStringToObject(json, "status",
                            state.failed || !keeps ? "failed"
                            : state.ready          ? "ready"
                                                   : "starting");
    if (state.failed || !keeps)
        cJSON_AddStringToObject(json, "error", state.failed ? state.error : err.message);
    if (state.ready)
        cJSON_AddStringToObject(json, "device", state.device.name);
    cJSON_AddNumberToObject(json, "waiting", jobs_waiting(server->jobs));
    reply_json(x, state.ready && keeps ? 200 : 503, json);
}

const struct route routes_health[] = {{"GET", "/healthz", healthz, ROUTE_AT_ONCE | ROUTE_OPEN},
                                      {"GET", "/readyz", readyz, ROUTE_OPEN},
                                      {NULL, NULL, NULL, 0}};
