/* Plain C references of the embeddings. */
#ifndef REF_EMBEDDING_H
#define REF_EMBEDDING_H

#include <stdbool.h>
#include <stdint.h>

/* out [n,length,c]; rows [table_rows,c]; extra [extra_rows,c], behind them; positions [length or more,c] or
 * NULL. Ids outside give NaN. */
void ref_embedding(float *out, const int32_t *tokens, uint32_t n, uint32_t length, const float *rows,
                   uint32_t table_rows, const float *extra, uint32_t extra_rows, const float *positions,
                   uint32_t c);
/* out [dim] */
void ref_timestep_embedding(float *out, float t, uint32_t dim, bool flip_sin_to_cos, float shift);

#endif
