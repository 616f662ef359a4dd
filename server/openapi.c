#include "server/openapi.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

extern const char sd_openapi_template[];

/* ---- operations ---- */

static cJSON *json_body(const char *schema) {
    char path[64];
    cJSON *content = cJSON_CreateObject(), *type = cJSON_AddObjectToObject(content, "application/json");
    cJSON *found = cJSON_AddObjectToObject(type, "schema");
    if (schema) {
        snprintf(path, sizeof path, "#/components/schemas/%s", schema);
        cJSON_AddStringToObject(found, "$ref", path);
    }
    return content;
}

static void add_response(cJSON *responses, const char *status, const char *description, const char *schema) {
    if (cJSON_HasObjectItem(responses, status))
        return;
    cJSON *response = cJSON_AddObjectToObject(responses, status);
    cJSON_AddStringToObject(response, "description", description);
    cJSON_AddItemToObject(response, "content", json_body(schema));
}

/* What every route may answer. */
static void add_refusals(cJSON *operation, const struct route *r, const struct server *server) {
    enum face face = face_of(r->path);
    const char *schema = face == FACE_OPENAI ? "OpenAIError" : face == FACE_NATIVE ? "Error" : NULL;
    cJSON *responses = cJSON_GetObjectItemCaseSensitive(operation, "responses");
    if (server->keys && !(r->flags & ROUTE_OPEN))
        add_response(responses, "401", "the key is missing or unknown", schema);
    add_response(responses, "403", "the Host or Origin header, or the policy, refuses it", schema);
    if (strcmp(r->method, "POST") != 0)
        return;
    add_response(responses, "413", "the body is larger than the server allows", schema);
    add_response(responses, "429", "the queue is full, or the key has had its share; see Retry-After",
                 schema);
    add_response(responses, "503", "not now", schema);
}

/* The parameters that stand in braces. */
static void add_parameters(cJSON *operation, const char *path) {
    cJSON *list = NULL;
    for (const char *at = path; (at = strchr(at, '{')); at++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at + 1, "}"), at + 1);
        list = list ? list : cJSON_AddArrayToObject(operation, "parameters");
        cJSON *p = cJSON_CreateObject();
        cJSON_AddStringToObject(p, "name", name);
        cJSON_AddStringToObject(p, "in", "path");
        cJSON_AddTrueToObject(p, "required");
        cJSON_AddStringToObject(cJSON_AddObjectToObject(p, "schema"), "type", "string");
        cJSON_AddItemToArray(list, p);
    }
}

/* Of a route that openapi.json does not describe: A1111's, whose bodies are free. */
static cJSON *plain_operation(const struct route *r) {
    cJSON *operation = cJSON_CreateObject();
    cJSON_AddStringToObject(operation, "summary", "as A1111 has it");
    add_parameters(operation, r->path);
    if (!strcmp(r->method, "POST"))
        cJSON_AddItemToObject(cJSON_AddObjectToObject(operation, "requestBody"), "content", json_body(NULL));
    cJSON *responses = cJSON_AddObjectToObject(operation, "responses");
    cJSON_AddStringToObject(cJSON_AddObjectToObject(responses, "default"), "description", "as A1111 answers");
    return operation;
}

/* ---- the document ---- */

/* The paths of the routes that there are, as `known` describes them. */
static cJSON *all_paths(const cJSON *known, const struct server *server) {
    cJSON *paths = cJSON_CreateObject();
    for (size_t t = 0; route_tables[t]; t++)
        for (const struct route *r = route_tables[t]; r->method; r++) {
            const cJSON *path = cJSON_GetObjectItemCaseSensitive(known, r->path);
            const cJSON *shared = cJSON_GetObjectItemCaseSensitive(path, "parameters");
            cJSON *out = cJSON_GetObjectItemCaseSensitive(paths, r->path);
            char method[16];
            size_t n = 0;
            for (; r->method[n] && n < sizeof method - 1; n++)
                method[n] = (char)tolower((unsigned char)r->method[n]);
            method[n] = 0;
            const cJSON *operation = cJSON_GetObjectItemCaseSensitive(path, method);
            cJSON *added = operation ? cJSON_Duplicate(operation, true) : plain_operation(r);
            out = out ? out : cJSON_AddObjectToObject(paths, r->path);
            if (shared && !cJSON_HasObjectItem(out, "parameters"))
                cJSON_AddItemToObject(out, "parameters", cJSON_Duplicate(shared, true));
            if (operation)
                add_refusals(added, r, server);
            if (server->keys && (r->flags & ROUTE_OPEN))
                cJSON_AddArrayToObject(added, "security");
            cJSON_AddItemToObject(out, method, added);
        }
    return paths;
}

/* Bearer and X-Api-Key, where keys are asked for. */
static void add_security(cJSON *document, cJSON *components) {
    cJSON *schemes = cJSON_AddObjectToObject(components, "securitySchemes");
    cJSON *bearer = cJSON_AddObjectToObject(schemes, "bearer"),
          *key = cJSON_AddObjectToObject(schemes, "key");
    cJSON_AddStringToObject(bearer, "type", "http");
    cJSON_AddStringToObject(bearer, "scheme", "bearer");
    cJSON_AddStringToObject(key, "type", "apiKey");
    cJSON_AddStringToObject(key, "in", "header");
    cJSON_AddStringToObject(key, "name", "X-Api-Key");
    cJSON *either = cJSON_AddArrayToObject(document, "security"), *item;
    cJSON_AddItemToArray(either, item = cJSON_CreateObject());
    cJSON_AddArrayToObject(item, "bearer");
    cJSON_AddItemToArray(either, item = cJSON_CreateObject());
    cJSON_AddArrayToObject(item, "key");
}

static void get_openapi(struct server *server, exchange *x, const struct route_parts *parts) {
    cJSON *document = cJSON_Parse(sd_openapi_template);
    cJSON *info = cJSON_GetObjectItemCaseSensitive(document, "info"),
          *components = cJSON_GetObjectItemCaseSensitive(document, "components");
    sd_error err;
    (void)parts;
    cJSON_ReplaceItemInObjectCaseSensitive(info, "version", cJSON_CreateString(sd_version()));
    cJSON_ReplaceItemInObjectCaseSensitive(
        document, "paths", all_paths(cJSON_GetObjectItemCaseSensitive(document, "paths"), server));
    if (server->keys)
        add_security(document, components);
    if (openapi_add_requests(cJSON_GetObjectItemCaseSensitive(components, "schemas"), server, &err)) {
        cJSON_Delete(document);
        reply_error(x, 503, NULL, "%s", err.message);
    } else
        reply_json(x, 200, document);
}

const struct route routes_openapi[] = {{"GET", "/openapi.json", get_openapi, 0}, {NULL, NULL, NULL, 0}};
