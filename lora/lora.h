/* LoRA and its relatives: files that change a model's weights.
 *
 * A file is parsed into modules, one for each layer that it changes (sd_lora_open). Modules find their layers
 * by name (sd_lora_match), whatever the naming: kohya, diffusers old and new, PEFT, LyCORIS, OneTrainer, LDM
 * blocks. Matched modules write what they do to a weight as the steps of an sd_edit. Formulas and tensors of
 * every algorithm: tests/golden/README.md. */
#ifndef LORA_LORA_H
#define LORA_LORA_H

#include "sd/io/tensor_file.h"
#include "sd/nn/edit.h"

/* ---- what can be changed ---- */

typedef enum sd_lora_part { SD_LORA_UNET, SD_LORA_TEXT, SD_LORA_TEXT_2, SD_LORA_PARTS } sd_lora_part;

/* One layer or norm of a model. */
struct sd_lora_target {
    sd_lora_part part;
    const char *module;  /* canonical name without ".weight": "down_blocks.1.attentions.0.proj_in" */
    const char *ldm;     /* LDM name of a UNet's module, else NULL */
    uint32_t n, c, taps; /* outputs, inputs, kernel size; a norm has c 1 */
    bool has_bias;
    bool convolution; /* the file has kernel sizes, even where they are 1 */
};

/* So many of a part's layers (tables of embeddings are among them) and norms. */
struct sd_lora_count {
    uint32_t layers, norms;
};

/* All layers of a model. Immutable once built, then usable from any thread. */
typedef struct sd_lora_targets sd_lora_targets;

sd_status sd_lora_targets_create(sd_lora_targets **out, sd_error *err);
void sd_lora_targets_destroy(sd_lora_targets **targets);
/* Adds every layer of a network; `source` is where its weights come from, `ldm` gives a module's other name
 * (NULL, or it returns false, where there is none). */
sd_status sd_lora_targets_add(sd_lora_targets *targets, sd_lora_part part, const sd_weights *weights,
                              const struct sd_weight_source *source,
                              bool (*ldm)(const void *user, const char *canonical, char *buffer, size_t size),
                              const void *user, sd_error *err);
/* Makes the names searchable; the last call before matching. */
sd_status sd_lora_targets_finish(sd_lora_targets *targets, sd_error *err);
struct sd_lora_count sd_lora_targets_count(const sd_lora_targets *targets, sd_lora_part part);

/* ---- files ---- */

typedef struct sd_lora sd_lora;

/* A file of tensors in any format, or PEFT's folder with adapter_config.json. Parsed only; mapped until
 * closed. */
sd_status sd_lora_open(sd_lora **out, const char *path, sd_error *err);
void sd_lora_close(sd_lora **lora);
/* Whether a folder is PEFT's. */
bool sd_lora_is_folder(const char *path);
/* Whether the names of a file's tensors are those of an adapter; a model's are not. */
bool sd_lora_is_file(const sd_tensor_file *file);
/* What the file alone tells; nothing is matched in it. Lives as long as the file is open. */
const struct sd_lora_report *sd_lora_about(const sd_lora *lora);
/* Its tensors and metadata. */
const sd_tensor_file *sd_lora_tensors(const sd_lora *lora);
/* The path of the file with the tensors, which lies in the folder where that was opened. */
const char *sd_lora_file(const sd_lora *lora);

/* ---- applying ---- */

enum { SD_LORA_BLOCKS = 26 };

/* How strongly a file is applied. */
struct sd_lora_strength {
    float unet, text;
    /* Factors of the UNet's blocks in LDM's order: base, input 0-11, middle, output 0-11; "base" stands for
     * what is outside the blocks and for the text encoders. All 1 unless set. */
    float block[SD_LORA_BLOCKS];
};
void sd_lora_strength_init(struct sd_lora_strength *strength, float unet, float text);
/* Block factors as A1111's block-weight extension writes them: 26, 20, 17 or 12 numbers with commas. */
sd_status sd_lora_parse_blocks(struct sd_lora_strength *strength, const char *text, sd_error *err);

/* What a file turned out to be for a model. Strings live as long as the match. */
struct sd_lora_report {
    const char *path, *name;
    const char *kinds;           /* "LoRA", or several: "LoRA, DoRA" */
    uint32_t rank_min, rank_max; /* 0 where the algorithm has none */
    uint32_t modules, matched;
    struct sd_lora_count changed[SD_LORA_PARTS]; /* what of the model has a module */
    const char *const *unmatched; /* keys of the file that were not used, sorted; NULL-terminated */
    uint32_t unmatched_count;
    const char *family;                   /* base model that names, shapes or metadata tell, or "unknown" */
    const char *base, *trigger, *license; /* from the metadata, or NULL */
};

/* A file applied to a model's layers. Borrows the file and the targets. */
typedef struct sd_lora_match sd_lora_match;

/* Finds the layers and checks every tensor's shape. A file for another family is SD_E_UNSUPPORTED with that
 * family's name; with `strict`, keys that match nothing are SD_E_FORMAT and named. */
sd_status sd_lora_match_create(sd_lora_match **out, const sd_lora *lora, const sd_lora_targets *targets,
                               bool strict, sd_error *err);
void sd_lora_match_destroy(sd_lora_match **match);
const struct sd_lora_report *sd_lora_match_report(const sd_lora_match *match);

/* Whether the file changes the tensor `name` ("....weight" or "....bias") of a part at this strength. */
bool sd_lora_changes(const sd_lora_match *match, const struct sd_lora_strength *strength, sd_lora_part part,
                     const char *name);
/* Appends the change to the edit of that tensor. */
void sd_lora_edit(const sd_lora_match *match, const struct sd_lora_strength *strength, sd_lora_part part,
                  const char *name, sd_edit *edit);

/* The rank of that change where it is a product of two thin matrices alone (LoRA without DoRA, on a linear
 * layer), else 0. Writes the factors to `out` unless that is NULL. */
uint32_t sd_lora_low_rank(const sd_lora_match *match, const struct sd_lora_strength *strength,
                          sd_lora_part part, const char *name, const struct sd_low_rank *out);

#endif
