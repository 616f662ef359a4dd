/* Tensors on their way to the device. They wait in one half of a scratch buffer until it is full; then a
 * submission uses them while the host fills the other half. Internal to the nn room. */
#ifndef SD_NN_UPLOAD_H
#define SD_NN_UPLOAD_H

#include "sd/nn/weight.h"
#include "sd/vk/commands.h"

/* Halves of 16 MiB stay in the cache of a CPU that packs what it has just copied. */
enum { SD_UPLOAD_BYTES = 16 << 20, SD_UPLOAD_ALIGNMENT = 256 };

struct sd_upload_half {
    sd_vk_commands *commands; /* recorded, or running */
    bool running;
};

struct sd_upload {
    sd_vk *vk;
    sd_vk_buffer *scratch;   /* both halves */
    sd_vk_buffer *workspace; /* of sd_edit_run; grows */
    struct sd_upload_half halves[2];
    uint32_t half; /* that is being filled */
    uint64_t used; /* of it */
    float *expanded;
};

sd_status sd_upload_begin(struct sd_upload *u, sd_vk *vk, sd_error *err);
/* Runs what is recorded, unless `so_far` is an error already, and frees everything; returns the first error.
 */
sd_status sd_upload_end(struct sd_upload *u, sd_status so_far, sd_error *err);

/* Runs what is recorded and waits for all. */
sd_status sd_upload_flush(struct sd_upload *u, sd_error *err);

/* The type that values of `dtype` have once staged with `expand`: quantised ones are expanded on the host to
 * f32. */
sd_dtype sd_upload_dtype(sd_dtype dtype);

/* Values of a tensor, from one that begins a byte on; whole blocks of quantised ones that are not expanded.
 */
struct sd_upload_span {
    uint64_t first, count;
};

/* Copies spans of a tensor, at most SD_UPLOAD_BYTES, one behind the other to where dispatches recorded next
 * can read them, up to the next call. */
sd_status sd_upload_stage(struct sd_upload *u, const struct sd_raw *raw, bool expand,
                          const struct sd_upload_span *spans, uint32_t count, uint64_t *address,
                          sd_error *err);
sd_status sd_upload_dispatch(struct sd_upload *u, const struct sd_shader *shader, const uint32_t *spec,
                             uint32_t spec_count, const void *push, uint32_t push_bytes,
                             const uint32_t groups[3], sd_error *err);
/* Dispatches recorded from now on see what those before wrote. */
sd_status sd_upload_barrier(struct sd_upload *u, sd_error *err);

#endif
