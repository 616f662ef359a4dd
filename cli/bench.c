#include "cli/bench.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_option options[] = {
    {"network", 'n', "NAME", "text, unet, decode or encode; default: unet"},
    {"family", 'f', "NAME", "sd1, sd2, sdxl, sdxl-refiner ...; default: sd1"},
    {"model", 'm', "PATH", "the network of this model instead of random weights"},
    {"shapes", 0, NULL, "list the network's ops by shape"},
    {"op", 'o', "NAME", "one op alone instead of a network"},
    {"channels", 'c', "IN:OUT", "of the op, e.g. 320, 320:640 or, for two parts, 320+640:320"},
    {"tokens", 't', "N:KEYS", "of the op, instead of its size; keys for attention"},
    {"kernel", 0, "N", "width of conv2d's filters, 1 or 3"},
    {"heads", 0, "N", "of attention; default: 8"},
    {"head-size", 0, "N", "of attention; default: 40"},
    {"groups", 0, "N", "of group_norm; default: 32"},
    {"fuse", 0, "LIST",
     "what the op does besides: vector, silu, gelu, quick_gelu, residual, causal, joined by '+'"},
    {"size", 's', "WxH", "pixels; default: 512x512, of an op's input 64x64"},
    {"width", 0, "PIXELS", "the same"},
    {"height", 0, "PIXELS", "the same"},
    {"batch", 'b', "N", "pictures at once; default: 1"},
    {"runs", 'r', "N", "counted runs after one warm-up; default: 3, for ops 10"},
    {"precision", 0, "TYPE", "auto, f32 or f16"},
    {"device", 'd', "DEVICE", "index, name or UUID from `sdvk devices`"},
    {"peaks", 0, NULL, "only measure the device's ceilings"},
    {"json", 0, NULL, "print JSON"},
    {"help", 'h', NULL, "print this help"},
    {NULL, 0, NULL, NULL}};

bool bench_count(const char **at, char before, uint32_t *out) {
    char *end;
    if (before && *(*at)++ != before)
        return false;
    unsigned long value = strtoul(*at, &end, 10);
    bool ok = **at >= '0' && **at <= '9' && value > 0 && value <= 65536;
    *out = (uint32_t)value;
    *at = end;
    return ok;
}

static int set_count(const char *name, const char *value, uint32_t *network, uint32_t *op) {
    const char *at = value;
    if (!bench_count(&at, 0, network) || *at)
        return cli_usage("--%s: expected a whole number from 1 to 65536, found '%s'", name, value);
    *op = *network;
    return -1;
}

static int set_size(struct bench *b, const char *value) {
    const char *at = value;
    if (!bench_count(&at, 0, &b->network.width) || !bench_count(&at, 'x', &b->network.height) || *at)
        return cli_usage("--size: expected WIDTHxHEIGHT, e.g. 64x64, found '%s'", value);
    b->op.width = b->network.width;
    b->op.height = b->network.height;
    return -1;
}

static int set_precision(struct bench *b, const char *value) {
    sd_precision *p = &b->network.precision;
    if (!strcmp(value, "f32"))
        *p = SD_PRECISION_F32;
    else if (!strcmp(value, "f16"))
        *p = SD_PRECISION_F16;
    else if (strcmp(value, "auto"))
        return cli_usage("--precision: expected auto, f32 or f16, found '%s'", value);
    b->op.precision = *p;
    return -1;
}

/* -1 to go on, else the exit code. */
static int set_option(struct bench *b, const char *name, const char *value) {
    int code = bench_op_option(b, name, value);
    if (code != -2)
        return code;
    if (!strcmp(name, "size"))
        return set_size(b, value);
    if (!strcmp(name, "width"))
        return set_count(name, value, &b->network.width, &b->op.width);
    if (!strcmp(name, "height"))
        return set_count(name, value, &b->network.height, &b->op.height);
    if (!strcmp(name, "batch"))
        return set_count(name, value, &b->network.batch, &b->op.batch);
    if (!strcmp(name, "runs"))
        return set_count(name, value, &b->network.runs, &b->op.runs);
    if (!strcmp(name, "precision"))
        return set_precision(b, value);
    if (!strcmp(name, "device"))
        b->device = value;
    else if (!strcmp(name, "json"))
        b->json = true;
    else if (!strcmp(name, "peaks"))
        b->peaks = true;
    else {
        b->only_network = name;
        if (!strcmp(name, "network"))
            b->network.network = value;
        else if (!strcmp(name, "family"))
            b->network.family = value;
        else if (!strcmp(name, "model"))
            b->model = value;
        else
            b->network.shapes = true;
    }
    return -1;
}

