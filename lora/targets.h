/* Finding a model's layer by the names that adapter files use. Internal to the lora room. */
#ifndef LORA_TARGETS_H
#define LORA_TARGETS_H

#include "lora/lora.h"

/* The layer that a module of a file means, or NULL. */
const struct sd_lora_target *sd_lora_targets_find(const sd_lora_targets *targets, const char *module);
/* The layer of this canonical name, or NULL. */
const struct sd_lora_target *sd_lora_targets_named(const sd_lora_targets *targets, sd_lora_part part,
                                                   const char *module, size_t length);

/* Width of the text that the UNet's cross-attention reads, 0 when there is none. */
uint32_t sd_lora_targets_context(const sd_lora_targets *targets);
/* Adds one to what it counts as. */
void sd_lora_count_target(struct sd_lora_count *count, const struct sd_lora_target *target);

/* The layer's index in sd_lora_strength.block. */
uint32_t sd_lora_block(const struct sd_lora_target *target);

#endif
