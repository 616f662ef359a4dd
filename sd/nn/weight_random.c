#include "sd/nn/weight_internal.h"

#include "sd/nn/op.h"
#include "sd/vk/commands.h"
#include "shaders/random_weight.h"
#include "shaders/shaders.h"

#include <math.h>
#include <string.h>

/* Matrices get the range that keeps the size of what they multiply, vectors of norms stay near 1, biases near
 * 0. */
static void choose_values(const sd_weight *w, struct random_weight_push *push) {
    const char *name = w->names[0];
    size_t n = strlen(name);
    bool scale = n >= 7 && !strcmp(name + n - 7, ".weight");
    bool vector = w->form == SD_WEIGHT_VECTOR || w->form == SD_WEIGHT_GEGLU_VECTOR;
    push->mean = vector && scale ? 1 : 0;
    push->range = vector ? 0.02f : sqrtf(3.0f / ((float)w->c * (float)w->kh * (float)w->kw));
}

static sd_status fill(sd_vk *vk, const sd_weight *w, uint32_t seed, sd_vk_commands *commands, sd_error *err) {
    struct random_weight_push push = {.packed = w->address,
                                      .words = (uint32_t)(w->bytes / 4),
                                      .half_words = w->dtype == SD_F16,
                                      .seed = seed};
    uint32_t size[3];
    sd_fold_groups(sd_ceil_div(push.words, 64), size);
    sd_vk_pipeline *pipeline;
    choose_values(w, &push);
    sd_status status = sd_vk_pipeline_get(vk, &sd_shader_random_weight, NULL, 0, 0, &pipeline, err);
    if (!status)
        sd_vk_commands_dispatch(commands, pipeline, &push, sizeof push, size);
    return status;
}

sd_status sd_weights_random(sd_weights *w, sd_vk *vk, sd_weight_precision precision, uint32_t seed,
                            sd_error *err) {
    sd_vk_commands *commands = NULL;
    sd_status status = sd_weights_assume(w, sd_vk_info(vk), precision, err);
    if (status || (status = sd_weights_place(w, vk, err)))
        return status;
    status = sd_vk_commands_create(vk, &commands, 0, err);
    for (uint32_t i = 0; i < w->count && !status; i++)
        status = fill(vk, w->list[i], seed + i * 2654435761u, commands, err);
    if (!status && !(status = sd_vk_commands_finish(commands, err)))
        status = sd_vk_submit(vk, &commands, 1, err);
    sd_vk_commands_destroy(vk, &commands);
    return status;
}
