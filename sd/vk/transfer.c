#include "sd/vk/internal.h"

#include <string.h>

static const VkCommandBufferBeginInfo once = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                              .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};

sd_status sd_vk_transfer_create(sd_vk *vk, sd_error *err) {
    sd_status status = SD_OK;
    const VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    const VkCommandBufferAllocateInfo commands = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                                  .commandPool = vk->pool,
                                                  .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                                  .commandBufferCount = 1};
    for (uint32_t i = 0; i < SD_VK_STAGES; i++) {
        VK(vkCreateFence(vk->device, &fence, NULL, &vk->stages[i].fence));
        VK(vkAllocateCommandBuffers(vk->device, &commands, &vk->stages[i].commands));
    }
    if ((status = sd_vk_buffer_create(vk, &vk->ring, (uint64_t)SD_VK_STAGES * SD_VK_STAGE_BYTES, SD_VK_UPLOAD,
                                      "upload ring", err)) ||
        (status = sd_vk_buffer_create(vk, &vk->readback, SD_VK_STAGE_BYTES, SD_VK_READBACK, "readback stage",
                                      err)))
        goto error;
error:
    return status;
}

void sd_vk_transfer_destroy(sd_vk *vk) {
    for (uint32_t i = 0; i < SD_VK_STAGES; i++)
        vkDestroyFence(vk->device, vk->stages[i].fence, NULL);
}

static sd_status wait_stage(sd_vk *vk, struct sd_vk_stage *stage, sd_error *err) {
    sd_status status = stage->busy ? sd_vk_wait(vk, stage->fence, err) : SD_OK;
    if (!status)
        stage->busy = false;
    return status;
}

static void barrier(VkCommandBuffer commands, VkPipelineStageFlags from, VkAccessFlags wrote,
                    VkPipelineStageFlags to, VkAccessFlags reads) {
    const VkMemoryBarrier memory = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = wrote, .dstAccessMask = reads};
    vkCmdPipelineBarrier(commands, from, to, 0, 1, &memory, 0, NULL, 0, NULL);
}

/* What ran before must have finished with the range, and what comes next must see it. */
static void before_copy(VkCommandBuffer commands) {
    barrier(commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
            VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT,
            VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT);
}

static void after_copy(VkCommandBuffer commands) {
    barrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_ACCESS_TRANSFER_WRITE_BIT,
            VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT |
                VK_PIPELINE_STAGE_HOST_BIT,
            VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_READ_BIT |
                VK_ACCESS_TRANSFER_WRITE_BIT | VK_ACCESS_HOST_READ_BIT);
}

static sd_status submit_stage(sd_vk *vk, struct sd_vk_stage *stage, sd_error *err) {
    sd_status status = SD_OK;
    VK(vkEndCommandBuffer(stage->commands));
    const VkSubmitInfo submit = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &stage->commands};
    VK(vkQueueSubmit(vk->queue, 1, &submit, stage->fence));
    stage->busy = true;
error:
    return status;
}

static sd_status next_stage(sd_vk *vk, struct sd_vk_stage **out, uint32_t *index, sd_error *err) {
    sd_status status;
    *index = vk->next_stage;
    vk->next_stage = (vk->next_stage + 1) % SD_VK_STAGES;
    *out = &vk->stages[*index];
    if ((status = wait_stage(vk, *out, err)))
        return status;
    VK(vkBeginCommandBuffer((*out)->commands, &once));
    before_copy((*out)->commands);
error:
    return status;
}

static sd_status check_range(const sd_vk_buffer *buffer, uint64_t offset, uint64_t size, sd_error *err) {
    if (offset > buffer->size || size > buffer->size - offset)
        return sd_fail(err, SD_E_INTERNAL, "transfer of %llu bytes at %llu leaves buffer '%s' of %llu bytes",
                       (unsigned long long)size, (unsigned long long)offset, buffer->name,
                       (unsigned long long)buffer->size);
    return SD_OK;
}

sd_status sd_vk_write(sd_vk *vk, sd_vk_buffer *buffer, uint64_t offset, const void *data, uint64_t size,
                      sd_error *err) {
    sd_status status = check_range(buffer, offset, size, err);
    if (status)
        return status;
    if (buffer
            ->mapped) { /* the caller answers for submissions, so only the ring itself can still be reading */
        memcpy((char *)buffer->mapped + offset, data, size);
        return SD_OK;
    }
    for (uint64_t done = 0; done < size;) {
        uint64_t part = size - done < SD_VK_STAGE_BYTES ? size - done : SD_VK_STAGE_BYTES;
        struct sd_vk_stage *stage;
        uint32_t index;
        if ((status = next_stage(vk, &stage, &index, err)))
            return status;
        uint64_t at = (uint64_t)index * SD_VK_STAGE_BYTES;
        memcpy((char *)vk->ring->mapped + at, (const char *)data + done, part);
        const VkBufferCopy region = {vk->ring->offset + at, buffer->offset + offset + done, part};
        vkCmdCopyBuffer(stage->commands, sd_vk_buffer_handle(vk->ring), sd_vk_buffer_handle(buffer), 1,
                        &region);
        after_copy(stage->commands);
        if ((status = submit_stage(vk, stage, err)))
            return status;
        done += part;
    }
    return SD_OK;
}

sd_status sd_vk_read(sd_vk *vk, sd_vk_buffer *buffer, uint64_t offset, void *data, uint64_t size,
                     sd_error *err) {
    sd_status status = check_range(buffer, offset, size, err);
    if (status)
        return status;
    if (buffer->mapped) {
        for (uint32_t i = 0; i < SD_VK_STAGES; i++)
            if ((status = wait_stage(vk, &vk->stages[i], err)))
                return status;
        memcpy(data, (const char *)buffer->mapped + offset, size);
        return SD_OK;
    }
    for (uint64_t done = 0; done < size;) {
        uint64_t part = size - done < SD_VK_STAGE_BYTES ? size - done : SD_VK_STAGE_BYTES;
        struct sd_vk_stage *stage;
        uint32_t index;
        if ((status = next_stage(vk, &stage, &index, err)))
            return status;
        const VkBufferCopy region = {buffer->offset + offset + done, vk->readback->offset, part};
        vkCmdCopyBuffer(stage->commands, sd_vk_buffer_handle(buffer), sd_vk_buffer_handle(vk->readback), 1,
                        &region);
        after_copy(stage->commands);
        if ((status = submit_stage(vk, stage, err)) || (status = wait_stage(vk, stage, err)))
            return status;
        memcpy((char *)data + done, vk->readback->mapped, part);
        done += part;
    }
    return SD_OK;
}

sd_status sd_vk_fill(sd_vk *vk, sd_vk_buffer *buffer, uint64_t offset, uint64_t size, uint32_t word,
                     sd_error *err) {
    sd_status status = check_range(buffer, offset, size, err);
    struct sd_vk_stage *stage;
    uint32_t index;
    if (status || !size || (status = next_stage(vk, &stage, &index, err)))
        return status;
    vkCmdFillBuffer(stage->commands, sd_vk_buffer_handle(buffer), buffer->offset + offset, size, word);
    after_copy(stage->commands);
    if (!(status = submit_stage(vk, stage, err)))
        status = wait_stage(vk, stage, err);
    return status;
}
