#include "sd/io/file.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

enum { piece = 1 << 20 };

/* `map`, where the data lie in one, gets pages back once they were read. */
static bool add_bytes(EVP_MD_CTX *ctx, const sd_mapping *map, const uint8_t *data, size_t size) {
    bool ok = true;
    for (size_t at = 0, now; at < size && ok; at += now) {
        now = size - at < piece ? size - at : piece;
        ok = EVP_DigestUpdate(ctx, data + at, now) == 1;
        sd_mapping_advise(map, data + at, now, SD_FILE_DONE);
    }
    return ok;
}

static sd_status hash(const char *what, const sd_mapping *map, const uint8_t *data, size_t size,
                      char hex[SD_SHA256_HEX], sd_error *err) {
    static const char digits[] = "0123456789abcdef";
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 && add_bytes(ctx, map, data, size) &&
              EVP_DigestFinal_ex(ctx, sum, &length) == 1 && length == 32;
    EVP_MD_CTX_free(ctx);
    if (!ok)
        return sd_fail(err, SD_E_INTERNAL, "%s: SHA-256 is not available in libcrypto", what);
    for (unsigned i = 0; i < 32; i++) {
        hex[2 * i] = digits[sum[i] >> 4];
        hex[2 * i + 1] = digits[sum[i] & 15];
    }
    hex[64] = 0;
    return SD_OK;
}

sd_status sd_sha256(const void *data, size_t size, char hex[SD_SHA256_HEX], sd_error *err) {
    return hash("data", &(sd_mapping){0}, data, size, hex, err);
}

sd_status sd_file_sha256(const char *path, uint64_t offset, char hex[SD_SHA256_HEX], sd_error *err) {
    sd_mapping map;
    sd_status status = sd_file_map(path, 0, &map, err);
    if (status)
        return status;
    if (offset > map.size)
        status = sd_fail(err, SD_E_ARGUMENT, "%s: cannot hash from byte %" PRIu64 " of a file of %zu bytes",
                         path, offset, map.size);
    else
        status = hash(path, &map, map.data + offset, map.size - (size_t)offset, hex, err);
    sd_file_unmap(&map);
    return status;
}

void sd_short_hash(const char hex[SD_SHA256_HEX], char out[SD_SHORT_HASH]) {
    memcpy(out, hex, SD_SHORT_HASH - 1);
    out[SD_SHORT_HASH - 1] = 0;
}
