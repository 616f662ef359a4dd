/* Plain C reference of the nearest resize: source index floor(y * h / to_h). */
#ifndef REF_RESIZE_NEAREST_H
#define REF_RESIZE_NEAREST_H

#include <stdint.h>

/* x [n,h,w,c], out [n,to_h,to_w,c] */
void ref_resize_nearest(float *out, const float *x, uint32_t n, uint32_t h, uint32_t w, uint32_t c,
                        uint32_t to_h, uint32_t to_w);

#endif
