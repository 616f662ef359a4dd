/* A common GPU, for tests that need no device. */
#ifndef UNIT_GPU_H
#define UNIT_GPU_H

#include "sd/vk/device.h"

static const struct sd_vk_info gpu = {.name = "a GPU",
                                      .kind = SD_VK_DISCRETE,
                                      .subgroup = 32,
                                      .subgroup_min = 32,
                                      .subgroup_max = 32,
                                      .shared_memory = 32768,
                                      .max_invocations = 1024,
                                      .max_groups = {65535, 65535, 65535},
                                      .push_bytes = 128,
                                      .cores = 32};

#endif
