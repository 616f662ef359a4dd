/* Requests of OpenAI's image calls, translated into those of the native face. */
#ifndef SERVER_OPENAI_REQUEST_H
#define SERVER_OPENAI_REQUEST_H

#include "server/config.h"
#include "server/json.h"

#include "sd/sd.h"

enum openai_call { OPENAI_GENERATIONS = 1, OPENAI_EDITS = 2, OPENAI_VARIATIONS = 4 };

enum openai_kind {
    OPENAI_TEXT,
    OPENAI_COUNT, /* a whole number from low to high */
    OPENAI_FLAG,
    OPENAI_CHOICE,
    OPENAI_SIZE,    /* "512x768" or "auto" */
    OPENAI_PICTURE, /* a part of a form; in JSON {"image_url": "data:..."} or a base64 text */
    OPENAI_PICTURES /* the same, or an array of them */
};

/* A field that OpenAI's calls have. Beside these, every option of a native job is taken as it is. */
struct openai_field {
    const char *name;
    enum openai_kind kind;
    unsigned calls, needed; /* bits of enum openai_call: where it may be, and where it must */
    uint32_t low, high;
    const char *const *choices; /* NULL-terminated */
    const char *help;
};
/* NULL behind the last one. */
const struct openai_field *openai_field_at(size_t index);
/* Whether a native job's field may stand beside OpenAI's own. */
bool openai_takes(const char *native);

struct openai_request {
    cJSON *json; /* the native request */
    enum openai_call call;
    bool stream, url;
    uint32_t partials;  /* previews of each picture in a stream */
    char quality[12];   /* as it was asked for */
    char warnings[400]; /* what was ignored, "" for nothing; printable ASCII */
};

/* Takes `body` over, whatever happens. In a form every value is a string. SD_E_ARGUMENT: `field` (64 bytes)
 * names the one that is wrong, "" for none. Pictures are read and masks turned round: native ones are white
 * where OpenAI's are transparent. The values of native options are left to jobs_submit. */
sd_status openai_read(struct openai_request *out, enum openai_call call, cJSON *body, bool form,
                      const struct config *config, char *field, sd_error *err);
void openai_clear(struct openai_request *r);

/* Native fields' names, in the error that jobs_submit gave, become OpenAI's. */
void openai_rename(char *field, sd_error *err);

/* For openai_request.c: sizes and masks from the pictures of r->json. */
sd_status openai_pictures(struct openai_request *r, const struct config *config, char *field, sd_error *err);

#endif
