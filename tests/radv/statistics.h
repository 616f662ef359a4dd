/* What RADV's compiler makes of a shader, on its "null hardware": AMD GPUs that need not be there. */
#ifndef RADV_STATISTICS_H
#define RADV_STATISTICS_H

#include "sd/nn/op.h"

#include <stdbool.h>

struct statistics {
    uint64_t vgprs, spilled_vgprs, spilled_sgprs, scratch, shared, subgroups; /* subgroups a SIMD can hold */
};

typedef struct compiler compiler;

/* Opens the loader's first device. Fails the test on any error. */
compiler *compiler_open(bool coop);
void compiler_close(compiler **c);
struct statistics compiler_measure(compiler *c, const struct sd_dispatch *dispatch);

#endif
