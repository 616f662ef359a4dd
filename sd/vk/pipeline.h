/* Compute pipelines: one per shader, specialization constants and subgroup size, kept until the device
 * closes. */
#ifndef SD_VK_PIPELINE_H
#define SD_VK_PIPELINE_H

#include "sd/vk/device.h"
#include "shaders/shader.h"

typedef struct sd_vk_pipeline sd_vk_pipeline;

enum { SD_VK_MAX_SPEC = 24 };

/* Specialization constant i gets spec[i]. `subgroup` 0 leaves the size to the driver (or to the option that
 * the device was opened with). The pipeline stays owned by the device. */
sd_status sd_vk_pipeline_get(sd_vk *vk, const struct sd_shader *shader, const uint32_t *spec,
                             uint32_t spec_count, uint32_t subgroup, sd_vk_pipeline **out, sd_error *err);

#endif
