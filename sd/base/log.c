#include "sd/base/log.h"

#include <stdarg.h>
#include <stdio.h>

void sd_log(const sd_logger *log, sd_log_level level, const char *format, ...) {
    if (!log || !log->write || level > log->level)
        return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log->write(log->user, level, text);
}
