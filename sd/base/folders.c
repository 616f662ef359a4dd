#include "sd/base/folders.h"

#include <string.h>
#include <sys/stat.h>

void sd_make_folders(const char *path) {
    char part[4096];
    for (size_t i = 1; path[i] && i < sizeof part - 1; i++)
        if (path[i] == '/') {
            memcpy(part, path, i);
            part[i] = 0;
            mkdir(part, 0700);
        }
}
