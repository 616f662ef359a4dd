#include "server/http.h"

#include <microhttpd.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { stream_limit = 4 << 20 };

struct http {
    struct MHD_Daemon *daemon;
    struct http_events events;
    pool *pool;
    size_t max_body;
    _Atomic size_t bodies; /* bytes of bodies that are held now */
    size_t max_bodies;
    uint16_t port;
    atomic_uint connections;
};

enum phase { receiving, refused, handled, answered, streaming };

struct exchange {
    struct task task; /* first: the pool gives it back */
    http *server;
    struct MHD_Connection *connection;
    char *path;
    const char *method;
    char peer[INET6_ADDRSTRLEN];
    uint8_t *body;
    size_t size, capacity, refused; /* refused: bytes that came after the answer was known */
    double began;
    void *user;
    char *headers[HTTP_HEADERS][2];
    unsigned header_count;
    pthread_mutex_t lock; /* of what follows */
    enum phase phase;
    bool suspended, gone, ended;
    unsigned holders; /* the server, and the one who streams */
    unsigned status;
    const char *type;
    char *reply;
    size_t reply_size, reply_at, reply_capacity, sent;
};

static double steady(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- of a request ---- */

const char *exchange_method(const exchange *x) {
    return x->method;
}

const char *exchange_path(const exchange *x) {
    return x->path;
}

const char *exchange_header(const exchange *x, const char *name) {
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

const char *exchange_query(const exchange *x, const char *name) {
    return MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, name);
}

const uint8_t *exchange_body(const exchange *x, size_t *size) {
    static const uint8_t nothing[1];
    *size = x->size;
    return x->body ? x->body : nothing;
}

struct form {
    form_piece piece;
    void *user;
};

static enum MHD_Result on_piece(void *user, enum MHD_ValueKind kind, const char *name, const char *file,
                                const char *type, const char *coding, const char *data, uint64_t offset,
                                size_t size) {
    struct form *form = user;
    (void)kind;
    (void)file;
    (void)type;
    (void)coding;
    return form->piece(form->user, name, data, (size_t)offset, size) ? MHD_YES : MHD_NO;
}

bool exchange_form(const exchange *x, form_piece piece, void *user) {
    struct form form = {piece, user};
    struct MHD_PostProcessor *parser =
        MHD_create_post_processor(x->connection, (size_t)64 << 10, on_piece, &form);
    if (!parser)
        return false;
    bool whole = MHD_post_process(parser, (const char *)x->body, x->body ? x->size : 0) == MHD_YES;
    return MHD_destroy_post_processor(parser) == MHD_YES && whole;
}

const char *exchange_peer(const exchange *x) {
    return x->peer;
}

double exchange_began(const exchange *x) {
    return x->began;
}

/* The server does not read from a connection that waits, so that the socket itself is asked. While it waits,
 * it is open. */
bool exchange_left(exchange *x) {
    pthread_mutex_lock(&x->lock);
    bool left = x->gone;
    const union MHD_ConnectionInfo *info =
        x->suspended ? MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CONNECTION_FD) : NULL;
    if (info) {
        char next;
        ssize_t n = recv(info->connect_fd, &next, 1, MSG_PEEK | MSG_DONTWAIT);
        left = left || !n || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
    }
    pthread_mutex_unlock(&x->lock);
    return left;
}

void exchange_set_user(exchange *x, void *user) {
    x->user = user;
}

void *exchange_user(const exchange *x) {
    return x->user;
}

unsigned exchange_status(const exchange *x) {
    return x->status;
}

size_t exchange_sent(const exchange *x) {
    return x->sent;
}

/* ---- life ---- */

static exchange *create(http *server, struct MHD_Connection *connection, const char *url,
                        const char *method) {
    exchange *x = calloc(1, sizeof *x);
    if (!x || !(x->path = strdup(url))) {
        free(x);
        return NULL;
    }
    x->server = server;
    x->connection = connection;
    x->method = method;
    x->began = steady();
    x->holders = 1;
    pthread_mutex_init(&x->lock, NULL);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info && info->client_addr->sa_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)info->client_addr)->sin_addr, x->peer, sizeof x->peer);
    else if (info && info->client_addr->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)info->client_addr)->sin6_addr, x->peer, sizeof x->peer);
    return x;
}

