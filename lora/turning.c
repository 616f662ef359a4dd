#include "lora/turning.h"

#include "lora/rotation.h"

#include <math.h>
#include <stdlib.h>

bool sd_lora_alloc_blocks(struct sd_lora_blocks *b, sd_edit *e) {
    size_t count = (size_t)b->count * b->size * b->size;
    b->q = calloc(count + 1, sizeof *b->q);
    b->turned = calloc(count + 1, sizeof *b->turned);
    if (!b->q || !b->turned)
        sd_edit_fail(e, SD_E_MEMORY, "out of memory");
    return !e->failed;
}

void sd_lora_free_blocks(struct sd_lora_blocks *b) {
    free(b->q);
    free(b->turned);
}

void sd_lora_turn(struct sd_lora_blocks *b, const struct sd_lora_turning *t, sd_edit *e) {
    size_t n = b->size;
    double *r = malloc((n * n + 1) * sizeof *r);
    bool ok = r;
    for (uint32_t block = 0; ok && block < b->count; block++) {
        double *q = b->q + block * n * n;
        for (size_t i = 0; t->backwards && i < n * n; i++)
            q[i] = -q[i];
        ok = t->series ? sd_cayley_series(r, q, n, t->terms) : sd_cayley(r, q, n);
        for (size_t i = 0; ok && i < n; i++)
            for (size_t j = 0; j < n; j++) {
                double one = i == j, value = t->transposed ? r[j * n + i] : r[i * n + j];
                b->turned[block * n * n + i * n + j] = (float)(one + t->strength * (value - one));
            }
    }
    if (!ok)
        sd_edit_fail(e, SD_E_MEMORY, "out of memory");
    free(r);
}

void sd_lora_shrink_blocks(struct sd_lora_blocks *b, uint32_t first, uint32_t count, double limit) {
    size_t values = (size_t)count * b->size * b->size;
    double *q = b->q + (size_t)first * b->size * b->size, sum = 0;
    for (size_t i = 0; i < values; i++)
        sum += q[i] * q[i];
    double norm = sqrt(sum);
    for (size_t i = 0; norm > limit && i < values; i++)
        q[i] *= limit / norm;
}
