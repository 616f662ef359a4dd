#include "cli/convert.h"

#include <stdlib.h>
#include <string.h>

/* ---- options ---- */

/* PATTERN=TYPE: types hold no equals sign, patterns may. */
static int add_rule(struct cli_convert *c, const char *option, const char *text, size_t length) {
    if (c->params.rule_count == CLI_RULES)
        return cli_usage("%s: expected at most %d rules, found more", option, CLI_RULES);
    char *copy = strndup(text, length);
    if (!copy)
        return cli_usage("out of memory");
    c->texts[c->text_count++] = copy;
    char *equals = strrchr(copy, '=');
    if (!equals || equals == copy || !equals[1])
        return cli_usage("%s: expected PATTERN=TYPE, found '%s'", option, copy);
    *equals = 0;
    c->rules[c->params.rule_count++] = (sd_convert_rule){copy, equals + 1};
    c->params.rules = c->rules;
    return EXIT_OK;
}

static int add_rules(struct cli_convert *c, const char *list) {
    int code = EXIT_OK;
    for (const char *at = list; at && !code;) {
        size_t length = strcspn(at, ",");
        code = add_rule(c, "--tensor-type-rules", at, length);
        at = at[length] ? at + length + 1 : NULL;
    }
    return code;
}

int cli_convert_option(struct cli_convert *c, const char *command, const struct cli_arg *arg) {
    const char *name = arg->option ? arg->option->name : NULL;
    const struct {
        const char *name;
        const char **text;
        bool *flag;
    } fields[] = {{"output", &c->params.output, NULL}, {"type", &c->params.type, NULL},
                  {"models", &c->params.models, NULL}, {"prune", NULL, &c->params.prune},
                  {"plan", NULL, &c->params.plan},     {"json", NULL, &c->json},
                  {"quiet", NULL, &c->quiet}};
    if (!name && c->params.model)
        return cli_usage("%s: expected one model, found also '%s'", command, arg->value);
    if (!name) {
        c->params.model = arg->value;
        return EXIT_OK;
    }
    if (!strcmp(name, "rule"))
        return add_rule(c, "--rule", arg->value, strlen(arg->value));
    if (!strcmp(name, "tensor-type-rules"))
        return add_rules(c, arg->value);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!strcmp(fields[i].name, name)) {
            if (fields[i].text)
                *fields[i].text = arg->value;
            else
                *fields[i].flag = true;
        }
    return EXIT_OK;
}

int cli_convert_check(const struct cli_convert *c, const char *command) {
    if (!c->params.model)
        return cli_usage("%s: expected a model: a file or a diffusers folder", command);
    if (!c->params.output)
        return cli_usage("%s: --output is missing: the file to write, .safetensors or .gguf", command);
    return EXIT_OK;
}

void cli_convert_help(const char *usage, const struct cli_option *options) {
    const char *type;
    puts(usage);
    putchar('\n');
    cli_help_options(stdout, options, false);
    fputs("\ntypes:", stdout);
    for (size_t i = 0; (type = sd_convert_type_name(i)); i++)
        printf(" %s", type);
    putchar('\n');
}

void cli_convert_free(struct cli_convert *c) {
    for (size_t i = 0; i < c->text_count; i++)
        free(c->texts[i]);
    c->text_count = 0;
}

/* ---- the result ---- */

static double mib(uint64_t bytes) {
    return (double)bytes / (1 << 20);
}

static void print_text(const sd_convert_report *r, const sd_convert_params *p) {
    printf("%-14s %-13s %7s %-9s %11s %11s", "network", "tensors", "count", "type", "MiB before",
           "MiB after");
    puts(p->plan ? "" : "       error  largest error");
    for (size_t i = 0; i < r->count; i++) {
        const sd_convert_group *g = &r->groups[i];
        printf("%-14s %-13s %7u %-9s %11.2f %11.2f", g->part, g->kind, g->tensors, g->type,
               mib(g->bytes_before), mib(g->bytes_after));
        if (!p->plan)
            printf(" %11.3g  %13.3g", g->error, g->largest);
        if (strcmp(g->type, g->asked))
            printf("  (not %s)", g->asked);
        putchar('\n');
    }
    printf("%s: %u tensors, %.2f MiB %s %.2f MiB\n", p->output, r->tensors, mib(r->bytes_before),
           p->plan ? "would become" : "became", mib(r->bytes_after));
}

static void print_json(const sd_convert_report *r, const sd_convert_params *p) {
    fputs("{\"path\":", stdout);
    cli_json_string(stdout, p->output);
    printf(",\"written\":%s,\"tensors\":%u,\"bytes_before\":%llu,\"bytes_after\":%llu,\"groups\":[",
           p->plan ? "false" : "true", r->tensors, (unsigned long long)r->bytes_before,
           (unsigned long long)r->bytes_after);
    for (size_t i = 0; i < r->count; i++) {
        const sd_convert_group *g = &r->groups[i];
        printf("%s{\"network\":\"%s\",\"kind\":\"%s\",\"type\":\"%s\",\"asked\":\"%s\",\"tensors\":%u,"
               "\"bytes_before\":%llu,\"bytes_after\":%llu",
               i ? "," : "", g->part, g->kind, g->type, g->asked, g->tensors,
               (unsigned long long)g->bytes_before, (unsigned long long)g->bytes_after);
        if (!p->plan)
            printf(",\"error\":%.6g,\"largest_error\":%.6g", g->error, g->largest);
        putchar('}');
    }
    puts("]}");
}

int cli_convert_run(struct cli_convert *c, sd_context *context) {
    struct cli_progress progress;
    sd_convert_report *report;
    sd_error err;
    cli_progress_begin(&progress, c->quiet);
    c->params.progress = cli_progress_show;
    c->params.progress_user = &progress;
    c->params.cancel = cli_cancel();
    sd_status status = sd_convert(context, &c->params, &report, &err);
    cli_progress_end(&progress);
    if (status)
        return cli_fail(&err);
    if (c->json)
        print_json(report, &c->params);
    else
        print_text(report, &c->params);
    sd_convert_report_free(&report);
    return EXIT_OK;
}
