#include "unet/unet.h"

#include "unet/blocks.h"

/* Tensors that the down path leaves for the up path, last in first out. */
struct skips {
    sd_tensor *at[1 + SD_UNET_LEVELS * SD_UNET_UP_LAYERS];
    uint32_t count;
};

/* What all stages share. */
struct flow {
    sd_graph *g;
    const struct sd_unet *unet;
    sd_tensor *time;    /* [N,1,1,time_dim], through SiLU */
    sd_tensor *context; /* [N,1,T,context] */
    struct skips skips;
};

void sd_unet_declare(sd_graph *g, const struct sd_unet_config *k, uint32_t n, uint32_t h, uint32_t w,
                     uint32_t tokens, uint32_t pooled, struct sd_unet_inputs *out) {
    *out = (struct sd_unet_inputs){0};
    out->latent = sd_graph_input(g, "latent", SD_RATE_STEP, SD_F32, n, h, w, k->in_channels);
    out->timestep = sd_graph_input(g, "timestep", SD_RATE_STEP, SD_F32, n, 1, 1, 1);
    out->context = sd_graph_input(g, "context", SD_RATE_PROMPT, SD_F32, n, 1, tokens, k->context);
    if (k->add_dim) {
        if (pooled >= k->add_dim || (k->add_dim - pooled) % k->add_each) {
            sd_graph_fail(g, SD_E_ARGUMENT,
                          "pooled text: expected %u less a multiple of %u channels, found %u", k->add_dim,
                          k->add_each, pooled);
            return;
        }
        uint32_t ids = (k->add_dim - pooled) / k->add_each;
        out->pooled = sd_graph_input(g, "pooled", SD_RATE_PROMPT, SD_F32, n, 1, 1, pooled);
        out->time_ids = sd_graph_input(g, "time_ids", SD_RATE_PROMPT, SD_F32, n * ids, 1, 1, 1);
    }
    if (k->time_cond)
        out->guidance = sd_graph_input(g, "guidance", SD_RATE_PROMPT, SD_F32, n, 1, 1, k->time_cond);
}

/* In the graph's activation type. */
static sd_tensor *in_act(sd_graph *g, sd_tensor *x) {
    return x && x->dtype != g->act ? sd_cast(g, x, g->act) : x;
}

/* Two linear layers with SiLU between: [N,1,1,c] -> [N,1,1,time_dim]. */
static sd_tensor *embed(sd_graph *g, sd_tensor *x, sd_layer first, sd_layer second, sd_tensor *residual) {
    x = sd_linear(g, x, first, &(sd_fuse){.act = SD_ACT_SILU});
    return sd_linear(g, x, second, &(sd_fuse){.residual = residual});
}

/* SDXL: sizes and crop as sinusoids behind the pooled text. */
static sd_tensor *added_embedding(sd_graph *g, const struct sd_unet *u, const struct sd_unet_inputs *in) {
    const struct sd_unet_config *k = &u->config;
    if (!k->add_dim || !in->pooled || !in->time_ids)
        return NULL;
    uint32_t n = in->pooled->n, width = k->add_dim - in->pooled->c;
    sd_graph_scope(g, "add_embedding");
    sd_tensor *ids = sd_timestep_embedding(g, in->time_ids, k->add_each, !k->sin_first, k->freq_shift);
    ids = sd_reshape(g, in_act(g, ids), n, 1, 1, width);     /* [N,1,1,K*add_each] */
    sd_tensor *x = sd_concat(g, in_act(g, in->pooled), ids); /* [N,1,1,add_dim] */
    return embed(g, x, u->add1, u->add2, NULL);              /* [N,1,1,time_dim] */
}

static sd_tensor *time_embedding(sd_graph *g, const struct sd_unet *u, const struct sd_unet_inputs *in) {
    const struct sd_unet_config *k = &u->config;
    sd_tensor *added = added_embedding(g, u, in); /* [N,1,1,time_dim] or NULL */
    sd_graph_scope(g, "time_proj");
    sd_tensor *t = sd_timestep_embedding(g, in->timestep, k->channels[0], !k->sin_first, k->freq_shift);
    t = in_act(g, t); /* [N,1,1,channels[0]] */
    sd_graph_scope(g, "time_embedding");
    if (k->time_cond)
        t = sd_linear(g, in_act(g, in->guidance), u->time_cond, &(sd_fuse){.residual = t});
    return embed(g, t, u->time1, u->time2, added); /* [N,1,1,time_dim] */
}

