/* Answers that come when a job has ended, while no thread waits for it. */
#ifndef SERVER_AWAIT_H
#define SERVER_AWAIT_H

#include "server/server.h"

/* Makes the answer to `x` from a job that has ended, in a thread of the pool. `user` is then free()d. */
typedef void (*job_answer)(struct server *server, exchange *x, const job *j, void *user);

/* Takes over the caller's hold of j, and `user`. A client of OpenAI's face who leaves meanwhile cancels the
 * job, when it starts or within a step, as with OpenAI; A1111's goes on, as with A1111. */
void await_job(struct server *server, exchange *x, job *j, job_answer answer, void *user);

#endif
