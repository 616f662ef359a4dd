/* What the server was started with. */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

enum { SERVER_ORIGINS = 16 };

/* Strings live as long as the program. */
struct config {
    const char *listen; /* "127.0.0.1:7860", "[::1]:7860", "7860" */
    const char *models; /* the folder of models, or NULL */
    const char *model;  /* the default model: a path or a name in the folder */
    const char *device, *precision;
    const char *state;                   /* folder of the job store; NULL: in memory */
    const char *keys;                    /* file of API keys, or NULL */
    const char *policy;                  /* file of the prompt policy, or NULL */
    const char *audit;                   /* file of the audit log, or NULL */
    const char *access;                  /* file of the access log, "-" for standard error, or NULL */
    const char *origins[SERVER_ORIGINS]; /* that may call from browsers, NULL-terminated */
    const char *hosts[SERVER_ORIGINS];   /* names beside those of loopback that the Host header may have */
    const char *webhook_hosts[SERVER_ORIGINS]; /* that are called when jobs end, NULL-terminated */
    const char *webhook_ca; /* file of the certificates that prove them, or NULL: the system's */
    bool insecure;          /* no keys needed, whatever address is listened on */
    bool log_prompts;       /* in the access log */
    bool lenient, quiet, verbose;
    uint32_t max_body_mib, max_bodies_mib; /* one request, and all that are being received */
    uint32_t max_side, max_pixels;         /* of a picture; pixels in thousands */
    uint32_t max_steps, max_count;         /* steps and pictures of a job */
    uint32_t max_queue, max_connections;
    uint32_t timeout;       /* seconds without a byte until a connection is closed */
    uint32_t keep_jobs;     /* finished jobs that are kept */
    uint32_t keep_models;   /* models that may stay loaded beside the one in use */
    uint32_t webhook_tries; /* calls of one that does not answer */
};

/* Fills in the defaults, then the arguments. 0, or the exit code after a message; *done: nothing is left to
 * do
 * (--help, --version). */
int config_read(struct config *out, int argc, char **argv, bool *done);

#endif
