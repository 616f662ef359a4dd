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
    sd_weights *sides; /* what the weights' `side` point to; NULL: none has one */
};

/* A zeroed weight of this shape at the end of the list; NULL with the failure noted. */
sd_weight *sd_weight_add(sd_weights *w, const sd_weight *shape);

bool sd_weight_is_matrix(const sd_weight *w);
/* Sets `bytes` from form, shape and dtype. */
void sd_weight_size(sd_weight *w, const struct sd_vk_info *info);

/* Gives every weight a device address in a few large buffers, or none where there is no room for all. */
sd_status sd_weights_place(sd_weights *w, sd_vk *vk, sd_error *err);
/* Frees the buffers and takes the addresses back. */
void sd_weights_unplace(sd_weights *w, sd_vk *vk);

/* Rows of one part of a stack, and values of a row. */
uint32_t sd_weight_part_rows(const sd_weight *w);
uint64_t sd_weight_inputs(const sd_weight *w);

/* SD_E_CANCELLED once the source is to stop. */
sd_status sd_weight_source_goes_on(const struct sd_weight_source *source, sd_error *err);

/* Records the packing of a part: from where `edit` leaves it as f32, or (`edit` NULL) from the file in pieces
 * that fit the scratch. */
sd_status sd_weight_pack(struct sd_upload *u, const sd_weight *w, uint32_t part, const struct sd_raw *raw,
                         const sd_edit *edit, sd_error *err);

/* ---- what is kept apart ---- */

/* Whether a weight that could keep its blocks of `dtype` can keep them beside what the source does to it. */
bool sd_weight_stays_apart(const sd_weight *w, sd_dtype dtype, const struct sd_weight_source *source,
                           sd_weight_precision precision);
/* Gives every weight whose blocks were kept the side that the source has for it now, and no other. */
sd_status sd_weights_load_sides(sd_weights *w, sd_vk *vk, const struct sd_weight_source *source,
                                sd_weight_precision precision, sd_error *err);
void sd_weights_clear_sides(sd_weights *w, sd_vk *vk);

#endif
