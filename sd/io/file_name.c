#include "sd/io/tensor_file.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

size_t sd_tensor_file_stem(const char *name) {
    static const char *const known[] = {".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof known / sizeof *known; i++)
        if (!strcasecmp(dot, known[i]))
            return (size_t)(dot - name);
    return 0;
}

void sd_tensor_file_name(const char *path, char *out, size_t size) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin && path[begin - 1] != '/')
        begin--;
    snprintf(out, size, "%.*s", (int)(end - begin), path + begin);
    size_t stem = sd_tensor_file_stem(out);
    if (stem)
        out[stem] = 0;
}
