/* Raw bytes on their way to the device: they wait in a scratch buffer until it is full, then one submission
 * uses them all. Internal to the nn room. */
#ifndef SD_NN_UPLOAD_H
#define SD_NN_UPLOAD_H

#include "sd/nn/weight.h"
#include "sd/vk/commands.h"

enum { SD_UPLOAD_BYTES = 64 << 20, SD_UPLOAD_ALIGNMENT = 256 };

struct sd_upload {
    sd_vk *vk;
    sd_vk_buffer *scratch;
    sd_vk_buffer *workspace; /* of sd_edit_run; grows */
    uint64_t used;
    sd_vk_commands *commands;
};

sd_status sd_upload_begin(struct sd_upload *u, sd_vk *vk, sd_error *err);
/* Runs what is recorded, unless `so_far` is an error already, and frees everything; returns the first error.
 */
sd_status sd_upload_end(struct sd_upload *u, sd_status so_far, sd_error *err);

/* Runs what is recorded and waits. */
sd_status sd_upload_flush(struct sd_upload *u, sd_error *err);
/* Copies at most SD_UPLOAD_BYTES to where dispatches recorded from now on can read them. */
sd_status sd_upload_stage(struct sd_upload *u, const void *data, uint64_t bytes, uint64_t *address,
                          sd_error *err);
/* The type that values of `dtype` have once staged: quantised ones are expanded on the host to f32. */
sd_dtype sd_upload_dtype(sd_dtype dtype);
/* Stages `count` values of a tensor from value `first` on, which begins a byte. */
sd_status sd_upload_stage_values(struct sd_upload *u, const struct sd_raw *raw, uint64_t first,
                                 uint64_t count, uint64_t *address, sd_error *err);
sd_status sd_upload_dispatch(struct sd_upload *u, const struct sd_shader *shader, const uint32_t *spec,
                             uint32_t spec_count, const void *push, uint32_t push_bytes,
                             const uint32_t groups[3], sd_error *err);
/* Dispatches recorded from now on see what those before wrote. */
sd_status sd_upload_barrier(struct sd_upload *u, sd_error *err);

#endif
