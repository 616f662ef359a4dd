#include "cli/convert.h"

#include <string.h>

static const struct cli_option options[] = {CLI_CONVERT_OPTIONS, {NULL, 0, NULL, NULL}};

int cli_convert(int argc, char **argv) {
    struct cli_args args = {.argc = argc, .argv = argv, .options = options};
    struct cli_convert c = {0};
    struct cli_arg arg;
    int found, code = EXIT_OK;
    while (!code && (found = cli_next(&args, &arg)) != 0) {
        if (found < 0)
            code = EXIT_USAGE;
        else if (arg.option && !strcmp(arg.option->name, "help")) {
            cli_convert_help(
                "usage: sdvk convert MODEL -o FILE [options]\n\nWrites a model as one safetensors or "
                "GGUF file, with other types of numbers where asked for, and says how far they\nare "
                "from what they were.",
                options);
            cli_convert_free(&c);
            return EXIT_OK;
        } else
            code = cli_convert_option(&c, "convert", &arg);
    }
    if (!code)
        code = cli_convert_check(&c, "convert");
    if (!code)
        code = cli_convert_run(&c, NULL);
    cli_convert_free(&c);
    return code;
}
