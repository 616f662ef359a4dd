/* coop_khr IN.spv OUT.spv: rewrites a shader from SPV_NV_cooperative_matrix to SPV_KHR_cooperative_matrix.
 *
 * glslc 2023.2 compiles only the former; devices of every vendor have the latter. The two differ in the
 * numbers of the instructions, in the layout operand (a boolean "column major" against the constants 0 row, 1
 * column) and in the matrix type, which for KHR names the operand's role: A, B or accumulator. The role
 * follows from where values of the type stand in a multiplication. (SPIR-V registry:
 * SPV_NV_cooperative_matrix, SPV_KHR_cooperative_matrix.) */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { header_words = 5, longest_module = 1 << 24 };
enum {
    op_extension = 10,
    op_capability = 17,
    op_type_int = 21,
    op_true = 41,
    op_false = 42,
    op_constant = 43,
    op_spec_true = 48,
    op_spec_false = 49,
    nv_type = 5358,
    nv_load = 5359,
    nv_store = 5360,
    nv_multiply = 5361,
    khr_type = 4456,
    khr_load = 4457,
    khr_store = 4458,
    khr_multiply = 4459,
    nv_capability = 5357,
    khr_capability = 6022
};
enum role { role_a, role_b, role_accumulator, role_unknown };

struct module {
    uint32_t *words, count, bound;
    uint32_t *type_of; /* of a result id: only of cooperative matrices */
    uint8_t *role;     /* of a type id: 1 + enum role */
    uint8_t *boolean;  /* of a constant id: 1 false, 2 true */
    uint32_t uint_type;
};

static void stop(const char *what) {
    fprintf(stderr, "coop_khr: %s\n", what);
    exit(1);
}

static void *zeroed(size_t count, size_t size) {
    void *p = calloc(count, size);
    if (!p)
        stop("out of memory");
    return p;
}

static struct module read_module(const char *path) {
    struct module m = {.words = zeroed(longest_module, 4)};
    FILE *file = fopen(path, "rb");
    if (!file)
        stop("cannot read the module");
    m.count = (uint32_t)fread(m.words, 4, longest_module, file);
    fclose(file);
    if (m.count < header_words || m.words[0] != 0x07230203)
        stop("this is no SPIR-V module");
    m.bound = m.words[3];
    m.type_of = zeroed(m.bound, sizeof *m.type_of);
    m.role = zeroed(m.bound, 1);
    m.boolean = zeroed(m.bound, 1);
    return m;
}

static void set_role(struct module *m, uint32_t id, enum role role) {
    uint8_t *known = &m->role[m->type_of[id]];
    if (!m->type_of[id])
        stop("an operand of a multiplication is no known matrix");
    if (*known && *known != 1 + role)
        stop("one matrix type has two roles: give M, N and K a constant each");
    *known = (uint8_t)(1 + role);
}

/* Types, roles and constants. Any instruction whose second word is a matrix type gives a matrix: types have
 * no result type, so that their ids cannot be mistaken for one in a valid module. */
static void survey(struct module *m) {
    uint8_t *matrix = zeroed(m->bound, 1);
    for (uint32_t at = header_words, size; at < m->count; at += size) {
        const uint32_t *w = m->words + at;
        uint32_t op = w[0] & 0xFFFF;
        size = w[0] >> 16;
        if (!size || at + size > m->count)
            stop("an instruction is cut short");
        if (op == nv_type)
            matrix[w[1]] = 1;
        else if (op == op_type_int && w[2] == 32 && !w[3])
            m->uint_type = w[1];
        else if (op == op_true || op == op_spec_true || op == op_false || op == op_spec_false)
            m->boolean[w[2]] = op == op_true || op == op_spec_true ? 2 : 1;
        else if (size > 2 && op >= op_constant && w[1] < m->bound && matrix[w[1]] && w[2] < m->bound)
            m->type_of[w[2]] = w[1];
        if (op != nv_multiply)
            continue;
        for (int i = 0; i < 3; i++)
            set_role(m, w[3 + i], (enum role)i);
        set_role(m, w[2], role_accumulator);
    }
    free(matrix);
    if (!m->uint_type)
        stop("the module has no 32-bit unsigned type");
}

struct output {
    uint32_t *words, count;
};

static void emit(struct output *o, uint32_t op, const uint32_t *operands, uint32_t count) {
    o->words[o->count++] = (count + 1) << 16 | op;
    memcpy(o->words + o->count, operands, count * sizeof *operands);
    o->count += count;
}

static uint32_t layout_constant(const struct module *m, uint32_t column_major) {
    if (!m->boolean[column_major])
        stop("a layout is no boolean constant");
    return m->bound + m->boolean[column_major] - 1; /* false: row major, 0; true: column major, 1 */
}

/* Writes w, one instruction of the NV dialect, in KHR's. */
static void rewrite(const struct module *m, struct output *o, const uint32_t *w, uint32_t size) {
    uint32_t op = w[0] & 0xFFFF, x[16], n = size - 1;
    static const char extension[] = "SPV_NV_cooperative_matrix",
                      replacement[28] = "SPV_KHR_cooperative_matrix";
    if (op == op_extension && !strcmp((const char *)(w + 1), extension)) {
        memcpy(x, replacement, sizeof replacement);
        emit(o, op_extension, x, sizeof replacement / 4);
        return;
    }
    if (n > 12 ||
        (op != nv_type && op != nv_load && op != nv_store && op != nv_multiply && op != op_capability)) {
        emit(o, op, w + 1, n);
        return;
    }
    memcpy(x, w + 1, n * sizeof *x);
    if (op == op_capability && x[0] == nv_capability)
        x[0] = khr_capability;
    else if (op == nv_type) {
        op = khr_type;
        x[n++] = m->bound + (m->role[w[1]] ? m->role[w[1]] - 1u : role_accumulator);
    } else if (op == nv_load || op == nv_store) {
        uint32_t stride = op == nv_load ? 3 : 2, first = x[stride];
        op = op == nv_load ? khr_load : khr_store;
        x[stride] = layout_constant(m, x[stride + 1]);
        x[stride + 1] = first;
    } else if (op == nv_multiply)
        op = khr_multiply;
    emit(o, op, x, n);
}

int main(int argc, char **argv) {
    if (argc != 3)
        stop("usage: coop_khr IN.spv OUT.spv");
    struct module m = read_module(argv[1]);
    survey(&m);
    /* An operand more for each type and three constants: the ids bound, bound + 1 and bound + 2 hold 0, 1
     * and 2. */
    struct output o = {zeroed(2 * (size_t)m.count + 16, 4), header_words};
    memcpy(o.words, m.words, header_words * sizeof *o.words);
    o.words[3] = m.bound + 3;
    int constants = 0;
    for (uint32_t at = header_words; at < m.count; at += m.words[at] >> 16) {
        if ((m.words[at] & 0xFFFF) == nv_type && !constants++)
            for (uint32_t value = 0; value < 3; value++)
                emit(&o, op_constant, (const uint32_t[]){m.uint_type, m.bound + value, value}, 3);
        rewrite(&m, &o, m.words + at, m.words[at] >> 16);
    }
    FILE *file = fopen(argv[2], "wb");
    if (!file || fwrite(o.words, 4, o.count, file) != o.count || fclose(file))
        stop("cannot write the module");
    free(o.words);
    free(m.words);
    free(m.type_of);
    free(m.role);
    free(m.boolean);
    return 0;
}
