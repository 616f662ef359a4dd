/* The driver's pipeline cache on disk: one file per device and driver, with a checksum because drivers trust
 * what they are given. */
#include "sd/base/folders.h"
#include "sd/vk/internal.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { checksum_bytes = 32, longest_cache = 256 << 20 };

static bool checksum(const void *data, size_t size, unsigned char out[checksum_bytes]) {
    return EVP_Digest(data, size, out, NULL, EVP_sha256(), NULL) == 1;
}

/* The whole file after its checksum, or NULL when it is missing, cut short or damaged. */
static void *load(const char *path, size_t *size) {
    unsigned char stored[checksum_bytes], actual[checksum_bytes];
    void *data = NULL;
    struct stat st;
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    if (fstat(fileno(file), &st) || st.st_size <= checksum_bytes || st.st_size > longest_cache)
        goto done;
    *size = (size_t)st.st_size - checksum_bytes;
    data = malloc(*size);
    if (data &&
        (fread(stored, 1, sizeof stored, file) != sizeof stored || fread(data, 1, *size, file) != *size ||
         !checksum(data, *size, actual) || memcmp(stored, actual, sizeof stored))) {
        free(data);
        data = NULL;
    }
done:
    fclose(file);
    return data;
}

sd_status sd_vk_cache_open(sd_vk *vk, const char *folder, sd_error *err) {
    sd_status status = SD_OK;
    void *data = NULL;
    size_t size = 0;
    if (folder && *folder) {
        VkPhysicalDeviceProperties p;
        vkGetPhysicalDeviceProperties(vk->physical, &p);
        char uuid[2 * VK_UUID_SIZE + 1];
        for (uint32_t i = 0; i < VK_UUID_SIZE; i++)
            sprintf(uuid + 2 * i, "%02x", p.pipelineCacheUUID[i]);
        size_t length = strlen(folder) + sizeof uuid + 64;
        if (!(vk->cache_path = malloc(length)))
            return sd_fail(err, SD_E_MEMORY, "out of memory");
        snprintf(vk->cache_path, length, "%s/pipelines-%04x-%04x-%08x-%s.bin", folder, p.vendorID, p.deviceID,
                 p.driverVersion, uuid);
        data = load(vk->cache_path, &size);
    }
    const VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
                                            .initialDataSize = data ? size : 0,
                                            .pInitialData = data};
    VK(vkCreatePipelineCache(vk->device, &info, NULL, &vk->cache));
    vk->cache_size = data ? size : 0;
error:
    free(data);
    return status;
}

static bool store(const char *path, const void *data, size_t size) {
    unsigned char sum[checksum_bytes];
    size_t length = strlen(path) + 32;
    char *temporary = malloc(length);
    bool ok = false;
    if (!temporary || !checksum(data, size, sum))
        goto done;
    snprintf(temporary, length, "%s.%ld", path, (long)getpid());
    FILE *file = fopen(temporary, "wb");
    if (!file)
        goto done;
    ok = fwrite(sum, 1, sizeof sum, file) == sizeof sum && fwrite(data, 1, size, file) == size;
    ok = !fclose(file) && ok && !rename(temporary, path);
    if (!ok)
        unlink(temporary);
done:
    free(temporary);
    return ok;
}

/* A cache that cannot be written costs time, not correctness: it is logged and that is all. */
void sd_vk_cache_save(sd_vk *vk) {
    size_t size = 0;
    if (!vk->cache_path || !vk->cache || vkGetPipelineCacheData(vk->device, vk->cache, &size, NULL) < 0 ||
        !size || size == vk->cache_size || size > longest_cache)
        return;
    void *data = malloc(size);
    if (data && vkGetPipelineCacheData(vk->device, vk->cache, &size, data) == VK_SUCCESS) {
        sd_make_folders(vk->cache_path);
        if (!store(vk->cache_path, data, size))
            sd_log(&vk->log, SD_LOG_WARNING, "cannot write the pipeline cache %s: %s", vk->cache_path,
                   strerror(errno));
    }
    free(data);
}
