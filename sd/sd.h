/* libsd: pictures from text with models of the Stable Diffusion family, on any Vulkan device.
 *
 *     sd_context *context;  sd_model *model;  sd_outputs *outputs;  sd_error error;
 *     sd_context_create(&context, NULL, &error);
 *     sd_model_open(&model, context, "samples/mockup", NULL, &error);
 *     sd_generate(model, &(sd_params){.prompt = "a red mug on a wooden table"}, &outputs, &error);
 *
 * Threads: a context, the models opened in it and everything they return belong to one thread at a time;
 * different contexts are independent. Only sd_cancel_request may be called from any thread and from a signal
 * handler. Errors: every function that can fail returns a status and fills `err` (which may be NULL) with one
 * sentence. Strings are UTF-8. `{0}` is valid and means the defaults for every struct that is passed in. */
#ifndef SD_SD_H
#define SD_SD_H

#include "sd/base/log.h"
#include "sd/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SD_VERSION "0.1.0"

/* The version of the library that is linked. */
const char *sd_version(void);

/* ---- devices ---- */

typedef struct sd_device {
    char name[256], driver[520], uuid[37];
    const char *kind; /* "discrete", "integrated", "virtual", "cpu" or "other" */
    uint64_t memory;  /* bytes of device-local memory */
    uint32_t subgroup_min, subgroup_max;
    bool f16_arithmetic, f16_storage, coop_matrix;
} sd_device;

/* The usable devices, best first. `capacity` 0 only counts. */
sd_status sd_devices(sd_device *out, size_t capacity, size_t *count, sd_error *err);

/* ---- context ---- */

typedef struct sd_context sd_context;

typedef struct sd_context_options {
    const char *device;    /* index, UUID or part of a name; NULL: the first */
    const char *cache_dir; /* of compiled kernels and hashes; NULL: $XDG_CACHE_HOME/sdvk or ~/.cache/sdvk; "":
                              none */
    const char *models; /* the folder in which names of models, LoRAs and embeddings are looked up, laid out
                           as for sd_library_open; NULL: there are only paths */
    bool validation;    /* Vulkan validation layers; their messages go to the log as errors */
    sd_logger log;
} sd_context_options;

sd_status sd_context_create(sd_context **out, const sd_context_options *options, sd_error *err);
/* Models of the context must be closed first. NULL-safe. */
void sd_context_destroy(sd_context **context);
void sd_context_device(const sd_context *context, sd_device *out);
/* Messages of the validation layers so far. */
uint32_t sd_context_validation_messages(const sd_context *context);

/* ---- model folders ---- */

typedef enum sd_library_kind {
    SD_LIBRARY_CHECKPOINT,
    SD_LIBRARY_LORA,
    SD_LIBRARY_EMBEDDING, /* textual inversions */
    SD_LIBRARY_VAE,
    SD_LIBRARY_TAESD, /* small approximations of a VAE */
    SD_LIBRARY_CONTROLNET,
    SD_LIBRARY_UPSCALER,
    SD_LIBRARY_TEXT_ENCODER,
    SD_LIBRARY_UNET,
    SD_LIBRARY_KINDS
} sd_library_kind;

typedef struct sd_library_file {
    sd_library_kind kind;
    const char *name; /* the path below the kind's folder, without extension: "style/acme" */
    const char *path; /* of a file, or of a folder of diffusers' or PEFT's */
    uint64_t bytes;   /* 0 for a folder */
} sd_library_file;

/* What lies in a folder of models: that of A1111 (models/Stable-diffusion, models/Lora, models/LyCORIS,
 * models/VAE, models/VAE-approx, VAE-taesd, ControlNet, ESRGAN ..., embeddings), that of ComfyUI
 * (models/checkpoints, loras, embeddings, vae, vae_approx, controlnet, upscale_models, text_encoders, clip,
 * unet, diffusion_models), or the folder "models" of either. Folders are found in any case and with '-' for
 * '_'; everything below them is read, hidden files and names that are not UTF-8 excepted. */
