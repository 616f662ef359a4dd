#include "tests/op/optest.h"

#include "sd/base/half.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { longest = 64, guard_bytes = 1024, guard_word = 0x7FA5C3E1 /* a NaN: reading it shows too */ };

struct tensor_file {
    char name[96];
    struct sd_raw raw;
};

struct feed {
    sd_tensor *tensor;
    const void *data;
};

struct optest {
    sd_vk *vk;
    sd_graph *graph;
    sd_weights *weights;
    bool loaded;
    uint64_t random;
    struct feed feeds[longest];
    struct tensor_file files[longest];
    void *owned[4 * longest];
    uint32_t feed_count, file_count, owned_count;
};

int optest_open(void **state) {
    const char *subgroup = getenv("SDVK_TEST_SUBGROUP");
    const struct sd_vk_options options = {.device = getenv("SDVK_TEST_DEVICE"),
                                          .subgroup = subgroup ? (uint32_t)atoi(subgroup) : 0};
    sd_error err;
    sd_vk *vk;
    if (sd_vk_open(&vk, &options, &err)) {
        print_error("%s\n", err.message);
        return -1;
    }
    *state = vk;
    return 0;
}

int optest_open_as_gpu(void **state) {
    int failed = optest_open(state);
    if (!failed)
        ((struct sd_vk_info *)sd_vk_info(*state))->kind = SD_VK_DISCRETE;
    return failed;
}

int optest_close(void **state) {
    sd_vk *vk = *state;
    sd_vk_close(&vk);
    return 0;
}

uint64_t optest_cases(uint64_t all) {
    const char *share = getenv("SDVK_TEST_SHARE");
    uint64_t part = all / (share && atoi(share) > 1 ? (uint64_t)atoi(share) : 1), least = all < 8 ? all : 8;
    return part > least ? part : least;
}

optest *optest_begin(void **state, sd_dtype act) {
    optest *t = calloc(1, sizeof *t);
    sd_error err;
    assert_non_null(t);
    t->vk = *state;
    t->random = 1;
    if (sd_graph_create(&t->graph, sd_vk_info(t->vk), act, &err) || sd_weights_create(&t->weights, &err))
        fail_msg("%s", err.message);
    return t;
}

sd_graph *optest_graph(optest *t) {
    return t->graph;
}

sd_weights *optest_weights(optest *t) {
    return t->weights;
}

const struct sd_vk_info *optest_info(optest *t) {
    return sd_vk_info(t->vk);
}

