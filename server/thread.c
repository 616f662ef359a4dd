#include "server/thread.h"

#include <signal.h>

int thread_start(pthread_t *thread, void *(*run)(void *user), void *user) {
    sigset_t every, old;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &old);
    int code = pthread_create(thread, NULL, run, user);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return code;
}
