#include "tests/golden/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NETWORKS SDVK_SOURCE_DIR "/tests/golden/networks/"

enum { most = 32 };

struct feed {
    sd_tensor *tensor;
    const void *data;
};

struct expectation {
    const sd_tensor *out;
    const sd_node *node; /* NULL when `out` is an output */
    uint32_t rows[8];    /* of each image, when `pick` */
    bool pick;
    const sd_file_tensor *want;
    bool seen;
};

struct golden {
    sd_vk *vk;
    const char *family, *part;
    sd_dtype act;
    sd_safetensors *values, *file;
    sd_bytes config;
    sd_graph *graph;
    sd_weights *weights;
    struct sd_weight_source source;
    struct feed feeds[most];
    struct expectation expected[most];
    void *owned[most];
    uint32_t feed_count, expected_count, owned_count;
};

static sd_safetensors *open_file(const char *family, const char *name) {
    char path[1024];
    sd_safetensors *file;
    sd_error err;
    snprintf(path, sizeof path, NETWORKS "%s/%s", family, name);
    if (sd_safetensors_open(path, &file, &err))
        fail_msg("%s", err.message);
    return file;
}

/* The files of the tiny networks hold nothing but halves, named as in the folder. */
static bool find_in_folder(void *user, const char *name, struct sd_raw *out) {
    const golden *t = user;
    char full[256];
    const sd_file_tensor *f = sd_safetensors_find(t->file, name);
    snprintf(full, sizeof full, "text_model.%s", name);
    if (!f && !(f = sd_safetensors_find(t->file, full)))
        return false;
    assert_int_equal(f->dtype, SD_FILE_F16);
    *out = (struct sd_raw){.dtype = SD_F16, .rank = f->rank, .data = f->data, .bytes = f->bytes};
    memcpy(out->shape, f->shape, sizeof out->shape);
    return true;
}

golden *golden_begin(void **state, const char *family, const char *part, sd_dtype act) {
    golden *t = calloc(1, sizeof *t);
    char path[256];
    sd_error err;
    assert_non_null(t);
    *t = (golden){.vk = *state, .family = family, .part = part, .act = act};
    t->source = (struct sd_weight_source){.label = part, .user = t, .find = find_in_folder};
    t->values = open_file(family, "golden.safetensors");
    snprintf(path, sizeof path, "%s/%s", part,
             strncmp(part, "text", 4) ? "diffusion_pytorch_model.safetensors" : "model.safetensors");
    t->file = open_file(family, path);
    snprintf(path, sizeof path, NETWORKS "%s/%s/config.json", family, part);
    if (sd_file_read(path, 0, &t->config, &err) || sd_graph_create(&t->graph, sd_vk_info(t->vk), act, &err) ||
        sd_weights_create(&t->weights, &err))
        fail_msg("%s", err.message);
    return t;
}

void golden_end(golden **handle) {
    golden *t = *handle;
    sd_weights_destroy(t->vk, &t->weights);
    sd_graph_destroy(&t->graph);
    sd_bytes_clear(&t->config);
    sd_safetensors_close(&t->file);
    sd_safetensors_close(&t->values);
    for (uint32_t i = 0; i < t->owned_count; i++)
        free(t->owned[i]);
    free(t);
    *handle = NULL;
}

sd_graph *golden_graph(golden *t) {
    return t->graph;
}

sd_weights *golden_weights(golden *t) {
    return t->weights;
}

sd_bytes golden_config(golden *t) {
    return t->config;
}

void golden_source(golden *t, const struct sd_weight_source *source) {
    t->source = *source;
}

const sd_file_tensor *golden_find(golden *t, const char *format, ...) {
    char name[128];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    const sd_file_tensor *f = sd_safetensors_find(t->values, name);
    if (!f)
        fail_msg("%s/golden.safetensors has no %s", t->family, name);
    assert_int_equal(sd_file_dtype_bits(f->dtype), 32);
    return f;
}

/* Batch, pixels of one image, channels. */
static void extents(const sd_file_tensor *f, size_t *n, size_t *pixels, size_t *c) {
    bool picture = f->rank == 4;
    *n = f->shape[0];
    *pixels = picture ? f->shape[2] * f->shape[3] : f->rank == 3 ? f->shape[1] : 1;
    *c = picture ? f->shape[1] : f->shape[f->rank - 1];
}

/* The values with channels last, to be freed. */
static float *channels_last(const sd_file_tensor *f) {
    size_t n, pixels, c;
    extents(f, &n, &pixels, &c);
    float *out = malloc(f->bytes);
    assert_non_null(out);
    if (f->rank != 4) {
        memcpy(out, f->data, f->bytes);
        return out;
    }
    for (size_t b = 0; b < n; b++)
        for (size_t k = 0; k < c; k++)
            for (size_t p = 0; p < pixels; p++)
                memcpy(out + (b * pixels + p) * c + k, f->data + ((b * c + k) * pixels + p) * 4, 4);
    return out;
}

sd_tensor *golden_input(golden *t, sd_rate rate, const sd_file_tensor *value) {
    uint32_t n = (uint32_t)value->shape[0], h = 1, w = 1, c = (uint32_t)value->shape[1];
    bool ids = value->dtype == SD_FILE_I32;
    assert_true(t->feed_count < most && t->owned_count < most);
    assert_true(value->rank == 2 || value->rank == 4);
    if (value->rank == 4) {
        h = (uint32_t)value->shape[2];
        w = (uint32_t)value->shape[3];
    } else if (ids) {
        w = c;
        c = 1;
    }
    sd_tensor *in = sd_graph_input(t->graph, value->name, rate, ids ? SD_I32 : SD_F32, n, h, w, c);
    t->feeds[t->feed_count++] = (struct feed){in, t->owned[t->owned_count++] = channels_last(value)};
    return in;
}

