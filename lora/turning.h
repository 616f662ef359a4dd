/* The orthogonal blocks of OFT and BOFT. Internal to the lora room. */
#ifndef LORA_TURNING_H
#define LORA_TURNING_H

#include "lora/module.h"

/* Every block of a module as rows of one matrix [count * size, size]. */
struct sd_lora_blocks {
    uint32_t count, size;
    double *q;     /* skew-symmetric */
    float *turned; /* I + s (R - I), perhaps transposed */
};

/* Zeros; false (with the edit failed) when memory runs out. To be freed either way. */
bool sd_lora_alloc_blocks(struct sd_lora_blocks *blocks, sd_edit *e);
void sd_lora_free_blocks(struct sd_lora_blocks *blocks);

struct sd_lora_turning {
    double strength;
    bool transposed, series;
    unsigned terms;
    bool backwards; /* (I - q)(I + q)^-1 */
};

/* Fills `turned` from `q`. */
void sd_lora_turn(struct sd_lora_blocks *blocks, const struct sd_lora_turning *turning, sd_edit *e);

/* The constraint: blocks first..first+count are shrunk together until their norm is at most `limit`. */
void sd_lora_shrink_blocks(struct sd_lora_blocks *blocks, uint32_t first, uint32_t count, double limit);

#endif
