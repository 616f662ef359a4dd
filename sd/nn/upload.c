#include "sd/nn/upload.h"

#include "sd/base/quant.h"

#include <stdlib.h>

sd_status sd_upload_begin(struct sd_upload *u, sd_vk *vk, sd_error *err) {
    *u = (struct sd_upload){.vk = vk};
    return sd_vk_buffer_create(vk, &u->scratch, SD_UPLOAD_BYTES, SD_VK_LOCAL, "weights on their way", err);
}

sd_status sd_upload_flush(struct sd_upload *u, sd_error *err) {
    sd_status status = SD_OK;
    if (u->commands && !(status = sd_vk_commands_finish(u->commands, err)))
        status = sd_vk_submit(u->vk, &u->commands, 1, err);
    sd_vk_commands_destroy(u->vk, &u->commands);
    u->used = 0;
    return status;
}

sd_status sd_upload_end(struct sd_upload *u, sd_status so_far, sd_error *err) {
    sd_status last = so_far ? so_far : sd_upload_flush(u, err);
    sd_vk_commands_destroy(u->vk, &u->commands);
    sd_vk_buffer_destroy(u->vk, &u->scratch);
    sd_vk_buffer_destroy(u->vk, &u->workspace);
    return last;
}

sd_status sd_upload_stage(struct sd_upload *u, const void *data, uint64_t bytes, uint64_t *address,
                          sd_error *err) {
    uint64_t rounded = (bytes + SD_UPLOAD_ALIGNMENT - 1) & ~(uint64_t)(SD_UPLOAD_ALIGNMENT - 1);
    sd_status status = u->used + rounded > SD_UPLOAD_BYTES ? sd_upload_flush(u, err) : SD_OK;
    if (status)
        return status;
    *address = u->scratch->address + u->used;
    status = sd_vk_write(u->vk, u->scratch, u->used, data, bytes, err);
    u->used += rounded;
    return status;
}

sd_dtype sd_upload_dtype(sd_dtype dtype) {
    return sd_dtype_quantised(dtype) ? SD_F32 : dtype;
}

sd_status sd_upload_stage_values(struct sd_upload *u, const struct sd_raw *raw, uint64_t first,
                                 uint64_t count, uint64_t *address, sd_error *err) {
    uint64_t size = sd_dtype_size(raw->dtype);
    if (!sd_dtype_quantised(raw->dtype))
        return sd_upload_stage(u, (const char *)raw->data + first * size, count * size, address, err);
    float *values = malloc(count * sizeof *values);
    if (!values)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    sd_dequantise(raw->dtype, raw->data, first, count, values);
    sd_status status = sd_upload_stage(u, values, count * sizeof *values, address, err);
    free(values);
    return status;
}

static sd_status need_commands(struct sd_upload *u, sd_error *err) {
    return u->commands ? SD_OK : sd_vk_commands_create(u->vk, &u->commands, 0, err);
}

sd_status sd_upload_dispatch(struct sd_upload *u, const struct sd_shader *shader, const uint32_t *spec,
                             uint32_t spec_count, const void *push, uint32_t push_bytes,
                             const uint32_t groups[3], sd_error *err) {
    sd_vk_pipeline *pipeline;
    sd_status status = sd_vk_pipeline_get(u->vk, shader, spec, spec_count, 0, &pipeline, err);
    if (!status)
        status = need_commands(u, err);
    if (!status)
        sd_vk_commands_dispatch(u->commands, pipeline, push, push_bytes, groups);
    return status;
}

sd_status sd_upload_barrier(struct sd_upload *u, sd_error *err) {
    sd_status status = need_commands(u, err);
    if (!status)
        sd_vk_commands_barrier(u->commands);
    return status;
}
