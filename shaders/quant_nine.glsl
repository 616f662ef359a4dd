/* Scales of nine taps: neighbouring channels of a tap are nine values apart in a row, so that NINE_COUNT of them (NINE_MOST
 * at most, which is a literal) reach into several grains of NINE_GRAIN values (16 fits every type). Which ones depends on
 * where the first lies, within two neighbours that each k knows: all indices are constants. Selects are not branches,
 * because some compilers take minutes for those. */
#define NINE_REACH(values, count) (((values)-1 + QUANT_TAPS * ((count)-1)) / (values) + 1)
const uint NINE_UNITS = NINE_REACH(QUANT_UNIT, NINE_COUNT);
const uint MOST_UNITS = NINE_REACH(QUANT_UNIT, NINE_MOST), MOST_GRAINS = NINE_REACH(16, NINE_MOST);

/* Scale and offset (mul, add) from the grain of the first k's value on. */
struct NineScales {
    vec2 grain[MOST_GRAINS];
};

/* The fine scales of NINE_UNITS units from `unit` on; two of them share a word. */
void nine_fine(uvec2 weight, QuantPlace p, uint tile, uint column, uint unit, out uint fine[MOST_UNITS]) {
    Words words = Words(weight);
    uint pair[MOST_UNITS / 2 + 1], rows = (p.units + 1) / 2;
    if (QUANT_HAS_M(W_TYPE)) {
        [[unroll]] for (uint i = 0; i < MOST_UNITS; i++)
            if (i < NINE_UNITS)
                fine[i] = words.d[p.fine + (tile * p.units + min(unit + i, p.units - 1)) * p.columns + column];
        return;
    }
    [[unroll]] for (uint i = 0; i < MOST_UNITS / 2 + 1; i++)
        if (i < NINE_UNITS / 2 + 1)
            pair[i] = words.d[p.fine + (tile * rows + min(unit / 2 + i, rows - 1)) * p.columns + column];
    [[unroll]] for (uint i = 0; i < MOST_UNITS; i++) {
        uint even = pair[i / 2] >> 16 * (i & 1), odd = pair[(i + 1) / 2] >> 16 * (i + 1 & 1);
        fine[i] = mix(even, odd, (unit & 1) != 0) & 0xFFFF;
    }
}

/* Of k's of one tap, the first of which is number `value` of its row; the row begins `first` units into an octet. */
NineScales nine_scales(uvec2 weight, QuantPlace p, uint tile, uint column, uint first, uint value) {
    Words words = Words(weight);
    uint unit = value / QUANT_UNIT, octet = (first + unit) / QUANT_OCTET, octets = QUANT_OCTETS(p.units);
    uint fine[MOST_UNITS], coarse = 0, next_coarse = 0;
    nine_fine(weight, p, tile, column, unit, fine);
    if (QUANT_IS_K(W_TYPE)) {
        coarse = words.d[p.coarse + (tile * octets + octet) * p.columns + column];
        next_coarse = words.d[p.coarse + (tile * octets + min(octet + 1, octets - 1)) * p.columns + column];
    }
    vec2 halves[2 * MOST_UNITS];
    [[unroll]] for (uint i = 0; i < MOST_UNITS; i++) {
        bool here = (first + unit + i) / QUANT_OCTET == octet;
        QuantScale s = quant_scale(W_TYPE, fine[i], mix(next_coarse, coarse, here));
        halves[2 * i] = vec2(s.mul.x, s.add.x);
        halves[2 * i + 1] = vec2(s.mul.y, s.add.y);
    }
    NineScales s;
    bvec2 odd = bvec2((value & 16) != 0);
    [[unroll]] for (uint i = 0; i < MOST_GRAINS; i++)
        s.grain[i] = NINE_GRAIN == 16 ? mix(halves[i], halves[min(i + 1, 2 * MOST_UNITS - 1)], odd)
                                      : halves[min(2 * i, 2 * MOST_UNITS - 1)];
    return s;
}

/* What belongs to k number i behind the one of number `value`. */
vec2 nine_scale(NineScales s, uint value, uint i) {
    uint grain = QUANT_TAPS * i / NINE_GRAIN;
    bool next = (value & NINE_GRAIN - 1) + (QUANT_TAPS * i & NINE_GRAIN - 1) >= NINE_GRAIN;
    return mix(s.grain[grain], s.grain[min(grain + 1, MOST_GRAINS - 1)], bvec2(next));
}
