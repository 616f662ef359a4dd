#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_option options[] = {
    {"model", 'm', "NAME", "the model that a LoRA is compared with; default: the usual one of its family"},
    {"models", 0, "DIR", "folder of models in which its name is looked up"},
    {"help", 'h', NULL, "print this help"},
    {NULL, 0, NULL, NULL}};

int cli_info(int argc, char **argv) {
    struct cli_args args = {.argc = argc, .argv = argv, .options = options};
    struct cli_arg arg;
    const char *path = NULL;
    sd_info_options info = {.log = cli_logger(SD_LOG_WARNING)};
    char *json;
    sd_error err;
    int found;
    while ((found = cli_next(&args, &arg)) > 0) {
        if (arg.option && !strcmp(arg.option->name, "help")) {
            puts("usage: sdvk info FILE [options]\n\nSays what a model, LoRA, embedding or picture is: "
                 "family, types, sizes, hashes and metadata, as JSON.\n");
            cli_help_options(stdout, options, false);
            return EXIT_OK;
        }
        if (arg.option) {
            *(strcmp(arg.option->name, "model") ? &info.models : &info.model) = arg.value;
            continue;
        }
        if (path)
            return cli_usage("info: expected one file, found also '%s'", arg.value);
        path = arg.value;
    }
    if (found < 0)
        return EXIT_USAGE;
    if (!path)
        return cli_usage("info: expected a file or folder");
    if (sd_file_info(path, &info, &json, &err))
        return cli_fail(&err);
    puts(json);
    free(json);
    return EXIT_OK;
}
