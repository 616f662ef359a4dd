#include "sd/base/clock.h"
#include "sd/vk/internal.h"

#include <stdlib.h>
#include <string.h>

static sd_vk_pipeline *find(sd_vk *vk, const struct sd_shader *shader, const uint32_t *spec, uint32_t count,
                            uint32_t subgroup) {
    for (sd_vk_pipeline *p = vk->pipelines; p; p = p->next)
        if (p->shader == shader && p->spec_count == count && p->subgroup == subgroup &&
            (!count || !memcmp(p->spec, spec, count * 4)))
            return p;
    return NULL;
}

sd_status sd_vk_pipeline_create(sd_vk *vk, sd_vk_pipeline *p, sd_error *err) {
    sd_status status = SD_OK;
    double began = sd_now();
    VkShaderModule module = VK_NULL_HANDLE;
    VkSpecializationMapEntry entries[SD_VK_MAX_SPEC];
    for (uint32_t i = 0; i < p->spec_count; i++)
        entries[i] = (VkSpecializationMapEntry){i, i * 4, 4};
    const VkShaderModuleCreateInfo code = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                           .codeSize = p->shader->bytes,
                                           .pCode = p->shader->code};
    VK(vkCreateShaderModule(vk->device, &code, NULL, &module));
    sd_vk_name(vk, VK_OBJECT_TYPE_SHADER_MODULE, (uint64_t)module, p->shader->name);
    const VkSpecializationInfo spec = {p->spec_count, entries, (size_t)p->spec_count * 4, p->spec};
    const VkPipelineShaderStageRequiredSubgroupSizeCreateInfo required = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = p->subgroup};
    /* Requiring the only size there is would ask for an extension that the device may not have. */
    bool require = p->subgroup && vk->info.subgroup_max > vk->info.subgroup_min;
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .pNext = require ? &required : NULL,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module,
                  .pName = "main",
                  .pSpecializationInfo = &spec},
        .layout = vk->layout};
    VK(vkCreateComputePipelines(vk->device, vk->cache, 1, &info, NULL, &p->handle));
    sd_vk_name(vk, VK_OBJECT_TYPE_PIPELINE, (uint64_t)p->handle, p->shader->name);
error:
    vkDestroyShaderModule(vk->device, module, NULL);
    p->seconds = sd_now() - began;
    return status;
}

/* The pipeline's entry in the list, which may still lack a handle. */
static sd_status find_or_add(sd_vk *vk, const struct sd_shader *shader, const uint32_t *spec, uint32_t count,
                             uint32_t subgroup, sd_vk_pipeline **out, sd_error *err) {
    if (count > SD_VK_MAX_SPEC)
        return sd_fail(err, SD_E_INTERNAL, "shader %s: %u specialization constants, at most %u are possible",
                       shader->name, count, SD_VK_MAX_SPEC);
    if (subgroup && (subgroup < vk->info.subgroup_min || subgroup > vk->info.subgroup_max))
        return sd_fail(err, SD_E_UNSUPPORTED, "shader %s wants subgroups of %u lanes, '%s' has %u to %u",
                       shader->name, subgroup, vk->info.name, vk->info.subgroup_min, vk->info.subgroup_max);
    if (!subgroup)
        subgroup = vk->forced_subgroup;
    if ((*out = find(vk, shader, spec, count, subgroup)))
        return SD_OK;
    sd_vk_pipeline *p = calloc(1, sizeof *p);
    if (!p)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    p->shader = shader;
    p->spec_count = count;
    p->subgroup = subgroup;
    if (count)
        memcpy(p->spec, spec, count * 4);
    p->next = vk->pipelines;
    vk->pipelines = *out = p;
    return SD_OK;
}

sd_status sd_vk_pipeline_want(sd_vk *vk, const struct sd_shader *shader, const uint32_t *spec, uint32_t count,
                              uint32_t subgroup, sd_error *err) {
    sd_vk_pipeline *p;
    return find_or_add(vk, shader, spec, count, subgroup, &p, err);
}

sd_status sd_vk_pipeline_get(sd_vk *vk, const struct sd_shader *shader, const uint32_t *spec, uint32_t count,
                             uint32_t subgroup, sd_vk_pipeline **out, sd_error *err) {
    sd_status status = find_or_add(vk, shader, spec, count, subgroup, out, err);
    if (status || (*out)->handle)
        return status;
    if ((status = sd_vk_pipeline_create(vk, *out, err))) {
        sd_vk_pipelines_drop_wanted(vk);
        *out = NULL;
    } else
        (*out)->state = SD_VK_READY;
    return status;
}

void sd_vk_pipelines_drop_wanted(sd_vk *vk) {
    for (sd_vk_pipeline **link = &vk->pipelines; *link;) {
        sd_vk_pipeline *p = *link;
        if (p->handle)
            link = &p->next;
        else {
            *link = p->next;
            free(p);
        }
    }
}

void sd_vk_pipelines_destroy(sd_vk *vk) {
    while (vk->pipelines) {
        sd_vk_pipeline *next = vk->pipelines->next;
        vkDestroyPipeline(vk->device, vk->pipelines->handle, NULL);
        free(vk->pipelines);
        vk->pipelines = next;
    }
}
