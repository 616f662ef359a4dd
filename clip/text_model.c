#include "clip/text_model.h"

#include <stdio.h>

static const float epsilon = 1e-5f;

void sd_text_bind(struct sd_text_model *m, sd_weights *w, const struct sd_text_config *config) {
    static const char *const qkv[] = {"q_proj", "k_proj", "v_proj", NULL};
    uint32_t c = config->hidden, wide = config->intermediate;
    *m = (struct sd_text_model){
        .tokens = sd_bind_table(w, config->vocabulary, c, "embeddings.token_embedding.weight"),
        .positions = sd_bind_table(w, SD_TEXT_TOKENS, c, "embeddings.position_embedding.weight"),
    };
    for (uint32_t i = 0; i < config->layers; i++)
        m->layer[i] = (struct sd_text_layer){
            .norm1 = sd_bind_norm(w, c, "encoder.layers.%u.layer_norm1", i),
            .qkv = sd_bind_stack(w, c, c, true, qkv, "encoder.layers.%u.self_attn.", i),
            .out = sd_bind_linear(w, c, c, true, "encoder.layers.%u.self_attn.out_proj", i),
            .norm2 = sd_bind_norm(w, c, "encoder.layers.%u.layer_norm2", i),
            .fc1 = sd_bind_linear(w, wide, c, true, "encoder.layers.%u.mlp.fc1", i),
            .fc2 = sd_bind_linear(w, c, wide, true, "encoder.layers.%u.mlp.fc2", i),
        };
    m->final_norm = sd_bind_norm(w, c, "final_layer_norm");
    if (config->projection)
        m->projection = sd_bind_linear(w, config->projection, c, false, "text_projection");
}

/* [N,1,77,c] -> [N,1,77,c] */
static sd_tensor *layer(sd_graph *g, const struct sd_text_config *config, const struct sd_text_layer *l,
                        sd_tensor *x) {
    uint32_t c = config->hidden;
    sd_tensor *h = sd_layer_norm(g, x, l->norm1, epsilon);
    sd_tensor *qkv = sd_linear(g, h, l->qkv, NULL); /* [N,1,77,3c] */
    h = sd_attention(g, sd_slice(g, qkv, 0, c), sd_slice(g, qkv, c, c), sd_slice(g, qkv, 2 * c, c),
                     &(sd_attention_params){.heads = config->heads, .causal = true});
    x = sd_linear(g, h, l->out, &(sd_fuse){.residual = x});
    h = sd_layer_norm(g, x, l->norm2, epsilon);
    h = sd_linear(g, h, l->fc1, &(sd_fuse){.act = config->act}); /* [N,1,77,4c] */
    return sd_linear(g, h, l->fc2, &(sd_fuse){.residual = x});
}

struct sd_text_result sd_text_forward(sd_graph *g, const struct sd_text_config *config,
                                      const struct sd_text_model *m, const struct sd_text_request *request,
                                      sd_tensor *tokens) {
    struct sd_text_result result = {NULL, NULL};
    if (request->skip > config->layers) {
        sd_graph_fail(g, SD_E_ARGUMENT, "cannot skip %u of the text encoder's %u layers", request->skip,
                      config->layers);
        return result;
    }
    uint32_t wanted = config->layers - request->skip, run = request->pooled ? config->layers : wanted;
    sd_graph_scope(g, "embeddings");
    sd_tensor *x = sd_embedding_extended(g, tokens, m->tokens, request->extra, m->positions), *hidden = x;
    for (uint32_t i = 0; i < run; i++) {
        sd_graph_scope(g, "encoder.layers.%u", i);
        x = layer(g, config, &m->layer[i], x);
        if (i + 1 == wanted)
            hidden = x;
    }
    sd_graph_scope(g, "final");
    result.hidden = request->final_norm ? sd_layer_norm(g, hidden, m->final_norm, epsilon) : hidden;
    if (request->pooled) {
        sd_tensor *last = sd_layer_norm(g, x, m->final_norm, epsilon);
        result.pooled = m->projection.weight ? sd_linear(g, last, m->projection, NULL) : last;
    }
    return result;
}
