#include "server/a1111.h"

#include <stdlib.h>
#include <string.h>

static bool add_choice(const cJSON *fields, cJSON *native, const char *field, const char *const *choices,
                       const char *native_field, struct a1111_refusal *r) {
    double value = json_number(fields, field, 0);
    int last = 0;
    while (choices[last + 1])
        last++;
    if (value < 0 || value > last)
        return a1111_refuse(r, field, "%s: expected 0 to %d, found %.0f", field, last, value);
    cJSON_AddStringToObject(native, native_field, choices[(int)value]);
    return true;
}

static bool read_blur(const cJSON *fields, cJSON *native, struct a1111_refusal *r) {
    double x = json_number(fields, "mask_blur_x", 4), y = json_number(fields, "mask_blur_y", 4);
    double both = json_number(fields, "mask_blur", -1);
    if (both < 0 && x != y)
        return a1111_refuse(r, "mask_blur_x",
                            "mask_blur_x: expected the same as mask_blur_y, found %g and %g", x, y);
    cJSON_AddNumberToObject(native, "mask_blur", both < 0 ? x : both);
    return true;
}

/* A mask that leaves nothing to do within it is as good as none. */
static bool read_mask(const struct a1111_request *q, const struct config *config, cJSON *native,
                      struct a1111_refusal *r) {
    static const char *const fills[] = {"fill", "original", "noise", "nothing", NULL};
    const cJSON *fields = q->fields;
    const char *given = json_text(fields, "mask", "");
    bool part = json_flag(fields, "inpaint_full_res", true), blank;
    char *mask;
    if (!*given)
        return true;
    if (!a1111_mask(fields, config, &mask, &blank, r))
        return false;
    if (blank && part) {
        free(mask);
        a1111_warn(q->warnings, "mask: nothing of it is to be made anew, ignored");
        return true;
    }
    cJSON_AddStringToObject(native, "mask", mask ? mask : given);
    free(mask);
    cJSON_AddStringToObject(native, "mask_area", part ? "masked" : "whole");
    cJSON_AddNumberToObject(native, "mask_padding", json_number(fields, "inpaint_full_res_padding", 0));
    cJSON_AddStringToObject(native, "mask_paint",
                            json_number(fields, "inpainting_mask_invert", 0) != 0 ? "black" : "white");
    return add_choice(fields, native, "inpainting_fill", fills, "mask_fill", r) &&
           read_blur(fields, native, r);
}

static bool is_address(const char *text) {
    return !strncmp(text, "http://", 7) || !strncmp(text, "https://", 8);
}

bool a1111_img2img(const struct a1111_request *q, const struct config *config, cJSON *native,
                   struct a1111_refusal *r) {
    const cJSON *fields = q->fields;
    static const char *const resizes[] = {"stretch", "crop", "fill", NULL};
    const cJSON *images = cJSON_GetObjectItemCaseSensitive(fields, "init_images"), *scale;
    const char *first = cJSON_GetArraySize(images) ? images->child->valuestring : NULL;
    if (!first) {
        a1111_refuse(r, "", "Init image not found");
        r->status = 404;
        return false;
    }
    if (images->child->next)
        return a1111_refuse(r, "init_images", "init_images: expected one picture, found %d",
                            cJSON_GetArraySize(images));
    if (is_address(first) || is_address(json_text(fields, "mask", "")))
        return a1111_refuse(r, is_address(first) ? "init_images" : "mask",
                            "%s: no address is fetched; send the picture as base64",
                            is_address(first) ? "init_images" : "mask");
    if (json_number(fields, "resize_mode", 0) == 3)
        return a1111_refuse(r, "resize_mode",
                            "resize_mode: latents are not resized, found 3; 0 to 2 resize pixels");
    cJSON_AddStringToObject(native, "init_image", first);
    cJSON_AddNumberToObject(native, "strength", json_number(fields, "denoising_strength", 0.75));
    if ((scale = json_get(fields, "image_cfg_scale")))
        cJSON_AddNumberToObject(native, "image_cfg_scale", scale->valuedouble);
    return add_choice(fields, native, "resize_mode", resizes, "resize", r) && read_mask(q, config, native, r);
}
