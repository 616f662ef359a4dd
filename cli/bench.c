#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_option options[] = {
    {"network", 'n', "NAME", "text, unet, decode or encode; default: unet"},
    {"family", 'f', "NAME", "sd1, sd2, sdxl, sdxl-refiner ...; default: sd1"},
    {"width", 0, "PIXELS", "default: 512"},
    {"height", 0, "PIXELS", "default: 512"},
    {"batch", 'b', "N", "pictures at once; default: 1"},
    {"runs", 'r', "N", "counted runs after one warm-up; default: 3"},
    {"precision", 0, "TYPE", "auto, f32 or f16"},
    {"device", 'd', "DEVICE", "index, name or UUID from `sdvk devices`"},
    {"peaks", 0, NULL, "only measure the device's ceilings"},
    {"json", 0, NULL, "print JSON"},
    {"help", 'h', NULL, "print this help"},
    {NULL, 0, NULL, NULL}};

struct request {
    sd_bench_params params;
    const char *device;
    bool json, peaks;
};

static bool read_count(const char *text, uint32_t *out) {
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    *out = (uint32_t)value;
    return end != text && !*end && text[0] != '-' && value > 0 && value <= 65536;
}

/* -1 to go on, else the exit code. */
static int set_option(struct request *r, const char *name, const char *value) {
    const struct {
        const char *name;
        uint32_t *count;
    } counts[] = {{"width", &r->params.width},
                  {"height", &r->params.height},
                  {"batch", &r->params.batch},
                  {"runs", &r->params.runs}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (!strcmp(name, counts[i].name))
            return read_count(value, counts[i].count)
                       ? -1
                       : cli_usage("--%s: expected a whole number from 1 to 65536, found '%s'", name, value);
    if (!strcmp(name, "network"))
        r->params.network = value;
    else if (!strcmp(name, "family"))
        r->params.family = value;
    else if (!strcmp(name, "device"))
        r->device = value;
    else if (!strcmp(name, "json"))
        r->json = true;
    else if (!strcmp(name, "peaks"))
        r->peaks = true;
    else if (!strcmp(value, "f32"))
        r->params.precision = SD_PRECISION_F32;
    else if (!strcmp(value, "f16"))
        r->params.precision = SD_PRECISION_F16;
    else if (strcmp(value, "auto"))
        return cli_usage("--precision: expected auto, f32 or f16, found '%s'", value);
    return -1;
}

static int parse(int argc, char **argv, struct request *r) {
    struct cli_args args = {.argc = argc, .argv = argv, .options = options};
    struct cli_arg arg;
    int found, code = -1;
    while (code < 0 && (found = cli_next(&args, &arg)) != 0) {
        if (found < 0)
            return EXIT_USAGE;
        if (!arg.option)
            return cli_usage("bench: unexpected argument '%s'", arg.value);
        if (!strcmp(arg.option->name, "help")) {
            puts("usage: sdvk bench [options]\n\nRuns one network with random weights and compares it with "
                 "what the device can "
                 "do.\n");
            cli_help_options(stdout, options, false);
            return EXIT_OK;
        }
        code = set_option(r, arg.option->name, arg.value);
    }
    return code;
}

static void print_text(const struct request *r, const sd_device *device, const sd_bench_ceiling *peak,
                       const sd_bench_result *b) {
    double rate = (double)b->flop / b->median_seconds;
    printf("device: %s (%s)\n", device->name, device->driver);
    printf("ceilings: %.1f GFLOP/s f32, %.1f GB/s copy\n", peak->flops * 1e-9, peak->bandwidth * 1e-9);
    printf("%s %s %ux%u, batch %u: %.3f s median of %u (best %.3f, first %.3f, recording %.3f, host %.6f)\n",
           r->params.family ? r->params.family : "sd1", r->params.network ? r->params.network : "unet",
           r->params.width ? r->params.width : 512, r->params.height ? r->params.height : 512,
           r->params.batch ? r->params.batch : 1, b->median_seconds, r->params.runs ? r->params.runs : 3,
           b->best_seconds, b->first_seconds, b->record_seconds, b->host_seconds);
    printf("%.1f GFLOP, %.2f GFLOP/s, %.0f %% of the arithmetic ceiling; weights %.1f MiB, work %.1f MiB, %u "
           "nodes, %u barriers\n",
           (double)b->flop * 1e-9, rate * 1e-9, 100 * rate / peak->flops, (double)b->weight_bytes / (1 << 20),
           (double)b->activation_bytes / (1 << 20), b->nodes, b->barriers);
    printf("%-20s %6s %10s %10s %8s\n", "op", "nodes", "ms", "GFLOP/s", "GB/s");
    for (uint32_t i = 0; i < b->op_count; i++) {
        const sd_bench_op *o = &b->ops[i];
        double s = o->seconds > 0 ? o->seconds : 1e30;
        printf("%-20s %6u %10.2f %10.2f %8.2f\n", o->name, o->nodes, o->seconds * 1e3, o->flop / s * 1e-9,
               o->bytes / s * 1e-9);
    }
}

static void print_json(const sd_device *device, const sd_bench_ceiling *peak, const sd_bench_result *b) {
    fputs("{\"device\":", stdout);
    cli_json_string(stdout, device->name);
    fputs(",\"driver\":", stdout);
    cli_json_string(stdout, device->driver);
    printf(",\"peak_flops\":%.0f,\"peak_bandwidth\":%.0f", peak->flops, peak->bandwidth);
    if (b) {
        printf(",\"median_seconds\":%.6f,\"best_seconds\":%.6f,\"first_seconds\":%.6f,\"record_seconds\":%."
               "6f,\"host_seconds\":%.6f,\"flop\":%llu,"
               "\"bytes\":%llu,\"parameters\":%llu,\"weight_bytes\":%llu,\"activation_bytes\":%llu,\"nodes\":"
               "%u,\"barriers\":%u,"
               "\"ops\":[",
               b->median_seconds, b->best_seconds, b->first_seconds, b->record_seconds, b->host_seconds,
               (unsigned long long)b->flop, (unsigned long long)b->bytes, (unsigned long long)b->parameters,
               (unsigned long long)b->weight_bytes, (unsigned long long)b->activation_bytes, b->nodes,
               b->barriers);
        for (uint32_t i = 0; i < b->op_count; i++)
            printf("%s{\"name\":\"%s\",\"nodes\":%u,\"seconds\":%.6f,\"flop\":%.0f,\"bytes\":%.0f}",
                   i ? "," : "", b->ops[i].name, b->ops[i].nodes, b->ops[i].seconds, b->ops[i].flop,
                   b->ops[i].bytes);
        putchar(']');
    }
    puts("}");
}

int cli_bench(int argc, char **argv) {
    struct request r = {0};
    sd_context *context = NULL;
    sd_bench_ceiling peak;
    sd_bench_result result;
    sd_device device;
    sd_error err;
    int code = parse(argc, argv, &r);
    if (code >= 0)
        return code;
    const sd_context_options context_options = {.device = r.device, .log = cli_logger(SD_LOG_WARNING)};
    if (sd_context_create(&context, &context_options, &err))
        return cli_fail(&err);
    sd_context_device(context, &device);
    if (sd_bench_peaks(context, &peak, &err) ||
        (!r.peaks && sd_bench_network(context, &r.params, &result, &err)))
        code = cli_fail(&err);
    else if (r.json)
        print_json(&device, &peak, r.peaks ? NULL : &result);
    else if (r.peaks)
        printf("%s: %.1f GFLOP/s f32, %.1f GB/s copy\n", device.name, peak.flops * 1e-9,
               peak.bandwidth * 1e-9);
    else
        print_text(&r, &device, &peak, &result);
    sd_context_destroy(&context);
    return code < 0 ? EXIT_OK : code;
}
