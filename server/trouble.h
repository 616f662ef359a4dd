/* Why the last write of something was not made, to be asked for without waiting for the next. Thread-safe. */
#ifndef SERVER_TROUBLE_H
#define SERVER_TROUBLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct trouble {
    pthread_mutex_t lock;
    char text[256];
};

void trouble_init(struct trouble *t);
void trouble_destroy(struct trouble *t);
/* "" when it was made. */
void trouble_set(struct trouble *t, const char *text);
/* False, and "", when it was made. */
bool trouble_get(struct trouble *t, char *out, size_t size);

#endif
