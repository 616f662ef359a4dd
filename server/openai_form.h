/* Forms (multipart/form-data) as the JSON object that a client could have sent instead. */
#ifndef SERVER_OPENAI_FORM_H
#define SERVER_OPENAI_FORM_H

#include "server/http.h"
#include "server/json.h"

#include "sd/sd.h"

/* Fields as strings; "image", "image[]" as "image", an array of base64 texts, and "mask" as a base64 text.
 * NULL with a sentence, and `field` (64 bytes) naming the one that is wrong, "" for none. */
cJSON *openai_form(const exchange *x, char *field, sd_error *err);

#endif
