/* What prompts may ask for: a JSON file
 *
 *     {"version": "7", "rules": {"blocked": ["gore"], "required": ["acme"], "max_steps": 50, "max_count": 4,
 *      "max_pixels": 1048576, "models": ["mockup"], "loras": ["acme"]}, "keys": {"alice": {"blocked": []}}}
 *
 * whose rules of a key replace the general ones of the same name. Terms are compared word by word, whatever
 * their case and whatever stands between them. */
#ifndef SERVER_POLICY_H
#define SERVER_POLICY_H

#include "server/job_request.h"

typedef struct policy policy;

struct verdict {
    char version[64];
    bool allowed;
    char field[64]; /* of the request */
    char reason[256];
};

/* Errors name the file and the field. */
sd_status policy_open(policy **out, const char *path, sd_error *err);
void policy_close(policy **policy);

/* What a request of an owner comes to. `policy` NULL allows everything. */
void policy_judge(const policy *p, const char *owner, const char *default_model, const struct job_request *r,
                  struct verdict *out);

/* Pixels that an owner's pictures may have; UINT64_MAX without such a rule. */
uint64_t policy_pixels(const policy *p, const char *owner);

/* Whether the words of `term` follow one another in `text`. */
bool policy_has_term(const char *text, const char *term);

#endif
