#include "sd/io/file_tensor_write.h"

#include <stdlib.h>

static const uint64_t piece_bytes = 4 << 20;

sd_status sd_file_tensor_write(sd_file_writer *file, const sd_file_tensor *t,
                               const struct sd_tensor_producer *producer, sd_error *err) {
    if (!producer)
        return sd_file_writer_write(file, t->data, (size_t)t->bytes, err);
    unsigned bits = sd_file_dtype_bits(t->dtype);
    uint64_t block = bits < 8 ? 1 : bits / 8, most = piece_bytes / block * block;
    uint8_t *piece = malloc((size_t)(t->bytes < most ? t->bytes + 1 : most));
    sd_status status = SD_OK;
    if (!piece)
        return sd_fail(err, SD_E_MEMORY, "tensor '%s': no memory to write it", sd_show_name(t->name).text);
    for (uint64_t at = 0; at < t->bytes && !status; at += most) {
        size_t now = (size_t)(t->bytes - at < most ? t->bytes - at : most);
        status = producer->fill(producer->user, t, at, piece, now, err);
        if (!status)
            status = sd_file_writer_write(file, piece, now, err);
    }
    free(piece);
    return status;
}
