#include "sd/checkpoint.h"
#include "sd/context.h"

#include <stdlib.h>
#include <sys/stat.h>

struct sd_hashes {
    sd_hash_cache *cache;
};

sd_status sd_hashes_open(sd_hashes **out, const char *cache_dir, sd_error *err) {
    char folder[4096];
    if (!cache_dir && sd_default_cache_dir(folder, sizeof folder))
        cache_dir = folder;
    *out = calloc(1, sizeof **out);
    if (!*out)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    sd_status status = sd_hash_cache_create(&(*out)->cache, cache_dir, NULL, err);
    if (status)
        sd_hashes_close(out);
    return status;
}

void sd_hashes_close(sd_hashes **hashes) {
    if (!*hashes)
        return;
    sd_hash_cache_destroy(&(*hashes)->cache);
    free(*hashes);
    *hashes = NULL;
}

bool sd_hashes_of_model(sd_hashes *hashes, const char *path, char hex[65]) {
    struct stat st;
    sd_checkpoint *folder = NULL;
    if (stat(path, &st))
        return false;
    if (!S_ISDIR(st.st_mode))
        return sd_hash_cache_find(hashes->cache, path, SD_HASH_FILE, hex);
    bool known = !sd_checkpoint_open(&folder, path, NULL, NULL) &&
                 sd_hash_cache_find(hashes->cache, folder->part[SD_PART_UNET].label, SD_HASH_FILE, hex);
    sd_checkpoint_close(&folder);
    return known;
}
