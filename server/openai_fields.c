/* The fields of OpenAI's image calls. */
#include "server/openai_request.h"

#include <string.h>

enum {
    all_calls = OPENAI_GENERATIONS | OPENAI_EDITS | OPENAI_VARIATIONS,
    prompted = OPENAI_GENERATIONS | OPENAI_EDITS,
    pictured = OPENAI_EDITS | OPENAI_VARIATIONS
};

static const char *const
    responses[] = {"url", "b64_json", NULL},
    *const formats[] = {"png", "jpeg", NULL}, *const qualities[] = {"auto",     "low", "medium", "high",
                                                                    "standard", "hd",  NULL},
    *const styles[] = {"vivid", "natural", NULL}, *const grounds[] = {"auto", "opaque", NULL},
    *const moderations[] = {"auto", "low", NULL}, *const fidelities[] = {"low", "high", NULL};

static const struct openai_field fields[] = {
    {"prompt", OPENAI_TEXT, prompted, prompted, 0, 0, NULL, "what the picture shows"},
    {"image", OPENAI_PICTURES, pictured, OPENAI_VARIATIONS, 0, 0, NULL,
     "the picture to start from; edits take \"images\" too"},
    {"images", OPENAI_PICTURES, OPENAI_EDITS, 0, 0, 0, NULL, "the same; one picture is supported"},
    {"mask", OPENAI_PICTURE, OPENAI_EDITS, 0, 0, 0, NULL,
     "transparent where the picture is to change; without one, the picture's own transparency"},
    {"model", OPENAI_TEXT, all_calls, 0, 0, 0, NULL,
     "one of /v1/models; OpenAI's own names mean the default"},
    {"n", OPENAI_COUNT, all_calls, 0, 1, 10, NULL, "pictures"},
    {"size", OPENAI_SIZE, all_calls, 0, 0, 0, NULL,
     "width x height, multiples of 8; auto: the picture's, or the model's own"},
    {"response_format", OPENAI_CHOICE, all_calls, 0, 0, 0, responses,
     "default: b64_json; url for dall-e models"},
    {"output_format", OPENAI_CHOICE, all_calls, 0, 0, 0, formats, "default: png"},
    {"output_compression", OPENAI_COUNT, all_calls, 0, 0, 100, NULL, "quality of JPEG; default: 90"},
    {"background", OPENAI_CHOICE, prompted, 0, 0, 0, grounds, "there is no transparency"},
    {"quality", OPENAI_CHOICE, prompted, 0, 0, 0, qualities, "accepted, without effect; see steps"},
    {"style", OPENAI_CHOICE, OPENAI_GENERATIONS, 0, 0, 0, styles, "accepted, without effect"},
    {"moderation", OPENAI_CHOICE, OPENAI_GENERATIONS, 0, 0, 0, moderations, "accepted, without effect"},
    {"input_fidelity", OPENAI_CHOICE, OPENAI_EDITS, 0, 0, 0, fidelities,
     "accepted, without effect; see strength"},
    {"user", OPENAI_TEXT, all_calls, 0, 0, 0, NULL, "accepted, without effect"},
    {"stream", OPENAI_FLAG, prompted, 0, 0, 0, NULL, "server-sent events"},
    {"partial_images", OPENAI_COUNT, prompted, 0, 0, 3, NULL, "previews of each picture in the stream"},
};

enum { field_count = sizeof fields / sizeof *fields };

const struct openai_field *openai_field_at(size_t index) {
    return index < field_count ? &fields[index] : NULL;
}

bool openai_takes(const char *native) {
    static const char *const own[] = {"prompt", "width", "height", "count"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!strcmp(native, own[i]))
            return false;
    return sd_option_find(native) || !strcmp(native, "vae") || !strcmp(native, "loras");
}
