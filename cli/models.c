#include "cli/cli.h"

#include <string.h>

static const struct cli_option options[] = {{"json", 0, NULL, "print the list as JSON"},
                                            {"help", 'h', NULL, "print this help"},
                                            {NULL, 0, NULL, NULL}};

static void print_json(const char *folder, const sd_library *library) {
    const sd_library_file *f;
    fputs("{\"folder\":", stdout);
    cli_json_string(stdout, folder);
    fputs(",\"files\":[", stdout);
    for (size_t i = 0; (f = sd_library_at(library, i)); i++) {
        printf("%s{\"kind\":\"%s\",\"name\":", i ? "," : "", sd_library_kind_name(f->kind));
        cli_json_string(stdout, f->name);
        fputs(",\"path\":", stdout);
        cli_json_string(stdout, f->path);
        if (f->bytes)
            printf(",\"bytes\":%llu", (unsigned long long)f->bytes);
        fputc('}', stdout);
    }
    puts("]}");
}

static void print_text(const sd_library *library) {
    const sd_library_file *f;
    for (size_t i = 0; (f = sd_library_at(library, i)); i++) {
        char size[32] = "folder";
        if (f->bytes)
            snprintf(size, sizeof size, "%.1f MiB", (double)f->bytes / (1 << 20));
        printf("%-12s %12s  %s\n", sd_library_kind_name(f->kind), size, f->name);
    }
}

int cli_models(int argc, char **argv) {
    struct cli_args args = {.argc = argc, .argv = argv, .options = options};
    struct cli_arg arg;
    const char *folder = NULL;
    sd_library *library;
    sd_error err;
    bool json = false;
    int found;
    while ((found = cli_next(&args, &arg)) > 0) {
        if (arg.option && !strcmp(arg.option->name, "help")) {
            puts("usage: sdvk models DIR [options]\n\nLists the models, LoRAs, embeddings and so on in a "
                 "folder "
                 "as A1111 or ComfyUI lay it out, by the names\nthat `sdvk generate --models DIR` knows.\n");
            cli_help_options(stdout, options, false);
            return EXIT_OK;
        }
        if (arg.option)
            json = true;
        else if (folder)
            return cli_usage("models: expected one folder, found also '%s'", arg.value);
        else
            folder = arg.value;
    }
    if (found < 0)
        return EXIT_USAGE;
    if (!folder)
        return cli_usage("models: expected a folder of models");
    if (sd_library_open(&library, folder, &err))
        return cli_fail(&err);
    if (json)
        print_json(folder, library);
    else
        print_text(library);
    sd_library_close(&library);
    return EXIT_OK;
}
