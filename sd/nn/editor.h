/* Edited weights as numbers on the host, for writing them to files. */
#ifndef SD_NN_EDITOR_H
#define SD_NN_EDITOR_H

#include "sd/nn/edit.h"

/* Keeps what one edit after another needs on the device. One thread. */
typedef struct sd_editor sd_editor;

sd_status sd_editor_create(sd_editor **out, sd_vk *vk, sd_error *err);
/* NULL-safe. */
void sd_editor_destroy(sd_editor **editor);

/* The tensor `raw` (F32, F16, BF16, F8 or quantised) after the edit, computed as sd_weights_load does: [rows
 * * columns] f32 of the edit's matrix 0. */
sd_status sd_editor_run(sd_editor *editor, const sd_edit *edit, const struct sd_raw *raw, float *out,
                        sd_error *err);

#endif
