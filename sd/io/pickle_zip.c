/* The form since PyTorch 1.6: a zip archive with FOLDER/data.pkl and the storages in FOLDER/data/KEY, all
 * stored uncompressed. */
#include "sd/io/pickle_internal.h"
#include "sd/io/zip.h"

#include "sd/base/checked.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* An entry of the folder, NULL when there is none. */
static const sd_zip_entry *in_folder(const sd_zip *zip, const char *folder, const char *name) {
    char path[SD_ZIP_NAME + 160];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return sd_zip_find(zip, path);
}

/* The folder that has a data.pkl, in the arena; NULL and an error when it is not exactly one. */
static char *find_folder(sd_unpickler *u, const sd_zip *zip) {
    static const char wanted[] = "/data.pkl";
    const char *found = NULL;
    for (size_t i = 0; i < zip->count; i++) {
        const char *slash = strchr(zip->entries[i].name, '/');
        if (!slash || strcmp(slash, wanted) != 0)
            continue;
        if (found) {
            u->status = sd_fail(u->err, SD_E_FORMAT,
                                "%s: expected one data.pkl in the zip archive, found '%s' and '%s'", u->label,
                                sd_show_name(found).text, sd_show_name(zip->entries[i].name).text);
            return NULL;
        }
        found = zip->entries[i].name;
    }
    if (!found) {
        u->status = sd_fail(
            u->err, SD_E_FORMAT,
            "%s: expected an archive that torch.save wrote, found a zip archive without FOLDER/data.pkl",
            u->label);
        return NULL;
    }
    char *folder = sd_arena_strdup(u->values, found);
    if (folder)
        folder[strlen(found) - strlen(wanted)] = 0;
    else
        sd_unpickle_no_memory(u);
    return folder;
}

static bool check_kind(sd_unpickler *u, const sd_zip *zip, const char *folder) {
    const sd_zip_entry *order = in_folder(zip, folder, "byteorder");
    if (in_folder(zip, folder, "constants.pkl"))
        u->status =
            sd_fail(u->err, SD_E_UNSUPPORTED,
                    "%s: expected an archive that torch.save wrote, found a TorchScript program", u->label);
    else if (order && (!order->stored || order->size != 6 || memcmp(order->data, "little", 6) != 0))
        u->status = sd_fail(u->err, SD_E_UNSUPPORTED, "%s: expected the byte order little, found another one",
                            u->label);
    return !u->status;
}

static bool give_data(sd_unpickler *u, const sd_zip *zip, const char *folder, sd_pickle_storage *s) {
    char name[160];
    uint64_t bytes;
    snprintf(name, sizeof name, "data/%s", s->key);
    const sd_zip_entry *entry = in_folder(zip, folder, name);
    sd_shown_name key = sd_show_name(s->key);
    u->op = (size_t)s->at;
    if (!entry)
        return sd_unpickle_fail(u, SD_E_FORMAT, "storage '%s' is not in the archive", key.text);
    if (!entry->stored)
        return sd_unpickle_fail(u, SD_E_UNSUPPORTED,
                                "storage '%s' is compressed or encrypted, which torch.save never does",
                                key.text);
    if (!sd_file_tensor_size(s->dtype, 1, &s->count, &bytes) || bytes > entry->size)
        return sd_unpickle_fail(u, SD_E_FORMAT,
                                "storage '%s' of %" PRIu64 " %s has %" PRIu64 " bytes in the archive",
                                key.text, s->count, sd_file_dtype_name(s->dtype), entry->size);
    s->data = entry->data;
    s->bytes = bytes;
    return true;
}

static bool read_object(sd_unpickler *u, const sd_zip *zip, const char *folder, sd_pickle_value *object) {
    const sd_zip_entry *entry = in_folder(zip, folder, "data.pkl");
    const char *label = sd_arena_printf(u->values, "%s: %s", u->label, sd_show_name(entry->name).text);
    if (!label)
        return sd_unpickle_no_memory(u);
    if (!entry->stored)
        u->status = sd_fail(u->err, SD_E_UNSUPPORTED,
                            "%s is compressed or encrypted, which torch.save never does", label);
    else if (entry->size > SD_PICKLE_BYTES)
        u->status =
            sd_fail(u->err, SD_E_UNSUPPORTED, "%s: expected a pickle of at most %d bytes, found %" PRIu64,
                    label, SD_PICKLE_BYTES, entry->size);
    if (u->status)
        return false;
    u->label = label;
    u->data = entry->data;
    u->size = (size_t)entry->size;
    u->at = 0;
    if (!sd_unpickle(u, object))
        return false;
    if (u->at < u->size) {
        u->op = u->at;
        return sd_unpickle_fail(u, SD_E_FORMAT, "%zu bytes follow the end of the pickle", u->size - u->at);
    }
    for (sd_pickle_storage *s = u->storages; s; s = s->next)
        if (!give_data(u, zip, folder, s))
            return false;
    return true;
}

bool sd_pickle_read_zip(sd_unpickler *u, sd_pickle_value *object, size_t *pickle_size) {
    sd_zip zip;
    u->status = sd_zip_read(u->label, u->data, u->size, u->values, &zip, u->err);
    if (u->status)
        return false;
    const char *folder = find_folder(u, &zip);
    if (!folder || !check_kind(u, &zip, folder) || !read_object(u, &zip, folder, object))
        return false;
    *pickle_size = u->at;
    return true;
}
