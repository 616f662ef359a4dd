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

/* A field beside the options of sd_option_at. */
enum job_field_kind {
    JOB_FIELD_MODEL,
    JOB_FIELD_VAE,
    JOB_FIELD_LORAS,   /* [{"name", "unet", "text", "blocks"}] */
    JOB_FIELD_PICTURE, /* base64 */
    JOB_FIELD_FORMAT,  /* "png" or "jpeg" */
    JOB_FIELD_COUNT
};
struct job_field {
    const char *name;
    enum job_field_kind kind;
    uint32_t low, high; /* of counts, inclusive */
    const char *help;
};
/* NULL behind the last one. */
const struct job_field *job_field_at(size_t index);

/* Reads options and fields; null is absent. Takes `json` over, whatever happens. SD_E_ARGUMENT: `field` (64
 * bytes) names the one that is wrong, "" for none. Limits are the server's. */
sd_status job_request_read(struct job_request *out, const struct config *config, cJSON *json, char *field,
                           sd_error *err);
/* Writes params.seed into the JSON with all its digits, which cJSON's own printing would round. */
void job_request_keep_seed(struct job_request *r);
void job_request_clear(struct job_request *r);
/* `from` is empty afterwards. */
void job_request_move(struct job_request *out, struct job_request *from);
/* Steps that it asks for, or that are usual where it leaves them open. */
uint32_t job_request_steps(const struct job_request *r);

/* Decodes the pictures, which are left alone until the job runs. */
sd_status job_request_load(struct job_request *r, const struct config *config, sd_error *err);

#endif
