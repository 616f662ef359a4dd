/* A checkpoint in memory: a list of tensors that ends with a NULL name. */
#ifndef UNIT_NN_CHECKPOINT_H
#define UNIT_NN_CHECKPOINT_H

#include "sd/nn/weight.h"

#include <string.h>

struct stored {
    const char *name;
    struct sd_raw raw;
};

static inline bool find_stored(void *user, const char *name, struct sd_raw *out) {
    for (const struct stored *s = user; s->name; s++)
        if (!strcmp(s->name, name)) {
            *out = s->raw;
            return true;
        }
    return false;
}

#endif