void optest_seed(optest *t, uint64_t seed) {
    t->random = seed;
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(optest *t) {
    uint64_t z = t->random += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

float optest_uniform(optest *t) {
    return (float)(next_random(t) >> 40) * 0x1p-23f - 1;
}

uint32_t optest_int(optest *t, uint32_t low, uint32_t high) {
    return low + (uint32_t)(next_random(t) >> 32) % (high - low + 1);
}

static void *own(optest *t, void *memory) {
    assert_non_null(memory);
    assert_true(t->owned_count < sizeof t->owned / sizeof *t->owned);
    return t->owned[t->owned_count++] = memory;
}

float *optest_random(optest *t, size_t count, sd_dtype dtype) {
    float *values = own(t, malloc((count + 1) * sizeof *values));
    for (size_t i = 0; i < count; i++) {
        values[i] = optest_uniform(t);
        if (dtype == SD_F16)
            values[i] = sd_f32_from_f16(sd_f16_from_f32(values[i]));
    }
    return values;
}

static sd_tensor *add_feed(optest *t, sd_tensor *tensor, const void *data) {
    assert_true(t->feed_count < longest);
    t->feeds[t->feed_count++] = (struct feed){tensor, data};
    return tensor;
}

sd_tensor *optest_input(optest *t, uint32_t n, uint32_t h, uint32_t w, uint32_t c, const float *data) {
    return add_feed(t, sd_graph_input(t->graph, "input", SD_RATE_STEP, t->graph->act, n, h, w, c), data);
}

sd_tensor *optest_input_i32(optest *t, uint32_t n, uint32_t h, uint32_t w, uint32_t c, const int32_t *data) {
    return add_feed(t, sd_graph_input(t->graph, "input", SD_RATE_STEP, SD_I32, n, h, w, c), data);
}

void optest_tensor(optest *t, const char *name, sd_dtype dtype, uint32_t rank, const uint64_t *shape,
                   const float *values) {
    assert_true(t->file_count < longest);
    struct tensor_file *f = &t->files[t->file_count++];
    size_t count = 1;
    snprintf(f->name, sizeof f->name, "%s", name);
    f->raw = (struct sd_raw){.dtype = dtype, .rank = rank};
    for (uint32_t i = 0; i < rank; i++) {
        f->raw.shape[i] = shape[i];
        count *= shape[i];
    }
    f->raw.bytes = count * sd_dtype_size(dtype);
    void *data = own(t, malloc(f->raw.bytes + 1));
    for (size_t i = 0; i < count; i++)
        if (dtype == SD_F16)
            ((uint16_t *)data)[i] = sd_f16_from_f32(values[i]);
        else if (dtype == SD_BF16)
            ((uint16_t *)data)[i] = sd_bf16_from_f32(values[i]);
        else
            ((float *)data)[i] = values[i];
    f->raw.data = data;
}

void optest_blocks(optest *t, const char *name, sd_dtype dtype, uint32_t rank, const uint64_t *shape,
                   void *blocks) {
    const sd_dtype_block block = sd_dtype_block_of(dtype);
    assert_true(t->file_count < longest);
    struct tensor_file *f = &t->files[t->file_count++];
    uint64_t count = 1;
    snprintf(f->name, sizeof f->name, "%s", name);
    f->raw = (struct sd_raw){.dtype = dtype, .rank = rank, .data = own(t, blocks)};
    for (uint32_t i = 0; i < rank; i++)
        count *= f->raw.shape[i] = shape[i];
    f->raw.bytes = count / block.values * block.bytes;
}

static bool find_tensor(void *user, const char *name, struct sd_raw *out) {
    optest *t = user;
    for (uint32_t i = 0; i < t->file_count; i++)
        if (!strcmp(t->files[i].name, name)) {
            *out = t->files[i].raw;
            return true;
        }
    return false;
}

/* Every byte of the activation buffer that belongs to no tensor must still hold the pattern. */
static void check_guards(optest *t, sd_exec *exec, const sd_plan *plan) {
    sd_error err;
    uint64_t size = plan->stats.activation_bytes;
    unsigned char *bytes = malloc(size), *used = calloc(1, size);
    const uint32_t word = guard_word;
    assert_non_null(bytes);
    assert_non_null(used);
    assert_int_equal(sd_vk_read(t->vk, sd_exec_buffer(exec), 0, bytes, size, &err), SD_OK);
    for (uint32_t i = 0; i < t->graph->tensor_count; i++)
        memset(used + t->graph->tensors[i]->place, 1, t->graph->tensors[i]->bytes);
    for (uint64_t i = 0; i < size; i++)
        if (!used[i] && bytes[i] != ((const unsigned char *)&word)[i % 4])
            fail_msg("a byte outside every tensor was written, at %llu of %llu", (unsigned long long)i,
                     (unsigned long long)size);
    free(bytes);
    free(used);
}

void optest_load(optest *t) {
    const struct sd_weight_source source = {.label = "test", .user = t, .find = find_tensor};
    sd_error err;
    if (!t->loaded && sd_weights_load(t->weights, t->vk, &source, SD_WEIGHTS_LOSSLESS, &err))
        fail_msg("%s", err.message);
    t->loaded = true;
}

const float *optest_run(optest *t, sd_tensor *out) {
    sd_error err;
    sd_plan *plan = NULL;
    sd_exec *exec = NULL;
    const struct sd_plan_options options = {.guard = guard_bytes, .no_reuse = true};
    optest_load(t);
    out = sd_graph_output(t->graph, out, "output");
    if (sd_plan_create(&plan, t->graph, &options, &err) || sd_exec_create(&exec, t->vk, plan, NULL, &err))
        fail_msg("%s", err.message);
    sd_vk_buffer *buffer = sd_exec_buffer(exec);
    assert_int_equal(sd_vk_fill(t->vk, buffer, 0, buffer->size & ~(uint64_t)3, guard_word, &err), SD_OK);
    for (uint32_t i = 0; i < t->feed_count; i++) {
        const sd_tensor *in = t->feeds[i].tensor;
        if (sd_exec_write(exec, in, t->feeds[i].data, (size_t)sd_tensor_rows(in) * in->c * 4, &err))
            fail_msg("%s", err.message);
    }
    size_t bytes = (size_t)sd_tensor_rows(out) * out->c * 4;
    float *values = own(t, malloc(bytes));
    if (sd_exec_run(exec, SD_RATE_PROMPT, &err) || sd_exec_run(exec, SD_RATE_STEP, &err) ||
        sd_exec_read(exec, out, values, bytes, &err))
        fail_msg("%s", err.message);
    check_guards(t, exec, plan);
    sd_exec_destroy(&exec);
    sd_plan_destroy(&plan);
    return values;
}

void optest_end(optest **handle) {
    optest *t = *handle;
    sd_weights_destroy(t->vk, &t->weights);
    sd_graph_destroy(&t->graph);
    for (uint32_t i = 0; i < t->owned_count; i++)
        free(t->owned[i]);
    free(t);
    *handle = NULL;
}

void optest_compare(const float *got, const float *want, size_t count, double relative, double absolute,
                    const char *what, ...) {
    char text[256];
    va_list args;
    va_start(args, what);
    vsnprintf(text, sizeof text, what, args);
    va_end(args);
    for (size_t i = 0; i < count; i++) {
        bool same = isnan(want[i]) ? isnan(got[i])
                    : isinf(want[i])
                        ? got[i] == want[i]
                        : fabs((double)got[i] - want[i]) <= absolute + relative * fabs((double)want[i]);
        if (!same)
            fail_msg("%s: value %zu of %zu is %.9g, expected %.9g", text, i, count, (double)got[i],
                     (double)want[i]);
    }
}
