/* Whether the server lives, and whether it can render. */
#include "server/server.h"

static void healthz(struct server *server, exchange *x, const struct route_parts *parts) {
    (void)server;
    (void)parts;
    exchange_reply_text(x, 200, "application/json", "{\"status\":\"ok\"}");
}

static void readyz(struct server *server, exchange *x, const struct route_parts *parts) {
    struct worker_state state;
    cJSON *json = cJSON_CreateObject();
    (void)parts;
    worker_look(server->worker, &state);
    cJSON_AddStringToObject(json, "status", state.ready ? "ready" : state.failed ? "failed" : "starting");
    if (state.failed)
        cJSON_AddStringToObject(json, "error", state.error);
    if (state.ready)
        cJSON_AddStringToObject(json, "device", state.device.name);
    cJSON_AddNumberToObject(json, "waiting", jobs_waiting(server->jobs));
    reply_json(x, state.ready ? 200 : 503, json);
}

const struct route routes_health[] = {{"GET", "/healthz", healthz, ROUTE_AT_ONCE | ROUTE_OPEN},
                                      {"GET", "/readyz", readyz, ROUTE_OPEN},
                                      {NULL, NULL, NULL, 0}};
