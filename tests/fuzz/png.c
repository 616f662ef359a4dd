/* Any bytes as a PNG: decoded with its texts, and once more for the texts alone. The chunks' checksums are
 * put right first, because a mutation would rarely hit them and nothing behind them would be tried. */
#include "sd/io/image.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* CRC-32 of ISO 3309, as the PNG specification gives it. */
static uint32_t checksum(const uint8_t *p, size_t size) {
    uint32_t c = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++)
            c = c >> 1 ^ (c & 1 ? 0xEDB88320U : 0);
    }
    return ~c;
}

static void mend_checksums(uint8_t *data, size_t size) {
    for (size_t at = 8; size - at >= 12;) {
        uint32_t length = (uint32_t)data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3];
        if (length > size - at - 12)
            return;
        uint32_t c = checksum(data + at + 4, length + 4);
        for (int i = 0; i < 4; i++)
            data[at + 8 + length + (size_t)i] = (uint8_t)(c >> (24 - 8 * i));
        at += 12 + (size_t)length;
    }
}

static void try_decode(const uint8_t *data, size_t size) {
    enum { most_pixels = 1 << 18 };
    sd_image image;
    sd_image_texts texts;
    sd_error err;
    volatile uint8_t sum = 0;
    if (sd_image_decode("input", data, size, most_pixels, &image, &texts, &err) == SD_OK) {
        for (size_t i = 0; i < (size_t)image.width * image.height * image.channels; i++)
            sum = (uint8_t)(sum + image.pixels[i]);
        for (size_t i = 0; i < texts.count; i++)
            sum = (uint8_t)(sum + strlen(texts.items[i].text));
    }
    sd_image_clear(&image);
    sd_image_texts_clear(&texts);
    sd_image_decode("input", data, size, most_pixels, NULL, &texts, &err);
    sd_image_texts_clear(&texts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 8 || memcmp(data, "\x89PNG\r\n\x1A\n", 8) != 0)
        return 0;
    uint8_t *mended = malloc(size);
    if (!mended)
        return 0;
    memcpy(mended, data, size);
    mend_checksums(mended, size);
    try_decode(mended, size);
    free(mended);
    return 0;
}
