#include "tests/radv/statistics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>

struct compiler {
    VkInstance instance;
    VkDevice device;
    VkPipelineLayout layout;
    PFN_vkGetPipelineExecutableStatisticsKHR statistics;
};

/* VK_KHR_cooperative_matrix, which Vulkan headers 1.3.239 do not know. */
struct coop_features {
    VkStructureType sType;
    void *pNext;
    VkBool32 matrix, robust_access;
};

static void create_device(compiler *c, bool coop) {
    VkPhysicalDevice physical;
    uint32_t count = 1;
    const char *extensions[] = {VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME,
                                "VK_KHR_cooperative_matrix"};
    const float priority = 1;
    if (vkEnumeratePhysicalDevices(c->instance, &count, &physical) < 0 || !count)
        fail_msg("RADV shows no device");
    struct coop_features matrix = {.sType = (VkStructureType)1000506000, .matrix = VK_TRUE};
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executable = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
        .pNext = coop ? &matrix : NULL,
        .pipelineExecutableInfo = VK_TRUE};
    VkPhysicalDeviceVulkan13Features f13 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
                                            .pNext = &executable,
                                            .subgroupSizeControl = VK_TRUE};
    VkPhysicalDeviceVulkan12Features f12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                            .pNext = &f13,
                                            .shaderFloat16 = VK_TRUE,
                                            .vulkanMemoryModel = VK_TRUE,
                                            .bufferDeviceAddress = VK_TRUE};
    const VkPhysicalDeviceFeatures features = {.shaderInt64 = VK_TRUE};
    const VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    const VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                     .pNext = &f12,
                                     .queueCreateInfoCount = 1,
                                     .pQueueCreateInfos = &queue,
                                     .enabledExtensionCount = coop ? 2 : 1,
                                     .ppEnabledExtensionNames = extensions,
                                     .pEnabledFeatures = &features};
    assert_int_equal(vkCreateDevice(physical, &info, NULL, &c->device), VK_SUCCESS);
}

compiler *compiler_open(bool coop) {
    compiler *c = calloc(1, sizeof *c);
    assert_non_null(c);
    const VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                           .apiVersion = VK_API_VERSION_1_3};
    const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                       .pApplicationInfo = &application};
    assert_int_equal(vkCreateInstance(&info, NULL, &c->instance), VK_SUCCESS);
    create_device(c, coop);
    const VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, 128};
    const VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                               .pushConstantRangeCount = 1,
                                               .pPushConstantRanges = &range};
    assert_int_equal(vkCreatePipelineLayout(c->device, &layout, NULL, &c->layout), VK_SUCCESS);
    c->statistics = (PFN_vkGetPipelineExecutableStatisticsKHR)vkGetDeviceProcAddr(
        c->device, "vkGetPipelineExecutableStatisticsKHR");
    assert_non_null(c->statistics);
    return c;
}

void compiler_close(compiler **c) {
    vkDestroyPipelineLayout((*c)->device, (*c)->layout, NULL);
    vkDestroyDevice((*c)->device, NULL);
    vkDestroyInstance((*c)->instance, NULL);
    free(*c);
    *c = NULL;
}

static VkPipeline compile(compiler *c, const struct sd_dispatch *d, VkShaderModule module) {
    VkSpecializationMapEntry entries[32];
    VkPipeline pipeline = VK_NULL_HANDLE;
    for (uint32_t i = 0; i < d->spec_count; i++)
        entries[i] = (VkSpecializationMapEntry){i, i * 4, 4};
    const VkSpecializationInfo spec = {d->spec_count, entries, (size_t)d->spec_count * 4, d->spec};
    const VkPipelineShaderStageRequiredSubgroupSizeCreateInfo required = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = d->subgroup};
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .flags = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .pNext = d->subgroup ? &required : NULL,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module,
                  .pName = "main",
                  .pSpecializationInfo = &spec},
        .layout = c->layout};
    assert_int_equal(vkCreateComputePipelines(c->device, VK_NULL_HANDLE, 1, &info, NULL, &pipeline),
                     VK_SUCCESS);
    return pipeline;
}

struct statistics compiler_measure(compiler *c, const struct sd_dispatch *d) {
    struct statistics out = {0};
    const struct {
        const char *name;
        uint64_t *value;
    } wanted[] = {{"VGPRs", &out.vgprs},
                  {"Spilled VGPRs", &out.spilled_vgprs},
                  {"Spilled SGPRs", &out.spilled_sgprs},
                  {"Scratch size", &out.scratch},
                  {"LDS size", &out.shared},
                  {"Subgroups per SIMD", &out.subgroups}};
    const uint32_t all = sizeof wanted / sizeof *wanted;
    const VkShaderModuleCreateInfo code = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                           .codeSize = d->shader->bytes,
                                           .pCode = d->shader->code};
    VkShaderModule module;
    assert_int_equal(vkCreateShaderModule(c->device, &code, NULL, &module), VK_SUCCESS);
    VkPipeline pipeline = compile(c, d, module);
    VkPipelineExecutableStatisticKHR found[64] = {0};
    uint32_t count = 64, known = 0;
    for (uint32_t i = 0; i < count; i++)
        found[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
    const VkPipelineExecutableInfoKHR executable = {.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
                                                    .pipeline = pipeline};
    assert_int_equal(c->statistics(c->device, &executable, &count, found), VK_SUCCESS);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < all; k++)
            if (!strcmp(found[i].name, wanted[k].name)) {
                *wanted[k].value = found[i].value.u64;
                known++;
            }
    /* A driver that calls them otherwise would pass every test. */
    assert_int_equal(known, all);
    vkDestroyPipeline(c->device, pipeline, NULL);
    vkDestroyShaderModule(c->device, module, NULL);
    return out;
}
