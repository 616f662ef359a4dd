#include "sd/text.h"

#include <stdlib.h>
#include <string.h>

/* Ids of all prompts for one encoder: [prompts][chunks][77]. */
struct ids {
    uint32_t *all;
    size_t chunks;
};

/* The chunks of one prompt. */
static sd_status tokenize_one(const struct sd_text_part *part, const char *prompt, const char *what,
                              struct sd_embeddings *embeddings, int encoder, uint32_t **ids, size_t *chunks,
                              sd_error *err) {
    sd_token_list list = {0};
    sd_status status = sd_tokenizer_encode(part->tokenizer, prompt, strlen(prompt), &list, err);
    if (!status)
        status = sd_embeddings_place(embeddings, encoder, what, &list, err);
    if (!status)
        status = sd_chunk_all(part->tokenizer, list.items, list.count, part->pad, SD_CHUNK_BACKTRACK, ids,
                              chunks, err);
    sd_token_list_clear(&list);
    return status;
}

/* Every prompt gets as many chunks as the longest one; the rest is empty chunks. */
static sd_status tokenize(const struct sd_text_part *part, const char *const *prompts, uint32_t count,
                          struct sd_embeddings *embeddings, int encoder, struct ids *out, sd_error *err) {
    uint32_t *ids[2] = {NULL, NULL};
    size_t chunks[2] = {0, 0};
    sd_status status = SD_OK;
    *out = (struct ids){NULL, 0};
    for (uint32_t i = 0; i < count && !status; i++) {
        const char *what = i + 1 < count ? "negative_prompt" : "prompt";
        status = tokenize_one(part, prompts[i], what, embeddings, encoder, &ids[i], &chunks[i], err);
        if (chunks[i] > out->chunks)
            out->chunks = chunks[i];
    }
    if (!status && !(out->all = calloc(count * out->chunks * SD_CHUNK_IDS, sizeof *out->all)))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < count && !status; i++)
        for (size_t k = 0; k < out->chunks; k++) {
            uint32_t *chunk = out->all + (i * out->chunks + k) * SD_CHUNK_IDS;
            if (k < chunks[i])
                memcpy(chunk, ids[i] + k * SD_CHUNK_IDS, SD_CHUNK_IDS * sizeof *chunk);
            else
                sd_chunk_fill(part->tokenizer, NULL, 0, part->pad, chunk);
        }
    free(ids[0]);
    free(ids[1]);
    return status;
}

/* Position of the first end-of-text token, whose state is the pooled one. */
static uint32_t end_position(const struct sd_text_part *part, const uint32_t *chunk) {
    uint32_t end = sd_tokenizer_end(part->tokenizer), i = 0;
    while (i + 1 < SD_CHUNK_IDS && chunk[i] != end)
        i++;
    return i;
}

/* Copies [rows][77][width] of one encoder into its columns of the context. */
static void place_columns(struct sd_conditioning *c, const float *hidden, uint32_t width, uint32_t column) {
    size_t rows = (size_t)c->prompts * c->tokens;
    for (size_t r = 0; r < rows; r++)
        memcpy(c->context + r * c->width + column, hidden + r * width, width * sizeof *hidden);
}

