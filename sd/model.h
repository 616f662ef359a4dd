/* A loaded model. Internal to the sd room. */
#ifndef SD_MODEL_H
#define SD_MODEL_H

#include "clip/text_model.h"
#include "clip/tokenizer.h"
#include "sd/adapters.h"
#include "sd/autoencoder.h"
#include "sd/checkpoint.h"
#include "sd/context.h"
#include "sd/lora_uses.h"
#include "sd/sample/discrete.h"
#include "unet/unet.h"

/* What the families do differently around the networks. */
struct sd_family {
    const char *name;
    uint32_t size;        /* pixels that the model was trained for, where no config says it */
    uint32_t clip_skip;   /* default; layers counted from the end, 1 is the last */
    bool final_norm;      /* of the text encoder over the chosen layer */
    bool pooled;          /* the UNet wants the pooled text and time ids */
    bool aesthetic;       /* the last time id is an aesthetic score (refiner) */
    float scaling_factor; /* of the VAE's latent */
    const char *prediction;
};

struct sd_text_part {
    bool present;
    struct sd_text_config config;
    struct sd_text_model model;
    sd_weights *weights;
    sd_tokenizer *tokenizer;
    uint32_t pad; /* token that fills a chunk */
};

struct sd_model {
    sd_context *context;
    sd_checkpoint *files;
    const struct sd_family *family;
    sd_dtype act;
    sd_weight_precision precision;
    struct sd_text_part text[2];
    uint32_t clip_skip;
    struct sd_unet *unet;
    sd_weights *unet_weights;
    struct sd_autoencoder autoencoder;
    struct sd_previews *previews; /* sd/preview.h; NULL before the first one */
    sd_prediction prediction;
    sd_discrete noise;
    const char *default_schedule;
    sd_lora_mode lora_mode;
    /* The LoRAs that are applied: the model's set, and behind it those of the last request's prompt. */
    struct sd_adapter_set adapters;
    struct sd_lora_uses loras, prompt_loras;
    sd_lora_targets *targets;
    struct sd_adapted adapted[SD_LORA_PARTS];
    bool broken;             /* loading was cut short: all weights are loaded again before the next run */
    const sd_cancel *cancel; /* of the call that runs, or NULL */
    uint32_t width, height;
    char hash[SD_SHA256_HEX];
    char part_hash[SD_PARTS][SD_SHA256_HEX]; /* of the parts that were given beside the model, when needed */
};

/* All of sd_model_open but loading weights to the device: files are open, networks bound, LoRAs matched. */
sd_status sd_model_describe(sd_model **out, sd_context *context, const char *path,
                            const sd_model_options *options, sd_error *err);

/* Width of the pooled text that the UNet reads, which the last text encoder gives; 0 when it reads none. */
uint32_t sd_model_pooled_width(const sd_model *model);

/* The weights of a network that adapters change, NULL where the model has none, and where they come from now.
 */
sd_weights *sd_model_adapted_weights(const sd_model *model, sd_lora_part part);
struct sd_weight_source sd_model_source(sd_model *model, sd_lora_part part);

/* What the UNet reads beside the noisy latent. */
enum sd_unet_input {
    SD_UNET_INPUT_PLAIN,
    SD_UNET_INPUT_MASK, /* a mask and the latent of the rest of the picture: models for inpainting */
    SD_UNET_INPUT_EDIT  /* the latent of the picture that is edited: pix2pix */
};
enum sd_unet_input sd_model_input(const sd_model *model);

/* The path of a model, to be freed with free(): that of a checkpoint, or of a UNet alone, which may lie where
 * checkpoints do, or where ComfyUI keeps diffusion models. `models` is as for sd_library_resolve. */
sd_status sd_model_resolve(const char *models, const char *word, char **path, sd_error *err);

/* Opens the files that a model's name and options stand for. */
sd_status sd_model_open_files(sd_model *model, const char *word, const sd_model_options *options,
                              sd_error *err);

/* Names the layers for adapters and matches those that the model is opened with; nothing is loaded yet. */
sd_status sd_model_adapt(sd_model *model, const sd_model_options *options, sd_error *err);

/* Before a run: the request's set of adapters, where it has one, and those of its prompt. */
sd_status sd_model_use_loras(sd_model *model, const sd_params *params, const struct sd_prompt *prompt,
                             sd_error *err);

/* Loads what a run needs beyond sd_model_open: the other form of the UNet's upsamplers. */
sd_status sd_model_need_unet(sd_model *model, uint32_t latent_height, uint32_t latent_width, sd_error *err);

#endif
