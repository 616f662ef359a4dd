#include "sd/vk/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                 VkDebugUtilsMessageTypeFlagsEXT type,
                                                 const VkDebugUtilsMessengerCallbackDataEXT *data,
                                                 void *user) {
    sd_vk *vk = user;
    (void)type;
    if (severity &
        (VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT)) {
        pthread_mutex_lock(&vk->message_lock);
        vk->validation_messages++;
        sd_log(&vk->log, SD_LOG_ERROR, "validation: %s", data->pMessage);
        pthread_mutex_unlock(&vk->message_lock);
    }
    return VK_FALSE;
}

static void create_messenger(sd_vk *vk) {
    PFN_vkCreateDebugUtilsMessengerEXT create = (PFN_vkCreateDebugUtilsMessengerEXT)vkGetInstanceProcAddr(
        vk->instance, "vkCreateDebugUtilsMessengerEXT");
    const VkDebugUtilsMessengerCreateInfoEXT info = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity =
            VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT,
        .messageType =
            VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = vk};
    if (create)
        create(vk->instance, &info, NULL, &vk->messenger);
}

void sd_vk_name(sd_vk *vk, VkObjectType type, uint64_t handle, const char *name) {
    if (!vk->debug_utils)
        return;
    PFN_vkSetDebugUtilsObjectNameEXT set =
        (PFN_vkSetDebugUtilsObjectNameEXT)vkGetInstanceProcAddr(vk->instance, "vkSetDebugUtilsObjectNameEXT");
    const VkDebugUtilsObjectNameInfoEXT info = {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT,
                                                .objectType = type,
                                                .objectHandle = handle,
                                                .pObjectName = name};
    if (set)
        set(vk->device, &info);
}

static bool contains_ignoring_case(const char *text, const char *part) {
    size_t n = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < n && text[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (i == n)
            return true;
    }
    return false;
}

/* Index of the device that `wanted` names: a number, a UUID, or part of a name. */
static sd_status pick(const struct sd_vk_info *infos, uint32_t count, const char *wanted, uint32_t *out,
                      sd_error *err) {
    *out = 0;
    if (!wanted || !*wanted)
        return SD_OK;
    if (strspn(wanted, "0123456789") == strlen(wanted)) {
        unsigned long index = strtoul(wanted, NULL, 10);
        if (index >= count)
            return sd_fail(err, SD_E_NOT_FOUND, "device %s does not exist; `sdvk devices` lists 0 to %u",
                           wanted, count - 1);
        *out = (uint32_t)index;
        return SD_OK;
    }
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(infos[i].uuid, wanted) || contains_ignoring_case(infos[i].name, wanted)) {
            *out = i;
            return SD_OK;
        }
    return sd_fail(err, SD_E_NOT_FOUND,
                   "no device is called '%s'; `sdvk devices` lists what is there (first: '%s')", wanted,
                   infos[0].name);
}

static sd_status choose(sd_vk *vk, const char *wanted, sd_error *err) {
    VkPhysicalDevice *devices = NULL;
    struct sd_vk_info *infos = NULL;
    uint32_t count = 0, index = 0;
    sd_status status = sd_vk_usable(vk->instance, &devices, &infos, &count, err);
    if (!status)
        status = pick(infos, count, wanted, &index, err);
    if (!status) {
        vk->physical = devices[index];
        vk->info = infos[index];
        vkGetPhysicalDeviceMemoryProperties(vk->physical, &vk->memory);
    }
    free(devices);
    free(infos);
    return status;
}

/* A family with compute; one without graphics when there is one, since it competes with nothing. */
static sd_status choose_family(sd_vk *vk, sd_error *err) {
    VkQueueFamilyProperties families[32];
    uint32_t count = 32, best = UINT32_MAX;
    vkGetPhysicalDeviceQueueFamilyProperties(vk->physical, &count, families);
    for (uint32_t i = 0; i < count; i++) {
        if (!(families[i].queueFlags & VK_QUEUE_COMPUTE_BIT))
            continue;
        if (best == UINT32_MAX || !(families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT))
            best = i;
        if (!(families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT))
            break;
    }
    if (best == UINT32_MAX)
        return sd_fail(err, SD_E_DEVICE, "'%s' has no compute queue", vk->info.name);
    vk->family = best;
    if (!families[best].timestampValidBits)
        vk->info.timestamp_ns = 0;
    return SD_OK;
}

