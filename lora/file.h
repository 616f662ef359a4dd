/* An opened adapter file. Internal to the lora room. */
#ifndef LORA_FILE_H
#define LORA_FILE_H

#include "lora/module.h"
#include "sd/io/tensor_file.h"

enum { SD_LORA_LONGEST_KEY = 512 };

struct sd_lora {
    sd_arena arena;
    char *path, *name;   /* name: last part of the path, without extension */
    const char *weights; /* path of the file */
    sd_tensor_file *file;
    struct sd_lora_settings settings;
    struct sd_lora_module *modules;
    uint32_t module_count;
    const char **strays; /* keys whose endings say nothing */
    uint32_t stray_count;
    const char *base;            /* the model that PEFT's configuration names, or NULL */
    struct sd_lora_report about; /* nothing is matched in it */
};

/* Fills `about`. */
sd_status sd_lora_describe(sd_lora *lora, sd_error *err);

/* Numbers that stand in the metadata or in adapter_config.json instead of in tensors: alpha, rank-stabilised
 * scales. `config` is JSON or NULL. */
sd_status sd_lora_read_config(sd_lora *lora, const char *label, const char *config, const char *prefix,
                              sd_error *err);

#endif
