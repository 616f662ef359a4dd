#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EMBEDDINGS = 64 };

static const struct cli_option options[] = {
    {"model", 'm', "NAME",
     "safetensors, GGUF or .ckpt file, diffusers folder, or a name in the model folder"},
    {"models", 0, "DIR", "folder of models in which names are looked up, as A1111 or ComfyUI lay it out"},
    {"vae", 0, "NAME", "a VAE in place of the model's own"},
    {"taesd", 0, "NAME", "a small autoencoder in place of the VAE, for drafts"},
    {"text-encoder", 0, "NAME", "a text encoder in place of the model's own; may be repeated"},
    {"unet", 0, "NAME", "a UNet in place of the model's own"},
    {"output", 'o', "NAME", "file name; {seed}, {index} and {model} are filled in; default: sdvk-{seed}.png"},
    {"lora", 'l', "NAME[:S[:T]]",
     "merge a LoRA, a file or a name in the model folder, at strength S (default 1), T for the text "
     "encoders; may be repeated"},
    {"lora-blocks", 0, "LIST", "12, 17, 20 or 26 block weights of the LoRA before it"},
    {"lora-mode", 0, "MODE",
     "merge, or runtime: beside layers that are quantised, which then stay so in device memory"},
    {"embedding", 'e', "NAME",
     "a textual inversion, a file or a name in the model folder, for its name in the prompt; may be "
     "repeated"},
    {"lenient", 0, NULL,
     "ignore keys of a LoRA that fit no layer, LoRAs of the prompt that are not found, and embeddings of "
     "other models"},
    {"init-image", 'i', "FILE", "start from this picture (PNG or JPEG)"},
    {"mask", 0, "FILE", "make the init picture anew where this picture is white, and keep the rest"},
    {"device", 'd', "DEVICE", "index, name or UUID from `sdvk devices`"},
    {"precision", 0, "TYPE", "auto, f32 or f16"},
    {"prediction", 0, "TYPE", "epsilon or v, for files that do not say it"},
    {"plan", 0, NULL, "print work and memory instead of rendering"},
    {"json", 0, NULL, "print the result as JSON"},
    {"overwrite", 0, NULL, "replace files that exist"},
    {"validation", 0, NULL, "run under the Vulkan validation layers"},
    {"quiet", 'q', NULL, "no progress"},
    {"verbose", 'v', NULL, "log what happens"},
    {"help", 'h', NULL, "print this help"},
    {NULL, 0, NULL, NULL}};

struct request {
    sd_params params;
    const char *model, *models, *output, *init, *mask, *device, *precision, *prediction, *lora_mode;
    sd_model_options parts;
    bool plan, json, overwrite, validation, quiet, verbose;
    struct cli_loras loras;
    const char *embeddings[EMBEDDINGS];
};

static void help(void) {
    puts("usage: sdvk generate PROMPT --model NAME [options]\n");
    cli_help_options(stdout, options, true);
}

static void set_option(struct request *r, const char *name, const char *value) {
    const struct {
        const char *name;
        const char **text;
        bool *flag;
    } fields[] = {{"model", &r->model, NULL},
                  {"models", &r->models, NULL},
                  {"vae", &r->parts.vae, NULL},
                  {"taesd", &r->parts.taesd, NULL},
                  {"unet", &r->parts.unet, NULL},
                  {"output", &r->output, NULL},
                  {"init-image", &r->init, NULL},
                  {"mask", &r->mask, NULL},
                  {"device", &r->device, NULL},
                  {"precision", &r->precision, NULL},
                  {"prediction", &r->prediction, NULL},
                  {"lora-mode", &r->lora_mode, NULL},
                  {"plan", NULL, &r->plan},
                  {"json", NULL, &r->json},
                  {"overwrite", NULL, &r->overwrite},
                  {"validation", NULL, &r->validation},
                  {"quiet", NULL, &r->quiet},
                  {"verbose", NULL, &r->verbose},
                  {"lenient", NULL, &r->params.lenient}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!strcmp(fields[i].name, name)) {
            if (fields[i].text)
                *fields[i].text = value;
            else
                *fields[i].flag = true;
        }
}

static int add_text_encoder(struct request *r, const char *value) {
    const char **slots = r->parts.text_encoders;
    if (slots[1])
        return cli_usage("--text-encoder: expected at most 2, found more");
    slots[slots[0] != NULL] = value;
    return EXIT_OK;
}

static int add_embedding(struct request *r, const char *value) {
    if (r->params.embedding_count == EMBEDDINGS)
        return cli_usage("--embedding: expected at most %d, found more", EMBEDDINGS);
    if (!*value)
        return cli_usage("--embedding: expected a file or a name, found ''");
    r->embeddings[r->params.embedding_count++] = value;
    r->params.embeddings = r->embeddings;
    return EXIT_OK;
}

