#include "cli/cli.h"

#include <signal.h>

static sd_cancel cancel;

static void on_signal(int number) {
    (void)number;
    sd_cancel_request(&cancel);
}

sd_cancel *cli_cancel(void) {
    const struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return &cancel;
}
