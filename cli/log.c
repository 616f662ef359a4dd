#include "cli/cli.h"

static void write_line(void *user, sd_log_level level, const char *text) {
    static const char *const names[] = {"error", "warning", "info", "debug"};
    (void)user;
    fprintf(stderr, "sdvk: %s: %s\n", names[level], text);
}

sd_logger cli_logger(sd_log_level level) {
    return (sd_logger){.write = write_line, .level = level};
}
