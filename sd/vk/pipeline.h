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

/* Announces a pipeline that sd_vk_pipeline_get will be asked for: the next sd_vk_pipelines_compile makes it.
 */
sd_status sd_vk_pipeline_want(sd_vk *vk, const struct sd_shader *shader, const uint32_t *spec,
                              uint32_t spec_count, uint32_t subgroup, sd_error *err);

/* Hears that `done` of `all` wanted pipelines are ready; returning true stops the compilation. */
typedef bool (*sd_vk_compile_progress)(void *user, uint32_t done, uint32_t all);

/* Compiles the wanted pipelines with as many threads as the machine has cores. `progress` (or NULL) is called
 * in the calling thread, from the start (0 of all) to the end (all of all), and not at all when everything is
 * there already. SD_E_CANCELLED when it stopped the work; nothing is wanted any more then or after an error.
 */
sd_status sd_vk_pipelines_compile(sd_vk *vk, sd_vk_compile_progress progress, void *user, sd_error *err);

#endif
