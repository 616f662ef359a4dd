#include "cli/convert.h"

#include <string.h>

static const struct cli_option options[] = {
    {"lora", 'l', "NAME[:S[:T]]",
     "a LoRA to merge, a file or a name in the model folder, at strength S (default 1), T for the text "
     "encoders; may be repeated"},
    {"lora-blocks", 0, "LIST", "12, 17, 20 or 26 block weights of the LoRA before it"},
    {"lenient", 0, NULL, "ignore keys of a LoRA that fit no layer"},
    {"device", 'd', "DEVICE", "index, name or UUID from `sdvk devices`"},
    {"validation", 0, NULL, "run under the Vulkan validation layers"},
    {"verbose", 'v', NULL, "log what happens"},
    CLI_CONVERT_OPTIONS,
    {NULL, 0, NULL, NULL}};

static int take(struct cli_convert *c, struct cli_loras *loras, const struct cli_arg *arg) {
    const char *name = arg->option ? arg->option->name : "";
    if (!strcmp(name, "lora"))
        return cli_add_lora(loras, arg->value);
    if (!strcmp(name, "lora-blocks"))
        return cli_set_lora_blocks(loras, arg->value);
    if (!strcmp(name, "lenient"))
        c->params.lenient = true;
    else if (!strcmp(name, "device"))
        c->device = arg->value;
    else if (!strcmp(name, "validation"))
        c->validation = true;
    else if (!strcmp(name, "verbose"))
        c->verbose = true;
    else
        return cli_convert_option(c, "merge", arg);
    return EXIT_OK;
}

static int merge(struct cli_convert *c, const struct cli_loras *loras) {
    const sd_context_options context_options = {.device = c->device,
                                                .models = c->params.models,
                                                .validation = c->validation,
                                                .log = cli_logger(c->verbose ? SD_LOG_INFO : SD_LOG_WARNING)};
    sd_context *context;
    sd_error err;
    if (sd_context_create(&context, &context_options, &err))
        return cli_fail(&err);
    c->params.loras = loras->uses;
    c->params.lora_count = loras->count;
    int code = cli_convert_run(c, context);
    if (!code && c->validation && sd_context_validation_messages(context))
        code = EXIT_FAILED;
    sd_context_destroy(&context);
    return code;
}

int cli_merge(int argc, char **argv) {
    struct cli_args args = {.argc = argc, .argv = argv, .options = options};
    struct cli_convert c = {0};
    struct cli_loras loras = {0};
    struct cli_arg arg;
    int found, code = EXIT_OK;
    bool help = false;
    while (!code && !help && (found = cli_next(&args, &arg)) != 0) {
        help = found > 0 && arg.option && !strcmp(arg.option->name, "help");
        code = found < 0 ? EXIT_USAGE : help ? EXIT_OK : take(&c, &loras, &arg);
    }
    if (help)
        cli_convert_help(
            "usage: sdvk merge MODEL --lora NAME -o FILE [options]\n\nMerges LoRAs into a model and "
            "writes it as one safetensors or GGUF file.",
            options);
    if (!code && !help)
        code = cli_convert_check(&c, "merge");
    if (!code && !help && !loras.count)
        code = cli_usage("merge: expected a --lora to merge; `sdvk convert` changes types alone");
    if (!code && !help)
        code = merge(&c, &loras);
    cli_free_loras(&loras);
    cli_convert_free(&c);
    return code;
}