static void drop_body(exchange *x) {
    atomic_fetch_sub(&x->server->bodies, x->capacity);
    free(x->body);
    x->body = NULL;
    x->size = x->capacity = 0;
}

static void release(exchange *x) {
    pthread_mutex_lock(&x->lock);
    bool last = !--x->holders;
    pthread_mutex_unlock(&x->lock);
    if (!last)
        return;
    drop_body(x);
    for (unsigned i = 0; i < x->header_count; i++) {
        free(x->headers[i][0]);
        free(x->headers[i][1]);
    }
    pthread_mutex_destroy(&x->lock);
    free(x->reply);
    free(x->user);
    free(x->path);
    free(x);
}

/* ---- answers ---- */

void exchange_add_header(exchange *x, const char *name, const char *value) {
    if (x->header_count == HTTP_HEADERS)
        return;
    char *n = strdup(name), *v = strdup(value);
    if (!n || !v) {
        free(n);
        free(v);
        return;
    }
    x->headers[x->header_count][0] = n;
    x->headers[x->header_count++][1] = v;
}

/* With the lock held; the connection's next callback then finds the answer. */
static void wake(exchange *x) {
    if (x->suspended && !x->gone) {
        x->suspended = false;
        MHD_resume_connection(x->connection);
    }
}

void exchange_reply(exchange *x, unsigned status, const char *type, void *body, size_t size) {
    pthread_mutex_lock(&x->lock);
    x->status = status;
    x->type = type;
    x->reply = body;
    x->reply_size = size;
    x->phase = x->phase == receiving ? refused : answered;
    wake(x);
    pthread_mutex_unlock(&x->lock);
}

void exchange_reply_text(exchange *x, unsigned status, const char *type, const char *text) {
    char *copy = strdup(text);
    exchange_reply(x, copy ? status : 503, type, copy, copy ? strlen(copy) : 0);
}

void exchange_stream(exchange *x, const char *type) {
    pthread_mutex_lock(&x->lock);
    x->status = 200;
    x->type = type;
    x->phase = streaming;
    x->holders++;
    wake(x);
    pthread_mutex_unlock(&x->lock);
}

/* Room for `size` more bytes behind those that wait. */
static bool make_room(exchange *x, size_t size, size_t limit) {
    if (x->reply_at) {
        memmove(x->reply, x->reply + x->reply_at, x->reply_size - x->reply_at);
        x->reply_size -= x->reply_at;
        x->reply_at = 0;
    }
    if (size > limit || x->reply_size > limit - size)
        return false;
    if (x->reply_size + size > x->reply_capacity) {
        size_t capacity = 2 * (x->reply_size + size);
        char *grown = realloc(x->reply, capacity);
        if (!grown)
            return false;
        x->reply = grown;
        x->reply_capacity = capacity;
    }
    return true;
}

static bool write_limited(exchange *x, const char *text, size_t size, size_t limit) {
    pthread_mutex_lock(&x->lock);
    bool fits = !x->gone && !x->ended && make_room(x, size, limit);
    if (fits) {
        memcpy(x->reply + x->reply_size, text, size);
        x->reply_size += size;
        wake(x);
    }
    pthread_mutex_unlock(&x->lock);
    return fits;
}

bool exchange_write(exchange *x, const char *text, size_t size) {
    return write_limited(x, text, size, stream_limit);
}

bool exchange_write_result(exchange *x, const char *text, size_t size) {
    return write_limited(x, text, size, SIZE_MAX / 4);
}

void exchange_end(exchange *x) {
    pthread_mutex_lock(&x->lock);
    x->ended = true;
    wake(x);
    pthread_mutex_unlock(&x->lock);
    release(x);
}

