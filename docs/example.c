/* A picture from a prompt with libsd: example MODEL PROMPT PICTURE.png
 *
 *     cc example.c $(pkg-config --cflags --libs libsd) -o example */
#include <sd/sd.h>

#include <stdio.h>

static void show(void *user, const sd_progress *p) {
    (void)user;
    if (p->phase == SD_PHASE_STEP)
        fprintf(stderr, "step %u of %u\n", p->step, p->steps);
}

int main(int argc, char **argv) {
    sd_context *context = NULL;
    sd_model *model = NULL;
    sd_outputs *outputs = NULL;
    sd_error err;
    if (argc != 4) {
        fprintf(stderr, "usage: example MODEL PROMPT PICTURE.png\n");
        return 2;
    }
    /* What is not set has its default. */
    sd_params params = {.prompt = argv[2], .steps = 8, .seed = 7, .progress = show};
    sd_status status = sd_context_create(&context, NULL, &err);
    if (!status)
        status = sd_model_open(&model, context, argv[1], NULL, &err);
    if (!status)
        status = sd_generate(model, &params, &outputs, &err);
    if (!status)
        status = sd_output_save(&outputs->items[0], argv[3], &err);
    if (status)
        fprintf(stderr, "example: %s\n", err.message);
    else
        printf("%ux%u pixels in %.1f s\n", outputs->items[0].picture.width, outputs->items[0].picture.height,
               outputs->seconds);
    sd_outputs_free(&outputs);
    sd_model_close(&model);
    sd_context_destroy(&context);
    return status ? 1 : 0;
}
