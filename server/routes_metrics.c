/* GET /metrics: Prometheus' text format. */
#include "server/record.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
    char *data;
    size_t size, capacity;
};

static void put(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->data + t->size, t->capacity - t->size, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < t->capacity - t->size)
        t->size += (size_t)n;
}

static void gauge(struct text *t, const char *name, const char *type, const char *help, double value) {
    put(t, "# HELP sdvk_%s %s\n# TYPE sdvk_%s %s\nsdvk_%s %.17g\n", name, help, name, type, name, value);
}

static void put_requests(struct text *t, const recorder *r) {
    put(t, "# HELP sdvk_requests_total Requests that were answered, by status.\n# TYPE sdvk_requests_total "
           "counter\n");
    for (unsigned status = 100; status < 600; status++)
        if (record_count(r, status))
            put(t, "sdvk_requests_total{code=\"%u\"} %llu\n", status,
                (unsigned long long)record_count(r, status));
}

static void put_jobs(struct text *t, const struct worker_state *s) {
    put(t,
        "# HELP sdvk_jobs_total Jobs that have ended, by how.\n# TYPE sdvk_jobs_total counter\n"
        "sdvk_jobs_total{state=\"done\"} %llu\nsdvk_jobs_total{state=\"failed\"} %llu\n"
        "sdvk_jobs_total{state=\"cancelled\"} %llu\n",
        (unsigned long long)s->done, (unsigned long long)s->failures, (unsigned long long)s->cancelled);
}

static void get_metrics(struct server *server, exchange *x, const struct route_parts *parts) {
    struct text t = {.capacity = 64 << 10};
    struct worker_state s;
    (void)parts;
    worker_look(server->worker, &s);
    job *running = jobs_running(server->jobs);
    if (!(t.data = malloc(t.capacity))) {
        job_release(server->jobs, &running);
        reply_error(x, 503, NULL, "out of memory");
        return;
    }
    put_requests(&t, server->recorder);
    put_jobs(&t, &s);
    gauge(&t, "ready", "gauge", "1 when the device is open.", s.ready);
    gauge(&t, "queue_jobs", "gauge", "Jobs that wait.", jobs_waiting(server->jobs));
    gauge(&t, "running_jobs", "gauge", "Jobs that run.", running != NULL);
    gauge(&t, "pictures_total", "counter", "Pictures that were made.", (double)s.pictures);
    gauge(&t, "steps_total", "counter", "Denoising steps of jobs that are done.", (double)s.steps);
    gauge(&t, "step_seconds_total", "counter", "Seconds of those steps.", s.step_seconds);
    gauge(&t, "busy_seconds_total", "counter", "Seconds that jobs took that are done.", s.busy_seconds);
    gauge(&t, "lost_devices_total", "counter", "Times that the device was lost and opened again.",
          (double)s.lost_devices);
    gauge(&t, "models_loaded", "gauge", "Models that are loaded.", s.models);
    gauge(&t, "weight_bytes", "gauge", "Device memory of their weights.", (double)s.weight_bytes);
    gauge(&t, "device_memory_bytes", "gauge", "Memory of the device.", (double)s.device.memory);
    gauge(&t, "connections", "gauge", "Clients that are connected.", http_connections(server->http));
    job_release(server->jobs, &running);
    exchange_reply(x, 200, "text/plain; version=0.0.4; charset=utf-8", t.data, t.size);
}

const struct route routes_metrics[] = {{"GET", "/metrics", get_metrics, 0}, {NULL, NULL, NULL, 0}};
