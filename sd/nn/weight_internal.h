/* Shared by the weight files of the nn room. */
#ifndef SD_NN_WEIGHT_INTERNAL_H
#define SD_NN_WEIGHT_INTERNAL_H

#include "sd/nn/edit_run.h"
#include "sd/nn/weight_layout.h"

struct sd_weights {
    sd_arena arena;
    sd_weight **list;
    uint32_t count, capacity;
    bool failed; /* out of memory while binding */
    sd_vk_buffer **buffers;
    uint32_t buffer_count;
};

bool sd_weight_is_matrix(const sd_weight *w);
/* Sets `bytes` from form, shape and dtype. */
void sd_weight_size(sd_weight *w, const struct sd_vk_info *info);

/* Gives every weight a device address in a few large buffers, or none where there is no room for all. */
sd_status sd_weights_place(sd_weights *w, sd_vk *vk, sd_error *err);
/* Frees the buffers and takes the addresses back. */
void sd_weights_unplace(sd_weights *w, sd_vk *vk);

/* Rows of one part of a stack. */
uint32_t sd_weight_part_rows(const sd_weight *w);

/* Records the packing of a part: from where `edit` leaves it as f32, or (`edit` NULL) from the file in pieces
 * that fit the scratch. */
sd_status sd_weight_pack(struct sd_upload *u, const sd_weight *w, uint32_t part, const struct sd_raw *raw,
                         const sd_edit *edit, sd_error *err);

#endif
