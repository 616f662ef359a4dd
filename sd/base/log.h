/* Logging through the application's callback. Libraries never print. */
#ifndef SD_BASE_LOG_H
#define SD_BASE_LOG_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sd_log_level { SD_LOG_ERROR, SD_LOG_WARNING, SD_LOG_INFO, SD_LOG_DEBUG } sd_log_level;

/* Where messages go; {0} drops them. `write` may be called from any thread that uses the library, and under
 * the validation layers from threads of the library, one at a time for a context; `text` is one line of UTF-8
 * without newline, valid during the call only. */
typedef struct sd_logger {
    void (*write)(void *user, sd_log_level level, const char *text);
    void *user;
    sd_log_level level; /* messages above this level are not formatted; {0} keeps errors only */
} sd_logger;

/* `log` may be NULL. Lines are cut at 1,023 bytes. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
void sd_log(const sd_logger *log, sd_log_level level, const char *format, ...);

#ifdef __cplusplus
}
#endif
#endif
