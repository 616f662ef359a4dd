#include "tests/ref/operand.h"

#include "tests/ref/elementwise.h"

static float *values_of(optest *t, size_t count, float scale, float shift) {
    sd_dtype act = optest_graph(t)->act;
    float *x = optest_random(t, count, act);
    for (size_t i = 0; i < count; i++) {
        x[i] = x[i] * scale + shift;
        if (act == SD_F16)
            x[i] = ref_half(x[i]);
    }
    return x;
}

/* Channels first..first+width of `from` (`pitch` channels) at channel `at` of `to` (c channels). */
static void place(float *to, uint32_t c, uint32_t at, const float *from, uint32_t pitch, uint32_t first,
                  uint32_t width, size_t rows) {
    for (size_t r = 0; r < rows; r++)
        for (uint32_t k = 0; k < width; k++)
            to[r * c + at + k] = from[r * pitch + first + k];
}

struct operand operand_make(optest *t, enum operand_form form, uint32_t n, uint32_t h, uint32_t w, uint32_t c,
                            float scale, float shift) {
    sd_graph *g = optest_graph(t);
    size_t rows = (size_t)n * h * w;
    struct operand o = {.values = values_of(t, rows * c, scale, shift)};
    if (form == OPERAND_SLICE) {
        /* Half of the slices start where vectors of four can be read. */
        uint32_t step = optest_int(t, 0, 1) ? 4 : 2, first = optest_int(t, 0, 4) * step;
        uint32_t wide = first + c + (step == 4 ? 4 * optest_int(t, 0, 2) : optest_int(t, 0, 5));
        float *all = values_of(t, rows * wide, scale, shift);
        place(o.values, c, 0, all, wide, first, c, rows);
        o.tensor = sd_slice(g, optest_input(t, n, h, w, wide, all), first, c);
    } else if (form == OPERAND_CONCAT && c > 1) {
        uint32_t split = c >= 8 && optest_int(t, 0, 1) ? c / 8 * 4 : optest_int(t, 1, c - 1);
        float *a = values_of(t, rows * split, scale, shift),
              *b = values_of(t, rows * (c - split), scale, shift);
        place(o.values, c, 0, a, split, 0, split, rows);
        place(o.values, c, split, b, c - split, 0, c - split, rows);
        o.tensor = sd_concat(g, optest_input(t, n, h, w, split, a), optest_input(t, n, h, w, c - split, b));
    } else
        o.tensor = optest_input(t, n, h, w, c, o.values);
    return o;
}

void operand_variant(optest *t, uint32_t variant) {
    struct sd_vk_info *info = &optest_graph(t)->info;
    if (variant & 1)
        info->kind = SD_VK_OTHER;
    if (variant & 2)
        info->int64 = false;
}
