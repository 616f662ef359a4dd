/* Small computations with known results, run before a feature of a device is trusted. */
#ifndef SD_NN_SELF_TEST_H
#define SD_NN_SELF_TEST_H

#include "sd/vk/device.h"

/* Convolutions on the device with every tile and weight layout that `info` allows for f16 operands (`info`
 * may differ from the device's own description, which weights are packed for). SD_E_NUMERIC names the first
 * wrong value. */
sd_status sd_self_test_gemm(sd_vk *vk, const struct sd_vk_info *info, sd_error *err);

/* Tests the device's cooperative matrices, where it has any and the GEMM kernels would use them, and gives
 * them up with a warning when they fail. Fails only when memory or the device is gone. */
sd_status sd_self_test(sd_vk *vk, sd_error *err);

#endif
