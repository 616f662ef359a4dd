/* A request with every default filled in. Internal to the sd room. */
#ifndef SD_REQUEST_H
#define SD_REQUEST_H

#include "sd/base/rng.h"
#include "sd/embeddings.h"
#include "sd/model.h"
#include "sd/sample/sampler.h"
#include "sd/sd.h"

struct sd_request {
    sd_params params; /* strings never NULL, numbers never 0 */
    const sd_sampler *sampler;
    const sd_schedule *schedule;
    sd_rng_kind rng;
    bool guided;            /* cfg_scale is not 1 */
    uint32_t height, width; /* of the latent */
    float sigmas[SD_SIGMAS_MAX];
    uint32_t first, steps; /* sigmas[first..steps] are run */
};

/* Checks everything that the options table and the model ask for, and draws the seed when it is negative. */
sd_status sd_request_resolve(struct sd_request *r, const sd_model *model, const sd_params *params,
                             sd_error *err);

/* Fills infotext and JSON record of one image. */
sd_status sd_output_describe(sd_output *output, sd_model *model, const struct sd_request *r,
                             struct sd_embeddings *embeddings, sd_error *err);

#endif