/* -1 to go on, else the exit code. */
static int parse(int argc, char **argv, struct request *r) {
    struct cli_args args = {.argc = argc, .argv = argv, .options = options, .table = true};
    struct cli_arg arg;
    sd_error err;
    int found;
    while ((found = cli_next(&args, &arg)) > 0) {
        if (arg.option && !strcmp(arg.option->name, "help")) {
            help();
            return EXIT_OK;
        }
        int code = EXIT_OK;
        if (arg.option && !strcmp(arg.option->name, "lora"))
            code = cli_add_lora(&r->loras, arg.value);
        else if (arg.option && !strcmp(arg.option->name, "lora-blocks"))
            code = cli_set_lora_blocks(&r->loras, arg.value);
        else if (arg.option && !strcmp(arg.option->name, "text-encoder"))
            code = add_text_encoder(r, arg.value);
        else if (arg.option && !strcmp(arg.option->name, "embedding"))
            code = add_embedding(r, arg.value);
        if (code)
            return code;
        bool prompt = !arg.option && (!arg.shared || !strcmp(arg.shared->name, "prompt"));
        if (prompt && r->params.prompt)
            return cli_usage("generate: expected one prompt, found also '%s'; put the prompt in quotes",
                             arg.value);
        if (arg.option)
            set_option(r, arg.option->name, arg.value);
        else if (sd_params_set(&r->params, arg.shared ? arg.shared->name : "prompt", arg.value, &err))
            return cli_fail(&err);
    }
    if (found < 0)
        return EXIT_USAGE;
    if (!r->params.prompt)
        return cli_usage(
            "generate: expected a prompt, e.g. sdvk generate \"a red mug\" --model samples/mockup");
    if (!r->model)
        return cli_usage("generate: --model is missing: a safetensors file or a diffusers folder, e.g. "
                         "--model samples/mockup");
    if (!*r->model)
        return cli_usage("--model: expected a safetensors file or a diffusers folder, found ''");
    if (r->precision && strcmp(r->precision, "auto") && strcmp(r->precision, "f32") &&
        strcmp(r->precision, "f16"))
        return cli_usage("--precision: expected auto, f32 or f16, found '%s'", r->precision);
    if (r->prediction && strcmp(r->prediction, "epsilon") && strcmp(r->prediction, "v"))
        return cli_usage("--prediction: expected epsilon or v, found '%s'", r->prediction);
    if (r->lora_mode && strcmp(r->lora_mode, "merge") && strcmp(r->lora_mode, "runtime"))
        return cli_usage("--lora-mode: expected merge or runtime, found '%s'", r->lora_mode);
    return -1;
}

/* The name of one picture; false when it does not fit. Without a placeholder that tells pictures apart, the
 * index goes before the extension. */
static bool output_name(const struct request *r, const char *model, int64_t seed, size_t index, size_t count,
                        char *out, size_t size) {
    const char *pattern = r->output ? r->output : "sdvk-{seed}.png";
    bool distinct = count == 1 || strstr(pattern, "{seed}") || strstr(pattern, "{index}");
    const char *dot = strrchr(pattern, '.');
    size_t at = 0;
    for (const char *p = pattern; *p;) {
        char piece[64];
        size_t skip = 1;
        if (!strncmp(p, "{seed}", 6))
            skip = 6, snprintf(piece, sizeof piece, "%lld", (long long)seed);
        else if (!strncmp(p, "{index}", 7))
            skip = 7, snprintf(piece, sizeof piece, "%zu", index + 1);
        else if (!strncmp(p, "{model}", 7))
            skip = 7, snprintf(piece, sizeof piece, "%.60s", model);
        else if (p == dot && !distinct)
            snprintf(piece, sizeof piece, "-%zu.", index + 1);
        else
            snprintf(piece, sizeof piece, "%c", *p);
        size_t n = strlen(piece);
        if (at + n + 1 > size)
            return false;
        memcpy(out + at, piece, n + 1);
        at += n;
        p += skip;
    }
    return at > 0;
}

