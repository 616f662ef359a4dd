#ifndef REF_ATTENTION_H
#define REF_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>

/* Rows of float arrays: channel c of token t of image n lies at data[(n * tokens + t) * pitch + c]. */
struct ref_rows {
    const float *data;
    size_t pitch;
};

struct ref_attention {
    size_t images, queries, keys, heads, size; /* size: channels of a head */
    bool causal;                               /* query i sees keys 0..i */
    double scale;
};

/* softmax(q k^T scale) v per head, sums in double precision; out [images,queries,heads*size]. */
void ref_attention(float *out, struct ref_rows q, struct ref_rows k, struct ref_rows v,
                   const struct ref_attention *a);

#endif