static struct expectation *add_expected(golden *t, const sd_file_tensor *want) {
    assert_true(t->expected_count < most);
    struct expectation *e = &t->expected[t->expected_count++];
    *e = (struct expectation){.want = want};
    return e;
}

static void need_graph(const golden *t) {
    sd_error err;
    if (sd_graph_status(t->graph, &err))
        fail_msg("%s %s: %s", t->family, t->part, err.message);
}

void golden_expect(golden *t, sd_tensor *out, const sd_file_tensor *want) {
    out = sd_graph_output(t->graph, out, want->name);
    need_graph(t);
    add_expected(t, want)->out = out;
}

void golden_expect_rows(golden *t, sd_tensor *out, const uint32_t *rows, const sd_file_tensor *want) {
    golden_expect(t, out, want);
    struct expectation *e = &t->expected[t->expected_count - 1];
    assert_true(out->n <= sizeof e->rows / sizeof *e->rows);
    memcpy(e->rows, rows, out->n * sizeof *rows);
    e->pick = true;
}

void golden_expect_node(golden *t, const char *scope, const char *op, uint32_t index,
                        const sd_file_tensor *want) {
    size_t length = strlen(scope);
    struct expectation *e = add_expected(t, want);
    need_graph(t);
    for (uint32_t i = 0; i < t->graph->node_count; i++) {
        const sd_node *node = t->graph->nodes[i];
        bool inside = !strncmp(node->name, scope, length) && node->name[length] == '.' &&
                      !strchr(node->name + length + 1, '.');
        if (inside && (!op || (!strcmp(node->name + length + 1, op) && !index--)))
            e->node = node;
    }
    if (!e->node)
        fail_msg("%s: no node for %s", scope, want->name);
    e->out = e->node->out;
}

static void compare(const golden *t, const struct expectation *e, const float *got) {
    size_t n, pixels, c;
    double difference = 0, norm = 0;
    float *want = channels_last(e->want);
    extents(e->want, &n, &pixels, &c);
    for (size_t b = 0; b < n; b++) {
        const float *row = e->pick ? got + ((size_t)b * e->out->w + e->rows[b]) * c : got + b * pixels * c;
        for (size_t i = 0; i < pixels * c; i++) {
            double w = (double)want[b * pixels * c + i], d = (double)row[i] - w;
            difference += d * d;
            norm += w * w;
        }
    }
    free(want);
    double error = sqrt(difference / norm), limit = t->act == SD_F16 ? pow(10, -38 / 20.0) : 1e-4;
    if (!(error <= limit))
        fail_msg("%s, %s: %s differs by %.3g of its norm; allowed are %.3g", t->family, sd_dtype_name(t->act),
                 e->want->name, error, limit);
}

static void read_and_compare(golden *t, sd_exec *exec, struct expectation *e) {
    size_t n, pixels, c, bytes = (size_t)sd_tensor_rows(e->out) * e->out->c * 4;
    sd_error err;
    extents(e->want, &n, &pixels, &c);
    assert_int_equal(e->out->n, n);
    assert_int_equal(e->out->c, c);
    if (!e->pick)
        assert_int_equal((size_t)e->out->h * e->out->w, pixels);
    float *got = malloc(bytes);
    assert_non_null(got);
    if (sd_exec_read(exec, e->out, got, bytes, &err))
        fail_msg("%s: %s", e->want->name, err.message);
    compare(t, e, got);
    e->seen = true;
    free(got);
}

static sd_status after_node(void *user, sd_exec *exec, const sd_node *node, sd_error *err) {
    golden *t = user;
    (void)err;
    for (uint32_t i = 0; i < t->expected_count; i++)
        if (t->expected[i].node == node)
            read_and_compare(t, exec, &t->expected[i]);
    return SD_OK;
}

static void run_once(golden *t, bool in_use) {
    const struct sd_plan_options options = {.guard = in_use ? 0 : 256, .no_reuse = !in_use};
    sd_plan *plan = NULL;
    sd_exec *exec = NULL;
    sd_error err;
    if (sd_plan_create(&plan, t->graph, &options, &err) || sd_exec_create(&exec, t->vk, plan, NULL, &err))
        fail_msg("%s %s: %s", t->family, t->part, err.message);
    for (uint32_t i = 0; i < t->feed_count; i++) {
        const sd_tensor *in = t->feeds[i].tensor;
        if (sd_exec_write(exec, in, t->feeds[i].data, (size_t)sd_tensor_rows(in) * in->c * 4, &err))
            fail_msg("%s", err.message);
    }
    sd_status status = SD_OK;
    if (!in_use)
        status = sd_exec_run_hooked(exec, after_node, t, &err);
    else if (!(status = sd_exec_run(exec, SD_RATE_PROMPT, &err)))
        status = sd_exec_run(exec, SD_RATE_STEP, &err);
    if (status)
        fail_msg("%s %s: %s", t->family, t->part, err.message);
    for (uint32_t i = 0; i < t->expected_count; i++)
        if (!t->expected[i].node)
            read_and_compare(t, exec, &t->expected[i]);
    sd_exec_destroy(&exec);
    sd_plan_destroy(&plan);
}

void golden_run(golden *t) {
    sd_error err;
    sd_weight_precision precision = t->act == SD_F16 ? SD_WEIGHTS_F16 : SD_WEIGHTS_LOSSLESS;
    if (sd_weights_load(t->weights, t->vk, &t->source, precision, &err))
        fail_msg("%s %s: %s", t->family, t->part, err.message);
    assert_true(t->expected_count > 0);
    run_once(t, false);
    for (uint32_t i = 0; i < t->expected_count; i++)
        assert_true(t->expected[i].seen);
    run_once(t, true);
}
