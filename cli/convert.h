/* What `sdvk convert` and `sdvk merge` share. */
#ifndef CLI_CONVERT_H
#define CLI_CONVERT_H

#include "cli/cli.h"

#include "sd/tools.h"

enum { CLI_RULES = 256 };

struct cli_convert {
    sd_convert_params params;
    sd_convert_rule rules[CLI_RULES];
    char *texts[CLI_RULES]; /* what rules point into; freed by cli_convert_free */
    size_t text_count;
    const char *device; /* for merging */
    bool json, quiet;
    bool verbose, validation; /* for merging */
};

/* Options of both commands. */
#define CLI_CONVERT_OPTIONS                                                                                  \
    {"output", 'o', "FILE", "the file to write, .safetensors or .gguf; never replaces one"},                 \
        {"type", 't', "TYPE", "what tensors become; default: what they are"},                                \
        {"rule", 'r', "PATTERN=TYPE",                                                                        \
         "type of tensors whose name holds the pattern (extended regular expression); the first that fits "  \
         "wins; may be repeated"},                                                                           \
        {"tensor-type-rules", 0, "LIST", "rules as stable-diffusion.cpp writes them: PATTERN=TYPE,..."},     \
        {"models", 0, "DIR",                                                                                 \
         "folder of models in which names are looked up, as A1111 or ComfyUI lay it out"},                   \
        {"prune", 0, NULL, "leave out training averages (model_ema.*)"},                                     \
        {"plan", 0, NULL, "print the sizes and write nothing"},                                              \
        {"json", 0, NULL, "print the result as JSON"}, {"quiet", 'q', NULL, "no progress"}, {                \
        "help", 'h', NULL, "print this help"                                                                 \
    }

/* Takes one option, or the model's name where `arg` is a plain word; an exit code. */
int cli_convert_option(struct cli_convert *c, const char *command, const struct cli_arg *arg);
/* What is still missing; an exit code. */
int cli_convert_check(const struct cli_convert *c, const char *command);
void cli_convert_help(const char *usage, const struct cli_option *options);
/* Converts and prints what became of it; `context` may be NULL without LoRAs. An exit code. */
int cli_convert_run(struct cli_convert *c, sd_context *context);
void cli_convert_free(struct cli_convert *c);

#endif
