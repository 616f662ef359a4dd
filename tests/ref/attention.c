#include "tests/ref/attention.h"

#include <math.h>
#include <stdlib.h>

static double dot(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* One query of one head; `p` has room for all keys. */
static void attend(float *out, const float *q, struct ref_rows k, struct ref_rows v, size_t keys, double *p,
                   const struct ref_attention *a) {
    double highest = -INFINITY, sum = 0;
    for (size_t j = 0; j < keys; j++) {
        p[j] = dot(q, k.data + j * k.pitch, a->size) * a->scale;
        highest = p[j] > highest ? p[j] : highest;
    }
    for (size_t j = 0; j < keys; j++)
        sum += p[j] = exp(p[j] - highest);
    for (size_t c = 0; c < a->size; c++) {
        double value = 0;
        for (size_t j = 0; j < keys; j++)
            value += p[j] / sum * (double)v.data[j * v.pitch + c];
        out[c] = (float)value;
    }
}

static struct ref_rows from(struct ref_rows rows, size_t row, size_t channel) {
    return (struct ref_rows){rows.data + row * rows.pitch + channel, rows.pitch};
}

void ref_attention(float *out, struct ref_rows q, struct ref_rows k, struct ref_rows v,
                   const struct ref_attention *a) {
    double *p = malloc((a->keys + 1) * sizeof *p);
    for (size_t i = 0; p && i < a->images * a->queries * a->heads; i++) {
        size_t head = i % a->heads, row = i / a->heads, image = row / a->queries, query = row % a->queries;
        size_t keys = a->causal && query + 1 < a->keys ? query + 1 : a->keys;
        attend(out + i * a->size, from(q, row, head * a->size).data, from(k, image * a->keys, head * a->size),
               from(v, image * a->keys, head * a->size), keys, p, a);
    }
    free(p);
}
