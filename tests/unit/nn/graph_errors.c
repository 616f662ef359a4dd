/* What every builder refuses, with its message. */
#include "tests/unit/nn/fixture.h"

#include "sd/nn/op.h"

#include <string.h>

/* A builder that is used wrongly; returns what it gave. */
typedef sd_tensor *(*builder)(struct fixture *f);

/* ---- linear layers and convolutions ---- */

static sd_tensor *linear_width(struct fixture *f) {
    return sd_linear(f->g, f->wide, f->linear, NULL);
}

static sd_tensor *linear_without_input(struct fixture *f) {
    return sd_linear(f->g, NULL, f->linear, NULL);
}

static sd_tensor *conv_without_weight(struct fixture *f) {
    return sd_conv2d(f->g, f->x, (sd_layer){NULL, NULL}, NULL);
}

static sd_tensor *conv_width(struct fixture *f) {
    return sd_conv2d(f->g, sd_concat(f->g, f->x, f->wide), f->conv, NULL);
}

static sd_tensor *upsample_width(struct fixture *f) {
    return sd_upsample_conv2d(f->g, f->wide, f->upsample, NULL);
}

static sd_tensor *halved_row(struct fixture *f) {
    return sd_conv2d_down(f->g, f->prompt, f->conv, 0, NULL);
}

static sd_tensor *residual_shape(struct fixture *f) {
    return sd_linear(f->g, f->x, f->linear, &(sd_fuse){.residual = f->x});
}

static sd_tensor *vector_width(struct fixture *f) {
    return sd_conv2d(f->g, f->x, f->conv, &(sd_fuse){.vector = sd_slice(f->g, f->t, 0, 1)});
}

static sd_tensor *vector_size(struct fixture *f) {
    return sd_linear(f->g, f->x, f->linear, &(sd_fuse){.vector = sd_linear(f->g, f->x, f->linear, NULL)});
}

static sd_tensor *linear_of_conv(struct fixture *f) {
    return sd_linear(f->g, f->x, f->conv, NULL);
}

static sd_tensor *linear_of_norm(struct fixture *f) {
    return sd_linear(f->g, sd_slice(f->g, f->x, 0, 1), f->norm, NULL);
}

static sd_tensor *geglu_of_linear(struct fixture *f) {
    return sd_linear_geglu(f->g, f->x, f->linear);
}

static sd_tensor *down_of_linear(struct fixture *f) {
    return sd_conv2d_down(f->g, f->x, f->linear, 1, NULL);
}

static sd_tensor *upsample_of_conv(struct fixture *f) {
    return sd_upsample_conv2d(f->g, f->x, f->conv, NULL);
}

static sd_tensor *conv_of_upsample(struct fixture *f) {
    return sd_conv2d(f->g, f->x, f->upsample, NULL);
}

static sd_tensor *even_kernel(struct fixture *f) {
    return sd_conv2d(f->g, f->x, sd_bind_conv(f->w, 16, 8, 2, "even"), NULL);
}

static sd_tensor *bias_size(struct fixture *f) {
    return sd_linear(f->g, f->x, (sd_layer){f->linear.weight, f->norm.bias}, NULL);
}

/* ---- norms and attention ---- */

static sd_tensor *group_count(struct fixture *f) {
    return sd_group_norm(f->g, f->x, f->norm, 3, 1e-5f, SD_ACT_NONE);
}

static sd_tensor *group_scale(struct fixture *f) {
    return sd_group_norm(f->g, f->wide, f->norm, 4, 1e-5f, SD_ACT_NONE);
}

static sd_tensor *group_activation(struct fixture *f) {
    return sd_group_norm(f->g, f->x, f->norm, 4, 1e-5f, SD_ACT_GELU);
}

static sd_tensor *group_type(struct fixture *f) {
    return sd_group_norm(f->g, f->tokens, (sd_layer){NULL, NULL}, 1, 1e-5f, SD_ACT_NONE);
}

static sd_tensor *layer_scale(struct fixture *f) {
    return sd_layer_norm(f->g, f->wide, f->norm, 1e-5f);
}

static sd_tensor *layer_type(struct fixture *f) {
    return sd_layer_norm(f->g, f->tokens, (sd_layer){NULL, NULL}, 1e-5f);
}

static sd_tensor *no_heads(struct fixture *f) {
    return sd_attention(f->g, f->x, f->x, f->x, &(sd_attention_params){.heads = 0});
}

