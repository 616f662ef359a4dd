/* What routes work with. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "server/http.h"
#include "server/jobs.h"
#include "server/worker.h"

struct keys;
struct policy;
struct recorder;

struct server {
    struct config config;
    catalog *catalog;
    jobs *jobs;
    worker *worker;
    pool *pool;
    http *http;
    struct keys *keys;     /* or NULL */
    struct policy *policy; /* or NULL */
    struct recorder *recorder;
    struct webhook *webhook; /* or NULL */
    struct a1111_options *a1111;
};

/* The parts of a path that a route's pattern leaves open. */
enum { ROUTE_PARTS = 2 };
struct route_parts {
    char text[ROUTE_PARTS][256];
};

struct route {
    const char *method, *path; /* "/v1/jobs/{id}/images/{n}": parts in braces match anything but '/' */
    void (*handle)(struct server *server, exchange *x, const struct route_parts *parts);
    unsigned flags;
};
enum {
    ROUTE_AT_ONCE = 1, /* answers at once, in the thread of the sockets */
    ROUTE_OPEN = 2     /* needs no key */
};

/* Which of the faces a path belongs to: their errors look different. */
enum face { FACE_NATIVE, FACE_A1111, FACE_OPENAI };
enum face face_of(const char *path);

/* Tables of routes, ended by a NULL method. */
extern const struct route routes_health[], routes_jobs[], routes_openai[], routes_metrics[], routes_openapi[],
    routes_page[], routes_a1111[];

/* All of them; ended by NULL. */
extern const struct route *const route_tables[];

/* The route of a request, or NULL after answering 404 or 405. */
const struct route *route_find(exchange *x, struct route_parts *parts);

/* Answers with JSON, which is taken over. */
void reply_json(exchange *x, unsigned status, cJSON *json);
/* Answers with an error in the face's own shape. `field` is what is wrong in the request, or NULL. */
void reply_error(exchange *x, unsigned status, const char *field, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for what jobs_submit says. */
void reply_refusal(exchange *x, enum submitted result, const char *field, const sd_error *err);
/* The HTTP status that fits the end of a job. */
unsigned status_of(sd_status status);

#endif
