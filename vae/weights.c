#include "vae/vae.h"

#include <stdio.h>

static void bind_resnet(struct sd_vae_resnet *r, sd_weights *w, uint32_t c, uint32_t n, const char *name) {
    *r = (struct sd_vae_resnet){
        .norm1 = sd_bind_norm(w, c, "%s.norm1", name),
        .conv1 = sd_bind_conv(w, n, c, 3, "%s.conv1", name),
        .norm2 = sd_bind_norm(w, n, "%s.norm2", name),
        .conv2 = sd_bind_conv(w, n, n, 3, "%s.conv2", name),
    };
    if (c != n)
        r->shortcut = sd_bind_conv(w, n, c, 1, "%s.conv_shortcut", name);
}

static void bind_mid(struct sd_vae_mid *mid, sd_weights *w, uint32_t c, const char *half) {
    static const char *const qkv[] = {"to_q", "to_k", "to_v", NULL};
    char name[64];
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s.mid_block.resnets.%d", half, i);
        bind_resnet(&mid->resnet[i], w, c, c, name);
    }
    mid->attention = (struct sd_vae_attention){
        .norm = sd_bind_norm(w, c, "%s.mid_block.attentions.0.group_norm", half),
        .qkv = sd_bind_stack(w, c, c, true, qkv, "%s.mid_block.attentions.0.", half),
        .out = sd_bind_linear(w, c, c, true, "%s.mid_block.attentions.0.to_out.0", half),
    };
}

void sd_vae_bind_decoder(struct sd_vae_decoder *d, sd_weights *w, const struct sd_vae_config *config) {
    uint32_t c = config->channels[config->levels - 1], latent = config->latent_channels;
    char name[64];
    *d = (struct sd_vae_decoder){0};
    if (config->post_quant_conv)
        d->post_quant = sd_bind_conv(w, latent, latent, 1, "post_quant_conv");
    d->conv_in = sd_bind_conv(w, c, latent, 3, "decoder.conv_in");
    bind_mid(&d->mid, w, c, "decoder");
    for (uint32_t i = 0; i < config->levels; i++) {
        uint32_t n = config->channels[config->levels - 1 - i];
        for (uint32_t j = 0; j <= config->layers; j++) {
            snprintf(name, sizeof name, "decoder.up_blocks.%u.resnets.%u", i, j);
            bind_resnet(&d->up[i].resnet[j], w, c, n, name);
            c = n;
        }
        if (i + 1 < config->levels)
            d->up[i].resample = sd_bind_upsample(w, n, n, "decoder.up_blocks.%u.upsamplers.0.conv", i);
    }
    d->norm_out = sd_bind_norm(w, c, "decoder.conv_norm_out");
    d->conv_out = sd_bind_conv(w, config->image_channels, c, 3, "decoder.conv_out");
}

void sd_vae_bind_encoder(struct sd_vae_encoder *e, sd_weights *w, const struct sd_vae_config *config) {
    uint32_t c = config->channels[0], moments = 2 * config->latent_channels;
    char name[64];
    *e = (struct sd_vae_encoder){0};
    e->conv_in = sd_bind_conv(w, c, config->image_channels, 3, "encoder.conv_in");
    for (uint32_t i = 0; i < config->levels; i++) {
        uint32_t n = config->channels[i];
        for (uint32_t j = 0; j < config->layers; j++) {
            snprintf(name, sizeof name, "encoder.down_blocks.%u.resnets.%u", i, j);
            bind_resnet(&e->down[i].resnet[j], w, c, n, name);
            c = n;
        }
        if (i + 1 < config->levels)
            e->down[i].resample = sd_bind_conv(w, n, n, 3, "encoder.down_blocks.%u.downsamplers.0.conv", i);
    }
    bind_mid(&e->mid, w, c, "encoder");
    e->norm_out = sd_bind_norm(w, c, "encoder.conv_norm_out");
    e->conv_out = sd_bind_conv(w, moments, c, 3, "encoder.conv_out");
    if (config->quant_conv)
        e->quant = sd_bind_conv(w, moments, moments, 1, "quant_conv");
}