typedef struct sd_library sd_library;
/* SD_E_NOT_FOUND when there is no such folder, or none of these in it. Needs no context. */
sd_status sd_library_open(sd_library **out, const char *folder, sd_error *err);
void sd_library_close(sd_library **library);
size_t sd_library_count(const sd_library *library);
/* In the order of kinds, then of names. Lives as long as the library. NULL behind the last one. */
const sd_library_file *sd_library_at(const sd_library *library, size_t index);
/* "checkpoint", "lora", "embedding", "vae", "taesd", "controlnet", "upscaler", "text_encoder", "unet". */
const char *sd_library_kind_name(sd_library_kind kind);

/* The path of what `word` names, to be freed with free(): a path that exists is taken as it is; otherwise it
 * is a name in `folder` (NULL: there is none, and the word is given back). A name is the path below the
 * kind's folder, or its last parts, with or without the extension, in the same case or, when there is none
 * such, in any. A LoRA that no file is called goes by the title that kohya's trainer wrote into it
 * (ss_output_name). SD_E_NOT_FOUND names the folders that were searched and what may have been meant;
 * SD_E_ARGUMENT two files between which the name does not choose. */
sd_status sd_library_resolve(const char *folder, sd_library_kind kind, const char *word, char **path,
                             sd_error *err);
/* The same for names alone: what comes with a request must not reach files elsewhere. */
sd_status sd_library_find(const char *folder, sd_library_kind kind, const char *name, char **path,
                          sd_error *err);

/* ---- models ---- */

typedef struct sd_model sd_model;

typedef enum sd_precision {
    SD_PRECISION_AUTO, /* f32 activations on CPUs, f16 on GPUs; weights as in the file, f32 ones as f16 on
                          GPUs */
    SD_PRECISION_F32,  /* f32 activations, weights never rounded */
    SD_PRECISION_F16   /* f16 activations and weights */
} sd_precision;

/* What a LoRA does to a model whose linear layers are quantised. */
typedef enum sd_lora_mode {
    SD_LORA_MERGE,  /* every layer that it changes is expanded, to f16 or with SD_PRECISION_F32 to f32 */
    SD_LORA_RUNTIME /* the layers stay quantised, and the LoRA's two thin matrices are computed beside them.
                       That is for plain LoRAs on linear layers and 1x1 convolutions that lie quantised in
                       device memory, and where it takes less memory; all else is merged */
} sd_lora_mode;

typedef struct sd_model_options {
    sd_precision precision;
    sd_lora_mode lora_mode; /* of all sets of LoRAs that the model will have */
    const char
        *prediction; /* "epsilon" or "v" where the file does not say; NULL: what the family usually has */
    /* Parts that stand in for the model's own, or bring what it lacks: files of one part or of a whole model,
     * diffusers' folders of one part, or names in the context's model folder. NULL: the model's own. Text
     * encoders may come in either order; their widths tell which ones they are. */
    const char *unet, *vae, *text_encoders[2];
    /* The small autoencoder that decodes in place of the VAE, for drafts, and encodes where its file has an
     * encoder. */
    const char *taesd;
    const struct sd_lora_use *loras; /* applied while the weights are loaded; see sd_model_set_loras */
    size_t lora_count;
    bool lenient;
    struct sd_cancel *cancel; /* stops sd_model_open within a tensor or two; not used after it; may be NULL */
} sd_model_options;

/* A LoRA (or one of its relatives: LoCon, LoHa, LoKr, DoRA, OFT, BOFT, (IA)^3, GLoRA, full differences)
 * merged into the model's weights, or kept apart from them (sd_lora_mode). */
typedef struct sd_lora_use {
    const char *path;   /* a safetensors file, a folder of PEFT's, or a name in the context's model folder */
    float unet, text;   /* strengths; 0 leaves that part alone, 1 is what was trained */
    const char *blocks; /* factors of the UNet's blocks as A1111 users write them, "1,0,0,..."; NULL: all 1 */
} sd_lora_use;

/* Opens a single safetensors, GGUF or torch.save file (LDM names) or a diffusers folder: a path, or a name in
 * the context's model folder. A file with a UNet alone needs the other parts from the options. The file stays
 * mapped until the model closes. SD_E_CANCELLED after a cancel. */