static int help(void) {
    puts("usage: sdvk bench [options]\n\nRuns a network, or one op, and compares it with what the device can "
         "do.\n");
    cli_help_options(stdout, options, false);
    fputs("\nops:", stdout);
    for (size_t i = 0; sd_bench_op_name(i); i++)
        printf(" %s", sd_bench_op_name(i));
    putchar('\n');
    return EXIT_OK;
}

/* -1 to go on, else the exit code. */
static int parse(int argc, char **argv, struct bench *b) {
    struct cli_args args = {.argc = argc, .argv = argv, .options = options};
    struct cli_arg arg;
    sd_error err;
    int found, code = -1;
    while (code < 0 && (found = cli_next(&args, &arg)) != 0) {
        if (found < 0)
            return EXIT_USAGE;
        if (!arg.option)
            return cli_usage("bench: unexpected argument '%s'", arg.value);
        if (!strcmp(arg.option->name, "help"))
            return help();
        code = set_option(b, arg.option->name, arg.value);
    }
    if (code >= 0)
        return code;
    if (!b->op.op && b->only_op)
        return cli_usage("--%s: only for a single op; --op is missing", b->only_op);
    if (b->op.op && b->only_network)
        return cli_usage("--%s: only for networks, not with --op", b->only_network);
    return b->op.op && sd_bench_op_resolve(&b->op, &err) ? cli_fail(&err) : -1;
}

static void print_rows(const sd_bench_result *r) {
    int width = 20;
    for (uint32_t i = 0; i < r->op_count; i++)
        width = (int)strlen(r->ops[i].name) > width ? (int)strlen(r->ops[i].name) : width;
    printf("%-*s %6s %10s %10s %8s\n", width, "op", "nodes", "ms", "GFLOP/s", "GB/s");
    for (uint32_t i = 0; i < r->op_count; i++) {
        const sd_bench_op *o = &r->ops[i];
        double s = o->seconds > 0 ? o->seconds : 1e30;
        printf("%-*s %6u %10.3f %10.2f %8.2f\n", width, o->name, o->nodes, o->seconds * 1e3,
               o->flop / s * 1e-9, o->bytes / s * 1e-9);
    }
}

/* What the arithmetic of this run is compared with. */
static double flops_ceiling(const sd_bench_ceiling *peak, const sd_bench_result *r) {
    return r->f16 && peak->f16_flops > peak->flops ? peak->f16_flops : peak->flops;
}

static void print_ceilings(const sd_bench_ceiling *peak) {
    printf("%.1f GFLOP/s f32, ", peak->flops * 1e-9);
    if (peak->f16_flops > 0)
        printf("%.1f GFLOP/s f16, ", peak->f16_flops * 1e-9);
    printf("%.1f GB/s copy\n", peak->bandwidth * 1e-9);
}

static void print_text(const struct bench *b, const sd_device *device, const sd_bench_ceiling *peak,
                       const sd_bench_result *r) {
    const sd_bench_params *n = &b->network;
    double flops = (double)r->flop / r->median_seconds, bandwidth = (double)r->bytes / r->median_seconds;
    printf("device: %s (%s)\n", device->name, device->driver);
    printf("ceilings: ");
    print_ceilings(peak);
    if (b->op.op)
        bench_op_text(&b->op);
    else if (b->model)
        printf("%s of %s", n->network ? n->network : "unet", b->model);
    else
        printf("%s %s %ux%u, batch %u", n->family ? n->family : "sd1", n->network ? n->network : "unet",
               n->width ? n->width : 512, n->height ? n->height : 512, n->batch ? n->batch : 1);
    printf(": %.3f ms median of %u (best %.3f, first %.3f, recording %.3f, host %.3f)\n",
           r->median_seconds * 1e3, r->runs, r->best_seconds * 1e3, r->first_seconds * 1e3,
           r->record_seconds * 1e3, r->host_seconds * 1e3);
    printf(
        "%.3f GFLOP at %.2f GFLOP/s, %.0f %% of the arithmetic ceiling; %.1f MB at %.2f GB/s, %.0f %% of the "
        "copy ceiling\n",
        (double)r->flop * 1e-9, flops * 1e-9, 100 * flops / flops_ceiling(peak, r), (double)r->bytes * 1e-6,
        bandwidth * 1e-9, 100 * bandwidth / peak->bandwidth);
    printf("weights %.1f MiB, work %.1f MiB, %u nodes, %u barriers\n", (double)r->weight_bytes / (1 << 20),
           (double)r->activation_bytes / (1 << 20), r->nodes, r->barriers);
    print_rows(r);
}

