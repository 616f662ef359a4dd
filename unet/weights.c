#include "unet/weights.h"

#include <stdio.h>
#include <stdlib.h>

/* Enough for "down_blocks.0.attentions.0.transformer_blocks.10". */
enum { NAME = 96 };

struct binder {
    const struct sd_unet_config *config;
    struct sd_unet *unet;
    sd_weights *weights;
    uint32_t skips[1 + SD_UNET_LEVELS * SD_UNET_UP_LAYERS]; /* channels of the skip connections, a stack */
    uint32_t skip_count;
    bool failed;
};

static void bind_resnet(struct binder *b, struct sd_unet_resnet *r, uint32_t c, uint32_t n,
                        const char *name) {
    sd_weights *w = b->weights;
    r->norm1 = sd_bind_norm(w, c, "%s.norm1", name);
    r->conv1 = sd_bind_conv(w, n, c, 3, "%s.conv1", name);
    r->time = sd_bind_linear(w, n, b->config->time_dim, true, "%s.time_emb_proj", name);
    r->norm2 = sd_bind_norm(w, n, "%s.norm2", name);
    r->conv2 = sd_bind_conv(w, n, n, 3, "%s.conv2", name);
    r->projects = c != n;
    if (r->projects)
        r->shortcut = sd_bind_linear(w, n, c, true, "%s.conv_shortcut", name);
}

static void bind_block(struct binder *b, struct sd_unet_block *k, uint32_t n, bool reads_text,
                       const char *name) {
    static const char *const qkv[] = {"to_q", "to_k", "to_v", NULL};
    sd_weights *w = b->weights;
    uint32_t context = b->config->context;
    k->reads_text = reads_text;
    k->norm1 = sd_bind_norm(w, n, "%s.norm1", name);
    if (reads_text) {
        k->q1 = sd_bind_linear(w, n, n, false, "%s.attn1.to_q", name);
        k->kv1 = sd_bind_stack(w, n, context, false, qkv + 1, "%s.attn1.", name);
    } else {
        k->qkv1 = sd_bind_stack(w, n, n, false, qkv, "%s.attn1.", name);
    }
    k->out1 = sd_bind_linear(w, n, n, true, "%s.attn1.to_out.0", name);
    k->norm2 = sd_bind_norm(w, n, "%s.norm2", name);
    k->q2 = sd_bind_linear(w, n, n, false, "%s.attn2.to_q", name);
    k->kv2 = sd_bind_stack(w, n, context, false, qkv + 1, "%s.attn2.", name);
    k->out2 = sd_bind_linear(w, n, n, true, "%s.attn2.to_out.0", name);
    k->norm3 = sd_bind_norm(w, n, "%s.norm3", name);
    k->ff_in = sd_bind_geglu(w, 8 * n, n, "%s.ff.net.0.proj", name);
    k->ff_out = sd_bind_linear(w, n, 4 * n, true, "%s.ff.net.2", name);
}

static void bind_transformer(struct binder *b, struct sd_unet_transformer *t, uint32_t level, uint32_t depth,
                             const char *name) {
    uint32_t n = b->config->channels[level];
    if (!depth)
        return;
    t->blocks = sd_arena_array(&b->unet->arena, depth, sizeof *t->blocks);
    if (!t->blocks) {
        b->failed = true;
        return;
    }
    t->depth = depth;
    t->heads = b->config->heads[level];
    t->norm = sd_bind_norm(b->weights, n, "%s.norm", name);
    t->proj_in = sd_bind_linear(b->weights, n, n, true, "%s.proj_in", name);
    for (uint32_t i = 0; i < depth; i++) {
        char block[NAME];
        snprintf(block, sizeof block, "%s.transformer_blocks.%u", name, i);
        bind_block(b, &t->blocks[i], n, b->config->cross_only[level], block);
    }
    t->proj_out = sd_bind_linear(b->weights, n, n, true, "%s.proj_out", name);
}

static void bind_layer(struct binder *b, struct sd_unet_stage *s, uint32_t level, uint32_t c, uint32_t depth,
                       const char *stage) {
    char name[NAME / 2];
    uint32_t j = s->layers++;
    snprintf(name, sizeof name, "%s.resnets.%u", stage, j);
    bind_resnet(b, &s->resnets[j], c, b->config->channels[level], name);
    snprintf(name, sizeof name, "%s.attentions.%u", stage, j);
    bind_transformer(b, &s->attentions[j], level, depth, name);
}

