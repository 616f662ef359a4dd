/* Internal to the sd room. */
#ifndef SD_CONTEXT_H
#define SD_CONTEXT_H

#include "sd/io/hash_cache.h"
#include "sd/sd.h"
#include "sd/vk/device.h"

struct sd_context {
    sd_vk *vk;
    sd_logger log;
    sd_hash_cache *hashes;
    char *models; /* the folder where names are looked up, or NULL */
};

/* Where pipelines and hashes are kept between runs; false when there is no home, or its name is too long. */
bool sd_default_cache_dir(char *out, size_t size);

#endif
