/* LoRAs that make a model draw in few steps (LCM, Lightning ...) and how to sample with them. Internal to the
 * sd room. */
#ifndef SD_DISTILLED_H
#define SD_DISTILLED_H

#include "lora/lora.h"
#include "sd/sd.h"

struct sd_distilled {
    const char *method; /* "LCM" */
    const char *told;   /* where the name stood: "modelspec.title", "ss_output_name" or "file name" */
    const char *sampler, *schedule;
    uint32_t steps;
    float cfg_scale;
};

/* Whether a LoRA of this name is a distilled one. Weights do not show it; names do, as those who publish them
 * chose them: "lcm-lora-sdxl", "Hyper-SD15-8steps-CFG-lora", "sdxl_lightning_4step_lora". */
bool sd_distilled_named(const char *name, struct sd_distilled *out);

/* The same by the file's metadata, else by its name; by its folder's, where the file has diffusers' own name.
 */
bool sd_distilled_find(const sd_lora *lora, struct sd_distilled *out);

/* Fills in what the request leaves open by the first distilled LoRA of the model's that the UNet has at a
 * positive strength, and says so in the log. False when there is none. */
bool sd_distilled_fill(sd_params *params, const sd_model *model);

#endif
