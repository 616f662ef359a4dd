#include "vae/vae.h"

#include "sd/nn/ops.h"

static const float epsilon = 1e-6f;

/* [N,H,W,c] -> [N,H,W,n] */
static sd_tensor *resnet(sd_graph *g, const struct sd_vae_config *config, const struct sd_vae_resnet *r,
                         sd_tensor *x) {
    sd_tensor *h = sd_group_norm(g, x, r->norm1, config->groups, epsilon, SD_ACT_SILU);
    h = sd_conv2d(g, h, r->conv1, NULL);
    h = sd_group_norm(g, h, r->norm2, config->groups, epsilon, SD_ACT_SILU);
    sd_tensor *shortcut = r->shortcut.weight ? sd_linear(g, x, r->shortcut, NULL) : x;
    return sd_conv2d(g, h, r->conv2, &(sd_fuse){.residual = shortcut});
}

/* [N,H,W,c] -> [N,H,W,c] */
static sd_tensor *attention(sd_graph *g, const struct sd_vae_config *config, const struct sd_vae_attention *a,
                            sd_tensor *x) {
    uint32_t c = x ? x->c : 0;
    sd_tensor *h = sd_group_norm(g, x, a->norm, config->groups, epsilon, SD_ACT_NONE);
    sd_tensor *qkv = sd_linear(g, h, a->qkv, NULL); /* [N,H,W,3c] */
    h = sd_attention(g, sd_slice(g, qkv, 0, c), sd_slice(g, qkv, c, c), sd_slice(g, qkv, 2 * c, c),
                     &(sd_attention_params){.heads = 1});
    return sd_linear(g, h, a->out, &(sd_fuse){.residual = x});
}

static sd_tensor *middle(sd_graph *g, const struct sd_vae_config *config, const struct sd_vae_mid *mid,
                         sd_tensor *h) {
    h = resnet(g, config, &mid->resnet[0], h);
    h = attention(g, config, &mid->attention, h);
    return resnet(g, config, &mid->resnet[1], h);
}

sd_tensor *sd_vae_decode(sd_graph *g, const struct sd_vae_config *config, const struct sd_vae_decoder *d,
                         sd_tensor *z) {
    sd_graph_scope(g, "decoder");
    sd_tensor *h = config->post_quant_conv ? sd_linear(g, z, d->post_quant, NULL) : z; /* [N,h,w,4] */
    h = sd_conv2d(g, h, d->conv_in, NULL);                                             /* [N,h,w,512] */
    sd_graph_scope(g, "decoder.mid_block");
    h = middle(g, config, &d->mid, h);
    for (uint32_t i = 0; i < config->levels; i++) {
        sd_graph_scope(g, "decoder.up_blocks.%u", i);
        for (uint32_t j = 0; j <= config->layers; j++)
            h = resnet(g, config, &d->up[i].resnet[j], h);
        if (d->up[i].resample.weight)
            h = sd_upsample_conv2d(g, h, d->up[i].resample, NULL); /* twice as large */
    }
    sd_graph_scope(g, "decoder");
    h = sd_group_norm(g, h, d->norm_out, config->groups, epsilon, SD_ACT_SILU);
    return sd_conv2d(g, h, d->conv_out, &(sd_fuse){.f32 = true}); /* [N,8h,8w,3] */
}

sd_tensor *sd_vae_encode(sd_graph *g, const struct sd_vae_config *config, const struct sd_vae_encoder *e,
                         sd_tensor *picture) {
    sd_graph_scope(g, "encoder");
    sd_tensor *h = sd_conv2d(g, picture, e->conv_in, NULL); /* [N,H,W,128] */
    for (uint32_t i = 0; i < config->levels; i++) {
        sd_graph_scope(g, "encoder.down_blocks.%u", i);
        for (uint32_t j = 0; j < config->layers; j++)
            h = resnet(g, config, &e->down[i].resnet[j], h);
        if (e->down[i].resample.weight)
            h = sd_conv2d_down(g, h, e->down[i].resample, 0, NULL); /* half as large */
    }
    sd_graph_scope(g, "encoder.mid_block");
    h = middle(g, config, &e->mid, h);
    sd_graph_scope(g, "encoder");
    h = sd_group_norm(g, h, e->norm_out, config->groups, epsilon, SD_ACT_SILU);
    h = sd_conv2d(g, h, e->conv_out, &(sd_fuse){.f32 = true}); /* [N,H/8,W/8,8] */
    return config->quant_conv ? sd_linear(g, h, e->quant, &(sd_fuse){.f32 = true}) : h;
}
