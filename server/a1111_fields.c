/* The fields of txt2img and img2img: types, defaults, and what of them is not there. */
#include "server/a1111.h"

#include <math.h>
#include <string.h>

enum { txt = A1111_TXT2IMG, img = A1111_IMG2IMG, both = txt | img };

/* Types and defaults are those of A1111's API, which are not those of its page. */
static const struct field {
    const char *name;
    enum a1111_kind kind;
    const char *fallback; /* JSON */
    unsigned tasks;
} table[] = {
    {"prompt", A1111_TEXT, "\"\"", both},
    {"negative_prompt", A1111_TEXT, "\"\"", both},
    {"styles", A1111_TEXTS, "null", both},
    {"seed", A1111_WHOLE, "-1", both},
    {"subseed", A1111_WHOLE, "-1", both},
    {"subseed_strength", A1111_NUMBER, "0", both},
    {"seed_resize_from_h", A1111_WHOLE, "-1", both},
    {"seed_resize_from_w", A1111_WHOLE, "-1", both},
    {"sampler_name", A1111_TEXT, "null", both},
    {"scheduler", A1111_TEXT, "null", both},
    {"batch_size", A1111_WHOLE, "1", both},
    {"n_iter", A1111_WHOLE, "1", both},
    {"steps", A1111_WHOLE, "50", both},
    {"cfg_scale", A1111_NUMBER, "7", both},
    {"width", A1111_WHOLE, "512", both},
    {"height", A1111_WHOLE, "512", both},
    {"restore_faces", A1111_FLAG, "null", both},
    {"tiling", A1111_FLAG, "null", both},
    {"do_not_save_samples", A1111_FLAG, "false", both},
    {"do_not_save_grid", A1111_FLAG, "false", both},
    {"eta", A1111_NUMBER, "null", both},
    {"denoising_strength", A1111_NUMBER, "null", txt},
    {"denoising_strength", A1111_NUMBER, "0.75", img},
    {"s_min_uncond", A1111_NUMBER, "null", both},
    {"s_churn", A1111_NUMBER, "null", both},
    {"s_tmax", A1111_NUMBER, "null", both},
    {"s_tmin", A1111_NUMBER, "null", both},
    {"s_noise", A1111_NUMBER, "null", both},
    {"override_settings", A1111_OBJECT, "null", both},
    {"override_settings_restore_afterwards", A1111_FLAG, "true", both},
    {"refiner_checkpoint", A1111_TEXT, "null", both},
    {"refiner_switch_at", A1111_NUMBER, "null", both},
    {"disable_extra_networks", A1111_FLAG, "false", both},
    {"firstpass_image", A1111_TEXT, "null", both},
    {"comments", A1111_OBJECT, "null", both},
    {"force_task_id", A1111_TEXT, "null", both},
    {"sampler_index", A1111_TEXT, "\"Euler\"", both},
    {"script_name", A1111_TEXT, "null", both},
    {"script_args", A1111_LIST, "[]", both},
    {"send_images", A1111_FLAG, "true", both},
    {"save_images", A1111_FLAG, "false", both},
    {"alwayson_scripts", A1111_OBJECT, "{}", both},
    {"infotext", A1111_TEXT, "null", both},
    {"enable_hr", A1111_FLAG, "false", txt},
    {"firstphase_width", A1111_WHOLE, "0", txt},
    {"firstphase_height", A1111_WHOLE, "0", txt},
    {"hr_scale", A1111_NUMBER, "2", txt},
    {"hr_upscaler", A1111_TEXT, "null", txt},
    {"hr_second_pass_steps", A1111_NUMBER, "0", txt}, /* clients send half of the steps */
    {"hr_resize_x", A1111_WHOLE, "0", txt},
    {"hr_resize_y", A1111_WHOLE, "0", txt},
    {"hr_checkpoint_name", A1111_TEXT, "null", txt},
    {"hr_sampler_name", A1111_TEXT, "null", txt},
    {"hr_scheduler", A1111_TEXT, "null", txt},
    {"hr_prompt", A1111_TEXT, "\"\"", txt},
    {"hr_negative_prompt", A1111_TEXT, "\"\"", txt},
    {"init_images", A1111_TEXTS, "null", img},
    {"resize_mode", A1111_WHOLE, "0", img},
    {"image_cfg_scale", A1111_NUMBER, "null", img},
    {"mask", A1111_TEXT, "null", img},
    {"mask_blur_x", A1111_WHOLE, "4", img},
    {"mask_blur_y", A1111_WHOLE, "4", img},
    {"mask_blur", A1111_WHOLE, "null", img},
    {"mask_round", A1111_FLAG, "true", img},
    {"inpainting_fill", A1111_WHOLE, "0", img},
    {"inpaint_full_res", A1111_FLAG, "true", img},
    {"inpaint_full_res_padding", A1111_WHOLE, "0", img},
    {"inpainting_mask_invert", A1111_WHOLE, "0", img},
    {"initial_noise_multiplier", A1111_NUMBER, "null", img},
    {"latent_mask", A1111_TEXT, "null", img},
    {"include_init_images", A1111_FLAG, "false", img},
};

