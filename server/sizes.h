/* The size of a picture where a request leaves it open. */
#ifndef SERVER_SIZES_H
#define SERVER_SIZES_H

#include "server/config.h"

#include "sd/sd.h"

/* Where a request leaves the size open, or a side of it, it is the model's as far as the server's limits and
 * the policy's (`most` pixels) go. SD_E_ARGUMENT when it is that of an init picture which the policy finds
 * too large; the server's own limits were held against the picture when it was read. */
sd_status sizes_fill(const struct config *c, uint64_t most, const sd_model *model, sd_params *p,
                     sd_error *err);

#endif
