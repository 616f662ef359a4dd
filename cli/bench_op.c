/* The options of `sdvk bench --op`, and how an op's shape is shown. */
#include "cli/bench.h"

#include <string.h>

/* "C", "C+D", each with ":OUT" behind. */
static int set_channels(sd_bench_op_params *op, const char *value) {
    const char *at = value;
    op->second = op->outputs = 0;
    bool ok = bench_count(&at, 0, &op->channels) && (*at != '+' || bench_count(&at, '+', &op->second)) &&
              (*at != ':' || bench_count(&at, ':', &op->outputs));
    return ok && !*at
               ? -1
               : cli_usage("--channels: expected IN, IN:OUT or IN+SKIP:OUT, e.g. 320:640, found '%s'", value);
}

static int set_tokens(sd_bench_op_params *op, const char *value) {
    const char *at = value;
    op->keys = 0;
    op->height = 1;
    bool ok = bench_count(&at, 0, &op->width) && (*at != ':' || bench_count(&at, ':', &op->keys));
    return ok && !*at ? -1 : cli_usage("--tokens: expected N or N:KEYS, e.g. 4096:77, found '%s'", value);
}

int bench_op_option(struct bench *b, const char *name, const char *value) {
    const struct {
        const char *name;
        uint32_t *count;
    } counts[] = {{"kernel", &b->op.kernel},
                  {"heads", &b->op.heads},
                  {"head-size", &b->op.head_size},
                  {"groups", &b->op.groups}};
    bool other =
        !strcmp(name, "op") || !strcmp(name, "channels") || !strcmp(name, "tokens") || !strcmp(name, "fuse");
    size_t i = 0;
    while (i < sizeof counts / sizeof *counts && strcmp(name, counts[i].name) != 0)
        i++;
    if (!other && i == sizeof counts / sizeof *counts)
        return -2;
    if (!strcmp(name, "op")) {
        b->op.op = value;
        return -1;
    }
    b->only_op = name;
    if (!strcmp(name, "channels"))
        return set_channels(&b->op, value);
    if (!strcmp(name, "tokens"))
        return set_tokens(&b->op, value);
    if (!strcmp(name, "fuse")) {
        b->op.fuse = value;
        return -1;
    }
    const char *at = value;
    return bench_count(&at, 0, counts[i].count) && !*at
               ? -1
               : cli_usage("--%s: expected a whole number from 1 to 65536, found '%s'", name, value);
}

void bench_op_text(const sd_bench_op_params *op) {
    printf("%s %ux%u", op->op, op->width, op->height);
    if (op->channels)
        printf(" %u", op->channels);
    if (op->second)
        printf("+%u", op->second);
    if (op->outputs)
        printf(":%u", op->outputs);
    if (op->kernel)
        printf(" k%u", op->kernel);
    if (op->heads)
        printf(" keys %u, %u heads of %u", op->keys, op->heads, op->head_size);
    if (op->groups)
        printf(" groups %u", op->groups);
    if (op->fuse && *op->fuse)
        printf(" +%s", op->fuse);
    printf(", batch %u", op->batch);
}

void bench_op_json(const sd_bench_op_params *op) {
    const struct {
        const char *name;
        uint32_t value;
    } members[] = {{"batch", op->batch},         {"width", op->width},       {"height", op->height},
                   {"keys", op->keys},           {"channels", op->channels}, {"second", op->second},
                   {"outputs", op->outputs},     {"kernel", op->kernel},     {"heads", op->heads},
                   {"head_size", op->head_size}, {"groups", op->groups}};
    printf(",\"op\":\"%s\"", op->op);
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (members[i].value)
            printf(",\"%s\":%u", members[i].name, members[i].value);
    fputs(",\"fuse\":", stdout);
    cli_json_string(stdout, op->fuse ? op->fuse : "");
}
