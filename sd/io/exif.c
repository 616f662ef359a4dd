/* The little of Exif 2.32 (CIPA DC-008) and TIFF 6.0 that a comment and the orientation need. */
#include "sd/io/image_internal.h"

#include <string.h>

enum {
    tag_orientation = 0x0112,
    tag_exif_ifd = 0x8769,
    tag_user_comment = 0x9286,
    type_short = 3,
    type_long = 4,
    type_undefined = 7
};

static void put16(sd_str *s, uint32_t v) {
    const char bytes[2] = {(char)(v >> 8), (char)v};
    sd_str_append_bytes(s, bytes, 2);
}

static void put32(sd_str *s, uint32_t v) {
    put16(s, v >> 16);
    put16(s, v & 0xFFFF);
}

/* A folder of one entry; a value of 4 bytes is held in the offset field. */
static void put_folder(sd_str *s, uint32_t tag, uint32_t type, uint32_t count, uint32_t offset) {
    put16(s, 1);
    put16(s, tag);
    put16(s, type);
    put32(s, count);
    put32(s, offset);
    put32(s, 0);
}

/* The next character of well-formed UTF-8. */
static uint32_t next_character(const unsigned char **p) {
    uint32_t c = *(*p)++;
    int more = c < 0x80 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    c &= more ? 0x3FU >> more : 0x7F;
    for (; more; more--)
        c = c << 6 | (*(*p)++ & 0x3F);
    return c;
}

void sd_exif_build(sd_str *out, const char *comment) {
    sd_str text = {.limit = (size_t)1 << 20};
    for (const unsigned char *p = (const unsigned char *)comment; *p && !text.failed;) {
        uint32_t c = next_character(&p);
        if (c >= 0x10000) {
            put16(&text, 0xD800 + ((c - 0x10000) >> 10));
            put16(&text, 0xDC00 + (c & 0x3FF));
        } else
            put16(&text, c);
    }
    sd_str_append_bytes(out, "MM\0*\0\0\0\10", 8);
    put_folder(out, tag_exif_ifd, type_long, 1, 26);
    put_folder(out, tag_user_comment, type_undefined, (uint32_t)text.size + 8, 44);
    sd_str_append_bytes(out, "UNICODE\0", 8);
    sd_str_append_bytes(out, text.text, text.size);
    out->failed = out->failed || text.failed;
    sd_str_clear(&text);
}

typedef struct tiff {
    const uint8_t *data;
    size_t size;
    bool big;
} tiff;

static uint32_t get(const tiff *t, size_t at, int bytes) {
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint32_t)t->data[at + (size_t)i] << 8 * (t->big ? bytes - 1 - i : i);
    return v;
}

/* Where the entry of this tag begins in the folder at `at`; 0 when there is none. */
static size_t find_entry(const tiff *t, size_t at, uint32_t tag) {
    if (at < 8 || at > t->size || t->size - at < 2)
        return 0;
    size_t count = get(t, at, 2), room = (t->size - at - 2) / 12;
    for (size_t i = 0; i < count && i < room; i++)
        if (get(t, at + 2 + 12 * i, 2) == tag)
            return at + 2 + 12 * i;
    return 0;
}

static void put_utf8(sd_str *out, uint32_t c) {
    char b[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        b[i] = (char)(0x80 | (c & 0x3F));
    b[0] = (char)(n == 1 ? c : (0xF00U >> n & 0xFF) | c);
    sd_str_append_bytes(out, b, n);
}

/* Up to the first NUL; false on half a surrogate pair. */
static bool utf16_to_utf8(const uint8_t *p, size_t size, bool big, sd_str *out) {
    const tiff t = {p, size, big};
    for (size_t i = 0; i + 1 < size; i += 2) {
        uint32_t c = get(&t, i, 2);
        if (c == 0)
            break;
        if (c >= 0xD800 && c < 0xE000) {
            uint32_t low = i + 3 < size ? get(&t, i + 2, 2) : 0;
            if (c >= 0xDC00 || low < 0xDC00 || low >= 0xE000)
                return false;
            c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
            i += 2;
        }
        put_utf8(out, c);
    }
    return !out->failed;
}

/* A byte-order mark decides. Without one, big-endian files hold big-endian text; of the little-endian ones
 * some do and some do not, so there the order that gives more ASCII characters wins. */
static bool comment_is_big(const tiff *t, const uint8_t **p, size_t *size) {
    size_t big = 0, little = 0;
    if (*size >= 2 && (((*p)[0] == 0xFE && (*p)[1] == 0xFF) || ((*p)[0] == 0xFF && (*p)[1] == 0xFE))) {
        bool order = (*p)[0] == 0xFE;
        *p += 2;
        *size -= 2;
        return order;
    }
    for (size_t i = 0; i + 1 < *size; i += 2) {
        big += (*p)[i] == 0 && (*p)[i + 1] < 0x80;
        little += (*p)[i + 1] == 0 && (*p)[i] < 0x80;
    }
    return t->big || big >= little;
}

static bool decode_comment(const tiff *t, const uint8_t *p, size_t size, sd_str *out) {
    if (size < 8)
        return false;
    bool unicode = memcmp(p, "UNICODE\0", 8) == 0, ascii = memcmp(p, "ASCII\0\0\0", 8) == 0;
    bool undefined = memcmp(p, "\0\0\0\0\0\0\0\0", 8) == 0;
    p += 8;
    size -= 8;
    if (unicode) {
        bool big = comment_is_big(t, &p, &size);
        return utf16_to_utf8(p, size, big, out);
    }
    if (!ascii && !undefined)
        return false;
    const uint8_t *nul = memchr(p, 0, size);
    size = nul ? (size_t)(nul - p) : size;
    if (sd_utf8_valid((const char *)p, size))
        sd_str_append_bytes(out, p, size);
    else
        sd_latin1_to_utf8(out, p, size);
    return !out->failed;
}

static bool open_tiff(tiff *t, const uint8_t *data, size_t size) {
    *t = (tiff){data, size, size && data[0] == 'M'};
    return size >= 8 && (memcmp(data, "II*\0", 4) == 0 || memcmp(data, "MM\0*", 4) == 0);
}

uint32_t sd_exif_orientation(const uint8_t *data, size_t size) {
    tiff t;
    size_t entry = open_tiff(&t, data, size) ? find_entry(&t, get(&t, 4, 4), tag_orientation) : 0;
    uint32_t value = entry && get(&t, entry + 2, 2) == type_short ? get(&t, entry + 8, 2) : 1;
    return value >= 1 && value <= 8 ? value : 1;
}

bool sd_exif_comment(const uint8_t *data, size_t size, sd_str *out) {
    tiff t;
    if (!open_tiff(&t, data, size))
        return false;
    size_t entry = find_entry(&t, get(&t, 4, 4), tag_exif_ifd);
    if (!entry)
        return false;
    entry = find_entry(&t, get(&t, entry + 8, 4), tag_user_comment);
    if (!entry)
        return false;
    uint32_t count = get(&t, entry + 4, 4), at = get(&t, entry + 8, 4);
    if (get(&t, entry + 2, 2) != type_undefined || count < 8 || at > size || count > size - at)
        return false;
    return decode_comment(&t, data + at, count, out);
}
