#include "server/guard.h"

#include "server/keys.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

/* ---- addresses ---- */

/* The host of "host:port", "[v6]:port", "host" or "[v6]", without brackets. */
static void host_of(const char *text, char *out, size_t size) {
    const char *end = *text == '[' ? strchr(text, ']') : strrchr(text, ':');
    if (*text == '[' && end)
        snprintf(out, size, "%.*s", (int)(end - text - 1), text + 1);
    else
        snprintf(out, size, "%.*s", end ? (int)(end - text) : (int)strlen(text), text);
}

static bool is_address(const char *host) {
    struct in6_addr out;
    return inet_pton(AF_INET, host, &out) == 1 || inet_pton(AF_INET6, host, &out) == 1;
}

static bool is_loopback_name(const char *host) {
    return !strcasecmp(host, "localhost") || !strcmp(host, "::1") ||
           (is_address(host) && !strncmp(host, "127.", 4));
}

/* Whether only this machine can reach what is listened on. */
static bool listens_on_loopback(const struct config *c) {
    char host[256] = "127.0.0.1";
    const char *colon = strrchr(c->listen, ':');
    if (colon)
        host_of(c->listen, host, sizeof host);
    return is_loopback_name(host);
}

sd_status guard_check(const struct config *c, sd_error *err) {
    if (c->keys || c->insecure || listens_on_loopback(c))
        return SD_OK;
    return sd_fail(
        err, SD_E_ARGUMENT,
        "--listen %s: others than this machine can call; expected --api-keys FILE, or --insecure to do "
        "without",
        c->listen);
}

static bool is_listed(const char *const *list, const char *name) {
    for (; *list; list++)
        if (!strcasecmp(*list, name))
            return true;
    return false;
}

/* A web page on another site can make its name point here (DNS rebinding); then the Host header has that
 * name. An address cannot be made to point anywhere. With keys such a page has none. */
static bool host_is_ours(const struct config *c, const char *header) {
    char host[256];
    if (!header)
        return true; /* no browser leaves it out */
    host_of(header, host, sizeof host);
    return !strcasecmp(host, "localhost") || is_address(host) || is_listed(c->hosts, host) ||
           (c->keys && !c->hosts[0]);
}

/* ---- origins ---- */

/* "http://localhost:7860" of a page that this server itself served. */
static bool is_same_origin(const char *origin, const char *host) {
    const char *rest = strstr(origin, "://");
    return rest && host && !strcasecmp(rest + 3, host);
}

static void allow_origin(exchange *x, const char *origin) {
    exchange_add_header(x, "Access-Control-Allow-Origin", origin);
    exchange_add_header(x, "Access-Control-Expose-Headers", "Location, Retry-After, X-Sdvk-Warnings");
    exchange_add_header(x, "Vary", "Origin");
}

/* OPTIONS: what a browser asks before another page's request. Names are echoed, because '*' leaves out
 * Authorization. */
static void answer_preflight(exchange *x) {
    const char *wanted = exchange_header(x, "Access-Control-Request-Headers");
    exchange_add_header(x, "Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
    exchange_add_header(x, "Access-Control-Allow-Headers",
                        wanted ? wanted : "authorization, content-type, idempotency-key");
    exchange_add_header(x, "Access-Control-Max-Age", "600");
    exchange_reply(x, 204, NULL, NULL, 0);
}

/* ---- keys ---- */

/* "Bearer KEY", "Basic base64(NAME:KEY)", or the header X-Api-Key. Free with free(). */
static char *presented_key(const exchange *x) {
    const char *header = exchange_header(x, "Authorization"), *plain = exchange_header(x, "X-Api-Key");
    size_t size;
    if (header && !strncasecmp(header, "Bearer ", 7))
        return strdup(header + 7);
    if (header && !strncasecmp(header, "Basic ", 6)) {
        uint8_t *decoded = base64_decode(header + 6, &size);
        char *text = decoded ? strndup((char *)decoded, size) : NULL,
             *colon = text ? strchr(text, ':') : NULL;
        free(decoded);
        char *key = colon ? strdup(colon + 1) : NULL;
        free(text);
        return key;
    }
    return plain ? strdup(plain) : NULL;
}

static bool has_key(struct server *server, exchange *x, struct session *session) {
    if (!server->keys)
        return true;
    char *presented = presented_key(x);
    session->key = presented ? keys_find(server->keys, presented) : NULL;
    free(presented);
    return session->key != NULL;
}

static bool refuse(exchange *x, unsigned status, const char *text) {
    reply_error(x, status, NULL, "%s", text);
    return false;
}

bool guard_admit(struct server *server, exchange *x) {
    const struct config *c = &server->config;
    const char *host = exchange_header(x, "Host"), *origin = exchange_header(x, "Origin");
    struct session *session = calloc(1, sizeof *session);
    exchange_set_user(x, session);
    if (!session)
        return refuse(x, 503, "out of memory");
    if (!host_is_ours(c, host))
        return refuse(x, 403, "this server is not called so (--host NAME allows a name)");
    if (origin && is_listed(c->origins, origin))
        allow_origin(x, origin);
    else if (origin && !is_same_origin(origin, host))
        return refuse(x, 403, "pages of other origins may not call (--origin allows one)");
    if (!strcmp(exchange_method(x), "OPTIONS")) {
        answer_preflight(x);
        return false;
    }
    if (!(session->route = route_find(x, &session->parts)))
        return false;
    if ((session->route->flags & ROUTE_OPEN) || has_key(server, x, session))
        return true;
    exchange_add_header(x, "WWW-Authenticate",
                        face_of(exchange_path(x)) == FACE_A1111 ? "Basic realm=\"sdvk\"" : "Bearer");
    return refuse(x, 401, "expected an API key, found none that is known");
}

void guard_end(const exchange *x) {
    struct session *s = guard_session(x);
    if (s)
        free(s->prompt);
}

struct session *guard_session(const exchange *x) {
    return exchange_user(x);
}

const char *guard_owner(const exchange *x) {
    const struct session *s = exchange_user(x);
    return s && s->key ? s->key->name : "";
}
