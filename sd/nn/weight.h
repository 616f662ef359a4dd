/* What a network needs from a checkpoint: names, shapes and the packed form that the kernels read. */
#ifndef SD_NN_WEIGHT_H
#define SD_NN_WEIGHT_H

#include "sd/base/arena.h"
#include "sd/base/dtype.h"
#include "sd/vk/buffer.h"

#include <stdarg.h>

typedef enum sd_weight_form {
    SD_WEIGHT_VECTOR, /* [n] as f32: biases, norm scales */
    SD_WEIGHT_TABLE,  /* [n,c] row-major: embeddings */
    SD_WEIGHT_GEMM,   /* [n,c] or [n,c,kh,kw]: linear layers and convolutions, in the GEMM kernel's layout */
    SD_WEIGHT_GEGLU,  /* [n,c] of which rows 0..n/2 are values and the rest gates: interleaved, GEMM layout */
    SD_WEIGHT_UPSAMPLE,    /* [n,c,3,3] behind a nearest 2x upsampling: four 2x2 filters, GEMM layout */
    SD_WEIGHT_GEGLU_VECTOR /* the bias of a GEGLU layer: f32, interleaved as its weight's rows are */
} sd_weight_form;

enum { SD_WEIGHT_PARTS = 3 };

typedef struct sd_weight {
    /* Checkpoint names in diffusers spelling, relative to the network
     * ("down_blocks.0.resnets.0.conv1.weight"). More than one when tensors are stacked along n (query, key,
     * value as one matrix). */
    const char *names[SD_WEIGHT_PARTS];
    uint32_t parts;
    sd_weight_form form;
    uint32_t n, c;    /* rows (outputs) over all parts; inputs */
    uint32_t kh, kw;  /* 1,1 for linear layers */
    sd_dtype dtype;   /* of the packed elements: SD_F32 or SD_F16, decided at load (or by a plan) */
    uint64_t bytes;   /* packed size */
    uint64_t address; /* device address once loaded, else 0 */
    /* A change that is kept apart from the weight; NULL: none. The layer's sums become W x + up (down x). */
    const struct sd_weight_side *side;
} sd_weight;

/* Matrices of the weight's form, `up` with a 1x1 kernel: down [r,c,kh,kw], up [n,r] with rows in the order of
 * the weight's. */
struct sd_weight_side {
    const sd_weight *down, *up;
};

/* Weight and bias of one layer; bias is NULL for layers without. Also scale and shift of a norm. */
typedef struct sd_layer {
    const sd_weight *weight, *bias;
} sd_layer;

/* The weights of one network, in the order in which they were bound. */
typedef struct sd_weights sd_weights;

sd_status sd_weights_create(sd_weights **out, sd_error *err);
void sd_weights_destroy(sd_vk *vk, sd_weights **weights);

/* Binders: declare a layer by its checkpoint name (printf format, without ".weight"/".bias") and shape.
 * Errors (no memory) are sticky and reported by sd_weights_load; the returned layer is then empty. */
#if defined(__GNUC__)
#define SD_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define SD_PRINTF(a, b)
#endif
sd_layer sd_bind_conv(sd_weights *w, uint32_t n, uint32_t c, uint32_t k, const char *name, ...)
    SD_PRINTF(5, 6);
sd_layer sd_bind_upsample(sd_weights *w, uint32_t n, uint32_t c, const char *name, ...) SD_PRINTF(4, 5);
/* The same without a bias. */
sd_layer sd_bind_conv_plain(sd_weights *w, uint32_t n, uint32_t c, uint32_t k, const char *name, ...)
    SD_PRINTF(5, 6);
sd_layer sd_bind_upsample_plain(sd_weights *w, uint32_t n, uint32_t c, const char *name, ...) SD_PRINTF(4, 5);
/* `bias` false: the layer has none. Shapes [n,c] and [n,c,1,1] are accepted. */
sd_layer sd_bind_linear(sd_weights *w, uint32_t n, uint32_t c, bool bias, const char *name, ...)
    SD_PRINTF(5, 6);
sd_layer sd_bind_geglu(sd_weights *w, uint32_t n, uint32_t c, const char *name, ...) SD_PRINTF(4, 5);
/* Up to SD_WEIGHT_PARTS linear layers of the same shape [n each, c], stacked: prefix + each of `names`
 * (NULL-terminated), e.g. "blk.attn1." with {"to_q","to_k","to_v",NULL}. */