sd_status sd_model_open(sd_model **out, sd_context *context, const char *path,
                        const sd_model_options *options, sd_error *err);
void sd_model_close(sd_model **model);

/* Makes `uses` the LoRAs that are applied to the model, in this order; none with count 0. Only tensors that
 * change are loaded again, always from the file: the weights are then, bit for bit, those of a model opened
 * with the same set. With `lenient`, keys that fit nothing are ignored instead of refused. Files are checked
 * before anything changes; after a failure of the device the next run loads all again. Not cancellable. */
sd_status sd_model_set_loras(sd_model *model, const sd_lora_use *uses, size_t count, bool lenient,
                             sd_error *err);

/* What a LoRA turned out to be. Strings live until the set changes or the model closes. */
typedef struct sd_lora_info {
    const char *path, *name, *kinds; /* kinds: "LoRA", "LoKr, DoRA" ... */
    uint32_t rank_min, rank_max;     /* 0 where the algorithm has none */
    uint32_t modules, matched;
    uint32_t apart, merged;       /* tensors that it changes: kept apart (SD_LORA_RUNTIME), and merged */
    const char *const *unmatched; /* keys that fit no layer, NULL-terminated */
    const char *family;           /* what it was made for, or "unknown" */
    const char *base, *trigger, *license; /* from its metadata, or NULL */
    float unet, text;
    bool in_prompt; /* not of the model's set, but of the last request's prompt */
    /* A distilled LoRA's method ("LCM", "Lightning" ...) by its metadata or name, and the defaults that
     * requests have with it; NULL and 0 for others. */
    const char *method, *sampler;
    uint32_t steps;
    float cfg_scale;
} sd_lora_info;
/* False behind the last one. */
bool sd_model_lora(const sd_model *model, size_t index, sd_lora_info *out);

typedef struct sd_model_info {
    const char *family;     /* "SD 1", "SD 2", "SDXL", "SDXL refiner" */
    const char *prediction; /* "epsilon" or "v" */
    const char *precision;  /* "f32" or "f16": type of the activations */
    sd_lora_mode lora_mode;
    const char *name;       /* file or folder name without extension */
    uint32_t width, height; /* the size that the model was trained for */
    uint64_t parameters;
    uint64_t weight_bytes; /* on the device */
} sd_model_info;
/* Strings live as long as the model. */
void sd_model_get_info(const sd_model *model, sd_model_info *out);

/* SHA-256 of the single file (64 hex digits), or of a folder's UNet file; computed at the first call. */
sd_status sd_model_hash(sd_model *model, const char **hex, sd_error *err);

/* Hashes of files that earlier calls computed and the cache folder (`cache_dir` as in sd_context_options)
 * remembers. One thread at a time; no context is needed. */
typedef struct sd_hashes sd_hashes;
sd_status sd_hashes_open(sd_hashes **out, const char *cache_dir, sd_error *err);
void sd_hashes_close(sd_hashes **hashes); /* NULL-safe */
/* What sd_model_hash says of the model at `path` (a file or folder); false, and nothing computed, when it is
 * not known of the file as it is now. */
bool sd_hashes_of_model(sd_hashes *hashes, const char *path, char hex[65]);

/* ---- pictures ---- */

/* 8 bits a channel, rows from top to bottom, channels interleaved. */
typedef struct sd_picture {
    uint32_t width, height, channels; /* channels 3 (RGB); pictures that are given may have 4, of which alpha
                                         counts in masks alone */
    uint8_t *pixels;                  /* [height][width][channels] */
} sd_picture;

/* Reads a PNG or JPEG file; free with sd_picture_free. */
sd_status sd_picture_load(sd_picture *out, const char *path, sd_error *err);
/* The same from memory; `label` begins the messages. `max_pixels` 0: 64 Mi. */
sd_status sd_picture_decode(sd_picture *out, const char *label, const void *data, size_t size,
                            uint64_t max_pixels, sd_error *err);
void sd_picture_free(sd_picture *picture);