static sd_tensor *small_heads(struct fixture *f) {
    return sd_attention(f->g, f->x, f->x, f->x, &(sd_attention_params){.heads = 2});
}

static sd_tensor *key_width(struct fixture *f) {
    return sd_attention(f->g, f->x, f->prompt, f->wide, &(sd_attention_params){.heads = 1});
}

static sd_tensor *key_type(struct fixture *f) {
    sd_tensor *k = sd_cast(f->g, f->prompt, SD_F32);
    return sd_attention(f->g, f->x, k, k, &(sd_attention_params){.heads = 1});
}

static sd_tensor *attention_size(struct fixture *f) {
    sd_tensor *q = sd_graph_input(f->g, "q", SD_RATE_STEP, SD_F16, 1, 65536, 4096, 8);
    return sd_attention(f->g, q, f->prompt, f->prompt, &(sd_attention_params){.heads = 1});
}

/* ---- elementwise ops, embeddings, resizing ---- */

static sd_tensor *sum_shape(struct fixture *f) {
    return sd_add(f->g, f->x, f->wide);
}

static sd_tensor *mixture_type(struct fixture *f) {
    return sd_lerp(f->g, f->t,
                   sd_reshape(f->g, sd_graph_input(f->g, "i", SD_RATE_STEP, SD_I32, 1, 2, 1, 1), 2, 1, 1, 1),
                   1);
}

static sd_tensor *scale_type(struct fixture *f) {
    return sd_scale(f->g, f->tokens, 1, 0);
}

static sd_tensor *cast_from(struct fixture *f) {
    return sd_cast(f->g, f->tokens, SD_F16);
}

static sd_tensor *cast_to(struct fixture *f) {
    return sd_cast(f->g, f->x, SD_BF16);
}

static sd_tensor *activation(struct fixture *f) {
    return sd_activate(f->g, f->x, (sd_act)6);
}

static sd_tensor *activation_type(struct fixture *f) {
    return sd_activate(f->g, f->tokens, SD_ACT_SILU);
}

static sd_tensor *token_type(struct fixture *f) {
    return sd_embedding(f->g, f->t, f->table, NULL);
}

static sd_tensor *position_count(struct fixture *f) {
    return sd_embedding(f->g, f->tokens, f->table, f->positions);
}

static sd_tensor *time_type(struct fixture *f) {
    return sd_timestep_embedding(f->g, f->x, 8, true, 0);
}

static sd_tensor *time_shift(struct fixture *f) {
    return sd_timestep_embedding(f->g, f->t, 2, true, 1);
}

static sd_tensor *resize_to_nothing(struct fixture *f) {
    return sd_resize_nearest(f->g, f->x, 0, 5);
}

static sd_tensor *resize_size(struct fixture *f) {
    return sd_resize_nearest(f->g, f->x, 5, 65536);
}

/* ---- views ---- */

static sd_tensor *concat_rows(struct fixture *f) {
    return sd_concat(f->g, f->x, f->prompt);
}

static sd_tensor *concat_types(struct fixture *f) {
    return sd_concat(f->g, f->x, sd_cast(f->g, f->x, SD_F32));
}

static sd_tensor *concat_width(struct fixture *f) {
    sd_tensor *half = sd_graph_input(f->g, "half", SD_RATE_STEP, SD_F32, 1, 1, 1, 1U << 31);
    return sd_concat(f->g, half, half);
}

static sd_tensor *slice_end(struct fixture *f) {
    return sd_slice(f->g, f->x, 6, 3);
}

static sd_tensor *slice_far(struct fixture *f) {
    return sd_slice(f->g, f->x, 9, 1);
}

static sd_tensor *slice_of_nothing(struct fixture *f) {
    return sd_slice(f->g, f->x, 2, 0);
}

static sd_tensor *slice_at_an_odd_channel(struct fixture *f) {
    return sd_slice(f->g, f->x, 3, 2);
}

static sd_tensor *reshape_count(struct fixture *f) {
    return sd_reshape(f->g, f->x, 1, 5, 5, 8);
}

static sd_tensor *reshape_overflow(struct fixture *f) {
    return sd_reshape(f->g, f->x, 1U << 31, 2, 1, 1U << 31);
}

static sd_tensor *reshape_odd(struct fixture *f) {
    return sd_reshape(f->g, f->wide, 1, 32, 3, 3);
}

/* ---- what ops are built from ---- */

static sd_tensor *no_rows(struct fixture *f) {
    return sd_graph_tensor(f->g, SD_F32, 1, 0, 4, 8);
}

