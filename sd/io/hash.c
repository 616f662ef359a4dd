#include "sd/io/file.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

enum { piece = 1 << 20 };

/* What is hashed. `map`, where the data lie in one, gets pages back once they were read. */
struct source {
    const char *name;
    const sd_mapping *map;
    const uint8_t *data;
    size_t size;
    bool (*cancelled)(const void *cancel); /* or NULL */
    const void *cancel;
};

static bool add_bytes(EVP_MD_CTX *ctx, const struct source *s, bool *cancelled) {
    bool ok = true;
    for (size_t at = 0, now; at < s->size && ok; at += now) {
        if ((*cancelled = s->cancelled && s->cancelled(s->cancel)))
            return false;
        now = s->size - at < piece ? s->size - at : piece;
        ok = EVP_DigestUpdate(ctx, s->data + at, now) == 1;
        sd_mapping_advise(s->map, s->data + at, now, SD_FILE_DONE);
    }
    return ok;
}

static sd_status hash(const struct source *s, char hex[SD_SHA256_HEX], sd_error *err) {
    static const char digits[] = "0123456789abcdef";
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    bool cancelled = false;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 && add_bytes(ctx, s, &cancelled) &&
              EVP_DigestFinal_ex(ctx, sum, &length) == 1 && length == 32;
    EVP_MD_CTX_free(ctx);
    if (cancelled)
        return sd_fail(err, SD_E_CANCELLED, "cancelled");
    if (!ok)
        return sd_fail(err, SD_E_INTERNAL, "%s: SHA-256 is not available in libcrypto", s->name);
    for (unsigned i = 0; i < 32; i++) {
        hex[2 * i] = digits[sum[i] >> 4];
        hex[2 * i + 1] = digits[sum[i] & 15];
    }
    hex[64] = 0;
    return SD_OK;
}

sd_status sd_sha256(const void *data, size_t size, char hex[SD_SHA256_HEX], sd_error *err) {
    return hash(&(struct source){"data", &(sd_mapping){0}, data, size, NULL, NULL}, hex, err);
}

sd_status sd_file_sha256(const char *path, uint64_t offset, char hex[SD_SHA256_HEX], sd_error *err) {
    return sd_file_sha256_until(path, offset, NULL, NULL, hex, err);
}

sd_status sd_file_sha256_until(const char *path, uint64_t offset, bool (*cancelled)(const void *cancel),
                               const void *cancel, char hex[SD_SHA256_HEX], sd_error *err) {
    sd_mapping map;
    sd_status status = sd_file_map(path, 0, &map, err);
    if (status)
        return status;
    if (offset > map.size)
        status = sd_fail(err, SD_E_ARGUMENT, "%s: cannot hash from byte %" PRIu64 " of a file of %zu bytes",
                         path, offset, map.size);
    else
        status = hash(
            &(struct source){path, &map, map.data + offset, map.size - (size_t)offset, cancelled, cancel},
            hex, err);
    sd_file_unmap(&map);
    return status;
}

void sd_short_hash(const char hex[SD_SHA256_HEX], char out[SD_SHORT_HASH]) {
    memcpy(out, hex, SD_SHORT_HASH - 1);
    out[SD_SHORT_HASH - 1] = 0;
}
