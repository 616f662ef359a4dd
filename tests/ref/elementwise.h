/* Plain C references of the elementwise ops, computed in double. */
#ifndef REF_ELEMENTWISE_H
#define REF_ELEMENTWISE_H

#include "sd/nn/ops.h"

float ref_activate(float x, sd_act act);
/* x*scale + shift */
float ref_scale(float x, float scale, float shift);
/* a + t*(b-a) */
float ref_lerp(float a, float b, float t);
/* The nearest f16, as a float. */
float ref_half(float x);

#endif