static sd_tensor *elements(struct fixture *f) {
    return sd_graph_tensor(f->g, SD_F32, 1, 65536, 65536, 1);
}

static sd_tensor *rows(struct fixture *f) {
    return sd_graph_tensor(f->g, SD_F32, 65536, 65536, 2, 1);
}

static sd_tensor *padded_elements(struct fixture *f) {
    return sd_graph_tensor(f->g, SD_F16, 1, 1, 1, UINT32_MAX);
}

static sd_tensor *inputs(struct fixture *f) {
    static const struct sd_op op = {"greedy", NULL, NULL};
    sd_tensor *const in[SD_NODE_INPUTS + 1] = {NULL};
    return sd_graph_add(f->g, &op, f->x, in, SD_NODE_INPUTS + 1, NULL, NULL, NULL, 0);
}

static sd_tensor *parameters(struct fixture *f) {
    static const struct sd_op op = {"greedy", NULL, NULL};
    static const char params[SD_NODE_PARAMS + 1];
    return sd_graph_add(f->g, &op, f->x, NULL, 0, NULL, NULL, params, sizeof params);
}

static const struct {
    builder make;
    sd_status status;
    const char *message;
} mistakes[] = {
    {linear_width, SD_E_INTERNAL, "linear: expected 8 input channels, found 12"},
    {linear_without_input, SD_E_INTERNAL, "linear: an input or the weight is missing"},
    {conv_without_weight, SD_E_INTERNAL, "conv2d: an input or the weight is missing"},
    {conv_width, SD_E_INTERNAL, "conv2d: expected 8 input channels, found 20"},
    {upsample_width, SD_E_INTERNAL, "upsample_conv2d: expected 8 input channels, found 12"},
    {halved_row, SD_E_ARGUMENT, "a picture of 7 x 1 is too small to be halved"},
    {residual_shape, SD_E_INTERNAL, "linear: the residual's shape is not the output's"},
    {vector_width, SD_E_INTERNAL, "conv2d: expected a vector of [1,1,1,16] or [1,1,1,16], found [2,1,1,1]"},
    {vector_size, SD_E_INTERNAL, "linear: expected a vector of [1,1,1,16] or [1,1,1,16], found [1,4,6,16]"},
    {linear_of_conv, SD_E_INTERNAL, "linear: 'conv.weight' or its bias was bound for another operation"},
    {linear_of_norm, SD_E_INTERNAL, "linear: 'norm.weight' or its bias was bound for another operation"},
    {geglu_of_linear, SD_E_INTERNAL, "linear: 'linear.weight' or its bias was bound for another operation"},
    {down_of_linear, SD_E_INTERNAL, "conv2d: 'linear.weight' or its bias was bound for another operation"},
    {upsample_of_conv, SD_E_INTERNAL,
     "upsample_conv2d: 'conv.weight' or its bias was bound for another operation"},
    {conv_of_upsample, SD_E_INTERNAL,
     "conv2d: 'upsample.weight' or its bias was bound for another operation"},
    {even_kernel, SD_E_INTERNAL, "conv2d: 'even.weight' or its bias was bound for another operation"},
    {bias_size, SD_E_INTERNAL, "linear: 'linear.weight' or its bias was bound for another operation"},
    {group_count, SD_E_INTERNAL, "group_norm: 3 groups of F16 [1,4,6,8], scale of 8, activation 0"},
    {group_scale, SD_E_INTERNAL, "group_norm: 4 groups of F16 [1,4,6,12], scale of 8, activation 0"},
    {group_activation, SD_E_INTERNAL, "group_norm: 4 groups of F16 [1,4,6,8], scale of 8, activation 2"},
    {group_type, SD_E_INTERNAL, "group_norm: 1 groups of I32 [1,1,5,1], scale of 0, activation 0"},
    {layer_scale, SD_E_INTERNAL, "layer_norm: F16 [1,4,6,12], scale of 8"},
    {layer_type, SD_E_INTERNAL, "layer_norm: I32 [1,1,5,1], scale of 0"},
    {no_heads, SD_E_UNSUPPORTED,
     "attention: expected heads of 8, 16, ... 160 or 192, 256, ... 512 channels, found 8 channels in 0 "
     "heads"},
    {small_heads, SD_E_UNSUPPORTED,
     "attention: expected heads of 8, 16, ... 160 or 192, 256, ... 512 channels, found 8 channels in 2 "
     "heads"},
    {key_width, SD_E_INTERNAL,
     "attention: expected keys and values of [1,tokens,8], found [1,7,8] and [1,24,12]"},
    {key_type, SD_E_INTERNAL, "attention: expected queries, keys and values of type F16"},
    {attention_size, SD_E_UNSUPPORTED, "attention: a tensor has more than 2^31 elements"},
    {sum_shape, SD_E_INTERNAL, "add: expected two tensors of one shape, found [1,4,6,8] and [1,4,6,12]"},
    {mixture_type, SD_E_INTERNAL, "lerp: expected F32 or F16, found I32"},
    {scale_type, SD_E_INTERNAL, "scale: expected F32 or F16, found I32"},
    {cast_from, SD_E_INTERNAL, "cast: from I32 to F16"},
    {cast_to, SD_E_INTERNAL, "cast: from F16 to BF16"},
    {activation, SD_E_INTERNAL, "activate: unknown function 6"},
    {activation_type, SD_E_INTERNAL, "activate: expected F32 or F16, found I32"},
    {token_type, SD_E_INTERNAL, "embedding: expected i32 tokens [N,1,T,1], found F32 [2,1,1,1]"},
    {position_count, SD_E_UNSUPPORTED, "embedding: expected positions [5 or more,8], found [4,8]"},
    {time_type, SD_E_INTERNAL, "timestep_embedding: 8 channels of F16 [1,4,6,8], shift 0"},
    {time_shift, SD_E_INTERNAL, "timestep_embedding: 2 channels of F32 [2,1,1,1], shift 1"},
    {resize_to_nothing, SD_E_UNSUPPORTED, "resize_nearest: F16 [1,4,6,8] to 0 x 5"},
    {resize_size, SD_E_UNSUPPORTED, "resize_nearest: F16 [1,4,6,8] to 5 x 65536"},
    {concat_rows, SD_E_INTERNAL, "concat: [1,4,6,8] F16 and [1,1,7,8] F16 do not fit together"},
    {concat_types, SD_E_INTERNAL, "concat: [1,4,6,8] F16 and [1,4,6,8] F32 do not fit together"},
    {concat_width, SD_E_UNSUPPORTED, "concat: more than 2^32 channels"},
    {slice_end, SD_E_INTERNAL, "slice: channels 6 to 9 of 8"},
    {slice_far, SD_E_INTERNAL, "slice: channels 9 to 10 of 8"},
    {slice_of_nothing, SD_E_INTERNAL, "slice: channels 2 to 2 of 8"},
    {slice_at_an_odd_channel, SD_E_INTERNAL, "slice: an f16 slice must start at an even channel, not 3"},
    {reshape_count, SD_E_INTERNAL, "reshape: [1,4,6,8] does not fit into [1,5,5,8]"},
    {reshape_overflow, SD_E_INTERNAL, "reshape: [1,4,6,8] does not fit into [2147483648,2,1,2147483648]"},
    {reshape_odd, SD_E_UNSUPPORTED, "reshape: f16 pixels of 12 and 3 channels"},
    {no_rows, SD_E_INTERNAL, "a tensor of shape [1,0,4,8] is empty"},
    {elements, SD_E_UNSUPPORTED, "a tensor of shape [1,65536,65536,1] has more than 2^32 elements"},
    {rows, SD_E_UNSUPPORTED, "a tensor of shape [65536,65536,2,1] has more than 2^32 elements"},
    {padded_elements, SD_E_UNSUPPORTED, "a tensor of shape [1,1,1,4294967295] has more than 2^32 elements"},
    {inputs, SD_E_INTERNAL, "op greedy has too many inputs or parameters"},
    {parameters, SD_E_INTERNAL, "op greedy has too many inputs or parameters"},
};

static void every_mistake_has_its_message(void **state) {
    (void)state;
    int failed = 0;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        struct fixture f = open_fixture();
        sd_error err = {SD_OK, ""};
        char expected[256] = "block: ";
        strcat(expected, mistakes[i].message);
        sd_graph_scope(f.g, "block");
        const sd_tensor *made = mistakes[i].make(&f);
        sd_status status = sd_graph_status(f.g, &err);
        if (made || status != mistakes[i].status || strcmp(err.message, expected)) {
            print_error("expected %s: %s\n   found %s: %s\n", sd_status_name(mistakes[i].status), expected,
                        sd_status_name(status), err.message);
            failed++;
        }
        close_fixture(&f);
    }
    assert_int_equal(failed, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_mistake_has_its_message)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
