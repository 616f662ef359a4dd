#include "sd/preview_taesd.h"

#include "sd/library.h"

#include <string.h>
#include <strings.h>

/* `name` is a path below the kind's folder, without extension. */
static bool is_called(const char *name, const char *taesd) {
    static const char in_folder[] = "/diffusion_pytorch_model";
    const char *stem = sd_library_stem(name);
    size_t n = strlen(taesd), size = strlen(name);
    if (size >= n + sizeof in_folder - 1 && !strcasecmp(name + size - (sizeof in_folder - 1), in_folder)) {
        stem = name + size - (sizeof in_folder - 1) - n;
        return !strncasecmp(stem, taesd, n) && (stem == name || stem[-1] == '/');
    }
    return !strncasecmp(stem, taesd, n) && (!stem[n] || !strcasecmp(stem + n, "_decoder"));
}

static sd_status load(struct sd_preview_taesd *t, const sd_model *m, const char *path, sd_error *err) {
    sd_status status = sd_checkpoint_open_taesd(&t->files, path, err);
    if (!status)
        status = sd_autoencoder_open(&t->autoencoder, m->context->vk, t->files, m->precision, m->cancel, err);
    if (status)
        sd_preview_taesd_close(t, m->context->vk);
    return status;
}

sd_status sd_preview_taesd_open(struct sd_preview_taesd *out, const sd_model *m, sd_error *err) {
    const char *name = m->files->unet.add_dim ? "taesdxl" : "taesd", *path = NULL;
    sd_library *library = NULL;
    *out = (struct sd_preview_taesd){0};
    if (!m->context->models || m->files->vae.latent_channels != SD_TAESD_LATENT)
        return SD_OK;
    sd_status status = sd_library_scan(&library, m->context->models, SD_LIBRARY_TAESD, err);
    if (status)
        return status;
    for (size_t i = 0; i < sd_library_count(library) && !path; i++)
        if (is_called(sd_library_at(library, i)->name, name))
            path = sd_library_at(library, i)->path;
    if (path)
        status = load(out, m, path, err);
    sd_library_close(&library);
    return status;
}

void sd_preview_taesd_close(struct sd_preview_taesd *t, sd_vk *vk) {
    sd_autoencoder_close(&t->autoencoder, vk);
    sd_checkpoint_close(&t->files);
    *t = (struct sd_preview_taesd){0};
}
