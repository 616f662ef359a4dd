/* The rows of a tile of the CPU kernels and the input pixels under their taps. Needs R, LINEAR and UPSAMPLE. */
const uint ROW_VECTORS = (R + LANES - 1) / LANES;

/* Of this tile's rows, of which lane i of vector j knows row j*LANES + i: where the first tap lies in the input, and the
 * picture's first row there. */
int row_y[ROW_VECTORS], row_x[ROW_VECTORS];
uint row_image[ROW_VECTORS];

/* Picture, line and column of row m of the GEMM. */
uvec3 place_of(uint m) {
    uint y = m / p.ow, n = y / p.oh;
    return uvec3(m - y * p.ow, y - n * p.oh, n);
}

void find_rows(uint first, uint phase) {
    [[unroll]] for (uint j = 0; j < ROW_VECTORS; j++) {
        uint m = min(first + j * LANES + gl_SubgroupInvocationID, p.rows - 1);
        if (LINEAR) {
            row_x[j] = int(m);
            continue;
        }
        uvec3 at = place_of(m);
        ivec2 corner = ivec2(at.xy * field(GEMM_STRIDE_SHIFT)) - int(field(GEMM_PAD_SHIFT));
        if (UPSAMPLE)
            corner += ivec2(phase & 1, phase >> 1);
        row_x[j] = corner.x;
        row_y[j] = corner.y;
        row_image[j] = at.z * p.h;
    }
}

/* Pixel index of row vector j at a tap, or -1 in the padding. */
int pixel(uint j, int ty, int tx) {
    if (LINEAR)
        return row_x[j];
    int y = row_y[j] + ty, x = row_x[j] + tx;
    bool inside = uint(y) < p.h && uint(x) < p.w;
    return inside ? int((row_image[j] + uint(y)) * p.w + uint(x)) : -1;
}
