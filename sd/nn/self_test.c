#include "sd/nn/self_test.h"

#include "sd/base/half.h"
#include "sd/nn/exec.h"
#include "sd/nn/ops.h"
#include "sd/nn/weight_layout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { taps = 9, most_channels = 32, most_rows = 250, most_columns = 250 };

/* A 3x3 convolution [1,h,w,c] -> [1,h,w,n]. On a device of one core each of the three tiles is the best for
 * one of these sizes; 16 and 32 channels are the two steps that weights are packed in. No size is a multiple
 * of a tile. */
struct shape {
    uint32_t h, w, c, n;
};
static const struct shape shapes[] = {
    {6, 10, 16, 60}, {25, 10, 16, 60}, {25, 10, 16, 250},
    {6, 10, 32, 60}, {25, 10, 32, 60}, {25, 10, 32, 250},
};

struct trial {
    struct shape shape;
    float x[most_rows * most_channels], got[most_rows * most_columns];
    float weight[most_columns * most_channels * taps]; /* [n,c,3,3] */
    uint16_t stored[most_columns * most_channels * taps];
    float bias[most_columns];
};

/* -1, -3/4 ... 1: products are multiples of 1/16, and sums of 288 of them exact in any order of adding. */
static void fill(float *values, size_t count, uint32_t state) {
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = ((float)((state >> 16) % 9) - 4) / 4;
    }
}

static bool find(void *user, const char *name, struct sd_raw *out) {
    const struct trial *t = user;
    const struct shape *s = &t->shape;
    bool bias = !strcmp(name, "conv.bias");
    *out = bias ? (struct sd_raw){SD_F32, 1, {s->n}, t->bias, (uint64_t)s->n * 4}
                : (struct sd_raw){SD_F16, 4, {s->n, s->c, 3, 3}, t->stored, (uint64_t)s->n * s->c * taps * 2};
    return true;
}

static float expected(const struct trial *t, uint32_t y, uint32_t x, uint32_t n) {
    const struct shape *s = &t->shape;
    float sum = t->bias[n];
    for (uint32_t tap = 0; tap < taps; tap++) {
        uint32_t from_y = y + tap / 3 - 1, from_x = x + tap % 3 - 1; /* beyond h and w where negative */
        for (uint32_t c = 0; c < s->c && from_y < s->h && from_x < s->w; c++)
            sum += t->x[(from_y * s->w + from_x) * s->c + c] * t->weight[(n * s->c + c) * taps + tap];
    }
    return sum;
}

static sd_status compare(const struct trial *t, sd_error *err) {
    const struct shape *s = &t->shape;
    for (uint32_t i = 0; i < s->h * s->w * s->n; i++) {
        float want = expected(t, i / s->n / s->w, i / s->n % s->w, i % s->n);
        /* Half of what one wrong operand changes at least. */
        if (!(fabsf(t->got[i] - want) < 1.0f / 32))
            return sd_fail(err, SD_E_NUMERIC,
                           "a convolution of %u x %u pixels from %u to %u channels gave %g, expected %g",
                           s->w, s->h, s->c, s->n, (double)t->got[i], (double)want);
    }
    return SD_OK;
}

static sd_status run(sd_vk *vk, sd_graph *g, sd_tensor *x, sd_tensor *y, struct trial *t, sd_error *err) {
    sd_plan *plan = NULL;
    sd_exec *exec = NULL;
    size_t pixels = (size_t)t->shape.h * t->shape.w;
    sd_status status = sd_plan_create(&plan, g, NULL, err);
    if (!status && !(status = sd_exec_create(&exec, vk, plan, NULL, err)) &&
        !(status = sd_exec_write(exec, x, t->x, pixels * t->shape.c * 4, err)) &&
        !(status = sd_exec_run(exec, SD_RATE_STEP, err)) &&
        !(status = sd_exec_read(exec, y, t->got, pixels * t->shape.n * 4, err)))
        status = compare(t, err);
    sd_exec_destroy(&exec);
    sd_plan_destroy(&plan);
    return status;
}

static sd_status try_shape(sd_vk *vk, const struct sd_vk_info *info, struct trial *t, sd_error *err) {
    const struct shape *s = &t->shape;
    const struct sd_weight_source source = {.label = "self-test", .user = t, .find = find};
    sd_weights *weights = NULL;
    sd_graph *g = NULL;
    fill(t->x, (size_t)s->h * s->w * s->c, 1);
    fill(t->weight, (size_t)s->n * s->c * taps, 2);
    fill(t->bias, s->n, 3);
    sd_f16_from_f32_array(t->stored, t->weight, (size_t)s->n * s->c * taps);
    sd_status status = sd_weights_create(&weights, err);
    if (!status)
        status = sd_graph_create(&g, info, SD_F16, err);
    if (!status) {
        sd_layer layer = sd_bind_conv(weights, s->n, s->c, 3, "conv");
        sd_tensor *x = sd_graph_input(g, "x", SD_RATE_STEP, SD_F16, 1, s->h, s->w, s->c);
        sd_tensor *y = sd_graph_output(g, sd_conv2d(g, x, layer, &(sd_fuse){.f32 = true}), "y");
        if (!(status = sd_weights_load(weights, vk, &source, SD_WEIGHTS_LOSSLESS, err)))
            status = run(vk, g, x, y, t, err);
    }
    sd_graph_destroy(&g);
    sd_weights_destroy(vk, &weights);
    return status;
}

sd_status sd_self_test_gemm(sd_vk *vk, const struct sd_vk_info *info, sd_error *err) {
    struct sd_vk_info one_core = *info;
    struct trial *t = malloc(sizeof *t);
    sd_status status = t ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
    one_core.cores = 1;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes && !status; i++) {
        t->shape = shapes[i];
        status = try_shape(vk, &one_core, t, err);
    }
    free(t);
    return status;
}

sd_status sd_self_test(sd_vk *vk, sd_error *err) {
    const struct sd_vk_info *info = sd_vk_info(vk);
    sd_error found;
    if (!info->coop.m || sd_gemm_for_cpu(info))
        return SD_OK;
    sd_status status = sd_self_test_gemm(vk, info, &found);
    if (status == SD_E_MEMORY || status == SD_E_DEVICE_MEMORY || status == SD_E_DEVICE_LOST)
        return sd_fail(err, status, "%s", found.message);
    if (status)
        sd_vk_refuse_coop(vk, found.message);
    return SD_OK;
}
