#include "sd/nn/upload.h"

#include "sd/base/quant.h"

#include <stdlib.h>

sd_status sd_upload_begin(struct sd_upload *u, sd_vk *vk, sd_error *err) {
    *u = (struct sd_upload){.vk = vk};
    return sd_vk_buffer_create(vk, &u->scratch, 2 * (uint64_t)SD_UPLOAD_BYTES, SD_VK_LOCAL,
                               "weights on their way", err);
}

/* Waits until the half is free. */
static sd_status empty(struct sd_upload *u, struct sd_upload_half *half, sd_error *err) {
    sd_status status = half->running ? sd_vk_await(u->vk, half->commands, err) : SD_OK;
    sd_vk_commands_destroy(u->vk, &half->commands);
    half->running = false;
    return status;
}

/* Starts what is recorded and goes on in the other half. */
static sd_status turn(struct sd_upload *u, sd_error *err) {
    struct sd_upload_half *half = &u->halves[u->half];
    sd_status status = SD_OK;
    if (half->commands && !(status = sd_vk_commands_finish(half->commands, err)) &&
        !(status = sd_vk_start(u->vk, half->commands, err)))
        half->running = true;
    if (status)
        return status;
    u->half ^= 1;
    u->used = 0;
    return empty(u, &u->halves[u->half], err);
}

sd_status sd_upload_flush(struct sd_upload *u, sd_error *err) {
    sd_status status = turn(u, err);
    return status ? status : empty(u, &u->halves[u->half ^ 1], err);
}

sd_status sd_upload_end(struct sd_upload *u, sd_status so_far, sd_error *err) {
    sd_error later; /* what goes wrong after an error is no news */
    sd_status last = so_far ? so_far : sd_upload_flush(u, err);
    for (int i = 0; i < 2; i++)
        empty(u, &u->halves[i], &later);
    sd_vk_buffer_destroy(u->vk, &u->scratch);
    sd_vk_buffer_destroy(u->vk, &u->workspace);
    free(u->expanded);
    return last;
}

sd_dtype sd_upload_dtype(sd_dtype dtype) {
    return sd_dtype_quantised(dtype) ? SD_F32 : dtype;
}

/* Bytes of a span once it is staged. */
static uint64_t span_bytes(const struct sd_raw *raw, bool expand, uint64_t count) {
    const sd_dtype_block block = sd_dtype_block_of(raw->dtype);
    return expand && sd_dtype_quantised(raw->dtype) ? count * sizeof(float)
                                                    : count / block.values * block.bytes;
}

/* Copies a span to `at` of the scratch. */
static sd_status put(struct sd_upload *u, const struct sd_raw *raw, bool expand, struct sd_upload_span span,
                     uint64_t at, sd_error *err) {
    uint64_t bytes = span_bytes(raw, expand, span.count);
    if (!expand || !sd_dtype_quantised(raw->dtype))
        return sd_vk_write(u->vk, u->scratch, at,
                           (const char *)raw->data + span_bytes(raw, false, span.first), bytes, err);
    if (!u->expanded && !(u->expanded = malloc(SD_UPLOAD_BYTES)))
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    sd_dequantise(raw->dtype, raw->data, span.first, span.count, u->expanded);
    return sd_vk_write(u->vk, u->scratch, at, u->expanded, bytes, err);
}

sd_status sd_upload_stage(struct sd_upload *u, const struct sd_raw *raw, bool expand,
                          const struct sd_upload_span *spans, uint32_t count, uint64_t *address,
                          sd_error *err) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += span_bytes(raw, expand, spans[i].count);
    sd_status status = u->used + bytes > SD_UPLOAD_BYTES ? turn(u, err) : SD_OK;
    uint64_t at = (uint64_t)u->half * SD_UPLOAD_BYTES + u->used;
    *address = u->scratch->address + at;
    u->used += (bytes + SD_UPLOAD_ALIGNMENT - 1) & ~(uint64_t)(SD_UPLOAD_ALIGNMENT - 1);
    for (uint32_t i = 0; i < count && !status; i++) {
        status = put(u, raw, expand, spans[i], at, err);
        at += span_bytes(raw, expand, spans[i].count);
    }
    return status;
}

static sd_status need_commands(struct sd_upload *u, sd_error *err) {
    struct sd_upload_half *half = &u->halves[u->half];
    return half->commands ? SD_OK : sd_vk_commands_create(u->vk, &half->commands, 0, err);
}

sd_status sd_upload_dispatch(struct sd_upload *u, const struct sd_shader *shader, const uint32_t *spec,
                             uint32_t spec_count, const void *push, uint32_t push_bytes,
                             const uint32_t groups[3], sd_error *err) {
    sd_vk_pipeline *pipeline;
    sd_status status = sd_vk_pipeline_get(u->vk, shader, spec, spec_count, 0, &pipeline, err);
    if (!status)
        status = need_commands(u, err);
    if (!status)
        sd_vk_commands_dispatch(u->halves[u->half].commands, pipeline, push, push_bytes, groups);
    return status;
}

sd_status sd_upload_barrier(struct sd_upload *u, sd_error *err) {
    sd_status status = need_commands(u, err);
    if (!status)
        sd_vk_commands_barrier(u->halves[u->half].commands);
    return status;
}
