#include "unet/blocks.h"

#include <string.h>

/* Constants of the family's transformers, in no configuration file. */
static const float transformer_group_eps = 1e-6f, layer_eps = 1e-5f;

sd_tensor *sd_unet_resnet(sd_graph *g, const struct sd_unet_config *k, const struct sd_unet_resnet *w,
                          sd_tensor *x, sd_tensor *time) {
    sd_tensor *t = sd_linear(g, time, w->time, NULL);                             /* [N,1,1,n] */
    sd_tensor *h = sd_group_norm(g, x, w->norm1, k->groups, k->eps, SD_ACT_SILU); /* [N,H,W,c] */
    h = sd_conv2d(g, h, w->conv1, &(sd_fuse){.vector = t});                       /* [N,H,W,n] */
    h = sd_group_norm(g, h, w->norm2, k->groups, k->eps, SD_ACT_SILU);            /* [N,H,W,n] */
    x = w->projects ? sd_linear(g, x, w->shortcut, NULL) : sd_graph_whole(g, x);  /* [N,H,W,n] */
    return sd_conv2d(g, h, w->conv2, &(sd_fuse){.residual = x});                  /* [N,H,W,n] */
}

/* Attention over the tokens of h itself. */
static sd_tensor *attend_self(sd_graph *g, sd_layer qkv, sd_layer out, uint32_t heads, sd_tensor *x,
                              sd_tensor *h) {
    sd_tensor *all = sd_linear(g, x, qkv, NULL); /* [N,H,W,3n] */
    if (!all)
        return NULL;
    uint32_t n = all->c / 3;
    sd_tensor *a = sd_attention(g, sd_slice(g, all, 0, n), sd_slice(g, all, n, n), sd_slice(g, all, 2 * n, n),
                                &(sd_attention_params){.heads = heads}); /* [N,H,W,n] */
    return sd_linear(g, a, out, &(sd_fuse){.residual = h});              /* [N,H,W,n] */
}

/* Attention over the tokens of the text; keys and values change with the prompt only. */
static sd_tensor *attend_text(sd_graph *g, sd_layer q_layer, sd_layer kv_layer, sd_layer out, uint32_t heads,
                              sd_tensor *x, sd_tensor *context, sd_tensor *h) {
    sd_tensor *kv = sd_linear(g, context, kv_layer, NULL); /* [N,1,T,2n] */
    sd_tensor *q = sd_linear(g, x, q_layer, NULL);         /* [N,H,W,n] */
    if (!kv || !q)
        return NULL;
    sd_tensor *a = sd_attention(g, q, sd_slice(g, kv, 0, q->c), sd_slice(g, kv, q->c, q->c),
                                &(sd_attention_params){.heads = heads}); /* [N,H,W,n] */
    return sd_linear(g, a, out, &(sd_fuse){.residual = h});              /* [N,H,W,n] */
}

static sd_tensor *transformer_block(sd_graph *g, const struct sd_unet_block *w, uint32_t heads, sd_tensor *h,
                                    sd_tensor *context) {
    sd_tensor *x = sd_layer_norm(g, h, w->norm1, layer_eps); /* [N,H,W,n] */
    h = w->reads_text ? attend_text(g, w->q1, w->kv1, w->out1, heads, x, context, h)
                      : attend_self(g, w->qkv1, w->out1, heads, x, h);
    x = sd_layer_norm(g, h, w->norm2, layer_eps);
    h = attend_text(g, w->q2, w->kv2, w->out2, heads, x, context, h);
    x = sd_layer_norm(g, h, w->norm3, layer_eps);
    x = sd_linear_geglu(g, x, w->ff_in);                          /* [N,H,W,4n] */
    return sd_linear(g, x, w->ff_out, &(sd_fuse){.residual = h}); /* [N,H,W,n] */
}

sd_tensor *sd_unet_transformer(sd_graph *g, const struct sd_unet_config *k,
                               const struct sd_unet_transformer *w, sd_tensor *x, sd_tensor *context) {
    if (!w->depth)
        return x;
    sd_tensor *h = sd_group_norm(g, x, w->norm, k->groups, transformer_group_eps, SD_ACT_NONE);
    h = sd_linear(g, h, w->proj_in, NULL); /* [N,H,W,n] */
    char scope[sizeof g->scope];
    memcpy(scope, g->scope, sizeof scope);
    for (uint32_t i = 0; i < w->depth; i++) {
        sd_graph_scope(g, "%.90s.transformer_blocks.%u", scope, i);
        h = transformer_block(g, &w->blocks[i], w->heads, h, context);
    }
    sd_graph_scope(g, "%s", scope);
    return sd_linear(g, h, w->proj_out, &(sd_fuse){.residual = x});
}

sd_tensor *sd_unet_upsample(sd_graph *g, const struct sd_unet_stage *w, bool plain, sd_tensor *x,
                            const sd_tensor *like) {
    if (!x || !like)
        return NULL;
    if (plain)
        return sd_conv2d(g, sd_resize_nearest(g, x, like->h, like->w), w->sampler, NULL);
    if (like->h != 2 * x->h || like->w != 2 * x->w)
        return sd_graph_fail(g, SD_E_INTERNAL,
                             "upsampling %ux%u to %ux%u needs the plain form of the UNet's weights", x->h,
                             x->w, like->h, like->w);
    return sd_upsample_conv2d(g, x, w->sampler, NULL);
}
