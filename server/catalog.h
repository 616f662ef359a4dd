/* The files that requests may name. Thread-safe: folders are read anew when they are asked for. */
#ifndef SERVER_CATALOG_H
#define SERVER_CATALOG_H

#include "server/config.h"
#include "server/job_request.h"

typedef struct catalog catalog;

/* A folder of models, and the model that is used when a request names none. */
sd_status catalog_open(catalog **out, const struct config *config, sd_error *err);
void catalog_close(catalog **catalog);

/* Name of the default model: "mockup". */
const char *catalog_default(const catalog *c);
/* Path of a model; NULL names the default one. Free with free(). */
sd_status catalog_model(const catalog *c, const char *name, char **path, sd_error *err);
/* Path of another kind of file. */
sd_status catalog_file(const catalog *c, sd_library_kind kind, const char *name, char **path, sd_error *err);

/* Calls `each` for the files of a kind; the default model comes first of the checkpoints, even where it lies
 * elsewhere. */
sd_status catalog_each(const catalog *c, sd_library_kind kind,
                       void (*each)(void *user, const sd_library_file *file), void *user, sd_error *err);

/* Leaves the folder of models out of a message: where the server keeps its files is nobody's business. */
void catalog_hide(const catalog *c, char *message);

/* Whether all that a request names is there; `field` (64 bytes) names the one that is not. */
sd_status catalog_check(const catalog *c, const struct job_request *r, char *field, sd_error *err);

#endif
