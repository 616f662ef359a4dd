#include "clip/inversion.h"

#include "sd/io/file.h"
#include "sd/io/pickle.h"
#include "sd/io/safetensors.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { widest = 65536 };

static const char pair_names[2][8] = {"clip_l", "clip_g"};

/* The tensors of a file of either format. */
struct tensors {
    const char *label;
    sd_safetensors *safetensors;
    sd_pickle *pickle;
};

static size_t count_of(const struct tensors *t) {
    return t->pickle ? sd_pickle_count(t->pickle) : sd_safetensors_count(t->safetensors);
}

static const sd_file_tensor *at(const struct tensors *t, size_t i) {
    return t->pickle ? sd_pickle_at(t->pickle, i) : sd_safetensors_at(t->safetensors, i);
}

static const sd_file_tensor *find(const struct tensors *t, const char *name) {
    return t->pickle ? sd_pickle_find(t->pickle, name) : sd_safetensors_find(t->safetensors, name);
}

static bool is_real(sd_file_dtype dtype) {
    return dtype == SD_FILE_F32 || dtype == SD_FILE_F64 || dtype == SD_FILE_F16 || dtype == SD_FILE_BF16;
}

/* [width] is one vector. */
static sd_status check_tensor(const char *label, const sd_file_tensor *t, sd_error *err) {
    char shape[64];
    sd_file_shape_text(t->rank, t->shape, shape, sizeof shape);
    if (!is_real(t->dtype))
        return sd_fail(err, SD_E_UNSUPPORTED,
                       "%s: tensor %s: expected F32, F16, BF16 or F64 values, found %s", label, t->name,
                       sd_file_dtype_name(t->dtype));
    if (t->rank < 1 || t->rank > 2 || !t->shape[t->rank - 1] || t->shape[t->rank - 1] > widest)
        return sd_fail(err, SD_E_FORMAT,
                       "%s: tensor %s: expected the shape [width] or [vectors,width], found %s", label,
                       t->name, shape);
    if (t->rank == 2 && (!t->shape[0] || t->shape[0] > SD_INVERSION_VECTORS))
        return sd_fail(err, SD_E_FORMAT, "%s: tensor %s: expected 1 to %d vectors, found %s", label, t->name,
                       SD_INVERSION_VECTORS, shape);
    return SD_OK;
}

static sd_status read_tensor(sd_inversion *out, int encoder, const char *label, const sd_file_tensor *t,
                             sd_error *err) {
    sd_status status = check_tensor(label, t, err);
    if (status)
        return status;
    uint32_t vectors = t->rank == 2 ? (uint32_t)t->shape[0] : 1;
    if (encoder && vectors != out->vectors)
        return sd_fail(err, SD_E_FORMAT, "%s: expected as many vectors in %s as in %s, found %u and %u",
                       label, pair_names[1], pair_names[0], vectors, out->vectors);
    out->vectors = vectors;
    out->width[encoder] = (uint32_t)t->shape[t->rank - 1];
    out->encoders = (uint32_t)encoder + 1;
    size_t count = (size_t)vectors * out->width[encoder];
    float *rows = out->rows[encoder] = malloc(count * sizeof *rows);
    if (!rows)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    for (size_t i = 0; i < count; i++)
        if (!isfinite(rows[i] = sd_file_tensor_value(t, i)))
            return sd_fail(err, SD_E_FORMAT, "%s: tensor %s: expected finite numbers, found %s at value %zu",
                           label, t->name, isnan(rows[i]) ? "NaN" : "infinity", i);
    return SD_OK;
}

static bool begins_with(const char *text, const char *start) {
    return !strncmp(text, start, strlen(start));
}

/* The one tensor that holds the vectors; NULL when none or several might. */
static const sd_file_tensor *only_tensor(const struct tensors *file) {
    const sd_file_tensor *found = count_of(file) == 1 ? at(file, 0) : find(file, "emb_params");
    for (size_t i = 0, params = 0; i < count_of(file); i++)
        if (begins_with(at(file, i)->name, "string_to_param."))
            found = params++ ? NULL : at(file, i);
    return found;
}

static sd_status read(sd_inversion *out, const struct tensors *file, sd_error *err) {
    const sd_file_tensor *pair[2] = {find(file, pair_names[0]), find(file, pair_names[1])};
    const sd_file_tensor *only = only_tensor(file);
    sd_status status = SD_OK;
    if (pair[0] && pair[1]) {
        for (int i = 0; i < 2 && !status; i++)
            status = read_tensor(out, i, file->label, pair[i], err);
        return status;
    }
    if (only)
        return read_tensor(out, 0, file->label, only, err);
    if (!count_of(file))
        return sd_fail(err, SD_E_UNSUPPORTED, "%s: expected an embedding, found no tensors", file->label);
    return sd_fail(err, SD_E_UNSUPPORTED,
                   "%s: expected an embedding, which holds one tensor or clip_l and clip_g, found %zu "
                   "(%.100s, %.100s%s)",
                   file->label, count_of(file), at(file, 0)->name, at(file, 1)->name,
                   count_of(file) > 2 ? " ..." : "");
}

/* A1111 can hide an embedding in the picture that shows it. */
static bool is_picture(const void *data, size_t size) {
    return size >= 4 &&
           (!memcmp(data, "\x89PNG", 4) || !memcmp(data, "RIFF", 4) || !memcmp(data, "\xFF\xD8\xFF", 3));
}

sd_status sd_inversion_parse(sd_inversion *out, const char *label, const void *data, size_t size,
                             sd_error *err) {
    struct tensors file = {.label = label};
    *out = (sd_inversion){0};
    if (is_picture(data, size))
        return sd_fail(
            err, SD_E_UNSUPPORTED,
            "%s: expected a safetensors or PyTorch file, found a picture; embeddings in pictures are not "
            "supported",
            label);
    sd_status status = sd_pickle_detect(data, size)
                           ? sd_pickle_parse(label, data, size, &file.pickle, err)
                           : sd_safetensors_parse(label, data, size, &file.safetensors, err);
    if (!status)
        status = read(out, &file, err);
    sd_pickle_close(&file.pickle);
    sd_safetensors_close(&file.safetensors);
    if (status)
        sd_inversion_clear(out);
    return status;
}

sd_status sd_inversion_open(sd_inversion *out, const char *path, sd_error *err) {
    sd_mapping map;
    *out = (sd_inversion){0};
    sd_status status = sd_file_map(path, 0, &map, err);
    if (status)
        return status;
    status = sd_inversion_parse(out, path, map.data, map.size, err);
    sd_file_unmap(&map);
    return status;
}

void sd_inversion_clear(sd_inversion *inversion) {
    free(inversion->rows[0]);
    free(inversion->rows[1]);
    *inversion = (sd_inversion){0};
}
