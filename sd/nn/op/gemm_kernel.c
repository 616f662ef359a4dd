#include "sd/nn/op/gemm_kernel.h"

#include "shaders/shaders.h"

enum { few_rows = 8 };

/* What kernels are written for: plain weights, quantised ones, and quantised ones with nine taps. */
enum weight_kind { plain, blocks, blocks_conv, weight_kinds };

static enum weight_kind kind_of(const sd_weight *w) {
    return !sd_dtype_quantised(w->dtype) ? plain : w->kh * w->kw == 1 ? blocks : blocks_conv;
}

/* The CPU kernels by the columns that a lane owns, for many rows and for a few. */
struct cpu_kernel {
    const struct sd_shader *shader[weight_kinds];
    uint32_t rows;
};
static const struct {
    uint32_t columns;
    struct cpu_kernel many, few; /* of so few pixels a convolution is rare */
} cpu_kernels[] = {
    {8,
     {{&sd_shader_gemm_cpu_16x8, &sd_shader_gemm_cpu_16x8_quant, &sd_shader_gemm_cpu_16x8_quant_conv}, 16},
     {{&sd_shader_gemm_cpu_4x8, &sd_shader_gemm_cpu_4x8_quant, NULL}, 4}},
    {4,
     {{&sd_shader_gemm_cpu_16x4, &sd_shader_gemm_cpu_16x4_quant, &sd_shader_gemm_cpu_16x4_quant_conv}, 16},
     {{&sd_shader_gemm_cpu_4x4, &sd_shader_gemm_cpu_4x4_quant, NULL}, 4}},
    {2,
     {{&sd_shader_gemm_cpu_32x2, &sd_shader_gemm_cpu_32x2_quant, &sd_shader_gemm_cpu_32x2_quant_conv}, 32},
     {{&sd_shader_gemm_cpu_4x2, &sd_shader_gemm_cpu_4x2_quant, NULL}, 4}},
};

static void choose_cpu(const struct sd_vk_info *info, uint32_t tile, enum weight_kind kind,
                       const struct sd_gemm_need *need, struct sd_gemm_kernel *k) {
    for (size_t i = 0; i < sizeof cpu_kernels / sizeof *cpu_kernels; i++)
        if (cpu_kernels[i].columns * info->subgroup == tile) {
            const struct cpu_kernel *few = &cpu_kernels[i].few, *many = &cpu_kernels[i].many;
            const struct cpu_kernel *kernel = need->rows <= few_rows && few->shader[kind] ? few : many;
            k->shader = kernel->shader[kind];
            k->rows = kernel->rows;
        }
    k->columns = tile;
    k->subgroup = k->spec[GEMM_LANES] = info->subgroup;
    /* Kernels of plain weights always look which part a channel is in, those of quantised ones at all flags.
     */
    k->spec[GEMM_CONCAT] = kind != plain && need->concat;
    k->spec[GEMM_FIXED] = kind != plain ? 0 : need->fixed;
    k->spec_count = GEMM_CPU_SPECS;
}

/* Tiles of the GPU kernels, the largest first; the smallest fits every device. Large tiles load less for each
 * sum, small ones fill more cores: `speed` is what a busy core reaches, relative to the largest. */
struct gpu_tile {
    uint32_t rows, columns;
    uint32_t threads; /* of the kernel without cooperative matrices */
    uint32_t wm, wn;  /* a subgroup's part, of the kernel with them */
    double speed;
};
static const struct gpu_tile gpu_tiles[] = {
    {128, 128, 256, 64, 32, 1.0},
    {128, 64, 256, 64, 32, 0.85},
    {64, 64, 128, 32, 32, 0.7},
};
enum { gpu_tile_count = sizeof gpu_tiles / sizeof *gpu_tiles };

static uint32_t coop_threads(const struct sd_vk_info *info, const struct gpu_tile *t) {
    return t->rows / t->wm * (t->columns / t->wn) * info->coop.subgroup;
}

