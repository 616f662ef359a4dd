#include "sd/base/checked.h"
#include "sd/vk/internal.h"

#include <stdlib.h>

enum { place_alignment = 256 };

/* One allocation of the driver with one VkBuffer over it; buffers are ranges inside, sorted by offset. */
struct sd_vk_range {
    struct sd_vk_range *next;
    uint64_t offset, size;
    sd_vk_buffer buffer;
};

struct sd_vk_block {
    struct sd_vk_block *next;
    sd_vk_memory kind;
    VkDeviceMemory memory;
    VkBuffer buffer;
    uint64_t size, address;
    unsigned char *mapped;
    struct sd_vk_range *ranges;
};

static uint32_t find_type(const sd_vk *vk, uint32_t allowed, VkMemoryPropertyFlags wanted,
                          VkMemoryPropertyFlags unwanted) {
    for (uint32_t i = 0; i < vk->memory.memoryTypeCount; i++) {
        VkMemoryPropertyFlags flags = vk->memory.memoryTypes[i].propertyFlags;
        if ((allowed >> i & 1) && (flags & wanted) == wanted && !(flags & unwanted))
            return i;
    }
    return UINT32_MAX;
}

static uint32_t memory_type(const sd_vk *vk, uint32_t allowed, sd_vk_memory kind) {
    const VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    const VkMemoryPropertyFlags host =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    const VkMemoryPropertyFlags cached = host | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    const VkMemoryPropertyFlags choices[3][3][2] = {
        [SD_VK_LOCAL] = {{vk->info.unified_memory ? local | host : local, vk->info.unified_memory ? 0 : host},
                         {local, 0},
                         {0, 0}},
        [SD_VK_READBACK] = {{cached, 0}, {host, 0}, {host, 0}},
        [SD_VK_UPLOAD] = {{host, local}, {host, 0}, {host, 0}},
    };
    uint32_t type = UINT32_MAX;
    for (int i = 0; i < 3 && type == UINT32_MAX; i++)
        type = find_type(vk, allowed, choices[kind][i][0], choices[kind][i][1]);
    return type;
}

static void destroy_block(sd_vk *vk, struct sd_vk_block *block) {
    for (struct sd_vk_range *r = block->ranges, *next; r; r = next) {
        next = r->next;
        free(r);
    }
    if (block->memory && block->kind == SD_VK_LOCAL)
        vk->reserved -= block->size;
    vkDestroyBuffer(vk->device, block->buffer, NULL);
    vkFreeMemory(vk->device, block->memory, NULL);
    free(block);
}

static sd_status create_block(sd_vk *vk, uint64_t size, sd_vk_memory kind, struct sd_vk_block **out,
                              sd_error *err) {
    sd_status status = SD_OK;
    struct sd_vk_block *block = calloc(1, sizeof *block);
    if (!block)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    block->kind = kind;
    block->size = size;
    const VkBufferCreateInfo buffer = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = size,
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT |
                 VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    VK(vkCreateBuffer(vk->device, &buffer, NULL, &block->buffer));
    VkMemoryRequirements need;
    vkGetBufferMemoryRequirements(vk->device, block->buffer, &need);
    uint32_t type = memory_type(vk, need.memoryTypeBits, kind);
    if (type == UINT32_MAX) {
        status = sd_fail(err, SD_E_DEVICE, "'%s' has no memory type for buffers", vk->info.name);
        goto error;
    }
    const VkMemoryAllocateFlagsInfo flags = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                                             .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
    const VkMemoryAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                           .pNext = &flags,
                                           .allocationSize = need.size,
                                           .memoryTypeIndex = type};
    VK(vkAllocateMemory(vk->device, &allocate, NULL, &block->memory));
    if (kind == SD_VK_LOCAL)
        vk->reserved += size;
    VK(vkBindBufferMemory(vk->device, block->buffer, block->memory, 0));
    if (vk->memory.memoryTypes[type].propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) {
        void *mapped;
        VK(vkMapMemory(vk->device, block->memory, 0, VK_WHOLE_SIZE, 0, &mapped));
        block->mapped = mapped;
    }
    const VkBufferDeviceAddressInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
                                            .buffer = block->buffer};
    block->address = vkGetBufferDeviceAddress(vk->device, &info);
    *out = block;
    return SD_OK;
error:
    destroy_block(vk, block);
    return status;
}

/* First fit inside a block; NULL with status OK when there is no room. */
static struct sd_vk_range *place(struct sd_vk_block *block, uint64_t size, bool *no_memory) {
    uint64_t at = 0;
    struct sd_vk_range **link = &block->ranges;
    for (; *link; link = &(*link)->next) {
        if ((*link)->offset - at >= size)
            break;
        at = (*link)->offset + (*link)->size;
    }
    if (!*link && (at > block->size || block->size - at < size))
        return NULL;
    struct sd_vk_range *range = calloc(1, sizeof *range);
    if (!range) {
        *no_memory = true;
        return NULL;
    }
    range->offset = at;
    range->size = size;
    range->next = *link;
    *link = range;
    return range;
}

