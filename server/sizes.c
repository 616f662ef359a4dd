#include "server/sizes.h"

#include <inttypes.h>
#include <string.h>

/* The longest side that the limits allow beside one of `given` pixels, or of a square where that is 0. */
static uint32_t longest_side(const struct config *c, uint64_t most, uint32_t given) {
    uint32_t side = c->max_side;
    if (given && side > most / given)
        side = (uint32_t)(most / given);
    while (!given && side > 8 && (uint64_t)side * side > most)
        side -= 8;
    return side < 8 ? 8 : side / 8 * 8;
}

sd_status sizes_fill(const struct config *c, uint64_t most, const sd_model *model, sd_params *p,
                     sd_error *err) {
    const sd_picture *init = p->init_image;
    bool part = p->mask_area && !strcmp(p->mask_area, "masked");
    sd_model_info info;
    if (p->width && p->height)
        return SD_OK;
    if (!p->width && !p->height && init && !part)
        return (uint64_t)init->width * init->height <= most
                   ? SD_OK
                   : sd_fail(err, SD_E_ARGUMENT,
                             "width x height: the policy allows at most %" PRIu64 ", found %" PRIu64
                             ", the picture's",
                             most, (uint64_t)init->width * init->height);
    if (most > (uint64_t)c->max_pixels * 1000)
        most = (uint64_t)c->max_pixels * 1000;
    uint32_t given = p->width + p->height, side = longest_side(c, most, given);
    sd_model_get_info(model, &info);
    if (!given && (info.width > side || info.height > side))
        p->width = p->height = side;
    else if (given && !p->width && info.width > side)
        p->width = side;
    else if (given && !p->height && info.height > side)
        p->height = side;
    return SD_OK;
}