static void print_result_json(const struct bench *b, const sd_bench_ceiling *peak, const sd_bench_result *r) {
    if (b->op.op)
        bench_op_json(&b->op);
    printf(",\"runs\":%u,\"repeats\":%u,\"median_seconds\":%.9f,\"best_seconds\":%.9f,\"first_seconds\":%.9f,"
           "\"record_seconds\":%.9f,\"host_seconds\":%.9f",
           r->runs, r->repeats, r->median_seconds, r->best_seconds, r->first_seconds, r->record_seconds,
           r->host_seconds);
    printf(",\"flop\":%llu,\"bytes\":%llu,\"percent_of_flops\":%.2f,\"percent_of_bandwidth\":%.2f",
           (unsigned long long)r->flop, (unsigned long long)r->bytes,
           100 * (double)r->flop / r->median_seconds / flops_ceiling(peak, r),
           100 * (double)r->bytes / r->median_seconds / peak->bandwidth);
    printf(
        ",\"parameters\":%llu,\"weight_bytes\":%llu,\"activation_bytes\":%llu,\"nodes\":%u,\"barriers\":%u,"
        "\"ops\":[",
        (unsigned long long)r->parameters, (unsigned long long)r->weight_bytes,
        (unsigned long long)r->activation_bytes, r->nodes, r->barriers);
    for (uint32_t i = 0; i < r->op_count; i++)
        printf("%s{\"name\":\"%s\",\"nodes\":%u,\"seconds\":%.9f,\"flop\":%.0f,\"bytes\":%.0f}", i ? "," : "",
               r->ops[i].name, r->ops[i].nodes, r->ops[i].seconds, r->ops[i].flop, r->ops[i].bytes);
    putchar(']');
}

static void print_json(const struct bench *b, const sd_device *device, const sd_bench_ceiling *peak,
                       const sd_bench_result *r) {
    fputs("{\"device\":", stdout);
    cli_json_string(stdout, device->name);
    fputs(",\"driver\":", stdout);
    cli_json_string(stdout, device->driver);
    printf(",\"peak_flops\":%.0f,\"peak_f16_flops\":%.0f,\"peak_bandwidth\":%.0f", peak->flops,
           peak->f16_flops, peak->bandwidth);
    if (!b->peaks)
        print_result_json(b, peak, r);
    puts("}");
}

static sd_status measure(sd_context *context, struct bench *b, sd_bench_result *out, sd_error *err) {
    if (b->op.op)
        return sd_bench_op_run(context, &b->op, out, err);
    const sd_model_options model = {.precision = b->network.precision};
    sd_status status = b->model ? sd_model_open(&b->network.model, context, b->model, &model, err) : SD_OK;
    if (!status)
        status = sd_bench_network(context, &b->network, out, err);
    sd_model_close(&b->network.model);
    return status;
}

int cli_bench(int argc, char **argv) {
    struct bench b = {0};
    sd_context *context = NULL;
    sd_bench_ceiling peak;
    sd_bench_result result;
    sd_device device;
    sd_error err;
    int code = parse(argc, argv, &b);
    if (code >= 0)
        return code;
    const sd_context_options context_options = {.device = b.device, .log = cli_logger(SD_LOG_WARNING)};
    if (sd_context_create(&context, &context_options, &err))
        return cli_fail(&err);
    sd_context_device(context, &device);
    if (sd_bench_peaks(context, &peak, &err) || (!b.peaks && measure(context, &b, &result, &err)))
        code = cli_fail(&err);
    else if (b.json)
        print_json(&b, &device, &peak, &result);
    else if (b.peaks) {
        printf("%s: ", device.name);
        print_ceilings(&peak);
    } else
        print_text(&b, &device, &peak, &result);
    sd_context_destroy(&context);
    return code < 0 ? EXIT_OK : code;
}
