#include "sd/vk/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

sd_status sd_vk_failed(sd_error *err, const char *call, VkResult result) {
    size_t name = strcspn(call, "( ");
    switch (result) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
        return sd_fail(err, SD_E_MEMORY, "out of host memory in %.*s", (int)name, call);
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
        return sd_fail(err, SD_E_DEVICE_MEMORY, "out of device memory in %.*s", (int)name, call);
    case VK_ERROR_DEVICE_LOST:
        return sd_fail(err, SD_E_DEVICE_LOST,
                       "the device was lost in %.*s (driver reset or removed device); open it again",
                       (int)name, call);
    default:
        return sd_fail(err, SD_E_DEVICE, "%.*s failed with VkResult %d", (int)name, call, (int)result);
    }
}

static bool has_layer(const char *name) {
    uint32_t count = 0;
    bool found = false;
    if (vkEnumerateInstanceLayerProperties(&count, NULL) < 0 || !count)
        return false;
    VkLayerProperties *layers = calloc(count, sizeof *layers);
    if (layers && vkEnumerateInstanceLayerProperties(&count, layers) >= 0)
        for (uint32_t i = 0; i < count && !found; i++)
            found = !strcmp(layers[i].layerName, name);
    free(layers);
    return found;
}

static bool has_instance_extension(const char *layer, const char *name) {
    uint32_t count = 0;
    bool found = false;
    if (vkEnumerateInstanceExtensionProperties(layer, &count, NULL) < 0 || !count)
        return false;
    VkExtensionProperties *list = calloc(count, sizeof *list);
    if (list && vkEnumerateInstanceExtensionProperties(layer, &count, list) >= 0)
        for (uint32_t i = 0; i < count && !found; i++)
            found = !strcmp(list[i].extensionName, name);
    free(list);
    return found;
}

sd_status sd_vk_instance_create(VkInstance *out, bool validation, bool *debug_utils, sd_error *err) {
    static const char layer[] = "VK_LAYER_KHRONOS_validation";
    const char *layers[] = {layer};
    const char *extensions[2];
    uint32_t extension_count = 0;
    const VkValidationFeatureEnableEXT checks[] = {
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
    VkValidationFeaturesEXT features = {.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
                                        .enabledValidationFeatureCount = 1,
                                        .pEnabledValidationFeatures = checks};
    if (validation && !has_layer(layer))
        return sd_fail(err, SD_E_NOT_FOUND, "validation was asked for, but %s is not installed", layer);
    *debug_utils = has_instance_extension(NULL, VK_EXT_DEBUG_UTILS_EXTENSION_NAME) && validation;
    if (*debug_utils)
        extensions[extension_count++] = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
    if (validation)
        extensions[extension_count++] = VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME;
    const VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                           .pApplicationName = "sdvk",
                                           .pEngineName = "sdvk",
                                           .apiVersion = VK_API_VERSION_1_2};
    const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                       .pNext = validation ? &features : NULL,
                                       .pApplicationInfo = &application,
                                       .enabledLayerCount = validation ? 1 : 0,
                                       .ppEnabledLayerNames = layers,
                                       .enabledExtensionCount = extension_count,
                                       .ppEnabledExtensionNames = extensions};
    VkResult result = vkCreateInstance(&info, NULL, out);
    if (result == VK_ERROR_INCOMPATIBLE_DRIVER || result == VK_ERROR_INITIALIZATION_FAILED)
        return sd_fail(
            err, SD_E_DEVICE,
            "no Vulkan driver is installed; on Debian and Ubuntu `apt install mesa-vulkan-drivers` gives "
            "one for most GPUs and for the CPU");
    return result < 0 ? sd_vk_failed(err, "vkCreateInstance", result) : SD_OK;
}

bool sd_vk_has_extension(VkPhysicalDevice physical, const char *name) {
    uint32_t count = 0;
    bool found = false;
    if (vkEnumerateDeviceExtensionProperties(physical, NULL, &count, NULL) < 0 || !count)
        return false;
    VkExtensionProperties *list = calloc(count, sizeof *list);
    if (list && vkEnumerateDeviceExtensionProperties(physical, NULL, &count, list) >= 0)
        for (uint32_t i = 0; i < count && !found; i++)
            found = !strcmp(list[i].extensionName, name);
    free(list);
    return found;
}