sd_layer sd_bind_stack(sd_weights *w, uint32_t n, uint32_t c, bool bias, const char *const *names,
                       const char *prefix, ...) SD_PRINTF(6, 7);
sd_layer sd_bind_norm(sd_weights *w, uint32_t c, const char *name, ...) SD_PRINTF(3, 4);
/* [n,c] rows by full tensor name (no suffix added). */
const sd_weight *sd_bind_table(sd_weights *w, uint32_t n, uint32_t c, const char *name, ...) SD_PRINTF(4, 5);

/* A tensor as it lies in a file: row-major, in PyTorch's axis order. Blocks of quantised values follow that
 * order without regard to the ends of rows. */
struct sd_raw {
    sd_dtype dtype;
    uint32_t rank;
    uint64_t shape[8];
    const void *data;
    uint64_t bytes;
};

struct sd_edit;

/* Where the factors of a change of a layer are written: `up` [n,r] and `down` [r,c,kh,kw], with so many
 * floats from a row to the next. */
struct sd_low_rank {
    float *up, *down;
    uint32_t up_pitch, down_pitch;
};

/* Where weights come from. `find` returns false when the name is absent. */
struct sd_weight_source {
    const char *label; /* file or folder, for messages */
    void *user;
    bool (*find)(void *user, const char *name, struct sd_raw *out);
    /* What changes a tensor on its way (sd/nn/edit.h), NULL for nothing: appends its steps to `edit`, whose
     * weight is there, and returns true, or false when the tensor stays as it is. With `edit` NULL it only
     * tells which. */
    bool (*edit)(void *user, const char *name, struct sd_edit *edit);
    /* NULL, or hears of a tensor that was found: that its data will be read soon, or (`done`) that they were
     * and will not be again until the tensor is found anew. Hints, so that a file need not stay in memory. */
    void (*advise)(void *user, const struct sd_raw *raw, bool done);
    /* The rank r of the edit of a layer that does no more than add up * down, else 0; `out` may be
     * NULL. With this function quantised layers whose edits are such keep their blocks where that takes less
     * memory, and have the factors at their side. NULL: all edits are merged. */
    uint64_t (*low_rank)(void *user, const char *name, const struct sd_low_rank *out);
    /* NULL, or asked before each tensor whether to stop: SD_E_CANCELLED. */
    bool (*cancelled)(const void *cancel);
    const void *cancel;
};

/* Precision of the packed weights. */
typedef enum sd_weight_precision {
    SD_WEIGHTS_LOSSLESS, /* f16 where the file's f16 can be kept exactly, else f32 */
    SD_WEIGHTS_AS_FILE,  /* the same, but f16 tensors that were edited are rounded to f16 again */
    SD_WEIGHTS_F16       /* always f16 (matrices and tables; vectors stay f32) */
} sd_weight_precision;

/* Checks every shape ("...: expected [320,320,3,3], found [640,320,3,3]"), lists the first missing names,
 * uploads and packs on the device. */
sd_status sd_weights_load(sd_weights *w, sd_vk *vk, const struct sd_weight_source *source,
                          sd_weight_precision precision, sd_error *err);
/* Loads those tensors again whose names `changed` tells, after the source's edits became others; the rest
 * stays where it is, unless a tensor needs another element type than before: then all are loaded again. After
 * an error the weights are in no defined state. */
sd_status sd_weights_update(sd_weights *w, sd_vk *vk, const struct sd_weight_source *source,
                            sd_weight_precision precision, bool (*changed)(void *user, const char *name),
                            void *user, sd_error *err);
/* Loads everything again, whatever is there. */
sd_status sd_weights_reload(sd_weights *w, sd_vk *vk, const struct sd_weight_source *source,
                            sd_weight_precision precision, sd_error *err);
/* Random values made on the device with the deviation of a fresh layer, for benchmarks. */
sd_status sd_weights_random(sd_weights *w, sd_vk *vk, sd_weight_precision precision, uint32_t seed,
                            sd_error *err);
/* Sizes only, no device: for plans. */
sd_status sd_weights_assume(sd_weights *w, const struct sd_vk_info *info, sd_weight_precision precision,
                            sd_error *err);

size_t sd_weights_count(const sd_weights *w);
const sd_weight *sd_weights_at(const sd_weights *w, size_t index);
uint64_t sd_weights_bytes(const sd_weights *w); /* packed, with what they have at their sides */
uint64_t sd_weights_parameters(const sd_weights *w);

#endif
