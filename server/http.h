/* HTTP over libmicrohttpd: requests come whole, are handled in the pool's threads, and may be answered later
 * or bit by bit. Sockets are read and written by one thread, which never waits for a handler. */
#ifndef SERVER_HTTP_H
#define SERVER_HTTP_H

#include "server/config.h"
#include "server/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct http http;

enum { HTTP_HEADERS = 12 };

/* One request and its answer. Made by the server, handed to the handler, which must end with one of the
 * functions below that answer. */
typedef struct exchange exchange;

struct http_events {
    void *user;
    /* Called in the thread of the sockets, before the body is read; must not wait. False when it has
     * answered. */
    bool (*admit)(void *user, exchange *x);
    /* Called in the thread of the sockets for what answers at once; true when it answered. */
    bool (*at_once)(void *user, exchange *x);
    /* Called in a thread of the pool. */
    void (*handle)(void *user, exchange *x);
    /* After the answer was sent, or the connection lost. Thread of the sockets. */
    void (*finished)(void *user, exchange *x);
};

/* Listens on config->listen. False after writing a sentence to `message`. *out is there before the first
 * request is. */
bool http_start(http **out, const struct config *config, pool *pool, const struct http_events *events,
                char *message, size_t size);
/* No new connections from now on; those that are there go on. */
void http_quiesce(http *http);
/* Closes all connections; exchanges that wait for an answer must have got one. NULL-safe. */
void http_stop(http **http);
uint16_t http_port(const http *http);
unsigned http_connections(const http *http);

/* ---- of a request ---- */

const char *exchange_method(const exchange *x);
const char *exchange_path(const exchange *x); /* without the query */
/* NULL when absent; names in any case. */
const char *exchange_header(const exchange *x, const char *name);
const char *exchange_query(const exchange *x, const char *name);
const uint8_t *exchange_body(const exchange *x, size_t *size); /* ends with a NUL that is not counted */
/* Takes the body apart where it is a form (multipart/form-data or urlencoded). A field comes in pieces, of
 * which the first has the offset 0; `name` may be NULL. False when `piece` was, or the body is no whole form.
 */
typedef bool (*form_piece)(void *user, const char *name, const void *data, size_t offset, size_t size);
bool exchange_form(const exchange *x, form_piece piece, void *user);
const char *exchange_peer(const exchange *x); /* address of the client */
double exchange_began(const exchange *x);     /* seconds of a steady clock */
/* Whether the client, who waits for the answer, has closed the connection meanwhile. Any thread. */
bool exchange_left(exchange *x);
/* For whoever handles it; `user` is freed with free() in the end. */
void exchange_set_user(exchange *x, void *user);
void *exchange_user(const exchange *x);

/* ---- answers ---- */

/* Adds a header to the answer; strings are copied. */
void exchange_add_header(exchange *x, const char *name, const char *value);
/* Answers with a body that is on the heap (free()d by the server) and may be NULL. Any thread. */
void exchange_reply(exchange *x, unsigned status, const char *type, void *body, size_t size);
/* The same with a copy of a text. */
void exchange_reply_text(exchange *x, unsigned status, const char *type, const char *text);
unsigned exchange_status(const exchange *x); /* of the answer, 0 before */
size_t exchange_sent(const exchange *x);     /* bytes of its body so far */

/* Begins an answer that comes bit by bit (server-sent events). */
void exchange_stream(exchange *x, const char *type);
/* Appends to it; false when the client is gone or reads so slowly that 4 MiB wait. Any thread. */
bool exchange_write(exchange *x, const char *text, size_t size);
/* The same without that limit, for results. */
bool exchange_write_result(exchange *x, const char *text, size_t size);
/* Nothing more comes; x is no longer the caller's. */
void exchange_end(exchange *x);

#endif
