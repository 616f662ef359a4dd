/* Shared inside the vk room only. */
#ifndef SD_VK_INTERNAL_H
#define SD_VK_INTERNAL_H

#include "sd/vk/commands.h"

#include <pthread.h>
#include <vulkan/vulkan.h>

/* Inside a function with a `sd_status status`, an `sd_error *err` and an `error:` label. */
#define VK(call)                                                                                             \
    do {                                                                                                     \
        VkResult result_ = (call);                                                                           \
        if (result_ < 0) {                                                                                   \
            status = sd_vk_failed(err, #call, result_);                                                      \
            goto error;                                                                                      \
        }                                                                                                    \
    } while (0)

enum { SD_VK_STAGES = 2, SD_VK_STAGE_BYTES = 4 << 20, SD_VK_PUSH_BYTES = 128 };

typedef enum sd_vk_pipeline_state {
    SD_VK_WANTED,  /* known, without a handle */
    SD_VK_TAKEN,   /* a thread works on it */
    SD_VK_CREATED, /* has a handle, but the driver still has to compile it */
    SD_VK_CACHED,  /* the same; its code now lies in the driver's cache */
    SD_VK_READY
} sd_vk_pipeline_state;

struct sd_vk_pipeline {
    sd_vk_pipeline *next;
    const struct sd_shader *shader;
    uint32_t spec[SD_VK_MAX_SPEC], spec_count, subgroup;
    VkPipeline handle;
    sd_vk_pipeline_state state;
    double seconds; /* that its creation took */
};

/* One half of the upload ring. */
struct sd_vk_stage {
    VkCommandBuffer commands;
    VkFence fence;
    bool busy;
};

struct sd_vk {
    sd_logger log;
    struct sd_vk_info info;
    uint32_t forced_subgroup;
    bool debug_utils, staging, memory_budget;
    pthread_mutex_t message_lock; /* validation messages come from every thread that calls Vulkan */
    uint32_t validation_messages;
    VkInstance instance;
    VkDebugUtilsMessengerEXT messenger;
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue;
    uint32_t family;
    VkPhysicalDeviceMemoryProperties memory;
    VkCommandPool pool;
    VkFence fence;
    VkPipelineLayout layout;
    VkPipelineCache cache;
    char *cache_path;  /* NULL: not kept on disk */
    size_t cache_size; /* bytes of the cache as loaded, to skip needless writes */
    sd_vk_pipeline *pipelines;
    struct sd_vk_block *blocks;
    uint64_t used, reserved;
    sd_vk_buffer *ring, *readback;
    struct sd_vk_stage stages[SD_VK_STAGES];
    uint32_t next_stage;
    double waited; /* seconds in sd_vk_wait */
};

/* The status for a VkResult, with a message that names the call. */
sd_status sd_vk_failed(sd_error *err, const char *call, VkResult result);

/* instance.c */
sd_status sd_vk_instance_create(VkInstance *out, bool validation, bool *debug_utils, sd_error *err);
void sd_vk_describe(VkInstance instance, VkPhysicalDevice physical, struct sd_vk_info *info, bool *usable);
bool sd_vk_has_extension(VkPhysicalDevice physical, const char *name);
/* Usable devices in order of preference; *devices is malloc'ed. */
sd_status sd_vk_usable(VkInstance instance, VkPhysicalDevice **devices, struct sd_vk_info **infos,
                       uint32_t *count, sd_error *err);

/* optional.c */
struct sd_vk_coop_features {
    VkStructureType sType;
    void *pNext;
    VkBool32 matrix, robust_access;
};
/* The feature that a device with info->coop is created with. */
void sd_vk_coop_features(struct sd_vk_coop_features *features);
/* Fill info->coop and info->cores; subgroup sizes must be known. */
void sd_vk_describe_coop(VkInstance instance, VkPhysicalDevice physical, struct sd_vk_info *info);
void sd_vk_describe_cores(VkPhysicalDevice physical, struct sd_vk_info *info);

/* memory.c */
void sd_vk_memory_free(sd_vk *vk);
VkBuffer sd_vk_buffer_handle(const sd_vk_buffer *buffer);

/* Waits for a fence and resets it. */
sd_status sd_vk_wait(sd_vk *vk, VkFence fence, sd_error *err);

/* transfer.c */
sd_status sd_vk_transfer_create(sd_vk *vk, sd_error *err);
void sd_vk_transfer_destroy(sd_vk *vk);

/* device.c: the same device opened once more, only for pipelines and commands; close it before `vk`. Any
 * thread. */
sd_status sd_vk_twin_open(sd_vk **out, const sd_vk *vk, sd_error *err);

/* pipeline.c and cache.c */
void sd_vk_pipelines_destroy(sd_vk *vk);
/* Fills handle and seconds. Any thread. */
sd_status sd_vk_pipeline_create(sd_vk *vk, sd_vk_pipeline *pipeline, sd_error *err);
/* Forgets the pipelines without a handle. */
void sd_vk_pipelines_drop_wanted(sd_vk *vk);
sd_status sd_vk_cache_open(sd_vk *vk, const char *folder, sd_error *err);
void sd_vk_cache_save(sd_vk *vk);

/* Names an object for debuggers and validation messages; nothing without VK_EXT_debug_utils. */
void sd_vk_name(sd_vk *vk, VkObjectType type, uint64_t handle, const char *name);

#endif
