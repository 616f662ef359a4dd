/* What libsd offers beside pictures: measuring networks and ops, and converting models. sd.h's rules for
 * threads, errors and strings hold here, too. */
#ifndef SD_TOOLS_H
#define SD_TOOLS_H

#include "sd/sd.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- benchmarks ---- */

typedef struct sd_bench_params {
    sd_model *model; /* whose networks to run; NULL: those of `family` with random weights */
    const char
        *family; /* "sd1", "sd2", "sdxl", "sdxl-refiner" or another row of the UNet's table; NULL: "sd1" */
    const char *network;    /* "text", "unet", "decode" or "encode"; NULL: "unet" */
    uint32_t width, height; /* pixels; 0: 512, or the model's own */
    uint32_t batch;         /* 0: 1 */
    uint32_t runs;          /* after one warm-up; 0: 3 */
    bool shapes;            /* rows of ops by shape, too */
    sd_precision precision; /* of random weights; a model has its own */
    sd_cancel *cancel;
} sd_bench_params;

/* Time of one kind of op within a run. */
typedef struct sd_bench_op {
    char name[64]; /* "conv2d"; by shape "conv2d 32x32 320+640:320 k3 b2": size, channels, filter, batch */
    uint32_t nodes;
    double seconds, flop, bytes; /* seconds 0 where the device has no timestamps */
} sd_bench_op;

typedef struct sd_bench_result {
    uint64_t parameters, weight_bytes, activation_bytes, flop, bytes;
    uint32_t nodes, barriers;
    double record_seconds;               /* planning, compiling pipelines and recording */
    double first_seconds;                /* the warm-up run */
    double median_seconds, best_seconds; /* of the runs */
    double host_seconds;                 /* median of what the runs took outside of waiting for the device */
    sd_bench_op ops[256];                /* most seconds first; what comes behind these is left out */
    uint32_t op_count;
    bool f16;         /* type of the activations */
    uint32_t runs;    /* counted ones */
    uint32_t repeats; /* of a single op within one run; 1 for networks */
} sd_bench_result;

/* Runs one network. */
sd_status sd_bench_network(sd_context *context, const sd_bench_params *params, sd_bench_result *out,
                           sd_error *err);

/* One op alone, as networks use it. Fields that the op does not take must be 0; in those that it takes 0
 * means the default in brackets. */
typedef struct sd_bench_op_params {
    const char *op;            /* one of sd_bench_op_name() */
    uint32_t batch;            /* pictures at once, up to 64 [1] */
    uint32_t width, height;    /* pixels of the input, each up to 65536 [64 x 64]; n tokens are n x 1 */
    uint32_t keys;             /* tokens of keys and values [as many as there are queries] */
    uint32_t channels, second; /* of the input's two parts [320, 0]; the second follows without a copy */
    uint32_t outputs;          /* channels of the output [those of the input] */
    uint32_t kernel;           /* width of the filters, 1 or 3 [3] */
    uint32_t heads, head_size; /* [8, 40] */
    uint32_t groups;           /* of channels [32] */
    const char *fuse; /* what the op does beside its own, e.g. "vector+silu+residual"; NULL or "": nothing */
    uint32_t runs;    /* after one warm-up, up to 100 [10] */
    sd_precision precision;
    sd_cancel *cancel;
} sd_bench_op_params;

/* The ops by index, NULL behind the last. */
const char *sd_bench_op_name(size_t index);

/* Fills in the defaults. SD_E_ARGUMENT names the field, what was expected and what was found. */
sd_status sd_bench_op_resolve(sd_bench_op_params *params, sd_error *err);

/* Runs the op with random operands, so often in one submission that it lasts some 20 ms (result's `repeats`),
 * and gives everything for one op. Operands stay in the device's caches where they fit. record_seconds and
 * first_seconds are those of a submission of a single op. */
sd_status sd_bench_op_run(sd_context *context, const sd_bench_op_params *params, sd_bench_result *out,
                          sd_error *err);

typedef struct sd_bench_ceiling {
    double flops;     /* f32 multiply-adds a second, each counted twice */
    double f16_flops; /* the same of packed f16; 0 on CPUs and without f16 arithmetic */
    double bandwidth; /* bytes a second, read and written, of a copy larger than caches */
} sd_bench_ceiling;

/* What the device reaches on arithmetic and copies alone: the ceilings that networks are compared with. */
sd_status sd_bench_peaks(sd_context *context, sd_bench_ceiling *out, sd_error *err);

/* ---- converting ---- */

/* Tensors whose names the POSIX extended regular expression is found in become this type. */
typedef struct sd_convert_rule {
    const char *pattern, *type;
} sd_convert_rule;

/* Pointers are borrowed for the call. */
typedef struct sd_convert_params {
    const char *model;  /* what sd_model_open takes */
    const char *output; /* ends in .safetensors or .gguf; a file that exists is never replaced */
    const char *models; /* the folder in which `model` may be a name; with a context, that of the context */
    /* What the networks' tensors become, one of sd_convert_type_name(); NULL: what they are. Types of fewer
     * than 16 bits leave the VAE, tables of words, time embeddings, norms, biases and the UNet's first and
     * last convolution alone, and types in blocks all tensors that are no matrices with rows of whole blocks;
     * these become f16 where they have two dimensions and more bits. */
    const char *type;
    const sd_convert_rule *rules; /* the first that fits wins, also over what `type` leaves alone */
    size_t rule_count;
    bool prune;               /* leave out training averages (model_ema.*) */
    bool plan;                /* only say what would be written */
    const sd_lora_use *loras; /* merged first, as sd_model_set_loras does; needs a context */
    size_t lora_count;
    bool lenient;
    void (*progress)(void *user, const sd_progress *progress);
    void *progress_user;
    sd_cancel *cancel;
} sd_convert_params;

/* Tensors of one network and kind that were written alike. */
typedef struct sd_convert_group {
    const char *part;  /* "text encoder", "text encoder 2", "UNet", "VAE" or "other" */
    const char *kind;  /* "attention", "feed-forward", "convolutions", "layers", "embeddings", "vectors" */
    const char *type;  /* that was written: "Q8_0" */
    const char *asked; /* the type that a rule or `type` wanted; another one where shapes did not allow it */
    uint32_t tensors;
    uint64_t bytes_before, bytes_after;
    /* Of all written values less what they were to be (after merging): the root of the sum of squares over
     * that of the latter, and the largest absolute one. 0 where only planned. */
    double error, largest;
} sd_convert_group;

typedef struct sd_convert_report {
    sd_convert_group *groups;
    size_t count;
    uint64_t bytes_before, bytes_after; /* of all tensors */
    uint32_t tensors;
} sd_convert_report;

/* Writes a model as one file, tensor by tensor: a single file under its own names, a diffusers folder under
 * the names of single files, with its configurations in the metadata, from which sd_model_open reads them.
 * The file appears whole or not at all. `context` may be NULL without LoRAs. SD_E_ARGUMENT names the rule
 * that fits nothing; SD_E_NUMERIC the tensor with a value that its new type cannot hold. */
sd_status sd_convert(sd_context *context, const sd_convert_params *params, sd_convert_report **out,
                     sd_error *err);
void sd_convert_report_free(sd_convert_report **report);

/* The types by index, NULL behind the last: "f32", "f16", "q8_0" ... */
const char *sd_convert_type_name(size_t index);

#ifdef __cplusplus
}
#endif
#endif
