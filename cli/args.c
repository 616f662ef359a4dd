#include "cli/cli.h"

#include <stdarg.h>
#include <string.h>

int cli_usage(const char *format, ...) {
    va_list args;
    fputs("sdvk: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return EXIT_USAGE;
}

int cli_fail(const sd_error *err) {
    fprintf(stderr, "sdvk: %s\n", err->message);
    switch (err->status) {
    case SD_E_ARGUMENT:
    case SD_E_NOT_FOUND:
    case SD_E_FORMAT:
    case SD_E_UNSUPPORTED:
        return EXIT_USAGE;
    case SD_E_CANCELLED:
        return EXIT_CANCELLED;
    default:
        return EXIT_FAILED;
    }
}

/* "cfg-scale" and "cfg_scale" are the same option. */
static bool same_name(const char *given, size_t length, const char *name) {
    for (size_t i = 0; i < length; i++)
        if (!name[i] || (given[i] == '-' ? '_' : given[i]) != (name[i] == '-' ? '_' : name[i]))
            return false;
    return !name[length];
}

static bool find_long(const struct cli_args *args, const char *name, size_t length, struct cli_arg *out) {
    for (const struct cli_option *o = args->options; o->name; o++)
        if (same_name(name, length, o->name)) {
            out->option = o;
            return true;
        }
    for (size_t i = 0; args->table && i < sd_option_count(); i++)
        if (same_name(name, length, sd_option_at(i)->name)) {
            out->shared = sd_option_at(i);
            return true;
        }
    return false;
}

static int unknown_option(const struct cli_args *args, const char *given) {
    const char *names[64];
    char spelled[32][40];
    size_t count = 0;
    for (const struct cli_option *o = args->options; o->name && count < 60; o++)
        names[count++] = o->name;
    for (size_t i = 0; args->table && i < sd_option_count() && i < 32 && count < 60; i++) {
        snprintf(spelled[i], sizeof spelled[i], "%s", sd_option_at(i)->name);
        for (char *p = spelled[i]; *p; p++)
            *p = *p == '_' ? '-' : *p;
        names[count++] = spelled[i];
    }
    names[count] = NULL;
    char word[128];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(given, "="), given);
    const char *near = sd_suggest(word + 2, names);
    if (near)
        cli_usage("unknown option '%s'; did you mean '--%s'?", word, near);
    else
        cli_usage("unknown option '%s'; --help lists the options", word);
    return -1;
}

static int take_value(struct cli_args *args, const char *shown, bool wanted, const char *attached,
                      struct cli_arg *out) {
    if (!wanted && attached) {
        cli_usage("%s takes no value", shown);
        return -1;
    }
    if (!wanted)
        return 1;
    if (!attached && args->next >= args->argc) {
        cli_usage("%s: a value is missing", shown);
        return -1;
    }
    out->value = attached ? attached : args->argv[args->next++];
    return 1;
}

int cli_next(struct cli_args *args, struct cli_arg *out) {
    *out = (struct cli_arg){0};
    if (args->next >= args->argc)
        return 0;
    const char *word = args->argv[args->next++];
    if (args->only_words || word[0] != '-' || !word[1]) {
        out->value = word;
        return 1;
    }
    if (!strcmp(word, "--")) {
        args->only_words = true;
        return cli_next(args, out);
    }
    if (word[1] == '-') {
        const char *equals = strchr(word, '=');
        size_t length = (equals ? (size_t)(equals - word) : strlen(word)) - 2;
        if (!find_long(args, word + 2, length, out))
            return unknown_option(args, word);
        bool wanted = out->shared || out->option->value;
        char shown[64];
        snprintf(shown, sizeof shown, "%.*s", (int)length + 2, word);
        return take_value(args, shown, wanted, equals ? equals + 1 : NULL, out);
    }
    for (const struct cli_option *o = args->options; o->name; o++)
        if (o->letter == word[1]) {
            out->option = o;
            const char shown[] = {'-', word[1], 0};
            return take_value(args, shown, o->value != NULL, word[2] ? word + 2 : NULL, out);
        }
    cli_usage("unknown option '%s'; --help lists the options", word);
    return -1;
}

static void print_shared(FILE *out, const sd_option *o) {
    char name[64];
    snprintf(name, sizeof name, "--%s", o->name);
    for (char *p = name; *p; p++)
        *p = *p == '_' ? '-' : *p;
    fprintf(out, "      %-22s %s", name, o->help);
    if (o->kind == SD_OPTION_COUNT || o->kind == SD_OPTION_NUMBER)
        fprintf(out, " (%g to %g)", o->low, o->high);
    for (size_t i = 0; o->choice && o->choice(i); i++)
        fprintf(out, "%s %s", i ? "" : ":", o->choice(i));
    if (o->fallback && *o->fallback)
        fprintf(out, "; default: %s", o->fallback);
    fputc('\n', out);
}

void cli_help_options(FILE *out, const struct cli_option *options, bool table) {
    for (const struct cli_option *o = options; o->name; o++) {
        char name[64];
        snprintf(name, sizeof name, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        if (o->letter)
            fprintf(out, "  -%c, %-22s %s\n", o->letter, name, o->help);
        else
            fprintf(out, "      %-22s %s\n", name, o->help);
    }
    for (size_t i = 0; table && i < sd_option_count(); i++)
        print_shared(out, sd_option_at(i));
}

void cli_json_string(FILE *out, const char *text) {
    fputc('"', out);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p == '"' || *p == '\\')
            fprintf(out, "\\%c", *p);
        else if (*p < 0x20)
            fprintf(out, "\\u%04x", *p);
        else
            fputc(*p, out);
    fputc('"', out);
}