typedef enum sd_resize {
    SD_RESIZE_STRETCH,
    SD_RESIZE_CROP, /* covers the size; what does not fit is cut off on both sides */
    SD_RESIZE_FILL  /* fits into the size; what is missing on both sides continues the edges */
} sd_resize;
/* A copy of another size (Lanczos), to be freed with sd_picture_free. Any thread. */
sd_status sd_picture_resize(sd_picture *out, const sd_picture *in, uint32_t width, uint32_t height,
                            sd_resize mode, sd_error *err);

typedef struct sd_encoding {
    bool jpeg;        /* else PNG */
    uint32_t quality; /* of JPEG, 1 to 100; 0: 90 */
} sd_encoding;
/* Bytes of a file, without texts; free *data with free(). `encoding` may be NULL. Any thread. */
sd_status sd_picture_encode(const sd_picture *picture, const sd_encoding *encoding, uint8_t **data,
                            size_t *size, sd_error *err);

/* ---- generation ---- */

/* Set before or during a call to stop it within a step or a loaded tensor. {0} is "not cancelled". */
typedef struct sd_cancel {
    volatile int requested; /* of the two functions below */
} sd_cancel;
void sd_cancel_request(sd_cancel *cancel);
bool sd_cancel_requested(const sd_cancel *cancel); /* false for NULL; any thread */

typedef enum sd_phase {
    SD_PHASE_TEXT,
    SD_PHASE_ENCODE,
    SD_PHASE_STEP,
    SD_PHASE_DECODE,
    SD_PHASE_CONVERT, /* of sd_convert (sd/tools.h): steps are tensors */
    SD_PHASE_COMPILE  /* within any of the others, where kernels of a network are not compiled yet */
} sd_phase;

typedef struct sd_progress {
    sd_phase phase;
    uint32_t image, images;    /* which one is under way, from 0, and how many there will be */
    uint32_t step, steps;      /* finished steps of this image and all of them, or kernels of this network */
    double seconds;            /* since the call began */
    const sd_picture *preview; /* what the step's estimate looks like, small; NULL most of the time */
} sd_progress;

typedef struct sd_output {
    sd_picture picture;
    int64_t seed;
    char *infotext; /* what A1111 writes as "parameters" */
    char *json;     /* the "sdvk" record: all inputs, hashes and versions */
} sd_output;

/* Numbers at 0 and strings at NULL mean the default that the options table states (sd_option_at), or that of
 * a distilled LoRA (sd_lora_info). Pointers are borrowed for the call. */
