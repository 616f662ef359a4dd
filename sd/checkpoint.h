/* A model on disk, single file or folder, seen as parts with canonical tensor names. Internal to the sd room.
 */
#ifndef SD_CHECKPOINT_H
#define SD_CHECKPOINT_H

#include "clip/text_model.h"
#include "sd/base/arena.h"
#include "sd/io/file.h"
#include "sd/io/tensor_file.h"
#include "sd/nn/weight.h"
#include "unet/config.h"
#include "vae/config.h"

typedef enum sd_part {
    SD_PART_UNET,
    SD_PART_VAE,
    SD_PART_TEXT,
    SD_PART_TEXT_2,
    SD_PART_TAESD, /* never within a model, only beside it */
    SD_PARTS
} sd_part;

/* "unet", "vae", "text_encoder", "text_encoder_2", "taesd". */
const char *sd_part_name(sd_part part);

/* How the names of one part are spelled in the file. */
typedef enum sd_spelling {
    SD_SPELLING_NONE, /* the part is not there */
    SD_SPELLING_DIFFUSERS,
    SD_SPELLING_LDM,      /* single file: UNet and VAE blocks by number */
    SD_SPELLING_OPENCLIP, /* single file: OpenCLIP's text encoder */
    SD_SPELLING_TAESD     /* layers of both halves by number, as the authors' own files have them */
} sd_spelling;

typedef struct sd_checkpoint sd_checkpoint;

/* Where one part's tensors lie. */
struct sd_checkpoint_part {
    sd_checkpoint *checkpoint;
    sd_part part;
    sd_spelling spelling;
    const char *prefix;      /* in the file */
    sd_tensor_file *file;    /* owned by the checkpoint */
    char *label;             /* path, for messages */
    const char *config;      /* text of config.json, NULL in most single files */
    const char *config_path; /* for messages, NULL without config */
    bool replaced;           /* does not come from the model's own file or folder */
    struct sd_weight_source source;
};

/* A transposed copy of a tensor, which lasts until its data were read. */
struct sd_turned {
    const void *of;
    void *copy;
};

struct sd_checkpoint {
    char *path, *name; /* name: last part of the path, without extension */
    bool folder;
    struct sd_checkpoint_part part[SD_PARTS];
    sd_tensor_file *files[2 * SD_PARTS]; /* the model's own and those beside it */
    uint32_t file_count;
    const char *scheduler, *scheduler_path; /* text of scheduler_config.json or NULL; where it is */
    sd_bytes vocabulary[2], merges[2];      /* of tokenizer and tokenizer_2, where the model has its own */
    /* What the name tables need; filled by detection. */
    struct sd_unet_config unet;
    struct sd_vae_config vae;
    struct sd_turned turned[SD_PARTS];
    sd_arena arena; /* names */
};

/* Files or folders that stand in for parts of a model, or are added to it; NULL and 0: none. */
struct sd_separate_parts {
    const char *unet, *vae, *taesd;
    const char *text[2]; /* in either order; their widths tell which one they are */
    uint32_t text_count;
};

/* `path` is a single file or a diffusers folder with a UNet, or with any part where `separate` (may be NULL)
 * brings the UNet. Other parts may be missing. Errors say what a path is and what was expected of it. */
sd_status sd_checkpoint_open(sd_checkpoint **out, const char *path, const struct sd_separate_parts *separate,
                             sd_error *err);
/* A TAESD alone, a file or a diffusers folder: the part SD_PART_TAESD and nothing else. */
sd_status sd_checkpoint_open_taesd(sd_checkpoint **out, const char *path, sd_error *err);
void sd_checkpoint_close(sd_checkpoint **checkpoint);

/* Fills checkpoint->unet. */
sd_status sd_checkpoint_read_unet(sd_checkpoint *checkpoint, sd_error *err);
/* Of the first text encoder (0) or the second (1), which must be there. */
sd_status sd_checkpoint_read_text(const sd_checkpoint *checkpoint, int which, struct sd_text_config *out,
                                  sd_error *err);

#endif
