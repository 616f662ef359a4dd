/* Names of a model's tensors in single files. Internal to the sd room. */
#ifndef SD_CONVERT_NAMES_H
#define SD_CONVERT_NAMES_H

#include "sd/checkpoint.h"

struct sd_single_name {
    char text[256];
    int third;   /* 0, 1, 2: the weight is this block of rows of a stacked tensor; -1: all of the tensor */
    bool turned; /* it is stored transposed */
};

/* The name of a weight (canonical name) in the checkpoint where that is a single file, or in the single file
 * that a folder becomes: LDM's for UNet and VAE, transformers' or OpenCLIP's for the text encoders. What the
 * name tables need must be filled in (sd_convert_read_configs). False when it has none. */
bool sd_single_name(const sd_checkpoint *checkpoint, sd_part part, const char *canonical,
                    struct sd_single_name *out);

/* The canonical name of a folder's tensor. False when it does not fit. */
bool sd_folder_canonical_name(sd_part part, const char *name, char *out, size_t size);

/* Reads the configurations of a folder, as far as names depend on them. */
sd_status sd_convert_read_configs(sd_checkpoint *folder, sd_error *err);

#endif
