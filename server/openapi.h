/* The OpenAPI document: what lies in openapi.json, completed from the tables of routes, options and fields,
 * and from the files that requests may name. */
#ifndef SERVER_OPENAPI_H
#define SERVER_OPENAPI_H

#include "server/server.h"

/* Adds JobRequest, Generation, Edit, Variation and the forms of the last two. */
sd_status openapi_add_requests(cJSON *schemas, struct server *server, sd_error *err);

#endif
