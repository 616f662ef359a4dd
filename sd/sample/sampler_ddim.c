/* DDIM (Song et al. 2021, arXiv 2010.02502), equation 12. With sigma^2 = (1 - alpha) / alpha and samples
 * divided by sqrt(alpha), the part of eta 0 is Euler's method and equation 16's deviation is that of an
 * ancestral step; eta 1 is DDPM. */
#include "sd/sample/run.h"

sd_status sd_sampler_ddim(sd_run *run, sd_error *err) {
    return sd_sampler_euler_a(run, err);
}
