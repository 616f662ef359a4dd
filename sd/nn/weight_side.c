/* Low-rank changes that stay apart from quantised weights: where expanding and merging would lose the memory
 * that quantisation saved, the layer gets two thin matrices at its side instead. */
#include "sd/nn/weight_internal.h"

#include <stdlib.h>

/* Ranks are filled up with zeros: kernels for GPUs read activations by eights. */
enum { rank_step = 8 };

/* The rank of all changes of a weight's parts together; false when one of them has no rank. */
static bool total_rank(const sd_weight *w, const struct sd_weight_source *source, uint64_t *rank) {
    *rank = 0;
    for (uint32_t i = 0; i < w->parts; i++) {
        uint64_t more = source->low_rank ? source->low_rank(source->user, w->names[i], NULL) : 0;
        if (!more && source->edit && source->edit(source->user, w->names[i], NULL))
            return false;
        *rank += more;
    }
    *rank = (*rank + rank_step - 1) / rank_step * rank_step;
    return true;
}

bool sd_weight_stays_apart(const sd_weight *w, sd_dtype dtype, const struct sd_weight_source *source,
                           sd_weight_precision precision) {
    const sd_dtype_block block = sd_dtype_block_of(dtype);
    uint64_t inputs = sd_weight_inputs(w), rank, values = w->n * inputs,
             size = precision == SD_WEIGHTS_LOSSLESS ? 4 : 2;
    if (!total_rank(w, source, &rank))
        return false;
    uint64_t saved = values * size - values / block.values * block.bytes;
    return !rank || rank <= saved / ((w->n + inputs) * size);
}

static sd_weight *add_thin(sd_weights *sides, const sd_weight *w, const char *which, sd_weight shape,
                           sd_weight_precision precision, const struct sd_vk_info *info) {
    shape.names[0] = sd_arena_printf(&sides->arena, "%s, %s", w->names[0], which);
    shape.parts = 1;
    sd_weight *thin = sd_weight_add(sides, &shape);
    if (!shape.names[0] || !thin)
        return NULL;
    thin->dtype = precision == SD_WEIGHTS_LOSSLESS ? SD_F32 : SD_F16;
    sd_weight_size(thin, info);
    return thin;
}

static sd_status attach(sd_weights *sides, sd_weight *w, const struct sd_weight_source *source,
                        sd_weight_precision precision, const struct sd_vk_info *info, sd_error *err) {
    uint64_t rank;
    if (!sd_dtype_quantised(w->dtype) || !total_rank(w, source, &rank) || !rank)
        return SD_OK;
    struct sd_weight_side *side = sd_arena_alloc(&sides->arena, sizeof *side);
    uint32_t r = (uint32_t)rank; /* less than n or c, or it would not be kept apart */
    const sd_weight down = {.form = SD_WEIGHT_GEMM, .n = r, .c = w->c, .kh = w->kh, .kw = w->kw},
                    up = {.form = w->form == SD_WEIGHT_GEGLU ? w->form : SD_WEIGHT_GEMM,
                          .n = w->n,
                          .c = r,
                          .kh = 1,
                          .kw = 1};
    if (!side || !(side->down = add_thin(sides, w, "down", down, precision, info)) ||
        !(side->up = add_thin(sides, w, "up", up, precision, info)))
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    w->side = side;
    return SD_OK;
}

static sd_status pack(struct sd_upload *u, const sd_weight *w, const float *values, sd_error *err) {
    uint64_t inputs = sd_weight_inputs(w);
    const struct sd_raw raw = {.dtype = SD_F32,
                               .rank = 2,
                               .shape = {w->n, inputs},
                               .data = values,
                               .bytes = w->n * inputs * sizeof *values};
    return sd_weight_pack(u, w, 0, &raw, NULL, err);
}

/* Parts of a stack read the same inputs and write different outputs: their `down` lie below each other, their
 * `up` along the diagonal. */
static void fill(const sd_weight *w, const struct sd_weight_source *source, float *up, float *down) {
    uint32_t rows = sd_weight_part_rows(w), rank = w->side->down->n, inputs = (uint32_t)sd_weight_inputs(w);
    for (uint32_t i = 0; i < w->parts; i++) {
        const struct sd_low_rank out = {up, down, rank, inputs};
        uint64_t more = source->low_rank(source->user, w->names[i], &out);
        up += (uint64_t)rows * rank + more;
        down += more * inputs;
    }
}

static sd_status load_one(struct sd_upload *u, const sd_weight *w, const struct sd_weight_source *source,
                          sd_error *err) {
    const struct sd_weight_side *side = w->side;
    float *up = calloc((size_t)side->up->n * side->up->c, sizeof *up),
          *down = calloc((size_t)side->down->n * sd_weight_inputs(side->down), sizeof *down);
    sd_status status = up && down ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
    if (!status) {
        fill(w, source, up, down);
        status = pack(u, side->down, down, err);
    }
    if (!status)
        status = pack(u, side->up, up, err);
    free(up);
    free(down);
    return status;
}

void sd_weights_clear_sides(sd_weights *w, sd_vk *vk) {
    for (uint32_t i = 0; i < w->count; i++)
        w->list[i]->side = NULL;
    sd_weights_destroy(vk, &w->sides);
}

sd_status sd_weights_load_sides(sd_weights *w, sd_vk *vk, const struct sd_weight_source *source,
                                sd_weight_precision precision, sd_error *err) {
    struct sd_upload u;
    sd_weights_clear_sides(w, vk);
    if (!source->low_rank)
        return SD_OK;
    sd_status status = sd_weights_create(&w->sides, err);
    for (uint32_t i = 0; i < w->count && !status; i++)
        status = attach(w->sides, w->list[i], source, precision, sd_vk_info(vk), err);
    if (!status && !(status = sd_weights_place(w->sides, vk, err)) && w->sides->count &&
        !(status = sd_upload_begin(&u, vk, err))) {
        for (uint32_t i = 0; i < w->count && !status; i++)
            if (w->list[i]->side && !(status = sd_weight_source_goes_on(source, err)))
                status = load_one(&u, w->list[i], source, err);
        status = sd_upload_end(&u, status, err);
    }
    if (status)
        sd_weights_clear_sides(w, vk);
    return status;
}
