/* What gcc's analyzer cannot see for itself, told where it looks: included before every file that it reads.
 */
#include "sd/base/status.h"

#include <cJSON.h>

/* An error is never SD_OK, and is what sd_fail returns. */
#define sd_fail(err, status, ...) ((void)(sd_fail)(err, status, __VA_ARGS__), (sd_status)(status))

/* NULL is of no type. */
#define cJSON_IsString(item) ((item) && (cJSON_IsString)(item))
#define cJSON_IsNumber(item) ((item) && (cJSON_IsNumber)(item))
#define cJSON_IsBool(item) ((item) && (cJSON_IsBool)(item))
#define cJSON_IsTrue(item) ((item) && (cJSON_IsTrue)(item))
#define cJSON_IsNull(item) ((item) && (cJSON_IsNull)(item))
#define cJSON_IsArray(item) ((item) && (cJSON_IsArray)(item))
#define cJSON_IsObject(item) ((item) && (cJSON_IsObject)(item))
