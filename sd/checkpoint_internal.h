/* Shared by the files of sd/checkpoint.h. */
#ifndef SD_CHECKPOINT_INTERNAL_H
#define SD_CHECKPOINT_INTERNAL_H

#include "sd/checkpoint.h"

/* Opens a file of tensors, which the checkpoint then owns. Says what it is when it holds no tensors. */
sd_status sd_checkpoint_file(sd_checkpoint *c, const char *path, sd_tensor_file **out, sd_error *err);

/* Finds the parts that lie in a file by their tensors: those of a whole model, and a UNet alone. */
void sd_checkpoint_place_model(sd_checkpoint *c, sd_tensor_file *file, const char *path);
/* One part, out of a whole model's file or of one that holds it alone. Either text encoder stands for both.
 * False when there is none. */
bool sd_checkpoint_place_part(sd_checkpoint *c, sd_part part, sd_tensor_file *file, const char *path,
                              struct sd_checkpoint_part *out);

/* The weights and configuration of one part in a folder as diffusers writes it. */
sd_status sd_checkpoint_part_folder(sd_checkpoint *c, sd_part part, const char *folder,
                                    struct sd_checkpoint_part *out, sd_error *err);

/* Puts the separate parts in place of the model's own. */
sd_status sd_checkpoint_replace(sd_checkpoint *c, const struct sd_separate_parts *separate, sd_error *err);

/* Refuses a file without a UNet by what it is instead. */
sd_status sd_checkpoint_not_a_model(sd_checkpoint *c, sd_tensor_file *file, sd_error *err);
/* The same where one part was expected. */
sd_status sd_checkpoint_not_the_part(sd_checkpoint *c, sd_part part, sd_tensor_file *file, const char *path,
                                     sd_error *err);
/* What a file is that holds no Stable Diffusion part: "a Flux model", "a LoRA", or NULL. */
const char *sd_checkpoint_foreign(const sd_tensor_file *file);

/* What a part's source calls; `user` is the part. */
bool sd_checkpoint_find(void *user, const char *name, struct sd_raw *out);
void sd_checkpoint_advise(void *user, const struct sd_raw *raw, bool done);

bool sd_is_file(const char *path);

#endif
