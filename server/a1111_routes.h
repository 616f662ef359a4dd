/* The handlers of A1111's face, by file. */
#ifndef SERVER_A1111_ROUTES_H
#define SERVER_A1111_ROUTES_H

#include "server/server.h"

/* The face's name in jobs. */
extern const char a1111_face[];

typedef void a1111_handler(struct server *server, exchange *x, const struct route_parts *parts);

a1111_handler a1111_txt2img, a1111_post_img2img;           /* a1111_generate.c */
a1111_handler a1111_progress, a1111_interrupt, a1111_skip; /* a1111_progress.c */
a1111_handler a1111_get_options, a1111_post_options, a1111_get_cmd_flags, a1111_unload, a1111_memory,
    a1111_do_nothing, a1111_refresh; /* a1111_settings.c */
a1111_handler a1111_samplers, a1111_schedulers, a1111_upscalers, a1111_latent_modes, a1111_sd_models,
    a1111_sd_vae, a1111_loras, a1111_embeddings, a1111_nothing, a1111_scripts; /* a1111_lists.c */
a1111_handler a1111_extra_single, a1111_extra_batch;                           /* a1111_extras.c */
a1111_handler a1111_png_info, a1111_interrogate;                               /* a1111_pictures.c */
#endif