static ssize_t read_stream(void *user, uint64_t position, char *out, size_t most) {
    exchange *x = user;
    (void)position;
    pthread_mutex_lock(&x->lock);
    size_t waiting = x->reply_size - x->reply_at, n = waiting < most ? waiting : most;
    if (n)
        memcpy(out, x->reply + x->reply_at, n);
    x->reply_at += n;
    x->sent += n;
    ssize_t result = n ? (ssize_t)n : x->ended ? MHD_CONTENT_READER_END_OF_STREAM : 0;
    if (!result) {
        x->suspended = true;
        MHD_suspend_connection(x->connection);
    }
    pthread_mutex_unlock(&x->lock);
    return result;
}

static enum MHD_Result queue_answer(exchange *x) {
    struct MHD_Response *response;
    if (x->phase == streaming)
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, read_stream, x, NULL);
    else {
        response = MHD_create_response_from_buffer(x->reply_size, x->reply, MHD_RESPMEM_MUST_FREE);
        x->sent = x->reply_size;
        if (response)
            x->reply = NULL;
    }
    if (!response)
        return MHD_NO;
    if (x->type)
        MHD_add_response_header(response, "Content-Type", x->type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    for (unsigned i = 0; i < x->header_count; i++)
        MHD_add_response_header(response, x->headers[i][0], x->headers[i][1]);
    enum MHD_Result result = MHD_queue_response(x->connection, x->status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- receiving ---- */

static bool take_bytes(exchange *x, const char *data, size_t size) {
    http *server = x->server;
    if (x->size + size + 1 > x->capacity) {
        size_t capacity = x->size + size + 1, wanted = 2 * capacity;
        capacity = wanted < server->max_body + 1 ? wanted : capacity;
        size_t more = capacity - x->capacity;
        if (atomic_fetch_add(&server->bodies, more) + more > server->max_bodies) {
            atomic_fetch_sub(&server->bodies, more);
            return false;
        }
        uint8_t *grown = realloc(x->body, capacity);
        if (!grown) {
            atomic_fetch_sub(&server->bodies, more);
            return false;
        }
        x->body = grown;
        x->capacity = capacity;
    }
    memcpy(x->body + x->size, data, size);
    x->size += size;
    x->body[x->size] = 0;
    return true;
}

static void too_large(exchange *x) {
    char text[160];
    snprintf(text, sizeof text, "{\"error\":\"the body is larger than the limit of %zu MiB\"}",
             x->server->max_body >> 20);
    exchange_reply_text(x, 413, "application/json", text);
}

/* False when a sender goes on without end: beyond twice the limit, since many read no answer before they have
 * sent all. */
static bool receive(exchange *x, const char *data, size_t size) {
    if (x->phase != receiving)
        return (x->refused += size) <= 2 * x->server->max_body;
    if (x->size + size > x->server->max_body) {
        drop_body(x);
        too_large(x);
    } else if (!take_bytes(x, data, size)) {
        drop_body(x);
        exchange_add_header(x, "Retry-After", "5");
        exchange_reply_text(x, 503, "application/json",
                            "{\"error\":\"too many large requests are being received; try again\"}");
    }
    return true;
}

static void run_handler(struct task *task) {
    exchange *x = (exchange *)task;
    x->server->events.handle(x->server->events.user, x);
}

/* A refusal comes behind the body, or the sender would meet a closed connection; at once where the sender
 * waits for a word before it sends, or would send without end. */
static enum MHD_Result begin(http *server, exchange *x) {
    const char *header = exchange_header(x, "Content-Length");
    unsigned long long length = header ? strtoull(header, NULL, 10) : 0;
    bool admitted = server->events.admit(server->events.user, x);
    if (admitted && length > server->max_body)
        too_large(x);
    bool now = exchange_header(x, "Expect") || length > 2 * server->max_body;
    return x->phase == refused && now ? queue_answer(x) : MHD_YES;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data, size_t *size,
                                  void **state) {
    http *server = user;
    exchange *x = *state;
    (void)version;
    if (!x) {
        x = *state = create(server, connection, url, method);
        return x ? begin(server, x) : MHD_NO;
    }
    if (*size) {
        bool more = receive(x, data, *size);
        *size = 0;
        return more ? MHD_YES : MHD_NO;
    }
    pthread_mutex_lock(&x->lock);
    enum phase phase = x->phase;
    if (phase == receiving)
        x->phase = handled;
    pthread_mutex_unlock(&x->lock);
    if (phase == receiving && !server->events.at_once(server->events.user, x)) {
        pthread_mutex_lock(&x->lock);
        x->suspended = true;
        MHD_suspend_connection(connection);
        pthread_mutex_unlock(&x->lock);
        x->task.run = run_handler;
        if (!pool_run(server->pool, &x->task))
            exchange_reply_text(x, 503, "application/json", "{\"error\":\"the server is stopping\"}");
        return MHD_YES;
    }
    return queue_answer(x);
}

static void on_completed(void *user, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code) {
    http *server = user;
    exchange *x = *state;
    (void)connection;
    (void)code;
    if (!x)
        return;
    pthread_mutex_lock(&x->lock);
    x->gone = true;
    pthread_mutex_unlock(&x->lock);
    server->events.finished(server->events.user, x);
    release(x);
    *state = NULL;
}

static void on_connection(void *user, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code) {
    http *server = user;
    (void)connection;
    (void)context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        atomic_fetch_add(&server->connections, 1);
    else
        atomic_fetch_sub(&server->connections, 1);
}

/* ---- listening ---- */

/* "host:port", "[v6]:port" or "port". */
static int open_socket(const char *listen_on, char *message, size_t size) {
    char host[256] = "127.0.0.1";
    const char *colon = strrchr(listen_on, ':'), *port = colon ? colon + 1 : listen_on;
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found;
    if (colon) {
        bool brackets = listen_on[0] == '[' && colon > listen_on + 1 && colon[-1] == ']';
        snprintf(host, sizeof host, "%.*s", (int)(colon - listen_on) - (brackets ? 2 : 0),
                 listen_on + brackets);
    }
    char *end;
    if (*port < '0' || *port > '9' || strtoul(port, &end, 10) > UINT16_MAX || *end) {
        snprintf(message, size, "--listen %s: expected a port from 0 to 65535, found '%s'", listen_on, port);
        return -1;
    }
    int code = getaddrinfo(*host ? host : NULL, port, &hints, &found);
    if (code) {
        snprintf(message, size, "--listen %s: %s", listen_on, gai_strerror(code));
        return -1;
    }
    int one = 1, fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, 511)) {
        snprintf(message, size, "--listen %s: %s", listen_on, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static uint16_t port_of(int fd) {
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &size))
        return 0;
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

bool http_start(http **out, const struct config *config, pool *workers, const struct http_events *events,
                char *message, size_t size) {
    http *server = *out = calloc(1, sizeof *server);
    int fd = server ? open_socket(config->listen, message, size) : -1;
    if (!server)
        snprintf(message, size, "out of memory");
    if (fd < 0) {
        free(server);
        *out = NULL;
        return false;
    }
    server->events = *events;
    server->pool = workers;
    server->max_body = (size_t)config->max_body_mib << 20;
    server->max_bodies = (size_t)config->max_bodies_mib << 20;
    server->port = port_of(fd);
    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, NULL, NULL, on_request,
        server, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_CONNECTION_LIMIT,
        config->max_connections, MHD_OPTION_CONNECTION_TIMEOUT, config->timeout,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)64 << 10, MHD_OPTION_END);
    if (!server->daemon) {
        snprintf(message, size, "--listen %s: the HTTP server could not start", config->listen);
        close(fd);
        free(server);
        *out = NULL;
    }
    return *out != NULL;
}

void http_quiesce(http *server) {
    int fd = MHD_quiesce_daemon(server->daemon);
    if (fd >= 0)
        close(fd);
}

void http_stop(http **handle) {
    if (!*handle)
        return;
    MHD_stop_daemon((*handle)->daemon);
    free(*handle);
    *handle = NULL;
}

uint16_t http_port(const http *server) {
    return server->port;
}

unsigned http_connections(const http *server) {
    return atomic_load(&((http *)server)->connections);
}
