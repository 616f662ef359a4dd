/* Whether a call is to stop, for the rooms below. Internal to the sd room. */
#ifndef SD_CANCEL_H
#define SD_CANCEL_H

#include "sd/io/hash_cache.h"
#include "sd/nn/weight.h"
#include "sd/sd.h"

/* As if it had not been requested; NULL-safe. */
void sd_cancel_withdraw(sd_cancel *cancel);

/* From now on loading from the source stops with the request; `cancel` NULL: never. */
void sd_cancel_source(struct sd_weight_source *source, const sd_cancel *cancel);
/* The same for hashing files. */
void sd_cancel_hashes(sd_hash_cache *hashes, const sd_cancel *cancel);

#endif
