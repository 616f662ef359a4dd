#include "server/record.h"

#include "server/guard.h"
#include "server/trouble.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { first_status = 100, last_status = 599 };

/* The end of a job that the audit log could not take yet. */
struct pending {
    struct pending *next;
    char *text;
};

struct recorder {
    pthread_mutex_t access_lock, audit_lock;
    FILE *access;
    sd_audit *audit;
    const char *audit_path;
    struct pending *first, **last;
    struct trouble trouble; /* of the audit log's last entry */
    _Atomic uint64_t counts[last_status - first_status + 1];
};

static void add_now(cJSON *json) {
    struct timespec t;
    struct tm tm;
    char day[40], text[64];
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof text, "%s.%03ldZ", day, t.tv_nsec / 1000000);
    cJSON_AddStringToObject(json, "time", text);
}

/* Clients need not know where it is. */
static void hide_path(const recorder *r, sd_error *err) {
    size_t n = strlen(r->audit_path);
    sd_error found = *err;
    if (!strncmp(found.message, r->audit_path, n))
        sd_fail(err, found.status, "the audit log%s", found.message + n);
}

/* With the lock held. */
static sd_status write_entry(recorder *r, const char *text, sd_error *err) {
    sd_error found = {0};
    sd_status status = sd_audit_append(r->audit, text, &found);
    if (status)
        hide_path(r, &found);
    trouble_set(&r->trouble, found.message);
    if (status && err)
        *err = found;
    return status;
}

/* Entries that wait, oldest first. With the lock held. */
static sd_status flush(recorder *r, sd_error *err) {
    sd_status status = SD_OK;
    for (struct pending *p; (p = r->first) && !(status = write_entry(r, p->text, err));) {
        if (!(r->first = p->next))
            r->last = &r->first;
        cJSON_free(p->text);
        free(p);
    }
    return status;
}

sd_status recorder_open(recorder **out, const struct config *config, sd_error *err) {
    recorder *r = *out = calloc(1, sizeof *r);
    sd_status status = SD_OK;
    if (!r)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    pthread_mutex_init(&r->access_lock, NULL);
    pthread_mutex_init(&r->audit_lock, NULL);
    trouble_init(&r->trouble);
    r->last = &r->first;
    r->audit_path = config->audit;
    if (config->access && !(r->access = strcmp(config->access, "-") ? fopen(config->access, "a") : stderr))
        status = sd_fail(err, SD_E_IO, "%s: %s", config->access, strerror(errno));
    if (!status && config->audit)
        status = sd_audit_open(&r->audit, config->audit, err);
    if (status)
        recorder_close(out);
    return status;
}

void recorder_close(recorder **handle) {
    recorder *r = *handle;
    if (!r)
        return;
    if (r->access && r->access != stderr)
        fclose(r->access);
    flush(r, NULL);
    for (struct pending *p; (p = r->first);) {
        r->first = p->next;
        fprintf(stderr, "sdvk-server: error: left out of the audit log: %s\n", p->text);
        cJSON_free(p->text);
        free(p);
    }
    sd_audit_close(&r->audit);
    pthread_mutex_destroy(&r->access_lock);
    pthread_mutex_destroy(&r->audit_lock);
    trouble_destroy(&r->trouble);
    free(r);
    *handle = NULL;
}

uint64_t record_count(const recorder *r, unsigned status) {
    return atomic_load(&((recorder *)r)->counts[status - first_status]);
}

void record_access(struct server *server, exchange *x) {
    recorder *r = server->recorder;
    const struct session *s = guard_session(x);
    unsigned status = exchange_status(x);
    struct timespec t;
    if (status >= first_status && status <= last_status)
        atomic_fetch_add(&r->counts[status - first_status], 1);
    if (!r->access)
        return;
    clock_gettime(CLOCK_MONOTONIC, &t);
    cJSON *json = cJSON_CreateObject();
    add_now(json);
    cJSON_AddStringToObject(json, "peer", exchange_peer(x));
    cJSON_AddStringToObject(json, "key", guard_owner(x));
    cJSON_AddStringToObject(json, "method", exchange_method(x));
    cJSON_AddStringToObject(json, "path", exchange_path(x));
    cJSON_AddNumberToObject(json, "status", status);
    cJSON_AddNumberToObject(json, "bytes", (double)exchange_sent(x));
    cJSON_AddNumberToObject(json, "seconds", (double)t.tv_sec + (double)t.tv_nsec * 1e-9 - exchange_began(x));
    if (s && *s->job)
        cJSON_AddStringToObject(json, "job", s->job);
    if (s && s->prompt)
        cJSON_AddStringToObject(json, "prompt", s->prompt);
    char *text = cJSON_PrintUnformatted(json);
    pthread_mutex_lock(&r->access_lock);
    if (text) {
        fprintf(r->access, "%s\n", text);
        fflush(r->access);
    }
    pthread_mutex_unlock(&r->access_lock);
    cJSON_free(text);
    cJSON_Delete(json);
}

/* ---- audit ---- */

/* Takes the entry. */
static sd_status append(recorder *r, cJSON *entry, sd_error *err) {
    char *text = cJSON_PrintUnformatted(entry);
    cJSON_Delete(entry);
    if (!text)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    pthread_mutex_lock(&r->audit_lock);
    sd_status status = flush(r, err);
    if (!status)
        status = write_entry(r, text, err);
    pthread_mutex_unlock(&r->audit_lock);
    cJSON_free(text);
    return status;
}

