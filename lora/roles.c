#include "lora/roles.h"

#include <stdio.h>
#include <string.h>

/* Longer endings before those that they end in. */
static const struct {
    const char *ending;
    sd_lora_role role;
} endings[] = {
    {".lora_up.weight", ROLE_UP},
    {".lora_down.weight", ROLE_DOWN},
    {".lora_mid.weight", ROLE_MID},
    {".alpha", ROLE_ALPHA},
    {".dora_scale", ROLE_DORA},
    {".lora_B.weight", ROLE_UP},
    {".lora_A.weight", ROLE_DOWN},
    {".lora_B.default.weight", ROLE_UP},
    {".lora_A.default.weight", ROLE_DOWN},
    {".lora_B.bias", ROLE_UP_BIAS},
    {".lora_magnitude_vector", ROLE_MAGNITUDE},
    {".lora_magnitude_vector.weight", ROLE_MAGNITUDE},
    {".lora_magnitude_vector.default.weight", ROLE_MAGNITUDE},
    {".lora.up.weight", ROLE_UP},
    {".lora.down.weight", ROLE_DOWN},
    {".lora_linear_layer.up.weight", ROLE_UP},
    {".lora_linear_layer.down.weight", ROLE_DOWN},
    {"_lora.up.weight", ROLE_UP},
    {"_lora.down.weight", ROLE_DOWN},
    {".hada_w1_a", ROLE_HADA_W1_A},
    {".hada_w1_b", ROLE_HADA_W1_B},
    {".hada_w2_a", ROLE_HADA_W2_A},
    {".hada_w2_b", ROLE_HADA_W2_B},
    {".hada_t1", ROLE_HADA_T1},
    {".hada_t2", ROLE_HADA_T2},
    {".lokr_w1", ROLE_LOKR_W1},
    {".lokr_w1_a", ROLE_LOKR_W1_A},
    {".lokr_w1_b", ROLE_LOKR_W1_B},
    {".lokr_w2", ROLE_LOKR_W2},
    {".lokr_w2_a", ROLE_LOKR_W2_A},
    {".lokr_w2_b", ROLE_LOKR_W2_B},
    {".lokr_t2", ROLE_LOKR_T2},
    {".oft_blocks", ROLE_OFT_BLOCKS},
    {".oft_R.weight", ROLE_OFT_R},
    {".boft_R", ROLE_BOFT_R},
    {".boft_s", ROLE_BOFT_S},
    {".rescale", ROLE_RESCALE},
    {".a1.weight", ROLE_GLORA_A1},
    {".a2.weight", ROLE_GLORA_A2},
    {".b1.weight", ROLE_GLORA_B1},
    {".b2.weight", ROLE_GLORA_B2},
    {".on_input", ROLE_ON_INPUT},
    {".ia3_l", ROLE_IA3_L},
    {".diff", ROLE_DIFF},
    {".diff_b", ROLE_DIFF_BIAS},
    {".w_norm", ROLE_NORM},
    {".b_norm", ROLE_NORM_BIAS},
    {".weight", ROLE_IA3},
};

/* diffusers' attention processors, and its first text encoder files, which used their names. */
static const struct {
    const char *old, *layer;
} processors[] = {
    {".processor.to_q", ".to_q"},
    {".processor.to_k", ".to_k"},
    {".processor.to_v", ".to_v"},
    {".processor.to_out", ".to_out.0"},
    {".self_attn.to_q", ".self_attn.q_proj"},
    {".self_attn.to_k", ".self_attn.k_proj"},
    {".self_attn.to_v", ".self_attn.v_proj"},
    {".self_attn.to_out", ".self_attn.out_proj"},
};

static bool ends_with(const char *text, size_t length, const char *ending) {
    size_t n = strlen(ending);
    return length > n && !memcmp(text + length - n, ending, n);
}

bool sd_lora_split(const char *key, char *module, size_t size, sd_lora_role *role) {
    size_t length = strlen(key);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (!ends_with(key, length, endings[i].ending))
            continue;
        length -= strlen(endings[i].ending);
        const char *layer = "";
        for (size_t k = 0; endings[i].ending[0] == '_' && k < sizeof processors / sizeof *processors; k++)
            if (ends_with(key, length, processors[k].old)) {
                length -= strlen(processors[k].old);
                layer = processors[k].layer;
                break;
            }
        *role = endings[i].role;
        int n = snprintf(module, size, "%.*s%s", (int)length, key, layer);
        return length < size && n > 0 && (size_t)n < size;
    }
    return false;
}
