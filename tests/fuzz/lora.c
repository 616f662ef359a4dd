/* Adapter files by what their header says. The first byte chooses the model's family (two bits), whether it
 * is strict, and what the tensors are filled with; then come lines "KEY TYPE SIZE,SIZE..." for tensors and
 * "key=value" for metadata. What is accepted is consistent; what is refused has its sentence. */
#define _GNU_SOURCE /* memfd_create */

#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lora/lora.h"
#include "sd/layers.h"

enum { most_bytes = 1 << 18, most_lines = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_tensor(cJSON *header, char *line, uint64_t *end) {
    char *type = strchr(line, ' '), *sizes = type ? strchr(type + 1, ' ') : NULL;
    uint64_t shape[SD_FILE_RANK], bytes = 0;
    uint32_t rank = 0;
    if (!sizes)
        return;
    *type++ = *sizes++ = 0;
    for (char *at = sizes; rank < SD_FILE_RANK && *at;) {
        shape[rank++] = strtoull(at, &at, 10);
        at += *at != 0;
    }
    sd_file_dtype dtype = sd_file_dtype_from_name(type);
    if (dtype == SD_FILE_DTYPES || !sd_file_tensor_size(dtype, rank, shape, &bytes) ||
        bytes > most_bytes - *end)
        return;
    cJSON *tensor = cJSON_AddObjectToObject(header, line);
    cJSON *dims = cJSON_AddArrayToObject(tensor, "shape"),
          *range = cJSON_AddArrayToObject(tensor, "data_offsets");
    cJSON_AddStringToObject(tensor, "dtype", type);
    for (uint32_t i = 0; i < rank; i++)
        cJSON_AddItemToArray(dims, cJSON_CreateNumber((double)shape[i]));
    cJSON_AddItemToArray(range, cJSON_CreateNumber((double)*end));
    *end += bytes;
    cJSON_AddItemToArray(range, cJSON_CreateNumber((double)*end));
}

/* The header's text; `bytes` gets the size of the data behind it. */
static char *read_lines(char *text, uint64_t *bytes) {
    cJSON *header = cJSON_CreateObject(), *metadata = cJSON_AddObjectToObject(header, "__metadata__");
    *bytes = 0;
    for (int lines = 0; text && *text && lines < most_lines; lines++) {
        char *next = strchr(text, '\n'), *equals;
        if (next)
            *next++ = 0;
        if ((equals = strchr(text, '='))) {
            *equals = 0;
            cJSON_AddStringToObject(metadata, text, equals + 1);
        } else
            add_tensor(header, text, bytes);
        text = next;
    }
    char *out = cJSON_PrintUnformatted(header);
    cJSON_Delete(header);
    return out;
}

/* The file that these lines describe, in memory under a name. */
static const char *write_file(char *text, int fill) {
    static char path[64];
    static int file;
    static const char *const fills[] = {"\0\0\0\0", "\0\0\x80\x3f", "\xff\xff\xff\xff", "\x3c\x3c\x3c\x3c"};
    static uint8_t values[most_bytes];
    uint64_t bytes;
    char *header = read_lines(text, &bytes);
    if (!path[0]) {
        file = memfd_create("adapter", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    if (!header || file < 0)
        abort();
    uint64_t length = strlen(header);
    for (uint64_t i = 0; i < bytes; i++)
        values[i] = (uint8_t)fills[fill][i % 4];
    if (ftruncate(file, 0) || pwrite(file, &length, 8, 0) != 8 ||
        pwrite(file, header, length, 8) != (ssize_t)length ||
        pwrite(file, values, bytes, (off_t)(8 + length)) != (ssize_t)bytes)
        abort();
    free(header);
    return path;
}

static void check_error(const sd_error *err) {
    if (!err->message[0] || err->status == SD_E_INTERNAL)
        abort();
}

static void check_match(const sd_lora_match *match, bool strict) {
    const struct sd_lora_report *r = sd_lora_match_report(match);
    uint32_t changed = 0;
    for (int part = 0; part < SD_LORA_PARTS; part++)
        changed += r->changed[part].layers + r->changed[part].norms;
    if (!r->matched || r->matched > r->modules || changed != r->matched || (strict && r->unmatched_count) ||
        r->rank_min > r->rank_max || !r->kinds[0])
        abort();
    for (uint32_t i = 0; i < r->unmatched_count; i++)
        if (!r->unmatched[i] || (i && strcmp(r->unmatched[i - 1], r->unmatched[i]) > 0))
            abort();
    if (r->unmatched[r->unmatched_count])
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static sd_lora_targets *families[4];
    sd_lora *lora = NULL;
    sd_lora_match *match = NULL;
    sd_error err = {0};
    if (!size || size > 1 << 14)
        return 0;
    sd_lora_targets **targets = &families[data[0] & 3];
    bool strict = data[0] >> 2 & 1;
    if (!*targets && sd_layers_of_family(targets, data[0] & 3, NULL))
        abort();
    char *text = calloc(size, 1);
    memcpy(text, data + 1, size - 1);
    if (sd_lora_open(&lora, write_file(text, data[0] >> 3 & 3), &err) ||
        sd_lora_match_create(&match, lora, *targets, strict, &err))
        check_error(&err);
    else
        check_match(match, strict);
    sd_lora_match_destroy(&match);
    sd_lora_close(&lora);
    free(text);
    return 0;
}