/* Bytes of shared memory, as the shaders declare it. */
static uint32_t coop_shared(const struct sd_vk_info *info, const struct gpu_tile *t, uint32_t step) {
    uint32_t operands = (t->rows + t->columns) * (step / 8 + 1);
    uint32_t sums = t->rows / t->wm * (t->columns / t->wn) * info->coop.m * (t->wn / 4 + 1);
    return 16 * (operands > sums ? operands : sums);
}

static bool fits(const struct sd_vk_info *info, const struct gpu_tile *t, uint32_t step, bool coop) {
    uint32_t threads = coop ? coop_threads(info, t) : t->threads;
    uint32_t shared = coop ? coop_shared(info, t, step) : (t->rows + t->columns) * 16 * 4;
    return threads <= info->max_invocations && shared <= info->shared_memory;
}

/* The tile with the shortest time: rounds of workgroups over the cores, times a workgroup's work. */
static const struct gpu_tile *choose_tile(const struct sd_vk_info *info, const struct sd_gemm_layout *l,
                                          uint32_t rows, uint32_t columns, bool coop) {
    const struct gpu_tile *best = &gpu_tiles[gpu_tile_count - 1];
    double shortest = 0;
    if (info->kind == SD_VK_CPU) /* where large kernels take seconds to compile */
        return best;
    for (size_t i = 0; i < gpu_tile_count; i++) {
        const struct gpu_tile *t = &gpu_tiles[i];
        if (!fits(info, t, l->step, coop))
            continue;
        uint32_t tiles = sd_ceil_div(rows, t->rows) * sd_ceil_div(columns, t->columns) * l->phases;
        double time = (double)sd_ceil_div(tiles, info->cores) * t->rows * t->columns / t->speed;
        if (!shortest || time < shortest) {
            shortest = time;
            best = t;
        }
    }
    return best;
}

static void choose_gpu(const struct sd_vk_info *info, const struct sd_gemm_layout *l, const sd_weight *weight,
                       const struct sd_gemm_need *need, struct sd_gemm_kernel *k) {
    bool coop = info->coop.m && need->a_half && weight->dtype != SD_F32 && need->quads &&
                fits(info, &gpu_tiles[gpu_tile_count - 1], l->step, true);
    const struct gpu_tile *t = choose_tile(info, l, need->rows, weight->n, coop);
    k->rows = t->rows;
    k->columns = t->columns;
    k->spec[GEMM_QUADS] = need->quads;
    k->spec[GEMM_BM] = t->rows;
    k->spec[GEMM_BN] = t->columns;
    k->spec[GEMM_STEP] = l->step;
    k->spec[GEMM_LANES] = coop ? coop_threads(info, t) : t->threads;
    k->spec_count = coop ? GEMM_COOP_SPECS : GEMM_GPU_SPECS;
    static const struct sd_shader *const shaders[2][weight_kinds] = {
        {&sd_shader_gemm_gpu, &sd_shader_gemm_gpu_quant, &sd_shader_gemm_gpu_quant_conv},
        {&sd_shader_gemm_coop, &sd_shader_gemm_quant_coop, &sd_shader_gemm_quant_conv_coop}};
    k->shader = shaders[coop][kind_of(weight)];
    if (!coop)
        return;
    k->subgroup = k->spec[GEMM_SUBGROUP] = info->coop.subgroup;
    k->spec[GEMM_WM] = t->wm;
    k->spec[GEMM_WN] = t->wn;
    k->spec[GEMM_FM] = info->coop.m;
    k->spec[GEMM_FN] = info->coop.n;
    k->spec[GEMM_FK] = info->coop.k;
}

struct sd_gemm_kernel sd_gemm_choose(const struct sd_vk_info *info, const sd_weight *weight,
                                     const struct sd_gemm_need *need) {
    struct sd_gemm_layout l = sd_gemm_layout(info, weight);
    struct sd_gemm_kernel k = {.spec = {[GEMM_A_HALF] = need->a_half,
                                        [GEMM_W_TYPE] = sd_weight_shader_type(weight->dtype),
                                        [GEMM_CONCAT] = need->concat}};
    if (sd_gemm_for_cpu(info))
        choose_cpu(info, l.tile, kind_of(weight), need, &k);
    else
        choose_gpu(info, &l, weight, need, &k);
    return k;
}
