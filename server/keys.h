/* Who may call: a file with a line for each key,
 *
 *     NAME sha256:HEX [rate=REQUESTS_A_MINUTE] [images=PICTURES_A_DAY]
 *
 * blank lines and those that begin with '#' aside. The keys themselves are nowhere: only their hashes. */
#ifndef SERVER_KEYS_H
#define SERVER_KEYS_H

#include "sd/sd.h"

typedef struct keys keys;

struct key {
    char name[64];
    uint8_t hash[32];
    uint32_t rate;   /* jobs a minute, 0: any number */
    uint32_t images; /* pictures a day (UTC), 0: any number */
    /* Jobs that may be asked for at once; grows by `rate` a minute, up to `rate`. */
    double tokens, refilled;
};

/* Errors name the file and the line. */
sd_status keys_open(keys **out, const char *path, sd_error *err);
void keys_close(keys **keys);

/* The key that was presented, or NULL. Takes as long for every wrong key of a length. */
const struct key *keys_find(const keys *all, const char *presented);
/* Takes one of a key's jobs; false, and seconds until there is one, when it has none left. Thread-safe. */
bool keys_take(keys *all, const struct key *key, uint32_t *wait);

/* A new key for NAME: prints it, and the line for the file. An exit code. */
int keys_print_new(const char *name);

#endif
