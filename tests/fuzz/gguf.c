/* Any bytes as a GGUF file: parsed, every byte of every tensor and every metadata value read, quantised
 * tensors expanded. */
#include "sd/io/gguf.h"
#include "sd/base/quant.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sum;

static void read_bytes(const uint8_t *bytes, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        sum = (uint8_t)(sum + bytes[i]);
}

/* The elements of an array are as many as it says and fill it; returns how deep arrays are nested. */
static unsigned read_value(const sd_gguf_value *v) {
    sd_gguf_value element;
    uint64_t at = 0, count = 0, natural;
    int64_t whole;
    double real;
    unsigned deepest = 0;
    read_bytes(v->data, v->bytes);
    if (sd_gguf_u64(v, &natural) && !sd_gguf_f64(v, &real))
        abort();
    if (sd_gguf_i64(v, &whole) && !sd_gguf_f64(v, &real))
        abort();
    for (; sd_gguf_next(v, &at, &element); count++) {
        unsigned depth = read_value(&element);
        deepest = depth > deepest ? depth : deepest;
    }
    if (v->type == SD_GGUF_ARRAY && (count != v->count || at != v->bytes))
        abort();
    return deepest + (v->type == SD_GGUF_ARRAY);
}

static void read_tensor(const sd_file_tensor *t) {
    float values[512];
    uint64_t count = t->bytes * 8 / sd_file_dtype_bits(t->dtype) * sd_file_dtype_block(t->dtype);
    read_bytes(t->data, t->bytes);
    for (uint64_t at = 0; at < count && sd_file_dtype_quantised(t->dtype); at += 500)
        sd_dequantise(sd_file_dtype_base(t->dtype), t->data, at, count - at < 500 ? count - at : 500, values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sd_gguf *file;
    sd_error err;
    uint64_t total = 0;
    if (sd_gguf_parse("input", data, size, &file, &err) != SD_OK)
        return 0;
    for (size_t i = 0; i < sd_gguf_count(file); i++) {
        const sd_file_tensor *t = sd_gguf_at(file, i);
        read_tensor(t);
        total += t->bytes;
        if (sd_gguf_find(file, t->name) != t)
            abort();
    }
    if (total > size)
        abort();
    for (size_t i = 0; i < sd_gguf_value_count(file); i++) {
        const sd_gguf_value *v = sd_gguf_value_at(file, i);
        if (read_value(v) > 8 || sd_gguf_value_find(file, v->key) != v)
            abort();
        read_bytes((const uint8_t *)sd_gguf_metadata_at(file, i)->value,
                   strlen(sd_gguf_metadata_at(file, i)->value));
    }
    sd_gguf_close(&file);
    return 0;
}
