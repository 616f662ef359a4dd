/* The LoRAs that are merged into a model. Internal to the sd room. */
#ifndef SD_ADAPTERS_H
#define SD_ADAPTERS_H

#include "lora/lora.h"
#include "sd/io/file.h"
#include "sd/sd.h"

#include <sys/types.h>

/* One file at its strength. */
struct sd_adapter {
    char *path;
    /* Which file it was, so that a replaced one is noticed. */
    dev_t device;
    ino_t inode;
    int64_t size, changed;
    char sha256[SD_SHA256_HEX], data_sha256[SD_SHA256_HEX]; /* of the file, and as A1111 has it; "" before
                                                               they are asked for */
    sd_lora *file;
    sd_lora_match *match;
    struct sd_lora_strength strength;
};

/* In the order in which they are added. {0} is the empty set. */
struct sd_adapter_set {
    struct sd_adapter *items;
    uint32_t count;
    bool apart; /* low-rank changes of quantised layers are not merged, see sd_weight_source */
};

/* Opens and matches all files; nothing is left behind on failure. */
sd_status sd_adapter_set_open(struct sd_adapter_set *set, const sd_lora_use *uses, size_t count, bool strict,
                              const sd_lora_targets *targets, sd_error *err);
/* The adapters of `more` behind those of `set`; `more` is empty afterwards, also after a failure. */
sd_status sd_adapter_set_append(struct sd_adapter_set *set, struct sd_adapter_set *more, sd_error *err);
void sd_adapter_set_close(struct sd_adapter_set *set);

/* Whether two sets do the same to a tensor. */
bool sd_adapter_sets_agree(const struct sd_adapter_set *a, const struct sd_adapter_set *b, sd_lora_part part,
                           const char *name);

/* A part of the checkpoint as `set` changes it; both must outlive its use. */
struct sd_adapted {
    struct sd_weight_source base;
    const struct sd_adapter_set *set;
    sd_lora_part part;
};
struct sd_weight_source sd_adapted_source(struct sd_adapted *adapted);

#endif
