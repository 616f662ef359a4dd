/* A1111's face: the API of AUTOMATIC1111's web UI (/sdapi/v1), translated into native jobs. What its files
 * share. */
#ifndef SERVER_A1111_H
#define SERVER_A1111_H

#include "server/server.h"

/* Why a request is refused. */
struct a1111_refusal {
    unsigned status; /* 0: memory has run out */
    char field[64];  /* of the request, or "" */
    char text[1000];
};
/* Fills in the refusal with status 422 unless it is filled in already; always false. */
bool a1111_refuse(struct a1111_refusal *r, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void a1111_reply_refusal(exchange *x, const struct a1111_refusal *r);

/* The JSON object of a request's body, or NULL after answering. A body that is empty or `""` is an empty
 * object where `needed` is false. */
cJSON *a1111_body(exchange *x, bool needed);

/* The bytes of a picture that a field of the body holds as base64, to be freed; NULL after a refusal. */
uint8_t *a1111_picture_bytes(const cJSON *body, const char *field, size_t *size, struct a1111_refusal *r);

/* Adds a sentence to a list of warnings. */
void a1111_warn(cJSON *warnings, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- values (a1111_values.c) ---- */

enum a1111_kind {
    A1111_TEXT,
    A1111_WHOLE,
    A1111_NUMBER,
    A1111_FLAG,
    A1111_TEXTS, /* an array of strings */
    A1111_LIST,  /* an array of anything */
    A1111_OBJECT
};
/* A copy of the value with the type that A1111 would make of it ("5", 5.0 and true are whole numbers); NULL
 * after a refusal. */
cJSON *a1111_coerce(const cJSON *value, enum a1111_kind kind, const char *field, struct a1111_refusal *r);

/* ---- the fields of txt2img and img2img (a1111_fields.c) ---- */

enum a1111_task { A1111_TXT2IMG = 1, A1111_IMG2IMG = 2 };
/* Every field of the task with its type, at its default where the request has none or null; NULL after a
 * refusal. Fields that A1111 does not know are warnings. */
cJSON *a1111_fields(const cJSON *given, enum a1111_task task, cJSON *warnings, struct a1111_refusal *r);
/* Whether nothing is asked for that would change the picture and is not there. */
bool a1111_check(const cJSON *fields, enum a1111_task task, cJSON *warnings, struct a1111_refusal *r);

/* ---- models (a1111_models.c) ---- */

struct a1111_model {
    char *name;                      /* in the catalog */
    char *title, *model_name, *file; /* "a/b.safetensors [0123456789]", "a_b", "a/b.safetensors" */
    char sha256[65];                 /* "" where it has not been computed yet */
};
struct a1111_models {
    struct a1111_model *items; /* the server's default model first */
    size_t count;
};
sd_status a1111_models_list(const catalog *files, struct a1111_models *out, sd_error *err);
void a1111_models_clear(struct a1111_models *models);
/* By title, file name, model_name, last part of it, or the beginning of the hash, in any case; NULL after a
 * refusal that names `field`. */
const struct a1111_model *a1111_models_find(const struct a1111_models *models, const char *word,
                                            const char *field, struct a1111_refusal *r);
/* The file of a library entry below its kind's folder, with its extension: "style/acme.safetensors". free()
 * it. */
char *a1111_file_of(const sd_library_file *file);

/* ---- options (a1111_options.c) ---- */

/* What /sdapi/v1/options holds for all, in memory. Thread-safe. */
struct a1111_options;
struct a1111_options *a1111_options_create(const catalog *files);
/* NULL-safe. */
void a1111_options_destroy(struct a1111_options **options);
/* A copy, for the caller to delete. sd_model_checkpoint is a name of the catalog in it. NULL: out of memory.
 */
cJSON *a1111_options_copy(struct a1111_options *options);
/* Makes `changes` on such a copy. Unknown keys are warnings; false after a refusal, with `prefix` before the
 * key. */
bool a1111_options_change(const struct a1111_options *options, cJSON *copy, const cJSON *changes,
                          const char *prefix, cJSON *warnings, struct a1111_refusal *r);
/* Makes the same changes for all. */
bool a1111_options_keep(struct a1111_options *options, const cJSON *changes, struct a1111_refusal *r);

/* ---- requests (a1111_request.c) ---- */

/* One request of txt2img or img2img on its way to its answer; free with free() after a1111_request_clear. */
struct a1111_request {
    enum a1111_task task;
    cJSON *fields, *options, *warnings;
    int64_t subseed;     /* that is reported; without effect, as its strength is 0 */
    const char *sampler; /* label */
};
/* Takes the body over. The native request, or NULL after a refusal. */
cJSON *a1111_request_read(struct a1111_request *out, struct server *server, cJSON *body, enum a1111_task task,
                          struct a1111_refusal *r);
void a1111_request_clear(struct a1111_request *request);
/* What is said of native fields, in A1111's words; the status is 422. */
void a1111_translate(struct a1111_refusal *r, const char *field, const char *message);
/* Answers with that. */
void a1111_reply_native(exchange *x, const char *field, const char *message);

/* The native fields of img2img (a1111_img2img.c). */
bool a1111_img2img(const struct a1111_request *request, const struct config *config, cJSON *native,
                   struct a1111_refusal *r);
/* The mask (a1111_mask.c): `mask` becomes its base64 on the heap where it must differ from the field, else
 * NULL; `blank`: it leaves nothing to be made anew. */
bool a1111_mask(const cJSON *fields, const struct config *config, char **mask, bool *blank,
                struct a1111_refusal *r);
/* The prompt as it is for libsd: "<lora:NAME:A:B>" of A1111 has the text encoder's strength first. free() it.
 */
char *a1111_prompt(const char *prompt);

/* The "info" of a reply, an object; `j` has ended. */
cJSON *a1111_info(const struct a1111_request *request, const job *j);

#endif
