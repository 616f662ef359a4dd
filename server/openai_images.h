/* What the parts of OpenAI's face share. */
#ifndef SERVER_OPENAI_IMAGES_H
#define SERVER_OPENAI_IMAGES_H

#include "server/openai_request.h"
#include "server/server.h"

/* How a request is to be answered. */
struct openai_answer {
    enum openai_call call;
    bool url;
    uint32_t partials;
    char quality[12];
};

/* Answers with a stream of previews and pictures; takes over the caller's hold of j, and `answer`. */
void openai_stream(struct server *server, exchange *x, job *j, struct openai_answer *answer);

/* GET /v1/models, /v1/models/{id}. */
void openai_models(struct server *server, exchange *x, const struct route_parts *parts);
void openai_model(struct server *server, exchange *x, const struct route_parts *parts);

/* Parts of answers. Tokens are not counted here: all are 0. */
void openai_add_usage(cJSON *json);
bool openai_add_base64(cJSON *json, const uint8_t *data, size_t size);
void openai_add_size(cJSON *json, const job *j);
/* The HTTP status of a job that failed. */
unsigned openai_status(sd_status status);

#endif
