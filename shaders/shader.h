/* What the build makes of one shader file. */
#ifndef SD_SHADER_H
#define SD_SHADER_H

#include <stddef.h>
#include <stdint.h>

struct sd_shader {
    const char *name;     /* the file's name without .comp */
    const uint32_t *code; /* SPIR-V for Vulkan 1.2, validated by spirv-val at build time */
    size_t bytes;
};

#endif
