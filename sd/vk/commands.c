#include "sd/base/clock.h"
#include "sd/vk/internal.h"

#include <stdlib.h>

struct sd_vk_commands {
    sd_vk *vk;
    VkCommandBuffer handle;
    VkQueryPool queries;
    VkFence fence; /* of sd_vk_start, from the first on */
    uint32_t timestamps, stamped;
    bool ran; /* only then are there timestamps to wait for */
};

sd_status sd_vk_commands_create(sd_vk *vk, sd_vk_commands **out, uint32_t timestamps, sd_error *err) {
    sd_status status = SD_OK;
    sd_vk_commands *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    c->vk = vk;
    c->timestamps = vk->info.timestamp_ns > 0 ? timestamps : 0;
    const VkCommandBufferAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                                  .commandPool = vk->pool,
                                                  .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                                  .commandBufferCount = 1};
    VK(vkAllocateCommandBuffers(vk->device, &allocate, &c->handle));
    if (c->timestamps) {
        const VkQueryPoolCreateInfo queries = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                               .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                               .queryCount = c->timestamps};
        VK(vkCreateQueryPool(vk->device, &queries, NULL, &c->queries));
    }
    const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    VK(vkBeginCommandBuffer(c->handle, &begin));
    if (c->timestamps)
        vkCmdResetQueryPool(c->handle, c->queries, 0, c->timestamps);
    *out = c;
    return SD_OK;
error:
    sd_vk_commands_destroy(vk, &c);
    return status;
}

void sd_vk_commands_destroy(sd_vk *vk, sd_vk_commands **commands) {
    if (!*commands)
        return;
    if ((*commands)->handle)
        vkFreeCommandBuffers(vk->device, vk->pool, 1, &(*commands)->handle);
    vkDestroyQueryPool(vk->device, (*commands)->queries, NULL);
    vkDestroyFence(vk->device, (*commands)->fence, NULL);
    free(*commands);
    *commands = NULL;
}

void sd_vk_commands_dispatch(sd_vk_commands *c, sd_vk_pipeline *pipeline, const void *push,
                             uint32_t push_bytes, const uint32_t groups[3]) {
    vkCmdBindPipeline(c->handle, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline->handle);
    if (push_bytes)
        vkCmdPushConstants(c->handle, c->vk->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, push_bytes, push);
    vkCmdDispatch(c->handle, groups[0], groups[1], groups[2]);
}

static void memory_barrier(VkCommandBuffer handle, VkPipelineStageFlags from, VkAccessFlags wrote,
                           VkPipelineStageFlags to, VkAccessFlags uses) {
    const VkMemoryBarrier memory = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = wrote, .dstAccessMask = uses};
    vkCmdPipelineBarrier(handle, from, to, 0, 1, &memory, 0, NULL, 0, NULL);
}

void sd_vk_commands_barrier(sd_vk_commands *c) {
    memory_barrier(c->handle, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_WRITE_BIT,
                   VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                   VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT);
}

void sd_vk_commands_timestamp(sd_vk_commands *c) {
    if (c->stamped < c->timestamps)
        vkCmdWriteTimestamp(c->handle, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, c->queries, c->stamped++);
}

/* Also orders the next submission's compute after this one's: submissions alone do not make writes visible.
 */
sd_status sd_vk_commands_finish(sd_vk_commands *c, sd_error *err) {
    sd_status status = SD_OK;
    memory_barrier(c->handle, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
                   VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                   VK_PIPELINE_STAGE_HOST_BIT | VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT |
                       VK_PIPELINE_STAGE_TRANSFER_BIT,
                   VK_ACCESS_HOST_READ_BIT | VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                       VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT);
    VK(vkEndCommandBuffer(c->handle));
error:
    return status;
}

sd_status sd_vk_wait(sd_vk *vk, VkFence fence, sd_error *err) {
    sd_status status = SD_OK;
    double began = sd_now();
    VK(vkWaitForFences(vk->device, 1, &fence, VK_TRUE, UINT64_MAX));
    VK(vkResetFences(vk->device, 1, &fence));
    vk->waited += sd_now() - began;
error:
    return status;
}

sd_status sd_vk_submit(sd_vk *vk, sd_vk_commands *const *commands, uint32_t count, sd_error *err) {
    sd_status status = SD_OK;
    for (uint32_t i = 0; i < count; i++) {
        const VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                                     .commandBufferCount = 1,
                                     .pCommandBuffers = &commands[i]->handle};
        VK(vkQueueSubmit(vk->queue, 1, &submit, i + 1 == count ? vk->fence : VK_NULL_HANDLE));
    }
    if (count)
        status = sd_vk_wait(vk, vk->fence, err);
    for (uint32_t i = 0; i < count && !status; i++)
        commands[i]->ran = true;
error:
    return status;
}

sd_status sd_vk_start(sd_vk *vk, sd_vk_commands *c, sd_error *err) {
    sd_status status = SD_OK;
    const VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    const VkSubmitInfo submit = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &c->handle};
    if (!c->fence)
        VK(vkCreateFence(vk->device, &fence, NULL, &c->fence));
    VK(vkQueueSubmit(vk->queue, 1, &submit, c->fence));
error:
    return status;
}

sd_status sd_vk_await(sd_vk *vk, sd_vk_commands *c, sd_error *err) {
    sd_status status = sd_vk_wait(vk, c->fence, err);
    c->ran = c->ran || !status;
    return status;
}

sd_status sd_vk_commands_times(sd_vk *vk, sd_vk_commands *c, double *ns, uint32_t count, sd_error *err) {
    sd_status status = SD_OK;
    uint64_t *ticks = NULL;
    for (uint32_t i = 0; i < count; i++)
        ns[i] = 0;
    if (!c->ran || !c->stamped || count > c->stamped)
        return SD_OK;
    if (!(ticks = calloc(count, sizeof *ticks)))
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    VK(vkGetQueryPoolResults(vk->device, c->queries, 0, count, count * sizeof *ticks, ticks, sizeof *ticks,
                             VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
    for (uint32_t i = 0; i < count; i++)
        ns[i] = (double)(ticks[i] - ticks[0]) * vk->info.timestamp_ns;
error:
    free(ticks);
    return status;
}