typedef struct sd_params {
    /* <lora:NAME[:unet[:te]]> in the prompt merges a LoRA of the context's model folder for this request,
     * beside the model's set. In the negative prompt it is text, as in A1111. */
    const char *prompt, *negative_prompt;
    uint32_t width, height; /* pixels, multiples of 8; default: the model's own size */
    uint32_t steps;
    float cfg_scale; /* 1: no guidance */
    const char *sampler, *schedule;
    int64_t seed; /* negative: a random one, reported in the metadata */
    uint32_t count;
    const char *rng;          /* "cpu" or "gpu": whose PyTorch noise the seed gives */
    uint32_t clip_skip;       /* 1: the last layer, 2: the one before it; default: the family's */
    float eta;                /* noise of ancestral and DDIM samplers; negative or 0: the sampler's own */
    const sd_lora_use *loras; /* the model's set becomes this one first; NULL leaves it as it is */
    size_t lora_count;
    /* Textual inversions, files or names in the context's model folder, whose names may stand in the prompts
     * beside those of the model folder. */
    const char *const *embeddings;
    size_t embedding_count;
    bool lenient; /* keys of a LoRA that fit nothing, LoRAs of the prompt that are not found and embeddings
                     that do not fit the model are ignored instead of refused */
    /* img2img. width and height default to its size; where they differ from it, `resize` says what is done:
     * "stretch", "crop" (what does not fit is cut off) or "fill" (what is missing continues the edges); NULL:
     * it is refused. */
    const sd_picture *init_image;
    const char *resize;
    float strength; /* how much of init_image is replaced, above 0 up to 1; a pix2pix model's default is 1:
                       it reads the picture by itself and starts from noise alone */
    /* Inpainting, with any model: init_image is made anew where this is white (luminance, of which what is
     * transparent has none), and kept where it is black. */
    const sd_picture *mask; /* as large as init_image */
    float mask_blur;        /* standard deviation in pixels of a blur of the mask, 0: none */
    const char *mask_paint; /* which colour of the mask is made anew: "white" (the default) or "black" */
    /* What that starts from: "original" (default), "fill" (the colours around it), "noise" or "nothing". */
    const char *mask_fill;
    /* "whole" (the default), or "masked": only the part of the picture round the mask is rendered, at width x
     * height, with `mask_padding` pixels of what surrounds it, and put back into it. */
    const char *mask_area;
    uint32_t mask_padding;
    float image_cfg_scale;  /* how closely a pix2pix model keeps to init_image */
    uint32_t vae_memory;    /* MiB that the VAE may work in; default: what the device has left. With less it
                               takes longer and gives the same bytes */
    uint32_t preview_every; /* steps between the previews in `progress`; 0: none. They have a pixel for 8 x 8,
                               or are a TAESD's, the model's or one that lies in the model folder */
    void (*progress)(void *user, const sd_progress *progress);
    void *progress_user;
    /* Hears of each picture as soon as it is made, so that nothing that fails or is cancelled later takes it
     * back: `output` lives for the call, and the result then has no items. An error ends the run. NULL: the
     * pictures come together in the result. */
    sd_status (*made)(void *user, uint32_t image, const sd_output *output, sd_error *err);
    void *made_user;
    sd_cancel *cancel; /* NULL: cannot be cancelled */
    /* Requested while a picture's steps run, it leaves that one out, and the run goes on with the next; NULL:
     * none can be skipped. */
    sd_cancel *skip;
} sd_params;

typedef struct sd_outputs {
    sd_output *items; /* NULL where params->made has had them */
    size_t count;     /* of pictures that were made */
    double seconds, text_seconds, step_seconds,
        decode_seconds;       /* whole call, and its parts over all images */
    double host_step_seconds; /* mean time that a step took outside of waiting for the device */
} sd_outputs;

/* SD_E_ARGUMENT names the parameter, its range and what was found; SD_E_NUMERIC the step and the network that
 * gave NaN; SD_E_CANCELLED after a cancel. Pictures are made one after another; nothing is returned unless
 * all that are not skipped are done. */
sd_status sd_generate(sd_model *model, const sd_params *params, sd_outputs **out, sd_error *err);
void sd_outputs_free(sd_outputs **outputs);

/* Writes PNG or JPEG, chosen by the extension (.png, .jpg, .jpeg), with the metadata; the file appears whole
 * or not at all. */
sd_status sd_output_save(const sd_output *output, const char *path, sd_error *err);

/* The same bytes in memory, in either format; free *data with free(). */
sd_status sd_output_encode(const sd_output *output, const sd_encoding *encoding, uint8_t **data, size_t *size,
                           sd_error *err);

/* What a run would take, without running it. */
typedef struct sd_network_plan {
    const char *name; /* "text", "text_2", "unet", "vae" */
    uint64_t parameters, weight_bytes, activation_bytes;
    uint64_t host_bytes;  /* of results that wait in the host's memory, when it works in strips */
    uint32_t strips;      /* that the largest results are computed in, for want of memory; 1: whole */
    uint64_t flop, bytes; /* of one run: of one step for the UNet */
    uint64_t once_flop;   /* once a prompt, for the UNet */
    uint32_t nodes, barriers;
} sd_network_plan;

typedef struct sd_plan_report {
    sd_network_plan network[4];
    uint32_t count;
    uint64_t peak_bytes; /* of device memory: weights and the largest activations at one time */
} sd_plan_report;
sd_status sd_plan_generate(sd_model *model, const sd_params *params, sd_plan_report *out, sd_error *err);

/* ---- options ---- */

typedef enum sd_option_kind {
    SD_OPTION_TEXT,
    SD_OPTION_COUNT,
    SD_OPTION_SEED,
    SD_OPTION_NUMBER,
    SD_OPTION_CHOICE
} sd_option_kind;

