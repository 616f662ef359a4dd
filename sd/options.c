#include "sd/sd.h"

#include "sd/base/str.h"
#include "sd/sample/registry.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(name) offsetof(sd_params, name)

static const char *const rngs[] = {"cpu", "gpu", NULL};

static const sd_option table[] = {
    {"prompt", SD_OPTION_TEXT, 0, 0, "", "what the picture shows", NULL, FIELD(prompt)},
    {"negative_prompt", SD_OPTION_TEXT, 0, 0, "", "what it should not show", NULL, FIELD(negative_prompt)},
    {"width", SD_OPTION_COUNT, 64, 8192, "the model's own", "pixels, a multiple of 8", NULL, FIELD(width)},
    {"height", SD_OPTION_COUNT, 64, 8192, "the model's own", "pixels, a multiple of 8", NULL, FIELD(height)},
    {"steps", SD_OPTION_COUNT, 1, 1000, "20", "denoising steps", NULL, FIELD(steps)},
    {"cfg_scale", SD_OPTION_NUMBER, 1, 100, "7",
     "how strictly the prompt is followed; 1 switches guidance off", NULL, FIELD(cfg_scale)},
    {"sampler", SD_OPTION_CHOICE, 0, 0, "euler", "way from noise to picture", sd_sampler_names,
     FIELD(sampler)},
    {"schedule", SD_OPTION_CHOICE, 0, 0, "the sampler's own", "spacing of the noise levels",
     sd_schedule_names, FIELD(schedule)},
    {"seed", SD_OPTION_SEED, -1, 4294967295.0, "-1", "the picture's number; -1 draws one at random", NULL,
     FIELD(seed)},
    {"count", SD_OPTION_COUNT, 1, 1000, "1", "pictures, with seeds counting up", NULL, FIELD(count)},
    {"rng", SD_OPTION_CHOICE, 0, 0, "cpu", "whose noise a seed gives: PyTorch's on the CPU or on CUDA", rngs,
     FIELD(rng)},
    {"clip_skip", SD_OPTION_COUNT, 1, 12, "the model's own",
     "text encoder layers counted from the end; 1 is the last", NULL, FIELD(clip_skip)},
    {"eta", SD_OPTION_NUMBER, 0, 2, "the sampler's own", "noise added by ancestral and DDIM samplers", NULL,
     FIELD(eta)},
    {"strength", SD_OPTION_NUMBER, 0.01, 1, "0.75", "how much of the init picture is replaced", NULL,
     FIELD(strength)},
};

size_t sd_option_count(void) {
    return sizeof table / sizeof *table;
}

const sd_option *sd_option_at(size_t index) {
    return index < sd_option_count() ? &table[index] : NULL;
}

const sd_option *sd_option_find(const char *name) {
    for (size_t i = 0; i < sd_option_count(); i++)
        if (!strcmp(table[i].name, name))
            return &table[i];
    return NULL;
}
