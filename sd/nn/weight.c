#include "sd/nn/weight.h"

#include "sd/base/checked.h"
#include "sd/nn/weight_internal.h"
#include "shaders/quant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Columns a lane of the CPU kernel owns: wide tiles reuse a loaded activation most, but must not be mostly
 * padding. The weights are the kernels' measured speeds relative to each other. A lane must own value and
 * gate of two GEGLU outputs. */
static uint32_t columns_a_lane(uint32_t subgroup, const sd_weight *w) {
    static const struct {
        uint32_t columns;
        double speed;
    } choices[] = {{8, 1.0}, {4, 0.9}, {2, 0.6}};
    uint32_t best = 8;
    double best_rate = 0;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        uint32_t tile = choices[i].columns * subgroup;
        double rate = choices[i].speed * w->n / ((double)sd_ceil_div(w->n, tile) * tile);
        if (rate > best_rate && (w->form != SD_WEIGHT_GEGLU || choices[i].columns >= 4)) {
            best_rate = rate;
            best = choices[i].columns;
        }
    }
    return best;
}

bool sd_gemm_for_cpu(const struct sd_vk_info *info) {
    return info->kind == SD_VK_CPU && info->vendor == 0x10005 && info->subgroup <= 16 && info->int64;
}

uint32_t sd_weight_shader_type(sd_dtype dtype) {
    static const uint8_t types[SD_DTYPES] = {
        [SD_F32] = WEIGHT_F32,   [SD_F16] = WEIGHT_F16,       [SD_Q4_0] = WEIGHT_Q4_0,
        [SD_Q4_1] = WEIGHT_Q4_1, [SD_Q5_0] = WEIGHT_Q5_0,     [SD_Q5_1] = WEIGHT_Q5_1,
        [SD_Q8_0] = WEIGHT_Q8_0, [SD_IQ4_NL] = WEIGHT_IQ4_NL, [SD_Q2_K] = WEIGHT_Q2_K,
        [SD_Q3_K] = WEIGHT_Q3_K, [SD_Q4_K] = WEIGHT_Q4_K,     [SD_Q5_K] = WEIGHT_Q5_K,
        [SD_Q6_K] = WEIGHT_Q6_K, [SD_IQ4_XS] = WEIGHT_IQ4_XS};
    return types[dtype];
}

/* Codes, fine scales and coarse scales of all tiles. */
static uint64_t quant_words(const struct sd_gemm_layout *l, uint32_t c, uint32_t type) {
    uint64_t columns = (uint64_t)l->tiles * l->tile, units = (uint64_t)l->taps * c / QUANT_UNIT;
    uint64_t fine = QUANT_HAS_M(type) ? units : (units + 1) / 2;
    uint64_t coarse = QUANT_IS_K(type) ? QUANT_OCTETS(units) : 0;
    return columns * (units * QUANT_WORDS(type) + fine + coarse);
}

struct sd_gemm_layout sd_gemm_layout(const struct sd_vk_info *info, const sd_weight *w) {
    bool cpu = sd_gemm_for_cpu(info);
    /* Four taps for each phase; blocks cannot be summed and keep nine. */
    bool upsample = w->form == SD_WEIGHT_UPSAMPLE && !sd_dtype_quantised(w->dtype);
    uint32_t rest = w->c % 32, per_word = w->dtype == SD_F16 ? 2 : 1;
    struct sd_gemm_layout l = {.tile = cpu ? columns_a_lane(info->subgroup, w) * info->subgroup : 64,
                               .step = cpu                       ? 2 * info->subgroup
                                       : rest >= 1 && rest <= 16 ? 16
                                                                 : 32,
                               .block = cpu ? 2 * info->subgroup : 0,
                               .taps = upsample ? 4 : w->kh * w->kw,
                               .phases = upsample ? 4 : 1};
    l.run = cpu ? 1 : l.step / per_word;
    l.c_padded = sd_ceil_div(w->c, l.step) * l.step;
    l.tiles = sd_ceil_div(w->n, l.tile);
    if (sd_dtype_quantised(w->dtype))
        l.words = quant_words(&l, w->c, sd_weight_shader_type(w->dtype));
    else
        l.words = (uint64_t)l.tiles * l.tile * l.taps * l.c_padded / per_word;
    return l;
}

