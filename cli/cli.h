/* Shared by the sub-commands. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "sd/sd.h"

#include <stdio.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CANCELLED = 130 };

/* One option of a sub-command beside those of the library's table. */
struct cli_option {
    const char *name;  /* with dashes, without the leading two */
    char letter;       /* one-letter form, or 0 */
    const char *value; /* what its argument is called; NULL for a switch */
    const char *help;
};

/* Walks the arguments of a sub-command. */
struct cli_args {
    int argc, next;
    char **argv;
    const struct cli_option *options; /* ends with a NULL name */
    bool table;                       /* also accept the library's options */
    bool only_words;                  /* after "--" */
};

/* What one step of the walk found. */
struct cli_arg {
    const struct cli_option *option; /* own option, or NULL */
    const sd_option *shared;         /* option of the table, or NULL */
    const char *value;               /* its argument, or the plain word when both are NULL */
};

/* 1 and fills *out, 0 at the end, -1 after printing what is wrong. */
int cli_next(struct cli_args *args, struct cli_arg *out);

/* Prints "sdvk: message" and returns the exit code for the status. */
int cli_fail(const sd_error *err);
/* Prints a usage error and returns EXIT_USAGE. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
int cli_usage(const char *format, ...);

/* Prints the options with their ranges and defaults. */
void cli_help_options(FILE *out, const struct cli_option *options, bool table);

/* Log messages to stderr. */
sd_logger cli_logger(sd_log_level level);

/* Progress on stderr: a bar with the time left on a terminal, plain lines otherwise. */
struct cli_progress {
    bool terminal, quiet;
    bool line_open; /* the bar stands without a newline */
    uint32_t last_step;
    double next_line; /* seconds before which compiling or converting is not worth a line */
};
void cli_progress_begin(struct cli_progress *p, bool quiet);
void cli_progress_show(void *progress, const sd_progress *state);
void cli_progress_end(struct cli_progress *p);

/* LoRAs of the command line. */
enum { CLI_LORAS = 64 };
struct cli_loras {
    sd_lora_use uses[CLI_LORAS];
    size_t count;
};
/* NAME[:STRENGTH[:TEXT]]; an exit code. */
int cli_add_lora(struct cli_loras *loras, const char *value);
/* Block weights of the last one. */
int cli_set_lora_blocks(struct cli_loras *loras, const char *value);
void cli_free_loras(struct cli_loras *loras);
/* A line for each LoRA of the model's set or of the last prompt, and one for each key that it did not use. */
void cli_report_loras(const sd_model *model, bool in_prompt, FILE *out);

/* From now on Ctrl-C and SIGTERM ask this to stop, and no longer end the program. */
sd_cancel *cli_cancel(void);

/* Writes `text` as a JSON string with quotes. */
void cli_json_string(FILE *out, const char *text);

int cli_generate(int argc, char **argv);
int cli_devices(int argc, char **argv);
int cli_info(int argc, char **argv);
int cli_models(int argc, char **argv);
int cli_convert(int argc, char **argv);
int cli_merge(int argc, char **argv);
int cli_bench(int argc, char **argv);
int cli_audit(int argc, char **argv);

#endif