static sd_vk_kind kind_of(VkPhysicalDeviceType type) {
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return SD_VK_DISCRETE;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return SD_VK_INTEGRATED;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return SD_VK_VIRTUAL;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return SD_VK_CPU;
    default:
        return SD_VK_OTHER;
    }
}

static void describe_memory(VkPhysicalDevice physical, struct sd_vk_info *info) {
    VkPhysicalDeviceMemoryProperties memory;
    vkGetPhysicalDeviceMemoryProperties(physical, &memory);
    uint32_t best = 0;
    for (uint32_t i = 0; i < memory.memoryHeapCount; i++)
        if ((memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) &&
            memory.memoryHeaps[i].size > info->memory) {
            info->memory = memory.memoryHeaps[i].size;
            best = i;
        }
    const VkMemoryPropertyFlags shared = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT |
                                         VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                         VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    /* On discrete cards a mapped heap means PCIe writes into the card (ReBAR): weights do not belong there.
     */
    for (uint32_t i = 0; i < memory.memoryTypeCount; i++)
        if (info->kind != SD_VK_DISCRETE && memory.memoryTypes[i].heapIndex == best &&
            (memory.memoryTypes[i].propertyFlags & shared) == shared)
            info->unified_memory = true;
}

static void format_uuid(const uint8_t *b, char out[37]) {
    char *p = out;
    for (int i = 0; i < 16; i++)
        p += sprintf(p, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", b[i]);
}

static void describe_subgroups(const VkPhysicalDeviceSubgroupProperties *subgroup,
                               const VkPhysicalDeviceSubgroupSizeControlProperties *control, bool has_control,
                               struct sd_vk_info *info) {
    const VkSubgroupFeatureFlags wanted = VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_BALLOT_BIT |
                                          VK_SUBGROUP_FEATURE_SHUFFLE_BIT |
                                          VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
    info->subgroup = subgroup->subgroupSize ? subgroup->subgroupSize : 1; /* Mali-G72 drivers say 0 */
    info->subgroup_min = info->subgroup_max = info->subgroup;
    if (has_control && (control->requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT)) {
        info->subgroup_min = control->minSubgroupSize;
        info->subgroup_max = control->maxSubgroupSize;
    }
    info->subgroup_basic = (subgroup->supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) &&
                           (subgroup->supportedOperations & wanted) == wanted;
}

static void describe_limits(const VkPhysicalDeviceProperties *p, struct sd_vk_info *info) {
    memcpy(info->name, p->deviceName, sizeof info->name);
    info->vendor = p->vendorID;
    info->device = p->deviceID;
    info->driver_version = p->driverVersion;
    info->api_version = p->apiVersion;
    info->kind = kind_of(p->deviceType);
    info->shared_memory = p->limits.maxComputeSharedMemorySize;
    info->max_invocations = p->limits.maxComputeWorkGroupInvocations;
    memcpy(info->max_groups, p->limits.maxComputeWorkGroupCount, sizeof info->max_groups);
    info->push_bytes = p->limits.maxPushConstantsSize;
    info->timestamp_ns = p->limits.timestampComputeAndGraphics ? p->limits.timestampPeriod : 0;
}

void sd_vk_describe(VkInstance instance, VkPhysicalDevice physical, struct sd_vk_info *info, bool *usable) {
    *info = (struct sd_vk_info){0};
    *usable = false;
    VkPhysicalDeviceProperties properties;
    vkGetPhysicalDeviceProperties(physical, &properties);
    describe_limits(&properties, info);
    if (properties.apiVersion < VK_API_VERSION_1_2)
        return;
    bool has_control = sd_vk_has_extension(physical, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
    VkPhysicalDeviceSubgroupSizeControlProperties control = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES};
    VkPhysicalDeviceSubgroupProperties subgroup = {.sType =
                                                       VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES,
                                                   .pNext = has_control ? &control : NULL};
    VkPhysicalDeviceMaintenance3Properties maintenance = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES, .pNext = &subgroup};
    VkPhysicalDeviceDriverProperties driver = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES,
                                               .pNext = &maintenance};
    VkPhysicalDeviceIDProperties id = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES,
                                       .pNext = &driver};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &id};
    vkGetPhysicalDeviceProperties2(physical, &all);
    VkPhysicalDeviceVulkan11Features f11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES};
    VkPhysicalDeviceVulkan12Features f12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                            .pNext = &f11};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = &f12};
    vkGetPhysicalDeviceFeatures2(physical, &features);
    snprintf(info->driver, sizeof info->driver, "%s %s", driver.driverName, driver.driverInfo);
    format_uuid(id.deviceUUID, info->uuid);
    info->max_allocation = maintenance.maxMemoryAllocationSize;
    describe_subgroups(&subgroup, &control, has_control, info);
    info->f16_arithmetic = f12.shaderFloat16;
    info->f16_storage = f11.storageBuffer16BitAccess;
    info->int64 = features.features.shaderInt64;
    describe_memory(physical, info);
    sd_vk_describe_cores(physical, info);
    sd_vk_describe_coop(instance, physical, info);
    *usable = f12.bufferDeviceAddress && info->push_bytes >= SD_VK_PUSH_BYTES;
}

