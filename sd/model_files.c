/* From the options of sd_model_open to the files of a model. */
#include "sd/library.h"
#include "sd/model.h"

#include <stdlib.h>

sd_status sd_model_resolve(const char *models, const char *word, char **path, sd_error *err) {
    sd_status status = sd_library_resolve(models, SD_LIBRARY_CHECKPOINT, word, path, err);
    if (status == SD_E_NOT_FOUND && !sd_library_resolve(models, SD_LIBRARY_UNET, word, path, NULL))
        return SD_OK;
    return status;
}

sd_status sd_model_open_files(sd_model *m, const char *word, const sd_model_options *o, sd_error *err) {
    enum { most = 5 };
    const struct {
        const char *word;
        sd_library_kind kind;
    } given[most] = {{o->unet, SD_LIBRARY_UNET},
                     {o->vae, SD_LIBRARY_VAE},
                     {o->taesd, SD_LIBRARY_TAESD},
                     {o->text_encoders[0], SD_LIBRARY_TEXT_ENCODER},
                     {o->text_encoders[1], SD_LIBRARY_TEXT_ENCODER}};
    char *paths[most] = {NULL}, *path = NULL;
    sd_status status = sd_model_resolve(m->context->models, word, &path, err);
    for (int i = 0; i < most && !status; i++)
        if (given[i].word)
            status = sd_library_resolve(m->context->models, given[i].kind, given[i].word, &paths[i], err);
    if (!status) {
        const char *first = paths[3] ? paths[3] : paths[4];
        const struct sd_separate_parts separate = {.unet = paths[0],
                                                   .vae = paths[1],
                                                   .taesd = paths[2],
                                                   .text = {first, paths[4]},
                                                   .text_count = (paths[3] != NULL) + (paths[4] != NULL)};
        status = sd_checkpoint_open(&m->files, path, &separate, err);
    }
    for (int i = 0; i < most; i++)
        free(paths[i]);
    free(path);
    return status;
}
