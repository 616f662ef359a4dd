/* The words of a loaded weight, read back from the buffer that it lies in. */
#ifndef UNIT_NN_DEVICE_WORDS_H
#define UNIT_NN_DEVICE_WORDS_H

#include "tests/op/optest.h"

#include "sd/nn/weight_internal.h"

#include <stdlib.h>

/* The caller frees them. */
static inline uint32_t *device_words(sd_vk *vk, const sd_weights *weights, const sd_weight *w) {
    uint32_t *words = malloc(w->bytes);
    sd_error err;
    assert_non_null(words);
    for (uint32_t i = 0; i < weights->buffer_count; i++) {
        sd_vk_buffer *b = weights->buffers[i];
        if (w->address < b->address || w->address >= b->address + b->size)
            continue;
        if (sd_vk_read(vk, b, w->address - b->address, words, w->bytes, &err))
            fail_msg("%s", err.message);
        return words;
    }
    fail_msg("%s lies in none of the weights' buffers", w->names[0]);
    return NULL;
}

#endif
