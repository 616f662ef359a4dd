/* Any bytes as the body of one of OpenAI's calls, translated and then read as a native request. The first
 * byte chooses the call, and whether the values are texts, as those of forms are. */
#include "server/job_request.h"
#include "server/openai_request.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum openai_call calls[] = {OPENAI_GENERATIONS, OPENAI_EDITS, OPENAI_VARIATIONS};
    const struct config config = {
        .max_side = 512, .max_pixels = 262, .max_steps = 50, .max_count = 4, .max_queue = 1};
    struct openai_request request;
    struct job_request job;
    char field[64];
    sd_error err;
    if (!size)
        return 0;
    cJSON *body = json_parse(data + 1, size - 1);
    if (openai_read(&request, calls[data[0] % 3], body, data[0] & 4, &config, field, &err)) {
        openai_rename(field, &err);
        return 0;
    }
    if (request.partials > 3 || !cJSON_IsObject(request.json))
        abort();
    if (job_request_read(&job, &config, request.json, field, &err) == SD_OK) {
        if (job.params.width > 512 || job.params.steps > 50 || job.params.count > 4)
            abort();
        job_request_clear(&job);
    }
    return 0;
}