static sd_tensor *down_block(struct flow *f, uint32_t i, sd_tensor *h) {
    const struct sd_unet_stage *w = &f->unet->down[i];
    sd_graph *g = f->g;
    for (uint32_t j = 0; j < w->layers; j++) {
        sd_graph_scope(g, "down_blocks.%u.resnets.%u", i, j);
        h = sd_unet_resnet(g, &f->unet->config, &w->resnets[j], h, f->time);
        sd_graph_scope(g, "down_blocks.%u.attentions.%u", i, j);
        h = sd_unet_transformer(g, &f->unet->config, &w->attentions[j], h, f->context);
        f->skips.at[f->skips.count++] = h; /* [N,H,W,n] */
    }
    if (w->resamples) {
        sd_graph_scope(g, "down_blocks.%u.downsamplers.0", i);
        h = sd_conv2d_down(g, h, w->sampler, 1, NULL); /* [N,H/2,W/2,n], sizes rounded up */
        f->skips.at[f->skips.count++] = h;
    }
    return h;
}

static sd_tensor *mid_block(struct flow *f, sd_tensor *h) {
    const struct sd_unet_stage *w = &f->unet->mid;
    for (uint32_t j = 0; j < w->layers; j++) {
        sd_graph_scope(f->g, "mid_block.resnets.%u", j);
        h = sd_unet_resnet(f->g, &f->unet->config, &w->resnets[j], h, f->time);
        sd_graph_scope(f->g, "mid_block.attentions.%u", j);
        h = sd_unet_transformer(f->g, &f->unet->config, &w->attentions[j], h, f->context);
    }
    return h;
}

static sd_tensor *up_block(struct flow *f, uint32_t i, sd_tensor *h) {
    const struct sd_unet_stage *w = &f->unet->up[i];
    sd_graph *g = f->g;
    for (uint32_t j = 0; j < w->layers; j++) {
        sd_graph_scope(g, "up_blocks.%u.resnets.%u", i, j);
        h = sd_concat(g, h, f->skips.at[--f->skips.count]); /* [N,H,W,c+skip] */
        h = sd_unet_resnet(g, &f->unet->config, &w->resnets[j], h, f->time);
        sd_graph_scope(g, "up_blocks.%u.attentions.%u", i, j);
        h = sd_unet_transformer(g, &f->unet->config, &w->attentions[j], h, f->context);
    }
    if (w->resamples) {
        sd_graph_scope(g, "up_blocks.%u.upsamplers.0", i);
        h = sd_unet_upsample(g, w, f->unet->plain, h, f->skips.at[f->skips.count - 1]);
    }
    return h;
}

sd_tensor *sd_unet_forward(sd_graph *g, const struct sd_unet *u, const struct sd_unet_inputs *in,
                           struct sd_unet_trace *trace) {
    const struct sd_unet_config *k = &u->config;
    struct sd_unet_trace ends = {0};
    struct flow f = {.g = g, .unet = u};

    ends.time = time_embedding(g, u, in);            /* [N,1,1,time_dim] */
    f.time = sd_activate(g, ends.time, SD_ACT_SILU); /* once; every resnet has its own linear layer */
    sd_graph_scope(g, "context");
    f.context = in_act(g, in->context); /* [N,1,T,context] */
    sd_graph_scope(g, "conv_in");
    sd_tensor *h = sd_conv2d(g, in_act(g, in->latent), u->conv_in, NULL); /* [N,h,w,channels[0]] */
    ends.conv_in = f.skips.at[f.skips.count++] = h;
    for (uint32_t i = 0; i < k->levels; i++)
        ends.down[i] = h = down_block(&f, i, h);
    ends.mid = h = mid_block(&f, h);
    for (uint32_t i = 0; i < k->levels; i++)
        ends.up[i] = h = up_block(&f, i, h);
    sd_graph_scope(g, "conv_norm_out");
    h = sd_group_norm(g, h, u->norm_out, k->groups, k->eps, SD_ACT_SILU); /* [N,h,w,channels[0]] */
    sd_graph_scope(g, "conv_out");
    h = sd_conv2d(g, h, u->conv_out, &(sd_fuse){.f32 = true}); /* [N,h,w,out_channels] */
    sd_graph_scope(g, "%s", "");
    if (trace)
        *trace = ends;
    return h ? sd_graph_output(g, h, "eps") : NULL;
}