enum { rows = sizeof table / sizeof *table };

static bool is_known(const char *name, enum a1111_task task) {
    for (size_t i = 0; i < rows; i++)
        if (table[i].tasks & task && !strcmp(table[i].name, name))
            return true;
    return false;
}

cJSON *a1111_fields(const cJSON *given, enum a1111_task task, cJSON *warnings, struct a1111_refusal *r) {
    cJSON *out = cJSON_CreateObject();
    for (const cJSON *item = given->child; item; item = item->next)
        if (!is_known(item->string, task))
            a1111_warn(warnings, "%.60s: unknown field, ignored", item->string);
    for (size_t i = 0; i < rows && !r->status; i++) {
        const struct field *f = &table[i];
        if (!(f->tasks & task))
            continue;
        const cJSON *value = json_get(given, f->name);
        cJSON_AddItemToObject(out, f->name,
                              value ? a1111_coerce(value, f->kind, f->name, r) : cJSON_Parse(f->fallback));
    }
    if (!r->status)
        return out;
    cJSON_Delete(out);
    return NULL;
}

/* ---- what is not there ---- */

/* Flags that may not be set. */
static const struct {
    const char *name, *reason;
} flags[] = {
    {"enable_hr", "there is no second pass in a higher resolution"},
    {"restore_faces", "faces are not restored"},
    {"tiling", "pictures that tile are not made"},
    {"disable_extra_networks", "LoRAs of the prompt cannot be switched off; leave them out of it"},
};

/* Texts that may only be empty. */
static const struct {
    const char *name, *reason;
} texts[] = {
    {"refiner_checkpoint", "there is no refiner"},
    {"script_name", "there are no scripts"},
    {"firstpass_image", "there is no second pass in a higher resolution"},
    {"latent_mask", "there is one mask, 'mask'"},
    {"infotext", "settings are not read from texts; send them as fields"},
};

/* Numbers that may only be such that they change nothing. */
static const struct {
    const char *name;
    double low, high;
    const char *reason;
} numbers[] = {
    {"subseed_strength", -HUGE_VAL, 0, "variation seeds are not mixed in"},
    {"s_churn", -HUGE_VAL, 0, "no noise is churned in"},
    {"s_min_uncond", -HUGE_VAL, 0, "guidance is never skipped"},
    {"initial_noise_multiplier", 1, 1, "samplers start from noise of the usual deviation, 1"},
};

static bool check_numbers(const cJSON *fields, struct a1111_refusal *r) {
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        double value = json_number(fields, numbers[i].name, numbers[i].high);
        if (value < numbers[i].low || value > numbers[i].high)
            return a1111_refuse(r, numbers[i].name, "%s: %s, found %g", numbers[i].name, numbers[i].reason,
                                value);
    }
    double w = json_number(fields, "seed_resize_from_w", -1),
           h = json_number(fields, "seed_resize_from_h", -1);
    if (w > 0 && h > 0)
        return a1111_refuse(r, "seed_resize_from_w",
                            "seed_resize_from_w: noise is not resized from another size, found %g x %g", w,
                            h);
    return true;
}

/* "None" is how the page's drop-down lists say it. */
static bool says_none(const char *text) {
    return !*text || !strcmp(text, "None") || !strcmp(text, "none");
}

bool a1111_check(const cJSON *fields, enum a1111_task task, cJSON *warnings, struct a1111_refusal *r) {
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (json_flag(fields, flags[i].name, false))
            return a1111_refuse(r, flags[i].name, "%s: %s", flags[i].name, flags[i].reason);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!says_none(json_text(fields, texts[i].name, "")))
            return a1111_refuse(r, texts[i].name, "%s: %s", texts[i].name, texts[i].reason);
    const cJSON *script = cJSON_GetObjectItemCaseSensitive(fields, "alwayson_scripts")->child, *style;
    if (script)
        return a1111_refuse(r, "alwayson_scripts", "alwayson_scripts: Script '%.60s' not found",
                            script->string);
    cJSON_ArrayForEach(style, cJSON_GetObjectItemCaseSensitive(fields, "styles"))
        a1111_warn(warnings, "styles: there is no style '%.60s', ignored", style->valuestring);
    if (json_flag(fields, "save_images", false))
        a1111_warn(warnings, "save_images: pictures are not kept on the server, ignored");
    if (task == A1111_IMG2IMG && !json_flag(fields, "mask_round", true))
        return a1111_refuse(r, "mask_round",
                            "mask_round: the mask's edge is always rounded to whole latents");
    return check_numbers(fields, r);
}
