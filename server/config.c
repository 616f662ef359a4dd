#include "server/config.h"
#include "server/keys.h"

#include "sd/sd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { usage_error = 2 };

enum kind { kind_text, kind_count, kind_flag, kind_list };

static const struct option {
    const char *name, *value, *help;
    enum kind kind;
    size_t offset;
    uint32_t low, high, fallback; /* of counts */
} options[] = {
#define FIELD(name) offsetof(struct config, name)
    {"listen", "ADDRESS", "address and port; default: 127.0.0.1:7860", kind_text, FIELD(listen), 0, 0, 0},
    {"models", "DIR", "folder of models as A1111 or ComfyUI lay it out", kind_text, FIELD(models), 0, 0, 0},
    {"model", "NAME", "the model that is used when a request names none", kind_text, FIELD(model), 0, 0, 0},
    {"device", "DEVICE", "index, name or UUID from `sdvk devices`", kind_text, FIELD(device), 0, 0, 0},
    {"precision", "TYPE", "auto, f32 or f16", kind_text, FIELD(precision), 0, 0, 0},
    {"state", "DIR", "folder in which jobs are kept; default: none, in memory", kind_text, FIELD(state), 0, 0,
     0},
    {"api-keys", "FILE", "who may call; needed when others than this machine can", kind_text, FIELD(keys), 0,
     0, 0},
    {"insecure", NULL, "listen to everybody without keys", kind_flag, FIELD(insecure), 0, 0, 0},
    {"origin", "ORIGIN", "a web page's origin that may call, such as http://localhost:3000; may be repeated",
     kind_list, FIELD(origins), 0, 0, 0},
    {"host", "NAME", "a name that this server is called by; may be repeated", kind_list, FIELD(hosts), 0, 0,
     0},
    {"webhook-host", "NAME", "a host that may be told of the end of jobs; may be repeated", kind_list,
     FIELD(webhook_hosts), 0, 0, 0},
    {"webhook-ca", "FILE", "certificates (PEM) that prove https hosts of webhooks; default: the system's",
     kind_text, FIELD(webhook_ca), 0, 0, 0},
    {"webhook-tries", "COUNT", "calls of a webhook that does not answer, after 1, 2, 4 ... seconds",
     kind_count, FIELD(webhook_tries), 1, 50, 12},
    {"policy", "FILE", "what prompts may ask for (policy.json)", kind_text, FIELD(policy), 0, 0, 0},
    {"audit", "FILE", "log of who asked for what, chained by hashes", kind_text, FIELD(audit), 0, 0, 0},
    {"access-log", "FILE", "log of requests as JSON lines; - for standard error", kind_text, FIELD(access), 0,
     0, 0},
    {"log-prompts", NULL, "write prompts into the access log", kind_flag, FIELD(log_prompts), 0, 0, 0},
    {"lenient", NULL, "ignore keys of LoRAs that fit no layer", kind_flag, FIELD(lenient), 0, 0, 0},
    {"max-body", "MIB", "size of a request", kind_count, FIELD(max_body_mib), 1, 1024, 64},
    {"max-bodies", "MIB", "size of all requests that are being received", kind_count, FIELD(max_bodies_mib),
     1, 65536, 512},
    {"max-side", "PIXELS", "width or height of a picture", kind_count, FIELD(max_side), 64, 8192, 2048},
    {"max-pixels", "THOUSANDS", "pixels of a picture", kind_count, FIELD(max_pixels), 4, 67108, 4200},
    {"max-steps", "COUNT", "steps of a picture", kind_count, FIELD(max_steps), 1, 1000, 150},
    {"max-count", "COUNT", "pictures of a job", kind_count, FIELD(max_count), 1, 1000, 16},
    {"max-queue", "COUNT", "jobs that may wait", kind_count, FIELD(max_queue), 1, 100000, 64},
    {"max-connections", "COUNT", "clients at a time", kind_count, FIELD(max_connections), 8, 60000, 4096},
    {"timeout", "SECONDS", "until a client that sends nothing is dropped", kind_count, FIELD(timeout), 1,
     3600, 30},
    {"keep-jobs", "COUNT", "finished jobs that are kept", kind_count, FIELD(keep_jobs), 0, 1000000, 1000},
    {"keep-models", "COUNT", "models that stay loaded beside the one in use", kind_count, FIELD(keep_models),
     0, 15, 0},
    {"quiet", NULL, "print nothing but errors", kind_flag, FIELD(quiet), 0, 0, 0},
    {"verbose", NULL, "log what happens", kind_flag, FIELD(verbose), 0, 0, 0},
    {"new-key", "NAME", "make a key for --api-keys and print it", kind_text, 0, 0, 0, 0},
    {"version", NULL, "print the version", kind_flag, 0, 0, 0, 0},
    {"help", NULL, "print this help", kind_flag, 0, 0, 0, 0},
};