static void bind_down(struct binder *b) {
    const struct sd_unet_config *k = b->config;
    uint32_t c = k->channels[0];
    b->skips[b->skip_count++] = c;
    for (uint32_t i = 0; i < k->levels; i++) {
        struct sd_unet_stage *s = &b->unet->down[i];
        uint32_t n = k->channels[i];
        char name[NAME / 4];
        snprintf(name, sizeof name, "down_blocks.%u", i);
        for (uint32_t j = 0; j < k->layers[i]; j++, c = n) {
            bind_layer(b, s, i, c, k->down_depth[i][j], name);
            b->skips[b->skip_count++] = n;
        }
        s->resamples = i + 1 < k->levels;
        if (s->resamples) {
            s->sampler = sd_bind_conv(b->weights, n, n, 3, "%s.downsamplers.0.conv", name);
            b->skips[b->skip_count++] = n;
        }
    }
}

static void bind_up(struct binder *b) {
    const struct sd_unet_config *k = b->config;
    uint32_t c = k->channels[k->levels - 1];
    for (uint32_t i = 0; i < k->levels; i++) {
        struct sd_unet_stage *s = &b->unet->up[i];
        uint32_t level = k->levels - 1 - i, n = k->channels[level];
        char name[NAME / 4];
        snprintf(name, sizeof name, "up_blocks.%u", i);
        for (uint32_t j = 0; j < k->layers[level] + 1; j++, c = n)
            bind_layer(b, s, level, c + b->skips[--b->skip_count], k->up_depth[i][j], name);
        s->resamples = level > 0;
        if (s->resamples && b->unet->plain)
            s->sampler = sd_bind_conv(b->weights, n, n, 3, "%s.upsamplers.0.conv", name);
        else if (s->resamples)
            s->sampler = sd_bind_upsample(b->weights, n, n, "%s.upsamplers.0.conv", name);
    }
}

static void bind_embeddings(struct binder *b) {
    const struct sd_unet_config *k = b->config;
    struct sd_unet *u = b->unet;
    sd_weights *w = b->weights;
    u->time1 = sd_bind_linear(w, k->time_dim, k->channels[0], true, "time_embedding.linear_1");
    u->time2 = sd_bind_linear(w, k->time_dim, k->time_dim, true, "time_embedding.linear_2");
    if (k->time_cond)
        u->time_cond = sd_bind_linear(w, k->channels[0], k->time_cond, false, "time_embedding.cond_proj");
    if (k->add_dim) {
        u->add1 = sd_bind_linear(w, k->time_dim, k->add_dim, true, "add_embedding.linear_1");
        u->add2 = sd_bind_linear(w, k->time_dim, k->time_dim, true, "add_embedding.linear_2");
    }
}

sd_status sd_unet_bind(struct sd_unet **out, const struct sd_unet_config *config, bool plain,
                       sd_weights *weights, sd_error *err) {
    *out = NULL;
    sd_status status = sd_unet_config_check(config, config->name ? config->name : "UNet", err);
    if (status)
        return status;
    struct sd_unet *u = calloc(1, sizeof *u);
    if (!u)
        return sd_fail(err, SD_E_MEMORY, "no memory for the UNet's tree of weights");
    u->config = *config;
    u->plain = plain;
    struct binder b = {.config = &u->config, .unet = u, .weights = weights};
    uint32_t first = config->channels[0], last = config->levels - 1;
    u->conv_in = sd_bind_conv(weights, first, config->in_channels, 3, "conv_in");
    bind_embeddings(&b);
    bind_down(&b);
    for (uint32_t j = 0; j < config->mid_resnets; j++)
        bind_layer(&b, &u->mid, last, config->channels[last], j ? 0 : config->mid_depth, "mid_block");
    bind_up(&b);
    u->norm_out = sd_bind_norm(weights, first, "conv_norm_out");
    u->conv_out = sd_bind_conv(weights, config->out_channels, first, 3, "conv_out");
    if (b.failed) {
        sd_unet_destroy(&u);
        return sd_fail(err, SD_E_MEMORY, "no memory for the UNet's tree of weights");
    }
    *out = u;
    return SD_OK;
}

void sd_unet_destroy(struct sd_unet **unet) {
    if (!*unet)
        return;
    sd_arena_clear(&(*unet)->arena);
    free(*unet);
    *unet = NULL;
}
