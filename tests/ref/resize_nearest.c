#include "tests/ref/resize_nearest.h"

#include <stddef.h>

void ref_resize_nearest(float *out, const float *x, uint32_t n, uint32_t h, uint32_t w, uint32_t c,
                        uint32_t to_h, uint32_t to_w) {
    for (size_t i = 0; i < n; i++)
        for (uint64_t y = 0; y < to_h; y++)
            for (uint64_t column = 0; column < to_w; column++)
                for (size_t k = 0; k < c; k++)
                    *out++ = x[((i * h + y * h / to_h) * w + column * w / to_w) * c + k];
}
