/* The ops that models are written in. Every builder returns the output tensor, or NULL once the graph failed.
 */
#ifndef SD_NN_OPS_H
#define SD_NN_OPS_H

#include "sd/nn/graph.h"

typedef enum sd_act {
    SD_ACT_NONE,
    SD_ACT_SILU,
    SD_ACT_GELU,
    SD_ACT_QUICK_GELU,
    SD_ACT_RELU,
    SD_ACT_TANH
} sd_act;

/* What a GEMM does to its result before storing it: act(x*W + bias + vector) + residual, or
 * act(x*W + bias + vector + residual). */
typedef struct sd_fuse {
    sd_tensor *vector;   /* [N,1,1,C] (or N = 1 for all): added to every pixel, e.g. the time embedding */
    sd_tensor *residual; /* shape of the output */
    sd_act act;
    bool act_last; /* over the residual too */
    bool f32;      /* store f32 whatever the graph's activation type */
} sd_fuse;

/* Linear layer over the channels: [N,H,W,C] -> [N,H,W,n]. `fuse` may be NULL. x may be a slice or a
 * concatenation. */
sd_tensor *sd_linear(sd_graph *g, sd_tensor *x, sd_layer layer, const sd_fuse *fuse);
/* value * gelu(gate) of one linear layer (SD_WEIGHT_GEGLU): [N,H,W,C] -> [N,H,W,n/2]. Exact (erf) GELU. */
sd_tensor *sd_linear_geglu(sd_graph *g, sd_tensor *x, sd_layer layer);
/* Convolution with odd square kernels, zero padding k/2, stride 1. x may be a concatenation. */
sd_tensor *sd_conv2d(sd_graph *g, sd_tensor *x, sd_layer layer, const sd_fuse *fuse);
/* 3x3, stride 2. `pad_before` 1: padding 1 on all sides (UNet); 0: only right and bottom (VAE encoder).
 * Output size (h + pad_before + pad_after - 3) / 2 + 1 with pad_after = 1. */
sd_tensor *sd_conv2d_down(sd_graph *g, sd_tensor *x, sd_layer layer, uint32_t pad_before,
                          const sd_fuse *fuse);
/* Nearest 2x upsampling followed by a 3x3 convolution (SD_WEIGHT_UPSAMPLE): [N,H,W,C] -> [N,2H,2W,n]. */
sd_tensor *sd_upsample_conv2d(sd_graph *g, sd_tensor *x, sd_layer layer, const sd_fuse *fuse);
/* Nearest resize to h x w, for odd sizes where 2x does not fit: source index floor(y * H / h). */
sd_tensor *sd_resize_nearest(sd_graph *g, sd_tensor *x, uint32_t h, uint32_t w);

/* Over groups of channels and all pixels; biased variance; then silu when act is SD_ACT_SILU. x may be a
 * concatenation whose parts need not align with the groups. */
sd_tensor *sd_group_norm(sd_graph *g, sd_tensor *x, sd_layer layer, uint32_t groups, float eps, sd_act act);
/* Over the channels of each token. */
sd_tensor *sd_layer_norm(sd_graph *g, sd_tensor *x, sd_layer layer, float eps);

typedef struct sd_attention_params {
    uint32_t heads;
    bool causal;
    float scale; /* of the dot products; 0 means 1/sqrt(head size) */
} sd_attention_params;

/* softmax(q k^T scale) v per head. q [N,H,W,heads*d]; k, v [N,h,w,heads*d] with any number of tokens; any of
 * them may be a slice. Output [N,H,W,heads*d]. The score matrix never exists in memory. */
sd_tensor *sd_attention(sd_graph *g, sd_tensor *q, sd_tensor *k, sd_tensor *v,
                        const sd_attention_params *params);

/* Elementwise. */
sd_tensor *sd_activate(sd_graph *g, sd_tensor *x, sd_act act);
sd_tensor *sd_add(sd_graph *g, sd_tensor *a, sd_tensor *b);               /* same shapes */
sd_tensor *sd_scale(sd_graph *g, sd_tensor *x, float scale, float shift); /* x*scale + shift */
sd_tensor *sd_lerp(sd_graph *g, sd_tensor *a, sd_tensor *b,
                   float t); /* a + t*(b-a): guidance with t = scale */
/* Same values as f32 or f16. */
sd_tensor *sd_cast(sd_graph *g, sd_tensor *x, sd_dtype dtype);
/* A copy with its own memory; materialises concatenations and slices. */
sd_tensor *sd_copy(sd_graph *g, sd_tensor *x);

/* rows[token] + positions[t]: tokens [N,1,T,1] i32 -> [N,1,T,C]. `positions` may be NULL. Ids outside the
 * table give NaN. */
sd_tensor *sd_embedding(sd_graph *g, sd_tensor *tokens, const sd_weight *rows, const sd_weight *positions);
/* The same with more rows behind the table's: extra [1,1,E,C], f32 or f16, whose first row has the id that
 * follows the table's last. NULL: none. */
sd_tensor *sd_embedding_extended(sd_graph *g, sd_tensor *tokens, const sd_weight *rows, sd_tensor *extra,
                                 const sd_weight *positions);
/* Sinusoidal embedding of t [N,1,1,1] f32 -> [N,1,1,dim] f32: cos first when `flip_sin_to_cos`; frequencies
 * exp(-ln(10000) * i / (dim/2 - shift)). */
sd_tensor *sd_timestep_embedding(sd_graph *g, sd_tensor *t, uint32_t dim, bool flip_sin_to_cos, float shift);

/* Views: no work. */
sd_tensor *sd_concat(sd_graph *g, sd_tensor *a, sd_tensor *b);              /* channels of a, then of b */
sd_tensor *sd_slice(sd_graph *g, sd_tensor *x, uint32_t first, uint32_t c); /* channels first..first+c */
sd_tensor *sd_reshape(sd_graph *g, sd_tensor *x, uint32_t n, uint32_t h, uint32_t w, uint32_t c);

#endif
