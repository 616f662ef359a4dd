/* What a diffusers folder says beside its weights, kept in the metadata of a single file: shapes do not show
 * how many heads and norm groups a network has, how noise was scheduled, or which words a tokenizer knows.
 * Other programs pass over it. Internal to the sd room. */
#ifndef SD_CHECKPOINT_METADATA_H
#define SD_CHECKPOINT_METADATA_H

#include "sd/checkpoint.h"

/* Sets the part's configuration where its file holds one. */
void sd_checkpoint_read_config(sd_checkpoint *checkpoint, struct sd_checkpoint_part *part);

/* Fills in scheduler and tokenizers from the file, as if they came from a folder. The scheduler lives as long
 * as the file. */
sd_status sd_checkpoint_read_metadata(sd_checkpoint *checkpoint, const sd_tensor_file *file, sd_error *err);

enum { SD_CHECKPOINT_METADATA = SD_PARTS + 1 + 4 };

/* The same for a folder that becomes a single file: at most SD_CHECKPOINT_METADATA entries, which live as
 * long as the checkpoint. A tokenizer is left out when it is CLIP's own. */
sd_status sd_checkpoint_metadata(const sd_checkpoint *checkpoint,
                                 sd_file_metadata out[SD_CHECKPOINT_METADATA], size_t *count, sd_error *err);

#endif
