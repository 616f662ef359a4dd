/* Who a request comes from, and whether it may come in. */
#ifndef SERVER_GUARD_H
#define SERVER_GUARD_H

#include "server/server.h"

/* What is known of a request beside its bytes; the exchange's user. */
struct session {
    const struct key *key; /* NULL where none is needed */
    char job[JOB_ID];      /* that it made, or "" */
    char *prompt;          /* of that job, for the access log; NULL where it stays out of it */
    const struct route *route;
    struct route_parts parts; /* that its path leaves open */
};

/* SD_E_ARGUMENT when others than this machine could call without a key, and --insecure is not given. */
sd_status guard_check(const struct config *config, sd_error *err);

/* Looks at Host, Origin and the key, in this order. True when the request may go on; else it was answered.
 * Answers preflight requests of browsers as well. */
bool guard_admit(struct server *server, exchange *x);

/* The end of the request. */
void guard_end(const exchange *x);

/* The key's name, "" without keys. */
const char *guard_owner(const exchange *x);
struct session *guard_session(const exchange *x);

#endif
