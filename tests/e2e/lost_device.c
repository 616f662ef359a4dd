/* Preloaded into sdvk-server by server_faults.py: once the file that $LOSE_DEVICE names exists, it is removed
 * and the device is lost. Everything that is asked of it fails from then on, until a device is made anew. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include <vulkan/vulkan.h>

static atomic_bool lost;

/* POSIX lets dlsym's result be a function, C does not: through a union. */
#define REAL(name)                                                                                           \
    union {                                                                                                  \
        void *object;                                                                                        \
        PFN_##name call;                                                                                     \
    } real = {dlsym(RTLD_NEXT, #name)}

VkResult vkCreateDevice(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                        const VkAllocationCallbacks *callbacks, VkDevice *out) {
    REAL(vkCreateDevice);
    VkResult result = real.call(physical, info, callbacks, out);
    atomic_store(&lost, 0);
    return result;
}

VkResult vkDeviceWaitIdle(VkDevice which) {
    REAL(vkDeviceWaitIdle);
    VkResult result = real.call(which);
    return atomic_load(&lost) ? VK_ERROR_DEVICE_LOST : result;
}

/* What was submitted before is done with, so that freeing what it uses does no harm to a driver that did not
 * really lose its device. */
static VkBool32 is_lost(VkDevice which) {
    const char *file = getenv("LOSE_DEVICE");
    if (file && !unlink(file)) {
        vkDeviceWaitIdle(which);
        atomic_store(&lost, 1);
    }
    return atomic_load(&lost);
}

VkResult vkQueueSubmit(VkQueue queue, uint32_t count, const VkSubmitInfo *submits, VkFence fence) {
    REAL(vkQueueSubmit);
    return atomic_load(&lost) ? VK_ERROR_DEVICE_LOST : real.call(queue, count, submits, fence);
}

VkResult vkWaitForFences(VkDevice which, uint32_t count, const VkFence *fences, VkBool32 all,
                         uint64_t timeout) {
    REAL(vkWaitForFences);
    return is_lost(which) ? VK_ERROR_DEVICE_LOST : real.call(which, count, fences, all, timeout);
}

VkResult vkCreateComputePipelines(VkDevice which, VkPipelineCache cache, uint32_t count,
                                  const VkComputePipelineCreateInfo *infos,
                                  const VkAllocationCallbacks *callbacks, VkPipeline *pipelines) {
    REAL(vkCreateComputePipelines);
    return is_lost(which) ? VK_ERROR_DEVICE_LOST
                          : real.call(which, cache, count, infos, callbacks, pipelines);
}
