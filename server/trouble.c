#include "server/trouble.h"

#include <stdio.h>

void trouble_init(struct trouble *t) {
    pthread_mutex_init(&t->lock, NULL);
    t->text[0] = 0;
}

void trouble_destroy(struct trouble *t) {
    pthread_mutex_destroy(&t->lock);
}

void trouble_set(struct trouble *t, const char *text) {
    pthread_mutex_lock(&t->lock);
    snprintf(t->text, sizeof t->text, "%.255s", text);
    pthread_mutex_unlock(&t->lock);
}

bool trouble_get(struct trouble *t, char *out, size_t size) {
    pthread_mutex_lock(&t->lock);
    snprintf(out, size, "%s", t->text);
    pthread_mutex_unlock(&t->lock);
    return *out;
}