/* What would only fail after minutes of rendering is refused before. */
static int check_output(const struct request *r, const char *name) {
    char folder[4096];
    struct stat st;
    const char *slash = strrchr(name, '/'), *dot = strrchr(name, '.');
    if (!dot || (strcmp(dot, ".png") && strcmp(dot, ".jpg") && strcmp(dot, ".jpeg")))
        return cli_usage("--output: expected a name that ends in .png, .jpg or .jpeg, found '%s'", name);
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - name + 1) : 2, slash ? name : "./");
    if (stat(folder, &st))
        return cli_usage("--output: the folder '%s' cannot be used: %s", folder, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return cli_usage("--output: expected a folder, found the file '%.*s'", (int)strlen(folder) - 1,
                         folder);
    if (access(folder, W_OK | X_OK))
        return cli_usage("--output: the folder '%s' cannot be written: %s", folder, strerror(errno));
    if (stat(name, &st))
        return errno == ENOENT ? EXIT_OK
                               : cli_usage("--output: '%.200s' cannot be written: %s", name, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return cli_usage("--output: expected the name of a file to write, found the folder '%s'", name);
    if (!r->overwrite)
        return cli_usage("--output: '%s' exists; --overwrite replaces it", name);
    return EXIT_OK;
}

static int check_outputs(const struct request *r, const char *model) {
    size_t count = r->params.count ? r->params.count : 1;
    char name[4096];
    for (size_t i = 0; i < count; i++) {
        int64_t seed = r->params.seed < 0 ? -1 : r->params.seed + (int64_t)i;
        if (!output_name(r, model, seed, i, count, name, sizeof name))
            return cli_usage("--output: the file name is empty or longer than 4095 bytes");
        int code = check_output(r, name);
        if (code)
            return code;
    }
    return EXIT_OK;
}

static int print_plan(sd_model *model, const struct request *r) {
    sd_plan_report plan;
    sd_error err;
    if (sd_plan_generate(model, &r->params, &plan, &err))
        return cli_fail(&err);
    if (r->json)
        fputs("{\"networks\":[", stdout);
    else
        printf("%-8s %12s %12s %14s %12s %10s %9s\n", "network", "weights MiB", "work MiB", "GFLOP a run",
               "GB moved", "dispatches", "barriers");
    for (uint32_t i = 0; i < plan.count; i++) {
        const sd_network_plan *n = &plan.network[i];
        if (r->json)
            printf("%s{\"name\":\"%s\",\"parameters\":%llu,\"weight_bytes\":%llu,\"activation_bytes\":%llu,"
                   "\"flop\":%llu,"
                   "\"once_flop\":%llu,\"bytes\":%llu,\"nodes\":%u,\"barriers\":%u,\"strips\":%u,"
                   "\"host_bytes\":%llu}",
                   i ? "," : "", n->name, (unsigned long long)n->parameters,
                   (unsigned long long)n->weight_bytes, (unsigned long long)n->activation_bytes,
                   (unsigned long long)n->flop, (unsigned long long)n->once_flop,
                   (unsigned long long)n->bytes, n->nodes, n->barriers, n->strips,
                   (unsigned long long)n->host_bytes);
        else
            printf("%-8s %12.1f %12.1f %14.2f %12.3f %10u %9u\n", n->name,
                   (double)n->weight_bytes / (1 << 20), (double)n->activation_bytes / (1 << 20),
                   (double)n->flop * 1e-9, (double)n->bytes * 1e-9, n->nodes, n->barriers);
    }
    if (r->json)
        printf("],\"peak_bytes\":%llu}\n", (unsigned long long)plan.peak_bytes);
    else {
        for (uint32_t i = 0; i < plan.count; i++)
            if (plan.network[i].strips > 1)
                printf("the %s works in up to %u strips and keeps %.1f MiB in the host's memory\n",
                       plan.network[i].name, plan.network[i].strips,
                       (double)plan.network[i].host_bytes / (1 << 20));
        printf("peak device memory: %.1f MiB\n", (double)plan.peak_bytes / (1 << 20));
    }
    return EXIT_OK;
}

/* Where pictures go as they are made. */
struct saving {
    const struct request *request;
    const char *model; /* its name */
    struct cli_progress progress;
    uint32_t made, count;
    int code; /* of a name that cannot be written */
};

/* Half a list of pictures is told as a whole one when something fails behind it. */
static void print_image(const struct saving *s, const char *name, const sd_output *o) {
    if (s->request->json) {
        fputs(s->made ? ",{\"path\":" : "{\"images\":[{\"path\":", stdout);
        cli_json_string(stdout, name);
        printf(",\"seed\":%lld,\"sdvk\":%s}", (long long)o->seed, o->json);
    } else
        puts(name);
    fflush(stdout);
}

static sd_status save(void *user, uint32_t image, const sd_output *o, sd_error *err) {
    struct saving *s = user;
    const struct request *r = s->request;
    char name[4096];
    cli_progress_end(&s->progress); /* the bar makes room for the name */
    if (!output_name(r, s->model, o->seed, image, s->count, name, sizeof name))
        s->code = cli_usage("--output: the file name is empty or longer than 4095 bytes");
    else
        s->code = check_output(r, name);
    sd_status status = s->code ? SD_E_ARGUMENT : sd_output_save(o, name, err);
    if (!status) {
        print_image(s, name, o);
        s->made++;
    }
    return status;
}

static void print_end(const struct saving *s, const sd_outputs *outputs, const sd_device *device) {
    const struct request *r = s->request;
    if (r->json) {
        fputs("],\"device\":", stdout);
        cli_json_string(stdout, device->name);
        printf(",\"seconds\":%.3f,\"text_seconds\":%.3f,\"step_seconds\":%.3f,\"decode_seconds\":%.3f,"
               "\"host_step_seconds\":%.6f}\n",
               outputs->seconds, outputs->text_seconds, outputs->step_seconds, outputs->decode_seconds,
               outputs->host_step_seconds);
    } else if (!r->quiet)
        fprintf(stderr, "%u picture%s in %.1f s on %s\n", s->made, s->made == 1 ? "" : "s", outputs->seconds,
                device->name);
}

/* The pictures that were made before it stay, and are told. */
static int print_failure(const struct saving *s, const sd_error *err) {
    const struct request *r = s->request;
    if (r->json && s->made) {
        fputs("],\"error\":", stdout);
        cli_json_string(stdout, s->code ? "a picture cannot be written" : err->message);
        fputs("}\n", stdout);
    }
    int code = s->code ? s->code : cli_fail(err);
    if (s->made)
        fprintf(stderr, "%u of %u pictures %s made before\n", s->made, s->count,
                s->made == 1 ? "was" : "were");
    return code;
}

static int render(struct request *r, sd_model *model, const sd_device *device, const char *name) {
    struct saving saving = {.request = r, .model = name, .count = r->params.count ? r->params.count : 1};
    sd_outputs *outputs = NULL;
    sd_picture init = {0}, mask = {0};
    sd_error err;
    if ((r->init && sd_picture_load(&init, r->init, &err)) ||
        (r->mask && sd_picture_load(&mask, r->mask, &err))) {
        sd_picture_free(&init);
        return cli_fail(&err);
    }
    r->params.init_image = r->init ? &init : NULL;
    r->params.mask = r->mask ? &mask : NULL;
    cli_progress_begin(&saving.progress, r->quiet);
    r->params.progress = cli_progress_show;
    r->params.progress_user = &saving.progress;
    r->params.made = save;
    r->params.made_user = &saving;
    sd_status status = sd_generate(model, &r->params, &outputs, &err);
    cli_progress_end(&saving.progress);
    if (!status && !r->quiet)
        cli_report_loras(model, true, stderr);
    int code = EXIT_OK;
    if (status)
        code = print_failure(&saving, &err);
    else
        print_end(&saving, outputs, device);
    sd_outputs_free(&outputs);
    sd_picture_free(&init);
    sd_picture_free(&mask);
    return code;
}

static sd_precision precision_of(const char *name) {
    return name && !strcmp(name, "f32")   ? SD_PRECISION_F32
           : name && !strcmp(name, "f16") ? SD_PRECISION_F16
                                          : SD_PRECISION_AUTO;
}

int cli_generate(int argc, char **argv) {
    struct request r = {.params.seed = -1};
    sd_context *context = NULL;
    sd_model *model = NULL;
    sd_model_info info;
    sd_device device;
    sd_error err;
    int code = parse(argc, argv, &r);
    if (code >= 0) {
        cli_free_loras(&r.loras);
        return code;
    }
    r.params.cancel = cli_cancel();
    const sd_context_options context_options = {.device = r.device,
                                                .models = r.models,
                                                .validation = r.validation,
                                                .log = cli_logger(r.verbose ? SD_LOG_INFO : SD_LOG_WARNING)};
    const sd_model_options model_options = {
        .precision = precision_of(r.precision),
        .prediction = r.prediction,
        .lora_mode = r.lora_mode && !strcmp(r.lora_mode, "runtime") ? SD_LORA_RUNTIME : SD_LORA_MERGE,
        .loras = r.loras.uses,
        .lora_count = r.loras.count,
        .unet = r.parts.unet,
        .vae = r.parts.vae,
        .taesd = r.parts.taesd,
        .text_encoders = {r.parts.text_encoders[0], r.parts.text_encoders[1]},
        .lenient = r.params.lenient,
        .cancel = r.params.cancel};
    if (sd_context_create(&context, &context_options, &err) ||
        sd_model_open(&model, context, r.model, &model_options, &err))
        code = cli_fail(&err);
    else {
        sd_context_device(context, &device);
        sd_model_get_info(model, &info);
        if (!r.quiet)
            cli_report_loras(model, false, stderr);
        code = r.plan ? print_plan(model, &r) : check_outputs(&r, info.name);
        if (!code && !r.plan)
            code = render(&r, model, &device, info.name);
    }
    sd_model_close(&model);
    cli_free_loras(&r.loras);
    if (!code && r.validation && sd_context_validation_messages(context))
        code = EXIT_FAILED;
    sd_context_destroy(&context);
    return code;
}
