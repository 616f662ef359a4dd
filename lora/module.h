/* A module of an adapter file: the tensors that change one layer. Internal to the lora room. */
#ifndef LORA_MODULE_H
#define LORA_MODULE_H

#include "lora/lora.h"
#include "sd/io/file_tensor.h"

/* What a tensor is to its module. */
typedef enum sd_lora_role {
    ROLE_UP,
    ROLE_DOWN,
    ROLE_MID,
    ROLE_ALPHA,
    ROLE_UP_BIAS,
    ROLE_DORA,      /* kohya and LyCORIS */
    ROLE_MAGNITUDE, /* PEFT's DoRA */
    ROLE_HADA_W1_A,
    ROLE_HADA_W1_B,
    ROLE_HADA_W2_A,
    ROLE_HADA_W2_B,
    ROLE_HADA_T1,
    ROLE_HADA_T2,
    ROLE_LOKR_W1,
    ROLE_LOKR_W1_A,
    ROLE_LOKR_W1_B,
    ROLE_LOKR_W2,
    ROLE_LOKR_W2_A,
    ROLE_LOKR_W2_B,
    ROLE_LOKR_T2,
    ROLE_OFT_BLOCKS,
    ROLE_OFT_R,
    ROLE_BOFT_R, /* PEFT */
    ROLE_BOFT_S,
    ROLE_RESCALE,
    ROLE_GLORA_A1,
    ROLE_GLORA_A2,
    ROLE_GLORA_B1,
    ROLE_GLORA_B2,
    ROLE_IA3, /* LyCORIS */
    ROLE_ON_INPUT,
    ROLE_IA3_L, /* PEFT */
    ROLE_DIFF,
    ROLE_DIFF_BIAS,
    ROLE_NORM,
    ROLE_NORM_BIAS,
    ROLES
} sd_lora_role;

struct sd_lora_kind;

struct sd_lora_module {
    const char *name; /* as in the file, without the role's suffix */
    const sd_file_tensor *tensor[ROLES];
    const struct sd_lora_kind *kind; /* NULL: only biases, or no complete set */
    uint32_t rank;                   /* 0 where the algorithm has none */
    float scale;                     /* alpha / rank, or what the algorithm has in its place */
    float alpha;                     /* as in the file; 0 when missing */
    bool has_alpha;
    bool input_side; /* PEFT's (IA)^3 scales the layer's inputs, not its outputs */
};

/* What applies to a whole file. */
struct sd_lora_settings {
    bool peft;      /* PEFT's rules: OFT on the input side, scale of whole LoKr halves, strength of (IA)^3 */
    bool kohya_oft; /* alpha 0 leaves the weight */
    bool exact_cayley; /* use_cayley_neumann is false */
    uint32_t cayley_terms;
    bool coft; /* blocks of OFT are shrunk to coft_limit over the root of their number */
    double coft_limit;
};

/* A module at its layer, while steps are written. */
struct sd_lora_site {
    const struct sd_lora_module *module;
    const struct sd_lora_target *target;
    const struct sd_lora_settings *settings;
    const char *path; /* for messages */
    float strength;
};

/* An algorithm. `add` adds s times the change to `to`, which has the weight's shape; algorithms that are no
 * sum have `replace` instead, which writes the changed weight. */
struct sd_lora_kind {
    const char *name;
    bool (*fits)(const struct sd_lora_module *module);
    uint32_t (*rank)(const struct sd_lora_module *module);
    void (*add)(const struct sd_lora_site *site, sd_edit *e, sd_matrix to, float s);
    void (*replace)(const struct sd_lora_site *site, sd_edit *e);
};

extern const struct sd_lora_kind sd_lora_kind_lora, sd_lora_kind_loha, sd_lora_kind_lokr, sd_lora_kind_oft,
    sd_lora_kind_boft, sd_lora_kind_oft_input, sd_lora_kind_boft_input, sd_lora_kind_ia3,
    sd_lora_kind_ia3_peft, sd_lora_kind_glora, sd_lora_kind_diff, sd_lora_kind_norm;

/* The first kind whose tensors the module has, or NULL. */
const struct sd_lora_kind *sd_lora_find_kind(const struct sd_lora_module *module);

/* Writes up and down of a plain LoRA so that their product is the change. */
void sd_lora_factors(const struct sd_lora_site *site, const struct sd_low_rank *out);

/* W = V (1 + s (m / |V| - 1)) with V = W + change: DoRA round any kind that has `add`. */
void sd_lora_dora(const struct sd_lora_site *site, sd_edit *e);

/* ---- helpers for the kinds ---- */

/* A tensor of the module as a matrix; fails the edit when it is missing or not rows x columns. */
sd_matrix sd_lora_load(const struct sd_lora_site *site, sd_edit *e, sd_lora_role role, uint32_t rows,
                       uint32_t columns);
/* All values of a tensor as floats: malloc'ed, NULL (with the edit failed) when memory runs out. */
float *sd_lora_values(const struct sd_lora_site *site, sd_edit *e, sd_lora_role role);
/* The first value of a tensor: alpha, flags. */
float sd_lora_scalar(const sd_file_tensor *tensor);
/* Size of dimension i, 1 beyond the last. */
uint32_t sd_lora_dim(const sd_file_tensor *tensor, uint32_t i);
uint64_t sd_lora_count(const sd_file_tensor *tensor);

/* W along one axis times 1 + s (w - one): `one` is 1 where the file's values are factors, 0 where they are
 * changes. */
void sd_lora_scale_axis(const struct sd_lora_site *site, sd_edit *e, sd_lora_role role, bool input,
                        float one);

/* Tucker form: to[p, q K + k] = sum over m, n of core[m,n,k] left[p,m] right[n,q]. `left` is stored [r,o]
 * when `transposed`, else [o,r]; right is [r,i]. */
struct sd_lora_tucker {
    sd_lora_role core, left, right;
    bool transposed;
    uint32_t o, i, taps;
};
sd_matrix sd_lora_tucker(const struct sd_lora_site *site, sd_edit *e, const struct sd_lora_tucker *t);

#endif
