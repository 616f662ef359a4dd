#include "server/draw.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>

bool draw(void *out, size_t size) {
    return getrandom(out, size, 0) == (ssize_t)size;
}

bool draw_id(char out[JOB_ID]) {
    uint8_t b[16];
    if (!draw(b, sizeof b))
        return false;
    b[6] = (uint8_t)((b[6] & 15) | 64);
    b[8] = (uint8_t)((b[8] & 63) | 128);
    for (int i = 0, at = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[at++] = '-';
        snprintf(out + at, 3, "%02x", b[i]);
        at += 2;
    }
    return true;
}
