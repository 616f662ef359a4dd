/* Any bytes as a JPEG: decoded with its texts, and once more for the texts alone. */
#include "sd/io/image.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { most_pixels = 1 << 18 };
    sd_image image;
    sd_image_texts texts;
    sd_error err;
    volatile uint8_t sum = 0;
    if (size < 3 || memcmp(data, "\xFF\xD8\xFF", 3) != 0)
        return 0;
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
    return 0;
}