/* Few large allocations: a new block has at least 64 MiB, or a sixteenth of small heaps, unless that fails.
 */
static sd_status grow(sd_vk *vk, uint64_t size, sd_vk_memory kind, const char *name, struct sd_vk_block **out,
                      sd_error *err) {
    uint64_t usual = (uint64_t)64 << 20;
    if (vk->info.memory && usual > vk->info.memory / 16)
        usual = vk->info.memory / 16;
    if (kind != SD_VK_LOCAL)
        usual = 0;
    if (vk->info.max_allocation && size > vk->info.max_allocation)
        return sd_fail(err, SD_E_DEVICE_MEMORY,
                       "%s needs %.1f MiB in one piece, but '%s' allocates at most %.1f MiB at once", name,
                       (double)size / (1 << 20), vk->info.name, (double)vk->info.max_allocation / (1 << 20));
    sd_status status = SD_E_DEVICE_MEMORY;
    if (size < usual)
        status = create_block(vk, usual, kind, out, err);
    if (status == SD_E_DEVICE_MEMORY)
        status = create_block(vk, size, kind, out, err);
    if (status == SD_E_DEVICE_MEMORY)
        sd_fail(err, status,
                "out of device memory: %s needs %.1f MiB, %.1f MiB of %.1f MiB on '%s' are in use by sdvk",
                name, (double)size / (1 << 20), (double)vk->used / (1 << 20),
                (double)vk->info.memory / (1 << 20), vk->info.name);
    return status;
}

sd_status sd_vk_buffer_create(sd_vk *vk, sd_vk_buffer **out, uint64_t size, sd_vk_memory kind,
                              const char *name, sd_error *err) {
    struct sd_vk_range *range = NULL;
    struct sd_vk_block *block;
    bool no_memory = false;
    uint64_t rounded;
    *out = NULL;
    if (!sd_align_u64(size ? size : 1, place_alignment, &rounded))
        return sd_fail(err, SD_E_DEVICE_MEMORY, "%s: a size of %llu bytes is impossible", name,
                       (unsigned long long)size);
    for (block = vk->blocks; block && !range; block = range ? block : block->next)
        if (block->kind == kind)
            range = place(block, rounded, &no_memory);
    if (!range && !no_memory) {
        sd_status status = grow(vk, rounded, kind, name, &block, err);
        if (status)
            return status;
        block->next = vk->blocks;
        vk->blocks = block;
        range = place(block, rounded, &no_memory);
    }
    if (!range)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    range->buffer = (sd_vk_buffer){.address = block->address + range->offset,
                                   .size = size,
                                   .mapped = block->mapped && !(vk->staging && kind == SD_VK_LOCAL)
                                                 ? block->mapped + range->offset
                                                 : NULL,
                                   .name = name,
                                   .offset = range->offset,
                                   .block = block};
    if (kind == SD_VK_LOCAL)
        vk->used += range->size;
    *out = &range->buffer;
    return SD_OK;
}

/* Blocks go back to the driver when their last buffer goes. */
void sd_vk_buffer_destroy(sd_vk *vk, sd_vk_buffer **buffer) {
    if (!*buffer)
        return;
    struct sd_vk_block *block = (*buffer)->block;
    struct sd_vk_range **link = &block->ranges;
    while (&(*link)->buffer != *buffer)
        link = &(*link)->next;
    struct sd_vk_range *range = *link;
    *buffer = NULL;
    *link = range->next;
    if (block->kind == SD_VK_LOCAL)
        vk->used -= range->size;
    free(range);
    if (block->ranges)
        return;
    struct sd_vk_block **in = &vk->blocks;
    while (*in != block)
        in = &(*in)->next;
    *in = block->next;
    destroy_block(vk, block);
}

void sd_vk_memory_free(sd_vk *vk) {
    while (vk->blocks) {
        struct sd_vk_block *next = vk->blocks->next;
        destroy_block(vk, vk->blocks);
        vk->blocks = next;
    }
}

VkBuffer sd_vk_buffer_handle(const sd_vk_buffer *buffer) {
    return buffer->block->buffer;
}

uint64_t sd_vk_memory_used(const sd_vk *vk) {
    return vk->used;
}

uint64_t sd_vk_memory_reserved(const sd_vk *vk) {
    return vk->reserved;
}

uint64_t sd_vk_memory_left(const sd_vk *vk) {
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, .pNext = &budget};
    uint32_t type = memory_type(vk, UINT32_MAX, SD_VK_LOCAL);
    uint64_t all = vk->info.memory, used = vk->reserved;
    if (vk->info.kind == SD_VK_CPU)
        return UINT64_MAX;
    if (vk->memory_budget && type != UINT32_MAX) {
        uint32_t heap = vk->memory.memoryTypes[type].heapIndex;
        vkGetPhysicalDeviceMemoryProperties2(vk->physical, &properties);
        all = budget.heapBudget[heap];
        used = budget.heapUsage[heap];
    }
    return all > used ? all - used : 0;
}