static cJSON *begin(const char *event, const char *owner) {
    cJSON *entry = cJSON_CreateObject();
    add_now(entry);
    cJSON_AddStringToObject(entry, "event", event);
    cJSON_AddStringToObject(entry, "key", owner);
    return entry;
}

/* Everything that is asked for, but for the pictures, of which the hashes are kept. */
static cJSON *without_pictures(const cJSON *request) {
    static const char *const fields[] = {"init_image", "mask"};
    cJSON *copy = cJSON_Duplicate(request, true);
    for (int i = 0; copy && i < 2; i++) {
        const cJSON *item = json_get(copy, fields[i]);
        uint8_t hash[32];
        char hex[80] = "sha256:";
        if (!cJSON_IsString(item))
            continue;
        EVP_Digest(item->valuestring, strlen(item->valuestring), hash, NULL, EVP_sha256(), NULL);
        for (int k = 0; k < 32; k++)
            snprintf(hex + 7 + 2 * k, 3, "%02x", hash[k]);
        cJSON_ReplaceItemInObjectCaseSensitive(copy, fields[i], cJSON_CreateString(hex));
    }
    return copy;
}

void record_refusal(struct server *server, exchange *x, const cJSON *request, const struct verdict *verdict) {
    recorder *r = server->recorder;
    sd_error err;
    if (!r->audit)
        return;
    cJSON *entry = begin("refused", guard_owner(x));
    cJSON_AddStringToObject(entry, "peer", exchange_peer(x));
    cJSON_AddItemToObject(entry, "request", without_pictures(request));
    cJSON_AddStringToObject(entry, "policy", verdict->version);
    cJSON_AddStringToObject(entry, "reason", verdict->reason);
    if (append(r, entry, &err))
        fprintf(stderr, "sdvk-server: error: %s\n", err.message);
}

sd_status record_accepted(void *user, const job *j, const char *request, sd_error *err) {
    recorder *r = user;
    if (!r->audit)
        return SD_OK;
    cJSON *entry = begin("accepted", j->row.owner), *json = json_parse(request, strlen(request));
    cJSON_AddStringToObject(entry, "job", j->row.id);
    cJSON_AddStringToObject(entry, "face", j->row.face);
    cJSON_AddItemToObject(entry, "request", without_pictures(json));
    cJSON_Delete(json);
    if (j->row.verdict && *j->row.verdict)
        cJSON_AddStringToObject(entry, "policy", j->row.verdict);
    return append(r, entry, err);
}

static void add_hashes(cJSON *entry, const job *j) {
    cJSON *pictures = cJSON_AddArrayToObject(entry, "pictures");
    for (uint32_t i = 0; i < j->row.images; i++) {
        uint8_t hash[32];
        char hex[65];
        EVP_Digest(j->results[i].data, j->results[i].size, hash, NULL, EVP_sha256(), NULL);
        for (int k = 0; k < 32; k++)
            snprintf(hex + 2 * k, 3, "%02x", hash[k]);
        cJSON_AddItemToArray(pictures, cJSON_CreateString(hex));
    }
    /* The hashes of model, LoRAs, parts and embeddings, from the picture's own record. */
    static const char *const kept[] = {"model", "parts", "loras", "embeddings"};
    cJSON *record = j->row.images && j->results[0].json ? cJSON_Parse(j->results[0].json) : NULL;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(record, kept[i]);
        if (item)
            cJSON_AddItemToObject(entry, kept[i], item);
    }
    cJSON_Delete(record);
}

/* It is written later, when it cannot be now. */
static void append_end(recorder *r, cJSON *entry) {
    struct pending *p = malloc(sizeof *p);
    char *text = cJSON_PrintUnformatted(entry);
    sd_error err;
    cJSON_Delete(entry);
    if (!p || !text) {
        cJSON_free(text);
        free(p);
        fprintf(stderr, "sdvk-server: error: the end of a job is left out of the audit log: out of memory\n");
        return;
    }
    *p = (struct pending){NULL, text};
    pthread_mutex_lock(&r->audit_lock);
    *r->last = p;
    r->last = &p->next;
    if (flush(r, &err))
        fprintf(stderr, "sdvk-server: error: %s; the end of a job is written later\n", err.message);
    pthread_mutex_unlock(&r->audit_lock);
}

void record_ended(void *user, const job *j) {
    recorder *r = user;
    if (!r->audit || j->parked)
        return;
    cJSON *entry = begin(job_state_name(j->row.state), j->row.owner);
    cJSON_AddStringToObject(entry, "job", j->row.id);
    if (j->row.error)
        cJSON_AddStringToObject(entry, "error", j->row.error);
    if (j->row.state == JOB_DONE || j->row.images)
        add_hashes(entry, j);
    append_end(r, entry);
}

bool record_trouble(recorder *r, char *out, size_t size) {
    return trouble_get(&r->trouble, out, size);
}

sd_status record_check(recorder *r, sd_error *err) {
    char trouble[256];
    return record_trouble(r, trouble, sizeof trouble) ? append(r, begin("resumed", ""), err) : SD_OK;
}
