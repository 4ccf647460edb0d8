/* Panels taken apart again: a row of a matrix as float32. */
#include "panels.h"

#include <string.h>

size_t panel_bytes(int kind, int64_t inputs)
{
    int64_t bytes = kind >= FLOAT32    ? inputs * 2 * LANES * float_bytes(kind)
        : kind == EIGHT_BITS        ? inputs / GROUP * EIGHT_STEP
        : kind == FOUR_BITS         ? inputs / GROUP_FOUR * FOUR_STEP
                                    : inputs / SUPER * super_step(more_bits(kind));
    return (size_t)bytes;
}

static inline float half(const uint8_t *from, int64_t lane)
{
    uint16_t bits;
    memcpy(&bits, from + 2 * lane, 2);
    /* Exponents begin at -14, and in float32 at -126. */
    const uint32_t wide = (bits & 0x7fffu) << 13, beyond = wide >= 0x7c00u << 13 ? wide | 0x7f800000 : wide;
    float found;
    memcpy(&found, &beyond, 4);
    found = beyond == wide ? found * 0x1p112f : found;
    return bits >> 15 ? -found : found;
}

/* The low four bits of the input `in` of a part, which lie in that line or in one after it. */
static inline int nibble(const uint8_t *line, int64_t lane, int64_t in)
{
    int byte = line[lane * 4 + in % 4];
    return in % 8 < 4 ? byte & 15 : byte >> 4;
}

static float weight_eight(const uint8_t *lines, int64_t lane, int64_t k)
{
    const uint8_t *group = lines + k / GROUP * EIGHT_STEP;
    float scale;
    memcpy(&scale, group + 4 * lane, 4);
    return (float)((int)group[(1 + k % GROUP / 4) * LINE + lane * 4 + k % 4] - 128) * scale;
}

static float weight_four(const uint8_t *lines, int64_t lane, int64_t k)
{
    const int64_t in = k % GROUP_FOUR;
    const uint8_t *part = lines + k / GROUP_FOUR * FOUR_STEP;
    return (float)nibble(part + (1 + in / 8) * LINE, lane, in) * half(part, lane) + half(part + 2 * LANES, lane);
}

static float weight_super(const uint8_t *panel, int64_t side, int64_t lane, int64_t k, int64_t more)
{
    const uint8_t *group = panel + k / SUPER * super_step(more), *head = group + side * head_bytes(more);
    const int64_t part = k % SUPER / GROUP_FOUR, in = k % GROUP_FOUR, quad = in / 4;
    const uint8_t *data = group + 2 * head_bytes(more) + part * part_bytes(more) + side * CACHE_LINE;
    int value = nibble(data + low_line(quad, more) * LINE, lane, in);
    if (more) {
        int high = data[high_line(quad, more) * LINE + lane * 4 + in % 4];
        value |= (high >> quad * more % 8 & ((1 << more) - 1)) << 4;
    }
    if (more == 2) {
        int scale = (int8_t)head[k % SUPER / HALF * LANES + lane];
        return (float)(value - 32) * ((float)scale * half(head + SIX_SCALES, lane));
    }
    const uint8_t *packed = head + part / 2 * 3 * LANES + lane;
    int first = packed[0], second = packed[LANES], third = packed[2 * LANES];
    int scale = (part % 2 ? third : first) & 63;
    int least = part % 2 ? first >> 6 | second >> 6 << 2 | third >> 6 << 4 : second & 63;
    return (float)value * ((float)scale * half(head + PACKED_SCALES, lane))
        + (float)least * half(head + PACKED_SCALES + 2 * LANES, lane);
}

static float weight_float(const uint8_t *panel, int64_t output, int64_t k, int kind)
{
    const uint8_t *at = panel + (k * 2 * LANES + output) * float_bytes(kind);
    if (kind == FLOAT16)
        return half(at, 0);
    uint32_t bits = 0;
    memcpy((uint8_t *)&bits + (kind == BFLOAT16 ? 2 : 0), at, (size_t)float_bytes(kind));
    float found;
    memcpy(&found, &bits, 4);
    return found;
}

void matrix_row(const Matrix *matrix, int64_t row, float *to, int64_t width)
{
    const int64_t side = row / LANES % 2, lane = row % LANES;
    const uint8_t *panel = matrix->panels + (size_t)(row / (2 * LANES)) * panel_bytes(matrix->kind, matrix->inputs);
    const uint8_t *lines = panel + side * CACHE_LINE;
    for (int64_t k = 0; k < width; k++) {
        float value = matrix->kind >= FLOAT32    ? weight_float(panel, row % (2 * LANES), k, matrix->kind)
            : matrix->kind == EIGHT_BITS         ? weight_eight(lines, lane, k)
            : matrix->kind == FOUR_BITS          ? weight_four(lines, lane, k)
                                                 : weight_super(panel, side, lane, k, more_bits(matrix->kind));
        to[k] = value * matrix->factor;
    }
}
