#include "cli/cli.h"

#include <string.h>
#include <unistd.h>

void cli_progress_begin(struct cli_progress *p, bool quiet) {
    *p = (struct cli_progress){.terminal = isatty(STDERR_FILENO), .quiet = quiet, .last_step = UINT32_MAX};
}

static const char *phase_name(sd_phase phase) {
    static const char *const names[] = {
        [SD_PHASE_TEXT] = "reading the prompt", [SD_PHASE_ENCODE] = "encoding the init picture",
        [SD_PHASE_STEP] = "denoising",          [SD_PHASE_DECODE] = "decoding",
        [SD_PHASE_CONVERT] = "converting",      [SD_PHASE_COMPILE] = "compiling kernels"};
    return names[phase];
}

/* Time left from the pace of the steps so far, over all images. */
static double seconds_left(const sd_progress *s) {
    double done = (double)s->image * s->steps + s->step, all = (double)s->images * s->steps;
    return done > 0 ? s->seconds / done * (all - done) : 0;
}

static void draw_bar(struct cli_progress *p, const sd_progress *s) {
    enum { width = 30 };
    char bar[width + 1], which[32] = "";
    double part = s->steps ? (double)s->step / s->steps : 0;
    for (int i = 0; i < width; i++)
        bar[i] = i < (int)(part * width) ? '#' : '.';
    bar[width] = 0;
    if (s->images > 1)
        snprintf(which, sizeof which, " image %u/%u", s->image + 1, s->images);
    if (s->phase == SD_PHASE_STEP && s->step)
        fprintf(stderr, "\r\033[K[%s] %u/%u%s, %.0f s left", bar, s->step, s->steps, which, seconds_left(s));
    else if (s->phase == SD_PHASE_COMPILE || s->phase == SD_PHASE_CONVERT)
        fprintf(stderr, "\r\033[K[%s] %u/%u, %s", bar, s->step, s->steps, phase_name(s->phase));
    else
        fprintf(stderr, "\r\033[K%s%s", phase_name(s->phase), which);
    fflush(stderr);
    p->line_open = true;
}

/* What comes from the driver's cache, or is a small model, is done within a second and not worth a line in a
 * log. */
static void log_counted(struct cli_progress *p, const sd_progress *s) {
    if (!s->step)
        p->next_line = s->seconds + 1;
    else if (s->seconds > p->next_line) {
        fprintf(stderr, "%s: %u/%u\n", phase_name(s->phase), s->step, s->steps);
        p->next_line = s->seconds + 2;
    }
}

void cli_progress_show(void *progress, const sd_progress *s) {
    struct cli_progress *p = progress;
    if (p->quiet)
        return;
    if (p->terminal) {
        draw_bar(p, s);
        return;
    }
    if (s->phase == SD_PHASE_COMPILE || s->phase == SD_PHASE_CONVERT) {
        log_counted(p, s);
        return;
    }
    /* About ten lines an image are enough in a log. */
    uint32_t every = s->steps > 10 ? s->steps / 10 : 1;
    if (s->phase == SD_PHASE_STEP && s->step && (s->step % every == 0 || s->step == s->steps) &&
        s->step != p->last_step)
        fprintf(stderr, "image %u/%u: step %u/%u, %.0f s left\n", s->image + 1, s->images, s->step, s->steps,
                seconds_left(s));
    p->last_step = s->step;
}

void cli_progress_end(struct cli_progress *p) {
    if (p->line_open)
        fputs("\r\033[K", stderr);
    p->line_open = false;
}