static int preference(sd_vk_kind kind) {
    return kind == SD_VK_DISCRETE     ? 0
           : kind == SD_VK_INTEGRATED ? 1
           : kind == SD_VK_VIRTUAL    ? 2
           : kind == SD_VK_OTHER      ? 3
                                      : 4;
}

/* Stable: devices of one kind stay in the loader's order. */
static void sort_by_preference(VkPhysicalDevice *devices, struct sd_vk_info *infos, uint32_t count) {
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t j = i; j > 0 && preference(infos[j].kind) < preference(infos[j - 1].kind); j--) {
            struct sd_vk_info info = infos[j];
            VkPhysicalDevice device = devices[j];
            infos[j] = infos[j - 1];
            devices[j] = devices[j - 1];
            infos[j - 1] = info;
            devices[j - 1] = device;
        }
    for (uint32_t i = 0; i < count; i++)
        infos[i].index = i;
}

sd_status sd_vk_usable(VkInstance instance, VkPhysicalDevice **devices, struct sd_vk_info **infos,
                       uint32_t *count, sd_error *err) {
    sd_status status = SD_OK;
    uint32_t all = 0, usable_count = 0;
    char unusable[256] = "";
    *devices = NULL;
    *infos = NULL;
    VK(vkEnumeratePhysicalDevices(instance, &all, NULL));
    *devices = calloc(all + 1, sizeof **devices);
    *infos = calloc(all + 1, sizeof **infos);
    if (!*devices || !*infos) {
        status = sd_fail(err, SD_E_MEMORY, "out of memory while listing devices");
        goto error;
    }
    VK(vkEnumeratePhysicalDevices(instance, &all, *devices));
    for (uint32_t i = 0; i < all; i++) {
        bool usable;
        sd_vk_describe(instance, (*devices)[i], &(*infos)[usable_count], &usable);
        if (usable)
            (*devices)[usable_count++] = (*devices)[i];
        else
            snprintf(unusable, sizeof unusable, "%.200s", (*infos)[usable_count].name);
    }
    if (!usable_count) {
        status =
            unusable[0]
                ? sd_fail(err, SD_E_DEVICE,
                          "no usable Vulkan device: '%s' lacks Vulkan 1.2 with bufferDeviceAddress", unusable)
                : sd_fail(err, SD_E_DEVICE,
                          "no Vulkan device found; on Debian and Ubuntu `apt install mesa-vulkan-drivers` "
                          "gives one for most GPUs and for the CPU");
        goto error;
    }
    sort_by_preference(*devices, *infos, usable_count);
    *count = usable_count;
    return SD_OK;
error:
    free(*devices);
    free(*infos);
    *devices = NULL;
    *infos = NULL;
    return status;
}

sd_status sd_vk_list(struct sd_vk_info *out, size_t capacity, size_t *count, sd_error *err) {
    VkInstance instance = VK_NULL_HANDLE;
    VkPhysicalDevice *devices = NULL;
    struct sd_vk_info *infos = NULL;
    bool debug_utils;
    uint32_t found = 0;
    *count = 0;
    sd_status status = sd_vk_instance_create(&instance, false, &debug_utils, err);
    if (status)
        return status;
    status = sd_vk_usable(instance, &devices, &infos, &found, err);
    if (!status) {
        *count = found;
        for (uint32_t i = 0; i < found && i < capacity; i++)
            out[i] = infos[i];
    }
    free(devices);
    free(infos);
    vkDestroyInstance(instance, NULL);
    return status;
}
