/* Any bytes as a safetensors file: parsed, and every byte of every tensor read. */
#include "sd/io/safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sd_safetensors *file;
    sd_error err;
    volatile uint8_t sum = 0;
    uint64_t total = 0;
    if (sd_safetensors_parse("input", data, size, &file, &err) != SD_OK)
        return 0;
    for (size_t i = 0; i < sd_safetensors_count(file); i++) {
        const sd_file_tensor *t = sd_safetensors_at(file, i);
        for (uint64_t k = 0; k < t->bytes; k++)
            sum = (uint8_t)(sum + t->data[k]);
        total += t->bytes;
        if (sd_safetensors_find(file, t->name) != t)
            abort();
    }
    if (sd_safetensors_data_offset(file) + total != size)
        abort();
    sd_safetensors_metadata(file, "format");
    sd_safetensors_close(&file);
    return 0;
}
