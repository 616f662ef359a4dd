#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_option options[] = {
    {"json", 0, NULL, "print JSON"}, {"help", 'h', NULL, "print this help"}, {NULL, 0, NULL, NULL}};

static void print_text(size_t index, const sd_device *d) {
    printf("%zu: %s\n", index, d->name);
    printf("   kind %s, memory %.1f GiB, driver %s\n", d->kind, (double)d->memory / (1u << 30), d->driver);
    printf("   uuid %s\n", d->uuid);
    printf("   subgroups of %u to %u%s%s%s\n", d->subgroup_min, d->subgroup_max,
           d->f16_storage ? ", 16-bit storage" : "", d->f16_arithmetic ? ", f16 arithmetic" : "",
           d->coop_matrix ? ", cooperative matrices" : "");
}

static void print_json(size_t index, const sd_device *d) {
    printf("%s{\"index\":%zu,\"name\":", index ? "," : "", index);
    cli_json_string(stdout, d->name);
    printf(",\"kind\":\"%s\",\"memory\":%llu,\"driver\":", d->kind, (unsigned long long)d->memory);
    cli_json_string(stdout, d->driver);
    printf(",\"uuid\":\"%s\",\"subgroup_min\":%u,\"subgroup_max\":%u,\"f16_storage\":%s,\"f16_arithmetic\":%"
           "s,\"coop_matrix\":%s}",
           d->uuid, d->subgroup_min, d->subgroup_max, d->f16_storage ? "true" : "false",
           d->f16_arithmetic ? "true" : "false", d->coop_matrix ? "true" : "false");
}

int cli_devices(int argc, char **argv) {
    struct cli_args args = {.argc = argc, .argv = argv, .options = options};
    struct cli_arg arg;
    sd_device devices[32];
    size_t count = 0;
    sd_error err;
    bool json = false;
    int found;
    while ((found = cli_next(&args, &arg)) > 0) {
        if (!arg.option)
            return cli_usage("devices: unexpected argument '%s'", arg.value);
        if (!strcmp(arg.option->name, "help")) {
            puts("usage: sdvk devices [--json]\n\nLists the usable Vulkan devices, best first; the first is "
                 "the default.\n");
            cli_help_options(stdout, options, false);
            return EXIT_OK;
        }
        json = true;
    }
    if (found < 0)
        return EXIT_USAGE;
    if (sd_devices(devices, 32, &count, &err))
        return cli_fail(&err);
    if (json)
        putchar('[');
    for (size_t i = 0; i < count && i < 32; i++)
        if (json)
            print_json(i, &devices[i]);
        else
            print_text(i, &devices[i]);
    if (json)
        puts("]");
    return EXIT_OK;
}