uint32_t sd_weight_part_rows(const sd_weight *w) {
    return w->n / w->parts;
}

uint64_t sd_weight_inputs(const sd_weight *w) {
    return (uint64_t)w->c * w->kh * w->kw;
}

bool sd_weight_is_matrix(const sd_weight *w) {
    return w->form == SD_WEIGHT_GEMM || w->form == SD_WEIGHT_GEGLU || w->form == SD_WEIGHT_UPSAMPLE;
}

void sd_weight_size(sd_weight *w, const struct sd_vk_info *info) {
    if (sd_weight_is_matrix(w)) {
        struct sd_gemm_layout l = sd_gemm_layout(info, w);
        w->bytes = l.words * l.phases * 4;
    } else if (w->form == SD_WEIGHT_TABLE)
        w->bytes = (uint64_t)w->n * (w->dtype == SD_F16 ? sd_ceil_div(w->c, 2) : w->c) * 4;
    else
        w->bytes = (uint64_t)w->n * 4;
}

sd_status sd_weights_create(sd_weights **out, sd_error *err) {
    *out = calloc(1, sizeof **out);
    return *out ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
}

void sd_weights_unplace(sd_weights *w, sd_vk *vk) {
    sd_weights_clear_sides(w, vk);
    for (uint32_t i = 0; i < w->buffer_count; i++)
        sd_vk_buffer_destroy(vk, &w->buffers[i]);
    for (uint32_t i = 0; i < w->count; i++)
        w->list[i]->address = 0;
    free(w->buffers);
    w->buffers = NULL;
    w->buffer_count = 0;
}

void sd_weights_destroy(sd_vk *vk, sd_weights **handle) {
    sd_weights *w = *handle;
    if (!w)
        return;
    sd_weights_unplace(w, vk);
    free(w->list);
    sd_arena_clear(&w->arena);
    free(w);
    *handle = NULL;
}

size_t sd_weights_count(const sd_weights *w) {
    return w->count;
}

const sd_weight *sd_weights_at(const sd_weights *w, size_t index) {
    return index < w->count ? w->list[index] : NULL;
}

uint64_t sd_weights_bytes(const sd_weights *w) {
    uint64_t bytes = w->sides ? sd_weights_bytes(w->sides) : 0;
    for (uint32_t i = 0; i < w->count; i++)
        bytes += w->list[i]->bytes;
    return bytes;
}

uint64_t sd_weights_parameters(const sd_weights *w) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < w->count; i++) {
        const sd_weight *x = w->list[i];
        count += (uint64_t)x->n * x->c * x->kh * x->kw;
    }
    return count;
}

sd_weight *sd_weight_add(sd_weights *w, const sd_weight *shape) {
    if (w->failed)
        return NULL;
    if (w->count == w->capacity) {
        uint32_t capacity = w->capacity ? w->capacity * 2 : 256;
        sd_weight **list = realloc(w->list, capacity * sizeof *list);
        if (list) {
            w->list = list;
            w->capacity = capacity;
        }
        w->failed = !list;
    }
    sd_weight *weight = w->failed ? NULL : sd_arena_alloc(&w->arena, sizeof *weight);
    if (!weight) {
        w->failed = true;
        return NULL;
    }
    *weight = *shape;
    weight->dtype = SD_F32;
    w->list[w->count++] = weight;
    return weight;
}

static const char *named(sd_weights *w, const char *prefix, const char *name, const char *suffix) {
    const char *text = sd_arena_printf(&w->arena, "%s%s%s", prefix, name, suffix);
    if (!text)
        w->failed = true;
    return text;
}

static sd_layer bind(sd_weights *w, const sd_weight *shape, sd_weight_form bias_form, bool bias,
                     const char *format, va_list args) {
    char name[256];
    sd_layer layer = {NULL, NULL};
    vsnprintf(name, sizeof name, format, args);
    sd_weight filled = *shape;
    filled.names[0] = named(w, name, "", ".weight");
    filled.parts = 1;
    layer.weight = sd_weight_add(w, &filled);
    if (bias)
        layer.bias = sd_weight_add(w, &(sd_weight){.names = {named(w, name, "", ".bias")},
                                                   .parts = 1,
                                                   .form = bias_form,
                                                   .n = shape->n,
                                                   .c = 1,
                                                   .kh = 1,
                                                   .kw = 1});
    return layer;
}