static sd_status create_device(sd_vk *vk, sd_error *err) {
    sd_status status = SD_OK;
    const char *extensions[8];
    uint32_t extension_count = 0;
    bool control = vk->info.subgroup_max > vk->info.subgroup_min ||
                   sd_vk_has_extension(vk->physical, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
    if (control)
        extensions[extension_count++] = VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME;
    vk->memory_budget = sd_vk_has_extension(vk->physical, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    if (vk->memory_budget)
        extensions[extension_count++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    VkPhysicalDeviceSubgroupSizeControlFeatures subgroup = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES,
        .subgroupSizeControl = VK_TRUE};
    struct sd_vk_coop_features coop;
    sd_vk_coop_features(&coop);
    coop.pNext = control ? &subgroup : NULL;
    if (vk->info.coop.m)
        extensions[extension_count++] = "VK_KHR_cooperative_matrix";
    VkPhysicalDeviceVulkan11Features f11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
                                            .pNext = vk->info.coop.m ? (void *)&coop : coop.pNext,
                                            .storageBuffer16BitAccess = vk->info.f16_storage};
    VkPhysicalDeviceVulkan12Features f12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                            .pNext = &f11,
                                            .shaderFloat16 = vk->info.f16_arithmetic,
                                            .vulkanMemoryModel = vk->info.coop.m > 0,
                                            .bufferDeviceAddress = VK_TRUE};
    const VkPhysicalDeviceFeatures features = {.shaderInt64 = vk->info.int64};
    const float priority = 1;
    const VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                           .queueFamilyIndex = vk->family,
                                           .queueCount = 1,
                                           .pQueuePriorities = &priority};
    const VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                     .pNext = &f12,
                                     .queueCreateInfoCount = 1,
                                     .pQueueCreateInfos = &queue,
                                     .enabledExtensionCount = extension_count,
                                     .ppEnabledExtensionNames = extensions,
                                     .pEnabledFeatures = &features};
    VK(vkCreateDevice(vk->physical, &info, NULL, &vk->device));
    vkGetDeviceQueue(vk->device, vk->family, 0, &vk->queue);
    const VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                          .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                          .queueFamilyIndex = vk->family};
    VK(vkCreateCommandPool(vk->device, &pool, NULL, &vk->pool));
    const VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VK(vkCreateFence(vk->device, &fence, NULL, &vk->fence));
    const VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, SD_VK_PUSH_BYTES};
    const VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                               .pushConstantRangeCount = 1,
                                               .pPushConstantRanges = &range};
    VK(vkCreatePipelineLayout(vk->device, &layout, NULL, &vk->layout));
error:
    return status;
}

sd_status sd_vk_open(sd_vk **out, const struct sd_vk_options *options, sd_error *err) {
    static const struct sd_vk_options defaults;
    options = options ? options : &defaults;
    *out = NULL;
    sd_vk *vk = calloc(1, sizeof *vk);
    if (!vk)
        return sd_fail(err, SD_E_MEMORY, "out of memory while opening the device");
    pthread_mutex_init(&vk->message_lock, NULL);
    vk->log = options->log;
    vk->staging = options->staging;
    sd_status status = sd_vk_instance_create(&vk->instance, options->validation, &vk->debug_utils, err);
    if (status)
        goto error;
    if (vk->debug_utils)
        create_messenger(vk);
    if ((status = choose(vk, options->device, err)) || (status = choose_family(vk, err)) ||
        (status = create_device(vk, err)))
        goto error;
    if (options->subgroup) {
        if (options->subgroup < vk->info.subgroup_min || options->subgroup > vk->info.subgroup_max) {
            status = sd_fail(err, SD_E_UNSUPPORTED, "'%s' has subgroups of %u to %u lanes, not %u",
                             vk->info.name, vk->info.subgroup_min, vk->info.subgroup_max, options->subgroup);
            goto error;
        }
        vk->forced_subgroup = vk->info.subgroup = options->subgroup;
        vk->info.subgroup_min = vk->info.subgroup_max = options->subgroup;
    }
    if ((status = sd_vk_cache_open(vk, options->cache_dir, err)) || (status = sd_vk_transfer_create(vk, err)))
        goto error;
    sd_log(&vk->log, SD_LOG_INFO, "device: %s (%s)", vk->info.name, vk->info.driver);
    *out = vk;
    return SD_OK;
error:
    sd_vk_close(&vk);
    return status;
}

/* Borrows the instance: `instance` stays empty, so that closing the twin leaves it alone. */
sd_status sd_vk_twin_open(sd_vk **out, const sd_vk *vk, sd_error *err) {
    sd_vk *twin = calloc(1, sizeof *twin);
    *out = NULL;
    if (!twin)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    pthread_mutex_init(&twin->message_lock, NULL);
    twin->physical = vk->physical;
    twin->info = vk->info;
    twin->family = vk->family;
    sd_status status = create_device(twin, err);
    if (status)
        sd_vk_close(&twin);
    *out = twin;
    return status;
}

void sd_vk_close(sd_vk **handle) {
    sd_vk *vk = *handle;
    if (!vk)
        return;
    if (vk->device) {
        vkDeviceWaitIdle(vk->device);
        sd_vk_cache_save(vk);
        sd_vk_transfer_destroy(vk);
        sd_vk_pipelines_destroy(vk);
        sd_vk_memory_free(vk);
        vkDestroyPipelineCache(vk->device, vk->cache, NULL);
        vkDestroyPipelineLayout(vk->device, vk->layout, NULL);
        vkDestroyFence(vk->device, vk->fence, NULL);
        vkDestroyCommandPool(vk->device, vk->pool, NULL);
        vkDestroyDevice(vk->device, NULL);
    }
    if (vk->messenger) {
        PFN_vkDestroyDebugUtilsMessengerEXT destroy =
            (PFN_vkDestroyDebugUtilsMessengerEXT)vkGetInstanceProcAddr(vk->instance,
                                                                       "vkDestroyDebugUtilsMessengerEXT");
        destroy(vk->instance, vk->messenger, NULL);
    }
    if (vk->instance)
        vkDestroyInstance(vk->instance, NULL);
    pthread_mutex_destroy(&vk->message_lock);
    free(vk->cache_path);
    free(vk);
    *handle = NULL;
}

const struct sd_vk_info *sd_vk_info(const sd_vk *vk) {
    return &vk->info;
}

void sd_vk_refuse_coop(sd_vk *vk, const char *why) {
    vk->info.coop.m = 0;
    sd_log(&vk->log, SD_LOG_WARNING, "%s: cooperative matrices are not used: %s", vk->info.name, why);
}

double sd_vk_waited(const sd_vk *vk) {
    return vk->waited;
}

uint32_t sd_vk_validation_messages(const sd_vk *vk) {
    return vk->validation_messages;
}
