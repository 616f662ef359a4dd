#include "sd/base/status.h"

#include <stdio.h>
#include <string.h>

/* Drops a UTF-8 sequence that the buffer's end has cut in two. */
static void trim_partial_character(char *text) {
    size_t n = strlen(text), back = 0;
    while (back < 3 && back < n && ((unsigned char)text[n - 1 - back] & 0xC0) == 0x80)
        back++;
    if (back < n) {
        unsigned char lead = (unsigned char)text[n - 1 - back];
        size_t need = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
        if (need > back)
            text[n - 1 - back] = 0;
    }
}

sd_status sd_fail(sd_error *err, sd_status status, const char *format, ...) {
    if (!err)
        return status;
    /* Arguments may point into err->message: callers wrap one message in another. */
    char text[sizeof err->message];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0)
        text[0] = 0;
    else if ((size_t)n >= sizeof text)
        trim_partial_character(text);
    memcpy(err->message, text, sizeof text);
    err->status = status;
    return status;
}

const char *sd_status_name(sd_status status) {
    static const char *const names[] = {
        [SD_OK] = "ok",
        [SD_E_ARGUMENT] = "argument",
        [SD_E_NOT_FOUND] = "not_found",
        [SD_E_FORMAT] = "format",
        [SD_E_UNSUPPORTED] = "unsupported",
        [SD_E_IO] = "io",
        [SD_E_MEMORY] = "memory",
        [SD_E_DEVICE_MEMORY] = "device_memory",
        [SD_E_DEVICE] = "device",
        [SD_E_DEVICE_LOST] = "device_lost",
        [SD_E_NUMERIC] = "numeric",
        [SD_E_CANCELLED] = "cancelled",
        [SD_E_INTERNAL] = "internal",
    };
    if ((unsigned)status >= sizeof names / sizeof *names)
        return "unknown";
    return names[status];
}
