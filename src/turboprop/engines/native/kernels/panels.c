/* Panels taken apart again: a row of a matrix as float32. */
#include "panels.h"

#include <immintrin.h>
#include <string.h>

size_t panel_bytes(int kind, long inputs)
{
    long bytes = kind == EIGHT_BITS ? inputs / GROUP * EIGHT_STEP
        : kind == FOUR_BITS         ? inputs / GROUP_FOUR * FOUR_STEP
                                    : inputs / SUPER * super_step(more_bits(kind));
    return (size_t)bytes;
}

static inline float half(const uint8_t *from, long lane)
{
    uint16_t bits;
    memcpy(&bits, from + 2 * lane, 2);
    return _cvtsh_ss(bits);
}

/* The low four bits of the input `in` of a part. */
static inline int nibble(const uint8_t *part, long lane, long in)
{
    int byte = part[in / 8 * CACHE_LINE + lane * 4 + in % 4];
    return in % 8 < 4 ? byte & 15 : byte >> 4;
}

static float weight_super(const uint8_t *panel, long lane, long k, long more)
{
    const uint8_t *group = panel + k / SUPER * super_step(more), *tail = group + PARTS * part_bytes(more);
    const long part = k % SUPER / GROUP_FOUR, in = k % GROUP_FOUR, quad = in / 4;
    const uint8_t *data = group + part * part_bytes(more);
    int value = nibble(data, lane, in);
    if (more) {
        int high = data[FOUR_DATA + quad * more / 8 * CACHE_LINE + lane * 4 + in % 4];
        value |= (high >> quad * more % 8 & ((1 << more) - 1)) << 4;
    }
    float scale = half(tail + SUPER_SCALES, lane), least = half(tail + SUPER_SCALES + 2 * LANES, lane);
    if (more == 2)
        return (float)(value - 32) * ((float)(int8_t)tail[k % SUPER / HALF * LANES + lane] * scale);
    return (float)value * ((float)tail[part * LANES + lane] * scale) + (float)tail[(PARTS + part) * LANES + lane] * least;
}

void matrix_row(const Matrix *matrix, long row, float *to, long width)
{
    const uint8_t *panel = matrix->panels + (size_t)(row / LANES) * panel_bytes(matrix->kind, matrix->inputs);
    const long lane = row % LANES;
    for (long k = 0; k < width; k++) {
        float value;
        if (matrix->kind == EIGHT_BITS) {
            const uint8_t *group = panel + k / GROUP * EIGHT_STEP;
            float scale;
            memcpy(&scale, group + GROUP * LANES + 4 * lane, 4);
            value = (float)((int)group[k % GROUP / 4 * 64 + lane * 4 + k % 4] - 128) * scale;
        } else if (matrix->kind == FOUR_BITS) {
            const uint8_t *group = panel + k / GROUP_FOUR * FOUR_STEP, *tail = group + FOUR_DATA;
            value = (float)nibble(group, lane, k % GROUP_FOUR) * half(tail, lane) + half(tail + 2 * LANES, lane);
        } else {
            value = weight_super(panel, lane, k, more_bits(matrix->kind));
        }
        to[k] = value * matrix->factor;
    }
}
