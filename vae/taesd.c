#include "vae/taesd.h"

#include "sd/nn/ops.h"

#include <stdio.h>
#include <string.h>

/* Blocks behind each convolution. */
static const uint32_t decoder_blocks[SD_TAESD_STAGES] = {3, 3, 3, 1}, encoder_blocks[] = {1, 3, 3, 3};

static void bind_blocks(struct sd_taesd_stage *stage, uint32_t blocks, sd_weights *w, uint32_t width,
                        const char *half, uint32_t *layer) {
    for (uint32_t i = 0; i < blocks; i++, ++*layer)
        for (uint32_t k = 0; k < 3; k++) /* activations between them have numbers too */
            stage->block[i].conv[k] =
                sd_bind_conv(w, width, width, 3, "%s.layers.%u.conv.%u", half, *layer, 2 * k);
}

void sd_taesd_bind_decoder(struct sd_taesd_half *d, sd_weights *w, const struct sd_taesd_config *config) {
    uint32_t width = config->width, layer = 2; /* behind the first convolution and its activation */
    *d = (struct sd_taesd_half){0};
    d->stage[0].conv = sd_bind_conv(w, width, SD_TAESD_LATENT, 3, "decoder.layers.0");
    bind_blocks(&d->stage[0], decoder_blocks[0], w, width, "decoder", &layer);
    for (uint32_t i = 1; i < SD_TAESD_STAGES; i++) {
        d->stage[i].conv = sd_bind_upsample_plain(w, width, width, "decoder.layers.%u", layer + 1);
        layer += 2;
        bind_blocks(&d->stage[i], decoder_blocks[i], w, width, "decoder", &layer);
    }
    d->conv_out = sd_bind_conv(w, 3, width, 3, "decoder.layers.%u", layer);
}

void sd_taesd_bind_encoder(struct sd_taesd_half *e, sd_weights *w, const struct sd_taesd_config *config) {
    uint32_t width = config->width, layer = 1;
    *e = (struct sd_taesd_half){0};
    e->stage[0].conv = sd_bind_conv(w, width, 3, 3, "encoder.layers.0");
    bind_blocks(&e->stage[0], encoder_blocks[0], w, width, "encoder", &layer);
    for (uint32_t i = 1; i < SD_TAESD_STAGES; i++) {
        e->stage[i].conv = sd_bind_conv_plain(w, width, width, 3, "encoder.layers.%u", layer++);
        bind_blocks(&e->stage[i], encoder_blocks[i], w, width, "encoder", &layer);
    }
    e->conv_out = sd_bind_conv(w, SD_TAESD_LATENT, width, 3, "encoder.layers.%u", layer);
}

/* [N,H,W,64] -> [N,H,W,64] */
static sd_tensor *blocks(sd_graph *g, const struct sd_taesd_stage *stage, uint32_t count, sd_tensor *x) {
    for (uint32_t i = 0; i < count; i++) {
        const sd_layer *conv = stage->block[i].conv;
        sd_tensor *h = sd_conv2d(g, x, conv[0], &(sd_fuse){.act = SD_ACT_RELU});
        h = sd_conv2d(g, h, conv[1], &(sd_fuse){.act = SD_ACT_RELU});
        x = sd_conv2d(g, h, conv[2], &(sd_fuse){.residual = x, .act = SD_ACT_RELU, .act_last = true});
    }
    return x;
}

sd_tensor *sd_taesd_decode(sd_graph *g, const struct sd_taesd_half *d, sd_tensor *latent) {
    sd_graph_scope(g, "taesd.decoder");
    sd_tensor *h = sd_scale(g, latent, 1.0f / 3, 0); /* no latent beyond -3..3 */
    h = sd_scale(g, sd_activate(g, h, SD_ACT_TANH), 3, 0);
    h = sd_conv2d(g, h, d->stage[0].conv, &(sd_fuse){.act = SD_ACT_RELU}); /* [N,h,w,64] */
    h = blocks(g, &d->stage[0], decoder_blocks[0], h);
    for (uint32_t i = 1; i < SD_TAESD_STAGES; i++) {
        h = sd_upsample_conv2d(g, h, d->stage[i].conv, NULL); /* twice as large */
        h = blocks(g, &d->stage[i], decoder_blocks[i], h);
    }
    h = sd_conv2d(g, h, d->conv_out, &(sd_fuse){.f32 = true}); /* [N,8h,8w,3] in 0..1 */
    return sd_scale(g, h, 2, -1);
}

sd_tensor *sd_taesd_encode(sd_graph *g, const struct sd_taesd_half *e, sd_tensor *picture) {
    sd_graph_scope(g, "taesd.encoder");
    sd_tensor *h = sd_scale(g, picture, 0.5f, 0.5f); /* 0..1 */
    h = sd_conv2d(g, h, e->stage[0].conv, NULL);     /* [N,H,W,64] */
    h = blocks(g, &e->stage[0], encoder_blocks[0], h);
    for (uint32_t i = 1; i < SD_TAESD_STAGES; i++) {
        h = sd_conv2d_down(g, h, e->stage[i].conv, 1, NULL); /* half as large */
        h = blocks(g, &e->stage[i], encoder_blocks[i], h);
    }
    return sd_conv2d(g, h, e->conv_out, &(sd_fuse){.f32 = true}); /* [N,H/8,W/8,4] */
}

sd_status sd_taesd_detect(struct sd_taesd_config *out, const struct sd_weight_source *source, sd_error *err) {
    struct sd_raw raw;
    if (!source->find(source->user, "decoder.layers.0.weight", &raw) || raw.rank != 4 || !raw.shape[0] ||
        raw.shape[0] > 8192)
        return sd_fail(err, SD_E_NOT_FOUND,
                       "%s: expected a TAESD decoder (decoder.layers.0.weight), found none", source->label);
    if (raw.shape[1] != SD_TAESD_LATENT)
        return sd_fail(
            err, SD_E_UNSUPPORTED,
            "%s: expected a TAESD for latents of %d channels, found one for %llu, as of SD 3 or Flux",
            source->label, SD_TAESD_LATENT, (unsigned long long)raw.shape[1]);
    out->width = (uint32_t)raw.shape[0];
    out->encoder = source->find(source->user, "encoder.layers.0.weight", &raw);
    return SD_OK;
}

bool sd_taesd_old_name(const char *canonical, bool both, char *out, size_t size) {
    unsigned layer;
    int used = 0, n = 0;
    if (sscanf(canonical, "decoder.layers.%u%n", &layer, &used) == 1 && used)
        n = snprintf(out, size, "%s%u%s", both ? "decoder." : "", layer + 1, canonical + used);
    else if (both && sscanf(canonical, "encoder.layers.%u%n", &layer, &used) == 1 && used)
        n = snprintf(out, size, "encoder.%u%s", layer, canonical + used);
    return n > 0 && (size_t)n < size;
}
