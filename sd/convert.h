/* Writing a model as one file of other element types. Internal to the sd room.
 *
 * A conversion is a list of items, the tensors of the file to be (convert_list.c). LoRAs may change them
 * (convert_edits.c), each has a type chosen for it (convert_types.c), and its bytes are made when the file's
 * writer asks for them (convert_values.c), so that no more than one tensor is ever in memory. */
#ifndef SD_CONVERT_H
#define SD_CONVERT_H

#include "sd/checkpoint.h"
#include "sd/io/gguf.h"
#include "sd/model.h"
#include "sd/nn/editor.h"
#include "sd/tools.h"

typedef enum sd_convert_kind {
    CONVERT_ATTENTION,
    CONVERT_FEED_FORWARD,
    CONVERT_CONVOLUTION, /* with filters of more than one tap */
    CONVERT_LAYER,       /* other linear layers and convolutions of one tap */
    CONVERT_EMBEDDING,   /* tables of words and positions; time and label embeddings */
    CONVERT_VECTOR,      /* one dimension or none: norms, biases */
    CONVERT_KINDS
} sd_convert_kind;

enum { CONVERT_PIECES = 3 };

/* A tensor of the output. Its values are those of its pieces one after the other. */
struct sd_convert_item {
    sd_file_tensor out; /* name, shape, and once they are chosen type and size; no data */
    sd_file_dtype from; /* type of the pieces */
    struct sd_raw piece[CONVERT_PIECES];
    uint32_t pieces;
    bool turned; /* the only piece is the transpose of the tensor */
    /* Canonical names of the pieces that LoRAs change, NULL for others. */
    const char *edited[CONVERT_PIECES];
    sd_lora_part network; /* of these names */
    sd_part part;         /* SD_PARTS: of no network */
    sd_convert_kind kind;
    sd_file_dtype asked; /* what a rule or the general type wanted; what it became where none did */
    /* Over all values: squares of what they are written as less what they were to be, and of the latter; the
     * largest absolute difference. */
    double difference, size, largest;
};

struct sd_conversion {
    const sd_convert_params *params;
    sd_checkpoint *files;
    bool gguf;
    sd_arena arena; /* names, tensors */
    struct sd_convert_item *items;
    size_t count, capacity;
    sd_file_tensor *tensors;                       /* [count], the items' `out` */
    const sd_file_tensor **by_name;                /* the same, sorted */
    struct sd_weight_source source[SD_LORA_PARTS]; /* with LoRAs: where the changes come from */
    sd_editor *editor;                             /* with LoRAs: what computes them */
};

/* Fills items from the checkpoint: those of a single file under their own names, those of a folder under the
 * names of single files. */
sd_status sd_convert_list(struct sd_conversion *conversion, sd_error *err);

/* Marks what the model's LoRAs change. The model must outlive the conversion. */
sd_status sd_convert_mark_edits(struct sd_conversion *conversion, sd_model *model, sd_error *err);

/* Sets the type and size of every item, and `asked`. */
sd_status sd_convert_choose(struct sd_conversion *conversion, sd_error *err);

/* Gives the output's bytes to its writer. */
struct sd_convert_values {
    struct sd_conversion *conversion;
    const struct sd_convert_item *item; /* whose bytes were asked for last */
    float *whole;   /* [its values], where they do not come straight from the file; freed by the owner */
    size_t written; /* items that are done */
    double began;   /* seconds */
    unsigned threads;
};
sd_status sd_convert_fill(void *values, const sd_file_tensor *tensor, uint64_t first, void *out, size_t size,
                          sd_error *err);

/* What the file will say about itself: the source's metadata, a folder's configurations, the LoRAs of `model`
 * (NULL: none). */
sd_status sd_convert_metadata(const struct sd_conversion *conversion, const sd_model *model,
                              sd_gguf_values *out, sd_error *err);

/* Groups the items as the report lists them. */
sd_status sd_convert_summarise(const struct sd_conversion *conversion, sd_convert_report **out,
                               sd_error *err);

#endif
