/* The text encoders: CLIP ViT-L (Radford et al. 2021), OpenCLIP ViT-H and ViT-bigG (Cherti et al. 2022). */
#ifndef SD_CLIP_TEXT_MODEL_H
#define SD_CLIP_TEXT_MODEL_H

#include "sd/nn/graph.h"
#include "sd/nn/ops.h"

enum { SD_TEXT_TOKENS = 77, SD_TEXT_LAYERS = 48 };

struct sd_text_config {
    uint32_t hidden, heads, layers, intermediate;
    uint32_t vocabulary;
    uint32_t projection; /* width of the pooled output; 0: no projection matrix */
    sd_act act;          /* SD_ACT_QUICK_GELU for CLIP-L, SD_ACT_GELU for OpenCLIP */
};

extern const struct sd_text_config sd_text_clip_l, sd_text_openclip_h, sd_text_openclip_bigg;

/* Reads a transformers text_encoder/config.json. `projection` is set when architectures names a model with
 * one. */
sd_status sd_text_config_parse(struct sd_text_config *out, const char *json, size_t size, const char *label,
                               sd_error *err);

/* Shape from the tensors of a checkpoint, in canonical names (below). The activation cannot be seen in
 * shapes: width 768 means CLIP-L's quick-GELU, everything else GELU. SD_E_NOT_FOUND when there is no text
 * encoder. */
sd_status sd_text_detect(struct sd_text_config *out, const struct sd_weight_source *source, sd_error *err);

struct sd_text_layer {
    sd_layer norm1, qkv, out, norm2, fc1, fc2;
};

struct sd_text_model {
    const sd_weight *tokens, *positions; /* [vocabulary,hidden], [77,hidden] */
    struct sd_text_layer layer[SD_TEXT_LAYERS];
    sd_layer final_norm, projection; /* projection.weight NULL without */
};

/* Canonical names are transformers' without the "text_model." in front:
 * "encoder.layers.0.self_attn.q_proj.weight", "text_projection.weight". */
void sd_text_bind(struct sd_text_model *out, sd_weights *w, const struct sd_text_config *config);

/* What is wanted of one encoding. */
struct sd_text_request {
    uint32_t skip;   /* layers left out at the end: 0 for the last hidden state, 1 for the penultimate one */
    bool final_norm; /* apply the final layer norm to `hidden` (SD 1 and SD 2 do, SDXL does not) */
    bool pooled;     /* also compute `pooled` */
    /* Vectors of textual inversions [1,1,E,hidden], for the tokens from config->vocabulary on; NULL: none. */
    sd_tensor *extra;
};

struct sd_text_result {
    sd_tensor *hidden; /* [N,1,77,hidden] */
    sd_tensor
        *pooled; /* [N,1,77,projection or hidden]: the caller takes the row of the first end-of-text token */
};

/* tokens [N,1,77,1] i32. */
struct sd_text_result sd_text_forward(sd_graph *g, const struct sd_text_config *config,
                                      const struct sd_text_model *m, const struct sd_text_request *request,
                                      sd_tensor *tokens);

/* OpenCLIP's single-file names (SD 2, SDXL's second encoder) for a canonical name. Query, key and value are
 * row blocks 0, 1, 2 of one tensor there (`part`, else -1), and the projection is stored transposed. */
struct sd_text_openclip_name {
    char name[96];
    int part;
    bool transposed;
};
bool sd_text_openclip_name(const char *canonical, struct sd_text_openclip_name *out);

#endif