enum { option_count = sizeof options / sizeof *options };

static void help(void) {
    puts("usage: sdvk-server [options]\n\nServes pictures over HTTP: A1111's API, OpenAI's, jobs, and a "
         "page.\n");
    for (size_t i = 0; i < option_count; i++) {
        char name[64];
        snprintf(name, sizeof name, "--%s %s", options[i].name, options[i].value ? options[i].value : "");
        printf("  %-26s %s", name, options[i].help);
        if (options[i].kind == kind_count)
            printf(" (%u to %u); default: %u", options[i].low, options[i].high, options[i].fallback);
        putchar('\n');
    }
}

static int complain(const char *format, const char *a, const char *b) {
    fputs("sdvk-server: ", stderr);
    fprintf(stderr, format, a, b);
    fputc('\n', stderr);
    return usage_error;
}

static const struct option *find(const char *name, size_t length) {
    for (size_t i = 0; i < option_count; i++)
        if (strlen(options[i].name) == length && !strncmp(options[i].name, name, length))
            return &options[i];
    return NULL;
}

static int unknown(const char *word) {
    const char *names[option_count + 1] = {NULL};
    char given[64];
    for (size_t i = 0; i < option_count; i++)
        names[i] = options[i].name;
    snprintf(given, sizeof given, "%.*s", (int)strcspn(word, "="), word);
    const char *near = strncmp(given, "--", 2) ? NULL : sd_suggest(given + 2, names);
    return near ? complain("unknown option '%s'; did you mean '--%s'?", given, near)
                : complain("unknown option '%s'; --help lists the options%s", given, "");
}

static int set_count(struct config *c, const struct option *o, const char *value) {
    char *end, range[64];
    unsigned long n = strtoul(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || n < o->low || n > o->high) {
        snprintf(range, sizeof range, "--%s: expected %u to %u", o->name, o->low, o->high);
        return complain("%s, found '%s'", range, value);
    }
    *(uint32_t *)((char *)c + o->offset) = (uint32_t)n;
    return 0;
}

static int add_to_list(const char **list, const struct option *o, const char *value) {
    for (int i = 0; i < SERVER_ORIGINS - 1; i++)
        if (!list[i]) {
            list[i] = value;
            return 0;
        }
    return complain("--%s: expected fewer than 16, found more%s", o->name, "");
}

static int set(struct config *c, const struct option *o, const char *value) {
    void *field = (char *)c + o->offset;
    switch (o->kind) {
    case kind_text:
        *(const char **)field = value;
        return 0;
    case kind_flag:
        *(bool *)field = true;
        return 0;
    case kind_list:
        return add_to_list(field, o, value);
    default:
        return set_count(c, o, value);
    }
}

static int check(const struct config *c) {
    if (c->precision && strcmp(c->precision, "auto") && strcmp(c->precision, "f32") &&
        strcmp(c->precision, "f16"))
        return complain("--precision: expected auto, f32 or f16, found '%s'%s", c->precision, "");
    return 0;
}

int config_read(struct config *c, int argc, char **argv, bool *done) {
    *c = (struct config){.listen = "127.0.0.1:7860"};
    *done = true;
    for (size_t i = 0; i < option_count; i++)
        if (options[i].kind == kind_count)
            *(uint32_t *)((char *)c + options[i].offset) = options[i].fallback;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *equals = strchr(word, '='), *value = equals ? equals + 1 : NULL;
        size_t length = equals ? (size_t)(equals - word) : strlen(word);
        const struct option *o = strncmp(word, "--", 2) ? NULL : find(word + 2, length - 2);
        if (!o)
            return unknown(word);
        if (!strcmp(o->name, "help"))
            return help(), 0;
        if (!strcmp(o->name, "version"))
            return printf("sdvk-server %s\n", sd_version()), 0;
        if (!o->value && value)
            return complain("--%s takes no value%s", o->name, "");
        value = !o->value ? "" : value ? value : argv[++i];
        if (!value)
            return complain("--%s: a value is missing%s", o->name, "");
        if (o->value && !*value)
            return complain("--%s: expected %s, found ''", o->name, o->value);
        if (!strcmp(o->name, "new-key"))
            return keys_print_new(value);
        int code = set(c, o, value);
        if (code)
            return code;
    }
    *done = false;
    return check(c);
}
