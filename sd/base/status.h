/* Status codes and the error message that travels with them. Part of the public API. */
#ifndef SD_BASE_STATUS_H
#define SD_BASE_STATUS_H

#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sd_status {
    SD_OK = 0,
    SD_E_ARGUMENT,      /* a value of the caller is outside its range */
    SD_E_NOT_FOUND,     /* a file, device, name or tensor does not exist */
    SD_E_FORMAT,        /* a file is malformed */
    SD_E_UNSUPPORTED,   /* well formed, but not something this version can do */
    SD_E_IO,            /* the operating system refused to read or write */
    SD_E_MEMORY,        /* host memory ran out */
    SD_E_DEVICE_MEMORY, /* device memory ran out */
    SD_E_DEVICE,        /* no usable device, or the driver refused */
    SD_E_DEVICE_LOST,   /* the device vanished; open it again */
    SD_E_NUMERIC,       /* NaN or infinity in a result */
    SD_E_CANCELLED,     /* the caller asked to stop */
    SD_E_INTERNAL       /* a bug in sdvk */
} sd_status;

/* Where a function says why it failed. Owned by the caller, one per thread or per call; {0} is valid.
 * After SD_OK the contents are unspecified. Every `sd_error *` parameter may be NULL. */
typedef struct sd_error {
    sd_status status;
    char message[1024]; /* UTF-8, one sentence, no trailing newline */
} sd_error;

/* Fills *err and returns `status`, so that a failing function ends in `return sd_fail(...)`. Messages longer
 * than the buffer are cut at a character boundary. Thread-safe. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
sd_status
sd_fail(sd_error *err, sd_status status, const char *format, ...);

/* The status as a lower-case word, for logs and JSON: "ok", "argument", "device_lost" ... Never NULL. */
const char *sd_status_name(sd_status status);

#ifdef __cplusplus
}
#endif
#endif
