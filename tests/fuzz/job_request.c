/* Any bytes as the body of POST /v1/jobs. A request that is accepted keeps to the limits, names no path, and
 * is read again in the same way from what the job store keeps of it; one that is refused has its sentence. */
#include "server/job_request.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct config config = {.max_side = 256, .max_pixels = 65, .max_steps = 50, .max_count = 4};

static void require(bool holds) {
    if (!holds)
        abort();
}

static void check_name(const char *name) {
    require(!name || (*name && *name != '/' && !strstr(name, "..")));
}

static void check(const struct job_request *r) {
    const sd_params *p = &r->params;
    require(p->prompt && p->width <= 256 && p->height <= 256 && p->width * p->height <= 65000 &&
            p->steps <= 50 && p->count <= 4 && p->lora_count <= JOB_LORAS && (p->loras || !p->lora_count));
    check_name(r->model);
    check_name(r->vae);
    for (size_t i = 0; i < p->lora_count; i++) {
        check_name(p->loras[i].path);
        require(p->loras[i].path && isfinite(p->loras[i].unet) && isfinite(p->loras[i].text));
    }
}

static void read_again(const struct job_request *first) {
    struct job_request again;
    char field[64], *text = cJSON_PrintUnformatted(first->json);
    sd_error err;
    if (!text)
        return;
    require(!job_request_read(&again, &config, json_parse(text, strlen(text)), field, &err));
    require(!strcmp(again.params.prompt, first->params.prompt) && again.params.seed == first->params.seed &&
            again.params.steps == first->params.steps && again.params.lora_count == first->params.lora_count);
    job_request_clear(&again);
    cJSON_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct job_request r;
    char field[64];
    sd_error err = {0};
    if (job_request_read(&r, &config, json_parse(data, size), field, &err)) {
        require(err.message[0] && err.status != SD_E_INTERNAL && strlen(field) < sizeof field);
        return 0;
    }
    check(&r);
    job_request_keep_seed(&r);
    read_again(&r);
    sd_status status = job_request_load(&r, &config, &err);
    require(!status || err.message[0]);
    job_request_clear(&r);
    return 0;
}
