/* Textual inversions of both formats: what is read is as large as it says, and finite. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "clip/inversion.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sd_inversion x;
    sd_error err = {0};
    if (sd_inversion_parse(&x, "file", data, size, &err)) {
        if (!err.message[0] || err.status == SD_E_INTERNAL || x.rows[0] || x.rows[1])
            abort();
        return 0;
    }
    if (x.encoders < 1 || x.encoders > 2 || x.vectors < 1 || x.vectors > SD_INVERSION_VECTORS)
        abort();
    for (uint32_t e = 0; e < x.encoders; e++)
        for (uint32_t i = 0; i < x.vectors * x.width[e]; i++)
            if (!isfinite(x.rows[e][i]))
                abort();
    sd_inversion_clear(&x);
    return 0;
}
