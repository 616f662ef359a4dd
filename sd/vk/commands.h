/* Recorded commands that can be submitted again and again. */
#ifndef SD_VK_COMMANDS_H
#define SD_VK_COMMANDS_H

#include "sd/vk/buffer.h"
#include "sd/vk/pipeline.h"

typedef struct sd_vk_commands sd_vk_commands;

/* Starts recording. `timestamps` is how many sd_vk_commands_timestamp calls will follow at most. */
sd_status sd_vk_commands_create(sd_vk *vk, sd_vk_commands **out, uint32_t timestamps, sd_error *err);
void sd_vk_commands_destroy(sd_vk *vk, sd_vk_commands **commands);

/* At most 128 bytes of push constants; groups within the device's limits (the caller checked). */
void sd_vk_commands_dispatch(sd_vk_commands *commands, sd_vk_pipeline *pipeline, const void *push,
                             uint32_t push_bytes, const uint32_t groups[3]);
/* Compute writes before it are visible to compute reads, writes and transfers after it. */
void sd_vk_commands_barrier(sd_vk_commands *commands);
void sd_vk_commands_timestamp(sd_vk_commands *commands);
/* Writes become visible to the host; ends recording. */
sd_status sd_vk_commands_finish(sd_vk_commands *commands, sd_error *err);

/* Submits and waits until the device is done. SD_E_DEVICE_LOST when it vanished. */
sd_status sd_vk_submit(sd_vk *vk, sd_vk_commands *const *commands, uint32_t count, sd_error *err);
/* The same in two steps, so that the host can work meanwhile: what runs must be waited for before it is
 * started again or destroyed. Commands run in the order in which they were started. */
sd_status sd_vk_start(sd_vk *vk, sd_vk_commands *commands, sd_error *err);
sd_status sd_vk_await(sd_vk *vk, sd_vk_commands *commands, sd_error *err);
/* Nanoseconds of the timestamps of the last submission, relative to the first; 0s where there are none, and
 * before the first submission. */
sd_status sd_vk_commands_times(sd_vk *vk, sd_vk_commands *commands, double *ns, uint32_t count,
                               sd_error *err);

#endif