/* One row of the table that drives --help, JSON, range errors and metadata. */
typedef struct sd_option {
    const char *name; /* with underscores, as in JSON; the command line uses dashes */
    sd_option_kind kind;
    double low, high;     /* range of numbers, inclusive */
    const char *fallback; /* the default, as text */
    const char *help;
    const char *(*choice)(size_t index); /* the choices, NULL behind the last; for SD_OPTION_CHOICE */
    size_t offset;                       /* of the field in sd_params */
} sd_option;
size_t sd_option_count(void);
const sd_option *sd_option_at(size_t index);
/* NULL when there is none. */
const sd_option *sd_option_find(const char *name);

/* What a sampler or schedule is called elsewhere. */
typedef struct sd_names {
    const char *name, *label;   /* "euler_a", A1111's "Euler a"; "sgm_uniform", "SGM Uniform" */
    const char *const *aliases; /* NULL-terminated, or NULL */
    float eta;                  /* noise that a sampler adds unless params say otherwise; a schedule's is 0 */
} sd_names;
/* By index, as in the choices of the options; false behind the last. */
bool sd_sampler_at(size_t index, sd_names *out);
bool sd_schedule_at(size_t index, sd_names *out);
/* The sampler that goes by any of these names, in any case, and the schedule that follows it in words such as
 * "DPM++ 2M Karras"; schedule->name is NULL when there is none. False when there is no such sampler. */
bool sd_sampler_named(const char *word, sd_names *sampler, sd_names *schedule);

/* Sets one field from text. Strings are borrowed. Errors name the option, the range or the choices, and what
 * was found: "unknown sampler 'eular'; did you mean 'euler'?". */
sd_status sd_params_set(sd_params *params, const char *name, const char *value, sd_error *err);

/* The entry of the NULL-terminated `names` that was most likely meant by `word`, or NULL. */
const char *sd_suggest(const char *word, const char *const *names);

/* ---- audit logs ---- */

/* A file of lines {"n":1,"prev":HASH,"hash":HASH,"entry":{...}}: `hash` is the SHA-256 of "N PREV ENTRY", so
 * that nobody can change, remove or insert a line without changing all behind it. That lines are missing at
 * the end shows only against a hash that was noted elsewhere. One thread at a time. */
typedef struct sd_audit sd_audit;
/* Creates the file, or follows the chain of what is there and goes on behind it; SD_E_FORMAT names the first
 * line that is broken. One process at a time: the file stays locked (flock) until it is closed. */
sd_status sd_audit_open(sd_audit **out, const char *path, sd_error *err);
void sd_audit_close(sd_audit **audit);
/* Appends a JSON object without line ends; it is on the disk afterwards, or nothing was written. */
sd_status sd_audit_append(sd_audit *audit, const char *entry, sd_error *err);
/* Follows the whole chain: the number of entries, and the last one's hash (64 digits; all 0 for an empty
 * file). */
sd_status sd_audit_verify(const char *path, uint64_t *entries, char last[65], sd_error *err);

/* ---- files ---- */

typedef struct sd_info_options {
    const char *model;     /* that a LoRA is compared with; NULL: the usual one of the LoRA's family */
    const char *models;    /* folder in which the model's name is looked up; NULL: it is a path */
    const char *cache_dir; /* of hashes, as in sd_context_options */
    sd_logger log;
} sd_info_options;

/* What `sdvk info` prints: a JSON object for a model, LoRA, embedding or picture. `options` NULL: defaults.
 * Needs no device. Free with free(). */
sd_status sd_file_info(const char *path, const sd_info_options *options, char **json, sd_error *err);

/* The same of a picture in memory, without "path"; `label` begins the messages, `max_pixels` 0: 64 Mi. */
sd_status sd_picture_info(const char *label, const void *data, size_t size, uint64_t max_pixels, char **json,
                          sd_error *err);

/* The texts that a file of tensors (safetensors, GGUF) carries about itself: a JSON object of strings. Reads
 * no more than the file's header. Free with free(). */
sd_status sd_file_metadata_texts(const char *path, char **json, sd_error *err);

#ifdef __cplusplus
}
#endif
#endif
