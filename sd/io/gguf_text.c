/* Metadata values as text. */
#include "sd/io/gguf_internal.h"

#include "sd/base/str.h"

#include <inttypes.h>
#include <string.h>

enum { longest_text = 1 << 16, most_elements = 16 };

static bool is_text(const sd_gguf_value *v) {
    return v->bytes <= longest_text && !memchr(v->data, 0, (size_t)v->bytes) &&
           sd_utf8_valid((const char *)v->data, (size_t)v->bytes);
}

/* Not an array. */
static void put_single(sd_str *s, const sd_gguf_value *v) {
    uint64_t natural;
    int64_t number;
    double real;
    if (v->type == SD_GGUF_STRING && is_text(v))
        sd_str_append_bytes(s, v->data, (size_t)v->bytes);
    else if (v->type == SD_GGUF_STRING)
        sd_str_printf(s, "(%" PRIu64 " bytes)", v->bytes);
    else if (v->type == SD_GGUF_BOOL)
        sd_str_append(s, *v->data ? "true" : "false");
    else if (sd_gguf_u64(v, &natural))
        sd_str_printf(s, "%" PRIu64, natural);
    else if (sd_gguf_i64(v, &number))
        sd_str_printf(s, "%" PRIi64, number);
    else if (sd_gguf_f64(v, &real))
        sd_str_printf(s, "%.*g", v->type == SD_GGUF_F32 ? 9 : 17, real);
}

static void put_array(sd_str *s, const sd_gguf_value *v) {
    sd_gguf_value element;
    uint64_t at = 0;
    if (v->element == SD_GGUF_ARRAY || v->count > most_elements) {
        sd_str_printf(s, "(%" PRIu64 " values of type %s)", v->count, sd_gguf_type_name(v->element));
        return;
    }
    sd_str_append(s, "[");
    while (sd_gguf_next(v, &at, &element)) {
        sd_str_append(s, s->size > 1 ? ", " : "");
        put_single(s, &element);
    }
    sd_str_append(s, "]");
}

const char *sd_gguf_value_text(sd_arena *arena, const sd_gguf_value *v) {
    sd_str s = {0};
    sd_str_append(&s, "");
    if (v->type == SD_GGUF_ARRAY)
        put_array(&s, v);
    else
        put_single(&s, v);
    const char *text = s.failed ? NULL : sd_arena_strdup(arena, s.text ? s.text : "");
    sd_str_clear(&s);
    return text;
}
