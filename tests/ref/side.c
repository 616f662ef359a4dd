#include "tests/ref/side.h"

static const sd_weight *bind_down(sd_weights *w, const sd_weight *weight, uint32_t rank, bool summed) {
    return weight->form == SD_WEIGHT_UPSAMPLE && summed
               ? sd_bind_upsample_plain(w, rank, weight->c, "down").weight
               : sd_bind_conv_plain(w, rank, weight->c, weight->kh, "down").weight;
}

/* Layers with GEGLU come with a bias, which is not read here. */
static const sd_weight *bind_up(optest *t, const sd_weight *weight, uint32_t rank) {
    const uint64_t shape[] = {weight->n};
    if (weight->form != SD_WEIGHT_GEGLU)
        return sd_bind_linear(optest_weights(t), weight->n, rank, false, "up").weight;
    optest_tensor(t, "up.bias", SD_F32, 1, shape, optest_random(t, weight->n, SD_F32));
    return sd_bind_geglu(optest_weights(t), weight->n, rank, "up").weight;
}

void side_attach(optest *t, sd_layer layer, struct ref_conv *q, sd_dtype stored, bool summed) {
    static struct sd_weight_side side; /* of the one layer that a test has at a time */
    uint32_t rank = optest_int(t, 1, 24);
    const uint64_t down_shape[] = {rank, q->c, q->kernel, q->kernel}, up_shape[] = {q->oc, rank};
    size_t pixels = (size_t)q->n * q->oh * q->ow;
    float *down = optest_random(t, (size_t)rank * q->c * q->kernel * q->kernel, stored),
          *up = optest_random(t, (size_t)q->oc * rank, SD_F16);
    float *inner = optest_random(t, pixels * rank, SD_F32), *sum = optest_random(t, pixels * q->oc, SD_F32);
    for (size_t i = 0; i < (size_t)q->oc * rank; i++)
        up[i] /= 8;
    optest_tensor(t, "down.weight", stored, 4, down_shape, down);
    optest_tensor(t, "up.weight", stored, 2, up_shape, up);
    side = (struct sd_weight_side){bind_down(optest_weights(t), layer.weight, rank, summed),
                                   bind_up(t, layer.weight, rank)};
    ((sd_weight *)layer.weight)->side = &side;
    const struct ref_conv first = {.n = q->n,
                                   .h = q->h,
                                   .w = q->w,
                                   .c = q->c,
                                   .oh = q->oh,
                                   .ow = q->ow,
                                   .oc = rank,
                                   .kernel = q->kernel,
                                   .stride = q->stride,
                                   .pad = q->pad,
                                   .upsample = q->upsample,
                                   .x = q->x,
                                   .weight = down};
    const struct ref_conv second = {.n = q->n,
                                    .h = q->oh,
                                    .w = q->ow,
                                    .c = rank,
                                    .oh = q->oh,
                                    .ow = q->ow,
                                    .oc = q->oc,
                                    .kernel = 1,
                                    .stride = 1,
                                    .x = inner,
                                    .weight = up};
    ref_conv(&first, inner);
    ref_conv(&second, sum);
    q->side = sum;
}
