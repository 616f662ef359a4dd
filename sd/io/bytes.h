/* Numbers as they lie in files. */
#ifndef SD_IO_BYTES_H
#define SD_IO_BYTES_H

#include <stdint.h>

/* Of at most 8 bytes. */
static inline uint64_t sd_little_endian(const uint8_t *bytes, unsigned width) {
    uint64_t value = 0;
    while (width--)
        value = value << 8 | bytes[width];
    return value;
}

#endif
