#include "cli/cli.h"

#include <string.h>

static const struct {
    const char *name, *help;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"generate", "render pictures from a prompt", cli_generate},
    {"devices", "list the Vulkan devices", cli_devices},
    {"info", "say what a model, LoRA, embedding or picture file is", cli_info},
    {"models", "list what lies in a folder of models", cli_models},
    {"convert", "write a model as one file, with other types of numbers", cli_convert},
    {"merge", "write a model with LoRAs merged into it", cli_merge},
    {"bench", "measure networks and devices", cli_bench},
    {"audit", "check the audit log of a server", cli_audit},
};

static int usage(FILE *out) {
    fputs("usage: sdvk COMMAND [options]\n\ncommands:\n", out);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    fputs("\n`sdvk COMMAND --help` lists the options; `sdvk --version` prints the version.\n", out);
    return out == stdout ? EXIT_OK : EXIT_USAGE;
}

int main(int argc, char **argv) {
    const char *names[sizeof commands / sizeof *commands + 1] = {NULL};
    if (argc < 2)
        return usage(stderr);
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
        return usage(stdout);
    if (!strcmp(argv[1], "--version")) {
        printf("sdvk %s\n", sd_version());
        return EXIT_OK;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].run(argc - 2, argv + 2);
        names[i] = commands[i].name;
    }
    const char *near = sd_suggest(argv[1], names);
    return near ? cli_usage("unknown command '%s'; did you mean '%s'?", argv[1], near)
                : cli_usage("unknown command '%s'; `sdvk --help` lists what there is", argv[1]);
}
