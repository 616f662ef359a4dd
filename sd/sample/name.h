/* Comparison of names as users write them. */
#ifndef SD_SAMPLE_NAME_H
#define SD_SAMPLE_NAME_H

#include <stdbool.h>

enum { SD_NAME_MAX = 64 };

/* Lower case without spaces, '_', '-' and '.', and with '+' as 'p', so that "DPM++ 2M" and "dpmpp_2m" are
 * equal. Returns false, leaving an empty string, when the result is empty or does not fit. */
bool sd_name_fold(const char *text, char folded[SD_NAME_MAX]);

/* True when `name` or an entry of the NULL-terminated `aliases` (may be NULL) folds to `folded`. */
bool sd_name_is(const char *folded, const char *name, const char *const *aliases);

#endif
