#include "cli/cli.h"

#include <inttypes.h>
#include <string.h>

static const struct cli_option options[] = {{"help", 'h', NULL, "print this help"}, {NULL, 0, NULL, NULL}};

int cli_audit(int argc, char **argv) {
    struct cli_args args = {.argc = argc, .argv = argv, .options = options};
    struct cli_arg arg;
    const char *words[2] = {NULL};
    uint64_t entries;
    char last[65];
    sd_error err;
    int found, count = 0;
    while ((found = cli_next(&args, &arg)) > 0) {
        if (arg.option) {
            puts("usage: sdvk audit verify FILE\n\nChecks that no line of a server's audit log was changed, "
                 "removed or "
                 "inserted.\n");
            cli_help_options(stdout, options, false);
            return EXIT_OK;
        }
        if (count == 2)
            return cli_usage("audit: expected verify and a file, found also '%s'", arg.value);
        words[count++] = arg.value;
    }
    if (found < 0)
        return EXIT_USAGE;
    if (count < 2 || strcmp(words[0], "verify"))
        return cli_usage("audit: expected verify and a file, e.g. sdvk audit verify audit.jsonl");
    if (sd_audit_verify(words[1], &entries, last, &err))
        return cli_fail(&err);
    printf("%" PRIu64 " entries, the last one's hash is %s\n", entries, last);
    return EXIT_OK;
}
