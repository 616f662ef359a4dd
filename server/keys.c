#include "server/keys.h"

#include "server/draw.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct keys {
    pthread_mutex_t lock; /* of the tokens */
    struct key *items;
    size_t count;
};

static double steady(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void hash_of(const char *text, uint8_t out[32]) {
    EVP_Digest(text, strlen(text), out, NULL, EVP_sha256(), NULL);
}

static bool read_hex(const char *text, uint8_t out[32]) {
    for (int i = 0; i < 64; i++)
        if (!isxdigit((unsigned char)text[i]))
            return false;
    for (int i = 0; i < 32; i++) {
        char two[3] = {text[2 * i], text[2 * i + 1], 0};
        out[i] = (uint8_t)strtoul(two, NULL, 16);
    }
    return !text[64];
}

static bool read_count(const char *word, const char *name, uint32_t *out) {
    size_t n = strlen(name);
    char *end;
    if (strncmp(word, name, n) || !isdigit((unsigned char)word[n]))
        return false;
    unsigned long value = strtoul(word + n, &end, 10);
    *out = (uint32_t)value;
    return !*end && value <= 1000000000;
}

static sd_status read_line(char *line, struct key *out, const char *label, sd_error *err) {
    char *rest = line, *name = strtok_r(rest, " \t", &rest), *hash = strtok_r(NULL, " \t", &rest), *word;
    *out = (struct key){0};
    if (strlen(name) >= sizeof out->name)
        return sd_fail(err, SD_E_FORMAT, "%s: expected a name of at most 63 bytes, found '%.80s'", label,
                       name);
    snprintf(out->name, sizeof out->name, "%s", name);
    if (!hash || strncmp(hash, "sha256:", 7) || !read_hex(hash + 7, out->hash))
        return sd_fail(
            err, SD_E_FORMAT,
            "%s: expected NAME sha256:HEX with 64 digits, found '%.80s' (sdvk-server --new-key NAME "
            "makes one)",
            label, hash ? hash : "");
    while ((word = strtok_r(NULL, " \t", &rest)))
        if (!read_count(word, "rate=", &out->rate) && !read_count(word, "images=", &out->images))
            return sd_fail(err, SD_E_FORMAT, "%s: expected rate=COUNT or images=COUNT, found '%.80s'", label,
                           word);
    out->tokens = out->rate;
    out->refilled = steady();
    return SD_OK;
}

static sd_status add(keys *all, char *line, const char *label, sd_error *err) {
    struct key key, *grown;
    sd_status status = read_line(line, &key, label, err);
    if (status)
        return status;
    for (size_t i = 0; i < all->count; i++)
        if (!strcmp(all->items[i].name, key.name))
            return sd_fail(err, SD_E_FORMAT, "%s: the name '%s' is there twice", label, key.name);
    if (!(grown = realloc(all->items, (all->count + 1) * sizeof *grown)))
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    all->items = grown;
    all->items[all->count++] = key;
    return SD_OK;
}

sd_status keys_open(keys **out, const char *path, sd_error *err) {
    char line[1024], label[4200];
    sd_status status = SD_OK;
    FILE *file = fopen(path, "r");
    *out = NULL;
    if (!file)
        return sd_fail(err, SD_E_IO, "%s: %s", path, strerror(errno));
    keys *all = calloc(1, sizeof *all);
    if (!all)
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    else
        pthread_mutex_init(&all->lock, NULL);
    for (unsigned n = 1; !status && fgets(line, sizeof line, file); n++) {
        size_t begin = strspn(line, " \t\r\n");
        line[strcspn(line, "\r\n")] = 0;
        snprintf(label, sizeof label, "%.4096s: line %u", path, n);
        if (line[begin] && line[begin] != '#')
            status = add(all, line + begin, label, err);
    }
    fclose(file);
    if (!status && !all->count)
        status = sd_fail(err, SD_E_FORMAT, "%s: expected a key at least, found none", path);
    if (status)
        keys_close(&all);
    *out = all;
    return status;
}

void keys_close(keys **all) {
    if (!*all)
        return;
    pthread_mutex_destroy(&(*all)->lock);
    free((*all)->items);
    free(*all);
    *all = NULL;
}

const struct key *keys_find(const keys *all, const char *presented) {
    const struct key *found = NULL;
    uint8_t hash[32];
    hash_of(presented, hash);
    for (size_t i = 0; i < all->count; i++)
        if (!CRYPTO_memcmp(hash, all->items[i].hash, sizeof hash))
            found = &all->items[i];
    return found;
}

bool keys_take(keys *all, const struct key *key, uint32_t *wait) {
    struct key *k = &all->items[key - all->items];
    bool free_one = true;
    *wait = 0;
    if (!k->rate)
        return true;
    pthread_mutex_lock(&all->lock);
    double now = steady(), tokens = k->tokens + (now - k->refilled) * k->rate / 60;
    k->tokens = tokens < k->rate ? tokens : k->rate;
    k->refilled = now;
    if (k->tokens >= 1)
        k->tokens -= 1;
    else {
        free_one = false;
        *wait = (uint32_t)((1 - k->tokens) * 60 / k->rate) + 1;
    }
    pthread_mutex_unlock(&all->lock);
    return free_one;
}

int keys_print_new(const char *name) {
    uint8_t random[24], hash[32];
    char text[64] = "sdvk-";
    if (strchr(name, ' ') || strchr(name, '\t') || *name == '#' || !*name || strlen(name) > 63) {
        fputs("sdvk-server: --new-key: expected a name of 1 to 63 bytes without blanks\n", stderr);
        return 2;
    }
    if (!draw(random, sizeof random)) {
        fprintf(stderr, "sdvk-server: cannot draw a random key: %s\n", strerror(errno));
        return 1;
    }
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(text + 5 + 2 * i, 3, "%02x", random[i]);
    hash_of(text, hash);
    printf("key (shown once): %s\nline for the file: %s sha256:", text, name);
    for (int i = 0; i < 32; i++)
        printf("%02x", hash[i]);
    putchar('\n');
    return 0;
}
