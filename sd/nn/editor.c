#include "sd/nn/editor.h"

#include "sd/nn/edit_run.h"

#include <stdlib.h>

struct sd_editor {
    struct sd_upload upload;
};

sd_status sd_editor_create(sd_editor **out, sd_vk *vk, sd_error *err) {
    if (!(*out = calloc(1, sizeof **out)))
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    sd_status status = sd_upload_begin(&(*out)->upload, vk, err);
    if (status) {
        free(*out);
        *out = NULL;
    }
    return status;
}

void sd_editor_destroy(sd_editor **editor) {
    if (!*editor)
        return;
    sd_upload_end(&(*editor)->upload, SD_E_CANCELLED, NULL); /* nothing is left to be run */
    free(*editor);
    *editor = NULL;
}

sd_status sd_editor_run(sd_editor *editor, const sd_edit *e, const struct sd_raw *raw, float *out,
                        sd_error *err) {
    struct sd_upload *u = &editor->upload;
    uint64_t address = 0;
    sd_status status = sd_edit_run(e, raw, u, &address, err);
    if (!status)
        status = sd_upload_flush(u, err);
    if (status)
        return status;
    const sd_matrix *m = &e->matrices[0];
    return sd_vk_read(u->vk, u->workspace, address - u->workspace->address, out,
                      (uint64_t)m->rows * m->columns * sizeof *out, err);
}
