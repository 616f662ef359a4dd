/* Choosing and opening a Vulkan device. */
#ifndef SD_VK_DEVICE_H
#define SD_VK_DEVICE_H

#include "sd/base/log.h"
#include "sd/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum sd_vk_kind {
    SD_VK_OTHER,
    SD_VK_INTEGRATED,
    SD_VK_DISCRETE,
    SD_VK_VIRTUAL,
    SD_VK_CPU
} sd_vk_kind;

/* What a device is and can do. Everything beyond Vulkan 1.2 with bufferDeviceAddress is optional. Nothing but
 * this struct decides which kernel variants an op picks, so a plan can be made without a device. */
struct sd_vk_info {
    char name[256], driver[520]; /* driver: name and version as the driver tells them */
    char uuid[37];               /* deviceUUID in 8-4-4-4-12 form */
    sd_vk_kind kind;
    uint32_t index; /* position in the loader's list */
    uint32_t vendor, device, driver_version, api_version;
    uint64_t memory;                     /* bytes of the largest device-local heap */
    uint64_t max_allocation;             /* bytes of one allocation */
    uint32_t subgroup;                   /* lanes of a subgroup when none is asked for */
    uint32_t subgroup_min, subgroup_max; /* sizes that a pipeline may require; equal when it cannot */
    uint32_t shared_memory;              /* bytes of a workgroup */
    uint32_t max_invocations;            /* of a workgroup */
    uint32_t max_groups[3];
    uint32_t push_bytes;
    uint32_t cores;      /* compute units or SMs; a guess of 32 where no extension tells */
    float timestamp_ns;  /* nanoseconds of a tick; 0 without timestamps */
    bool f16_arithmetic; /* shaderFloat16 */
    bool f16_storage;    /* storageBuffer16BitAccess */
    bool int64;
    bool subgroup_basic; /* ballot, shuffle and arithmetic in compute shaders */
    bool unified_memory; /* device-local memory is host-visible and large (CPUs, integrated GPUs) */
    /* VK_KHR_cooperative_matrix: shape of its operation f16 x f16 + f32 -> f32 in subgroups of `subgroup`
     * lanes; m is 0 where there is none. */
    struct {
        uint32_t m, n, k, subgroup;
    } coop;
};

/* Fills up to `capacity` entries with the usable devices, best first (discrete, integrated, virtual, CPU),
 * and stores how many there are. A device that lacks Vulkan 1.2 or bufferDeviceAddress is not listed.
 * SD_E_DEVICE when there is no Vulkan loader or no usable device. */
sd_status sd_vk_list(struct sd_vk_info *out, size_t capacity, size_t *count, sd_error *err);

struct sd_vk_options {
    const char *device;    /* index in sd_vk_list's order, part of a name, or UUID; NULL picks the first */
    const char *cache_dir; /* folder of the pipeline cache, made when missing; NULL keeps none on disk */
    uint32_t subgroup;     /* require this subgroup size everywhere; 0 leaves it to the driver */
    bool staging;          /* use the upload ring even where the host could write directly; for tests */
    bool validation; /* load VK_LAYER_KHRONOS_validation with synchronisation checks; its messages are errors
                      */
    sd_logger log;
};

/* An open device with one compute queue. One thread at a time. */
typedef struct sd_vk sd_vk;

sd_status sd_vk_open(sd_vk **out, const struct sd_vk_options *options, sd_error *err);

/* Waits for the queue, writes the pipeline cache and frees everything. NULL-safe; sets *vk to NULL. */
void sd_vk_close(sd_vk **vk);

const struct sd_vk_info *sd_vk_info(const sd_vk *vk);

/* From now on the device counts as one without cooperative matrices; `why` goes into a warning. For what
 * tests them, before anything is built for the device. */
void sd_vk_refuse_coop(sd_vk *vk, const char *why);

/* Seconds spent waiting for the device since it was opened: the rest of a wall clock is the host's. */
double sd_vk_waited(const sd_vk *vk);

/* Messages of the validation layers so far (0 without them). */
uint32_t sd_vk_validation_messages(const sd_vk *vk);

#endif
