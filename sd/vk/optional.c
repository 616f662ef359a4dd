/* What extensions beyond Vulkan 1.2 tell of a device. */
#include "sd/vk/internal.h"

/* VK_KHR_cooperative_matrix, which Vulkan headers 1.3.239 do not know yet (values from the Vulkan registry).
 */
enum {
    type_coop_features = 1000506000,
    type_coop_properties = 1000506001,
    component_f16 = 0,
    component_f32 = 1,
    scope_subgroup = 3,
    most_shapes = 64
};

struct coop_properties {
    VkStructureType sType;
    void *pNext;
    uint32_t m, n, k;
    int32_t a, b, c, result;
    VkBool32 saturating;
    int32_t scope;
};
typedef VkResult(VKAPI_PTR *query_coop)(VkPhysicalDevice, uint32_t *, struct coop_properties *);

void sd_vk_coop_features(struct sd_vk_coop_features *features) {
    *features = (struct sd_vk_coop_features){.sType = (VkStructureType)type_coop_features, .matrix = VK_TRUE};
}

static bool has_coop_features(VkPhysicalDevice physical) {
    struct sd_vk_coop_features coop;
    sd_vk_coop_features(&coop);
    coop.matrix = VK_FALSE;
    VkPhysicalDeviceVulkan12Features f12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                            .pNext = &coop};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = &f12};
    vkGetPhysicalDeviceFeatures2(physical, &features);
    return coop.matrix && f12.vulkanMemoryModel && f12.shaderFloat16;
}

/* Fragments must divide the parts of the GEMM kernel's tiles: 32 rows and columns, 16 k's. */
static bool usable_shape(const struct coop_properties *p) {
    return p->a == component_f16 && p->b == component_f16 && p->c == component_f32 &&
           p->result == component_f32 && p->scope == scope_subgroup && p->m && p->n >= 4 && p->k >= 8 &&
           32 % p->m == 0 && 32 % p->n == 0 && 16 % p->k == 0;
}

void sd_vk_describe_coop(VkInstance instance, VkPhysicalDevice physical, struct sd_vk_info *info) {
    /* Intel before Xe2 (which alone starts at 16 lanes) runs them slower than plain arithmetic. */
    const uint32_t intel = 0x8086;
    uint32_t lanes = info->vendor == intel ? 16 : info->subgroup, count = most_shapes;
    if (!sd_vk_has_extension(physical, "VK_KHR_cooperative_matrix") || !has_coop_features(physical) ||
        (info->vendor == intel && info->subgroup_min != lanes))
        return;
    query_coop query =
        (query_coop)vkGetInstanceProcAddr(instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    struct coop_properties shapes[most_shapes] = {{0}};
    for (uint32_t i = 0; i < most_shapes; i++)
        shapes[i].sType = (VkStructureType)type_coop_properties;
    if (!query || query(physical, &count, shapes) < 0)
        return;
    for (uint32_t i = 0; i < count; i++) {
        const struct coop_properties *p = &shapes[i];
        bool square = p->m == 16 && p->n == 16 && p->k == 16;
        if (usable_shape(p) && (square || !info->coop.m)) {
            info->coop.m = p->m;
            info->coop.n = p->n;
            info->coop.k = p->k;
            info->coop.subgroup = lanes;
        }
    }
}

void sd_vk_describe_cores(VkPhysicalDevice physical, struct sd_vk_info *info) {
    VkPhysicalDeviceShaderSMBuiltinsPropertiesNV nv = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV};
    VkPhysicalDeviceShaderCorePropertiesAMD amd = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_AMD};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    if (sd_vk_has_extension(physical, VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME))
        properties.pNext = &nv;
    else if (sd_vk_has_extension(physical, VK_AMD_SHADER_CORE_PROPERTIES_EXTENSION_NAME))
        properties.pNext = &amd;
    vkGetPhysicalDeviceProperties2(physical, &properties);
    uint32_t amd_cores =
        amd.shaderEngineCount * amd.shaderArraysPerEngineCount * amd.computeUnitsPerShaderArray;
    info->cores = nv.shaderSMCount ? nv.shaderSMCount : amd_cores ? amd_cores : 32;
}
