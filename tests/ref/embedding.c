#include "tests/ref/embedding.h"

#include <math.h>
#include <stddef.h>

void ref_embedding(float *out, const int32_t *tokens, uint32_t n, uint32_t length, const float *rows,
                   uint32_t table_rows, const float *extra, uint32_t extra_rows, const float *positions,
                   uint32_t c) {
    for (size_t i = 0; i < (size_t)n * length; i++) {
        int64_t id = tokens[i], behind = id - table_rows;
        const float *row = id < 0                ? NULL
                           : behind < 0          ? rows + id * c
                           : behind < extra_rows ? extra + behind * c
                                                 : NULL;
        for (size_t k = 0; k < c; k++)
            out[i * c + k] = (row ? row[k] : NAN) + (positions ? positions[i % length * c + k] : 0);
    }
}

void ref_timestep_embedding(float *out, float t, uint32_t dim, bool flip_sin_to_cos, float shift) {
    uint32_t half = dim / 2;
    for (uint32_t i = 0; i < half; i++) {
        double angle = t * exp(-log(10000) * i / (half - (double)shift));
        out[i] = (float)(flip_sin_to_cos ? cos(angle) : sin(angle));
        out[half + i] = (float)(flip_sin_to_cos ? sin(angle) : cos(angle));
    }
    if (dim % 2)
        out[dim - 1] = 0;
}
