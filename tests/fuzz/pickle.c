/* Any bytes as a file of torch.save: parsed, and every byte of every tensor and text read. */
#include "sd/io/pickle.h"
#include "sd/base/str.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text) {
    if (!sd_utf8_valid(text, strlen(text)))
        abort();
}

static void check_tensor(const sd_pickle *file, const sd_file_tensor *t) {
    volatile uint8_t sum = 0;
    uint64_t bytes;
    for (uint64_t k = 0; k < t->bytes; k++)
        sum = (uint8_t)(sum + t->data[k]);
    check_text(t->name);
    if (sd_pickle_find(file, t->name) != t || strlen(t->name) > SD_PICKLE_NAME)
        abort();
    if (!sd_file_tensor_size(t->dtype, t->rank, t->shape, &bytes) || bytes != t->bytes)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sd_pickle *file;
    sd_error err;
    bool known = sd_pickle_detect(data, size);
    if (sd_pickle_parse("input", data, size, &file, &err) != SD_OK) {
        if (file || strncmp(err.message, "input: ", 7) != 0)
            abort();
        return 0;
    }
    if (!known || sd_pickle_count(file) > SD_PICKLE_TENSORS)
        abort();
    for (size_t i = 0; i < sd_pickle_count(file); i++)
        check_tensor(file, sd_pickle_at(file, i));
    for (size_t i = 0; i < sd_pickle_metadata_count(file); i++) {
        const sd_file_metadata *m = sd_pickle_metadata_at(file, i);
        check_text(m->key);
        check_text(m->value);
    }
    check_text(sd_pickle_root(file));
    sd_pickle_close(&file);
    return 0;
}
