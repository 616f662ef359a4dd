/* What a job is to render: the native face's JSON, which is also what the store keeps and what the other
 * faces translate theirs into. */
#ifndef SERVER_JOB_REQUEST_H
#define SERVER_JOB_REQUEST_H

#include "server/config.h"
#include "server/json.h"

#include "sd/sd.h"

enum { JOB_LORAS = 32 };

struct job_request {
    sd_params params;
    char *model, *vae; /* names; NULL: the server's default, the model's own */
    sd_encoding encoding;
    sd_lora_use loras[JOB_LORAS];
    sd_picture init, mask;
    cJSON *json; /* owns every string above */
};

/* The fields: every row of sd_option_at, "model", "vae", "loras": [{"name", "unet", "text", "blocks"}],
 * "init_image", "mask" (base64), "format" ("png" or "jpeg"), "quality", "preview_every". Takes `json` over,
 * whatever happens. SD_E_ARGUMENT: `field` (64 bytes) names the one that is wrong, "" for none. Limits are
 * the server's. */
sd_status job_request_read(struct job_request *out, const struct config *config, cJSON *json, char *field,
                           sd_error *err);
void job_request_clear(struct job_request *r);

/* Decodes the pictures, which are left alone until the job runs. */
sd_status job_request_load(struct job_request *r, const struct config *config, sd_error *err);

#endif
