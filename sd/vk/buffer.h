/* Device memory, suballocated from a few large blocks, and transfers to and from it. */
#ifndef SD_VK_BUFFER_H
#define SD_VK_BUFFER_H

#include "sd/vk/device.h"

typedef enum sd_vk_memory {
    SD_VK_LOCAL,    /* device memory: weights, activations */
    SD_VK_READBACK, /* host-visible, cached: results */
    SD_VK_UPLOAD    /* host-visible: step scalars, staging */
} sd_vk_memory;

typedef struct sd_vk_buffer {
    uint64_t address; /* device address, a multiple of 256 */
    uint64_t size;    /* bytes */
    void *mapped;     /* host pointer for host-visible memory, else NULL; coherent */
    const char *name;
    uint64_t offset; /* in its block */
    struct sd_vk_block *block;
} sd_vk_buffer;

/* `name` (a string literal, or one that outlives the buffer) names the region in error messages and
 * debuggers. SD_E_DEVICE_MEMORY says how much was asked for and how much is in use. */
sd_status sd_vk_buffer_create(sd_vk *vk, sd_vk_buffer **out, uint64_t size, sd_vk_memory memory,
                              const char *name, sd_error *err);
void sd_vk_buffer_destroy(sd_vk *vk, sd_vk_buffer **buffer);

/* Bytes of device-local memory in live buffers, and in blocks asked from the driver. */
uint64_t sd_vk_memory_used(const sd_vk *vk);
uint64_t sd_vk_memory_reserved(const sd_vk *vk);
/* Bytes of device-local memory that can probably still be had: what the driver says, or else what this device
 * has not given to us. UINT64_MAX for CPUs, whose heaps are the host's memory and say nothing. */
uint64_t sd_vk_memory_left(const sd_vk *vk);

/* Copies through the upload ring (straight into mapped memory where the device shares it with the host). The
 * source may be reused on return; the copy is ordered before later submissions. Nothing that was started may
 * still use the range. */
sd_status sd_vk_write(sd_vk *vk, sd_vk_buffer *buffer, uint64_t offset, const void *data, uint64_t size,
                      sd_error *err);
/* Waits for the queue, then copies to the host. */
sd_status sd_vk_read(sd_vk *vk, sd_vk_buffer *buffer, uint64_t offset, void *data, uint64_t size,
                     sd_error *err);
/* Fills a range with a 32-bit word; offset and size are multiples of 4. */
sd_status sd_vk_fill(sd_vk *vk, sd_vk_buffer *buffer, uint64_t offset, uint64_t size, uint32_t word,
                     sd_error *err);

#endif