static sd_status run_encoder(sd_model *model, const struct sd_text_part *part, const struct ids *ids,
                             const struct sd_embedding_rows *extra, uint32_t skip, bool pooled,
                             uint32_t column, const struct sd_watch *watch, struct sd_conditioning *out,
                             sd_error *err) {
    uint32_t rows = out->prompts * (uint32_t)ids->chunks, width = part->config.hidden;
    struct sd_text_request request = {
        .skip = skip, .final_norm = model->family->final_norm, .pooled = pooled};
    struct sd_stage stage;
    struct sd_text_result result = {NULL, NULL};
    float *hidden = NULL, *all = NULL;
    sd_tensor *tokens = NULL;
    sd_status status = sd_stage_begin(&stage, sd_vk_info(model->context->vk), model->act, err);
    if (!status) {
        tokens = sd_graph_input(stage.graph, "tokens", SD_RATE_PROMPT, SD_I32, rows, 1, SD_CHUNK_IDS, 1);
        if (extra->count)
            request.extra =
                sd_graph_input(stage.graph, "embeddings", SD_RATE_PROMPT, SD_F32, 1, 1, extra->count, width);
        result = sd_text_forward(stage.graph, &part->config, &part->model, &request, tokens);
        sd_graph_output(stage.graph, result.hidden, "hidden");
        if (pooled)
            sd_graph_output(stage.graph, result.pooled, "pooled");
        status = sd_stage_finish(&stage, model->context->vk, watch, err);
    }
    hidden = malloc((size_t)rows * SD_CHUNK_IDS * width * sizeof *hidden);
    all = malloc((size_t)rows * SD_CHUNK_IDS * (out->pooled_width + 1) * sizeof *all);
    if (!status && (!hidden || !all))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    if (!status && request.extra)
        status = sd_stage_write(&stage, request.extra, extra->values, err);
    if (!status && !(status = sd_stage_write(&stage, tokens, ids->all, err)) &&
        !(status = sd_exec_run(stage.exec, SD_RATE_PROMPT, err)))
        status = sd_stage_read(&stage, result.hidden, hidden, "the text encoder", err);
    if (!status)
        place_columns(out, hidden, width, column);
    if (!status && pooled &&
        !(status = sd_stage_read(&stage, result.pooled, all, "the text encoder's pooled output", err)))
        for (uint32_t i = 0; i < out->prompts; i++) { /* of the first chunk, as A1111 and diffusers do */
            size_t first = i * ids->chunks;
            uint32_t at = end_position(part, ids->all + first * SD_CHUNK_IDS);
            memcpy(out->pooled + (size_t)i * out->pooled_width,
                   all + (first * SD_CHUNK_IDS + at) * out->pooled_width, out->pooled_width * sizeof *all);
        }
    free(hidden);
    free(all);
    sd_stage_end(&stage);
    return status;
}

/* Skipped layers for an encoder: clip_skip 1 is the last layer. */
static sd_status layers_skipped(const struct sd_text_part *part, uint32_t clip_skip, uint32_t *out,
                                sd_error *err) {
    if (clip_skip > part->config.layers)
        return sd_fail(err, SD_E_ARGUMENT,
                       "clip_skip: expected 1 to %u, the layers of this model's text encoder, found %u",
                       part->config.layers, clip_skip);
    *out = clip_skip - 1;
    return SD_OK;
}

sd_status sd_text_encode(sd_model *model, const char *const *prompts, uint32_t count, uint32_t clip_skip,
                         struct sd_embeddings *embeddings, const struct sd_watch *watch,
                         struct sd_conditioning *out, sd_error *err) {
    struct ids ids[2] = {{NULL, 0}, {NULL, 0}};
    sd_status status = SD_OK;
    uint32_t skip = 0, column = 0;
    *out = (struct sd_conditioning){.prompts = count, .pooled_width = sd_model_pooled_width(model)};
    for (int e = 0; e < 2 && !status; e++)
        if (model->text[e].present) {
            status = tokenize(&model->text[e], prompts, count, embeddings, e, &ids[e], err);
            out->width += model->text[e].config.hidden;
            out->tokens = (uint32_t)ids[e].chunks * SD_CHUNK_IDS;
        }
    out->context = calloc((size_t)count * out->tokens * out->width + 1, sizeof *out->context);
    out->pooled = calloc((size_t)count * out->pooled_width + 1, sizeof *out->pooled);
    if (!status && (!out->context || !out->pooled))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    for (int e = 0; e < 2 && !status; e++)
        if (model->text[e].present) {
            bool pooled = model->family->pooled && (e == 1 || !model->text[1].present);
            if (!(status =
                      layers_skipped(&model->text[e], clip_skip ? clip_skip : model->clip_skip, &skip, err)))
                status = run_encoder(model, &model->text[e], &ids[e], &embeddings->rows[e], skip, pooled,
                                     column, watch, out, err);
            column += model->text[e].config.hidden;
        }
    free(ids[0].all);
    free(ids[1].all);
    if (status)
        sd_conditioning_clear(out);
    return status;
}

void sd_conditioning_clear(struct sd_conditioning *c) {
    free(c->context);
    free(c->pooled);
    *c = (struct sd_conditioning){0};
}
