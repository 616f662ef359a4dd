/* Any bytes as the body of A1111's txt2img or img2img, translated and then read as a native request. The
 * first byte chooses the task. */
#include "server/a1111.h"
#include "server/job_request.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct server server = {.config = {.models = SDVK_SOURCE_DIR "/samples",
                                          .model = SDVK_SOURCE_DIR "/samples/mockup",
                                          .max_side = 512,
                                          .max_pixels = 262,
                                          .max_steps = 50,
                                          .max_count = 4}};

static void prepare(void) {
    sd_error err;
    if (server.a1111)
        return;
    /* No hashes of the user's. */
    unsetenv("HOME");
    unsetenv("XDG_CACHE_HOME");
    if (catalog_open(&server.catalog, &server.config, &err) ||
        !(server.a1111 = a1111_options_create(server.catalog)))
        abort();
}

/* Whatever the face lets through means something to the queue, and keeps to the limits. */
static void check(cJSON *native) {
    struct job_request read;
    char field[64];
    sd_error err;
    if (job_request_read(&read, &server.config, native, field, &err)) {
        if (!strncmp(err.message, "unknown field", 13))
            abort();
        struct a1111_refusal r = {0};
        a1111_translate(&r, field, err.message);
        if (!*r.text)
            abort();
        return;
    }
    if (read.params.width > 512 || read.params.steps > 50 || read.params.count > 4)
        abort();
    job_request_clear(&read);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct a1111_request request;
    struct a1111_refusal r = {0};
    prepare();
    cJSON *body = size ? json_parse(data + 1, size - 1) : NULL;
    if (!cJSON_IsObject(body)) {
        cJSON_Delete(body);
        return 0;
    }
    enum a1111_task task = data[0] % 2 ? A1111_IMG2IMG : A1111_TXT2IMG;
    cJSON *native = a1111_request_read(&request, &server, body, task, &r);
    if ((native != NULL) == (r.status != 0) || (r.status && !*r.text))
        abort();
    if (native) {
        check(native);
        a1111_request_clear(&request);
    }
    return 0;
}
