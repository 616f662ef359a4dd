/* Running an edit on the device. Internal to the nn room. */
#ifndef SD_NN_EDIT_RUN_H
#define SD_NN_EDIT_RUN_H

#include "sd/nn/edit.h"
#include "sd/nn/upload.h"
#include "shaders/pack_rows.h"

/* Expands the tensor `raw` to f32 as matrix 0 and records the edit's steps. `address` is where the result
 * will lie for the dispatches recorded next, up to the next edit. */
sd_status sd_edit_run(const sd_edit *e, const struct sd_raw *raw, struct sd_upload *u, uint64_t *address,
                      sd_error *err);

/* Records the rewriting of rows that lie at push.source: values of the type `dtype` become f16 or f32.
 * `packed` is a multiple of 4. */
sd_status sd_pack_rows(struct sd_upload *u, sd_dtype dtype, bool half, struct pack_rows_push push,
                       sd_error *err);

/* The number that shaders know a stored type by. */
uint32_t sd_raw_shader_type(sd_dtype dtype);

#endif
