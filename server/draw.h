/* Random numbers of the system. False when it has none. Thread-safe. */
#ifndef SERVER_DRAW_H
#define SERVER_DRAW_H

#include "server/store.h"

/* At most 256 bytes. */
bool draw(void *out, size_t size);
/* A random UUID (RFC 9562, version 4). */
bool draw_id(char out[JOB_ID]);

#endif
