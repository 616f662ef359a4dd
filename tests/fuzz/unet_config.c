/* Any text as a UNet's config.json, then (behind a NUL) an LDM name: what is accepted is within the limits,
 * and names come back from the other spelling. */
#include "unet/names.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const struct sd_unet_config *config, const char *ldm) {
    char canonical[512], back[512];
    if (!sd_unet_canonical_name(config, ldm, canonical, sizeof canonical))
        return;
    if (!sd_unet_ldm_name(config, canonical, back, sizeof back) || strcmp(back, ldm) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sd_unet_config config;
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t json = end ? (size_t)(end - data) : size, rest = size - json;
    char name[256] = {0};
    if (rest > 1)
        memcpy(name, end + 1, rest - 1 < sizeof name - 1 ? rest - 1 : sizeof name - 1);
    if (sd_unet_config_parse(&config, (const char *)data, json, "config.json", NULL) == SD_OK) {
        if (sd_unet_config_check(&config, "config.json", NULL) != SD_OK)
            abort();
        check_name(&config, name);
    }
    check_name(sd_unet_config_find("sdxl"), name);
    return 0;
}