#define BIND(shape, bias_form, bias)                                                                         \
    va_list args;                                                                                            \
    va_start(args, name);                                                                                    \
    sd_layer layer = bind(w, &(sd_weight)shape, bias_form, bias, name, args);                                \
    va_end(args);                                                                                            \
    return layer

#define SHAPE(f, rows, inputs, k)                                                                            \
    { .form = f, .n = rows, .c = inputs, .kh = k, .kw = k }

sd_layer sd_bind_conv(sd_weights *w, uint32_t n, uint32_t c, uint32_t k, const char *name, ...) {
    BIND(SHAPE(SD_WEIGHT_GEMM, n, c, k), SD_WEIGHT_VECTOR, true);
}

sd_layer sd_bind_upsample(sd_weights *w, uint32_t n, uint32_t c, const char *name, ...) {
    BIND(SHAPE(SD_WEIGHT_UPSAMPLE, n, c, 3), SD_WEIGHT_VECTOR, true);
}

sd_layer sd_bind_conv_plain(sd_weights *w, uint32_t n, uint32_t c, uint32_t k, const char *name, ...) {
    BIND(SHAPE(SD_WEIGHT_GEMM, n, c, k), SD_WEIGHT_VECTOR, false);
}

sd_layer sd_bind_upsample_plain(sd_weights *w, uint32_t n, uint32_t c, const char *name, ...) {
    BIND(SHAPE(SD_WEIGHT_UPSAMPLE, n, c, 3), SD_WEIGHT_VECTOR, false);
}

sd_layer sd_bind_linear(sd_weights *w, uint32_t n, uint32_t c, bool bias, const char *name, ...) {
    BIND(SHAPE(SD_WEIGHT_GEMM, n, c, 1), SD_WEIGHT_VECTOR, bias);
}

sd_layer sd_bind_geglu(sd_weights *w, uint32_t n, uint32_t c, const char *name, ...) {
    BIND(SHAPE(SD_WEIGHT_GEGLU, n, c, 1), SD_WEIGHT_GEGLU_VECTOR, true);
}

sd_layer sd_bind_norm(sd_weights *w, uint32_t c, const char *name, ...) {
    BIND(SHAPE(SD_WEIGHT_VECTOR, c, 1, 1), SD_WEIGHT_VECTOR, true);
}

sd_layer sd_bind_stack(sd_weights *w, uint32_t n, uint32_t c, bool bias, const char *const *names,
                       const char *format, ...) {
    char prefix[256];
    sd_weight weight = {.form = SD_WEIGHT_GEMM, .c = c, .kh = 1, .kw = 1};
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    while (weight.parts < SD_WEIGHT_PARTS && names[weight.parts])
        weight.parts++;
    weight.n = n * weight.parts;
    sd_weight vector = {
        .form = SD_WEIGHT_VECTOR, .parts = weight.parts, .n = weight.n, .c = 1, .kh = 1, .kw = 1};
    for (uint32_t i = 0; i < weight.parts; i++) {
        weight.names[i] = named(w, prefix, names[i], ".weight");
        vector.names[i] = named(w, prefix, names[i], ".bias");
    }
    sd_layer layer = {sd_weight_add(w, &weight), NULL};
    if (bias)
        layer.bias = sd_weight_add(w, &vector);
    return layer;
}

const sd_weight *sd_bind_table(sd_weights *w, uint32_t n, uint32_t c, const char *name, ...) {
    char text[256];
    va_list args;
    va_start(args, name);
    vsnprintf(text, sizeof text, name, args);
    va_end(args);
    return sd_weight_add(w, &(sd_weight){.names = {named(w, text, "", "")},
                                         .parts = 1,
                                         .form = SD_WEIGHT_TABLE,
                                         .n = n,
                                         .c = c,
                                         .kh = 1,
                                         .kw = 1});
}
