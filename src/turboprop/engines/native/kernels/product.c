/* Matrix products of 8-bit activations with weights of 8 and 4 bits, on AVX-512 VNNI.

   `vpdpbusd` adds 4 products of an unsigned and a signed byte to each of 16 sums. The weights are the unsigned side:
   int8 weights are stored + 128, and the sums begin at -128 times the sum of the activations. A tile is 32 outputs by
   up to 6 tokens: 12 integer sums, 12 float sums, 2 weight registers, and the broadcast, of 32 registers. */
#include "kernels.h"
#include "vector.h"

#include <string.h>

enum { TILE = 6, EIGHT_STEP = GROUP * LANES + 4 * LANES, FOUR_STEP = GROUP_FOUR * LANES / 2 + 4 * LANES };

size_t panel_bytes(int kind, long inputs)
{
    return kind == EIGHT_BITS ? (size_t)(inputs / GROUP) * EIGHT_STEP : (size_t)(inputs / GROUP_FOUR) * FOUR_STEP;
}

static inline __m512i spread(const int8_t *four)
{
    int32_t word;
    memcpy(&word, four, 4);
    return _mm512_set1_epi32(word);
}

/* For a single token memory sets the pace: the lines of the next pair of panels are asked for while this one's are
   multiplied. A token of a Qwen3-0.6B shape took 16.9 ms with it and 18.4 without. */
static inline void foresee(const uint8_t *w0, const uint8_t *w1, long ahead, long bytes)
{
    for (long line = 0; line < bytes; line += CACHE_LINE) {
        _mm_prefetch((const char *)w0 + ahead + line, _MM_HINT_T1);
        _mm_prefetch((const char *)w1 + ahead + line, _MM_HINT_T1);
    }
}

static inline __attribute__((always_inline)) void tile_eight(const uint8_t *w0, const uint8_t *w1, Quantized x, long token,
    long groups, __m512 f[TILE][2], const int rows, const int fine)
{
    const long inputs = groups * GROUP, step = fine ? GROUP_FOUR : GROUP, parts = GROUP / step;
    const int8_t *a = x.values + token * inputs;
    for (long g = 0; g < groups; g++, w0 += EIGHT_STEP, w1 += EIGHT_STEP) {
        if (rows == 1)
            foresee(w0, w1, 2 * groups * EIGHT_STEP, EIGHT_STEP);
        __m512 s0 = _mm512_loadu_ps(w0 + GROUP * LANES), s1 = _mm512_loadu_ps(w1 + GROUP * LANES);
        for (long part = 0; part < parts; part++) {
            __m512i sums[TILE][2];
            const uint8_t *p0 = w0 + part * step * LANES, *p1 = w1 + part * step * LANES;
            for (int m = 0; m < rows; m++)
                sums[m][0] = sums[m][1] = _mm512_set1_epi32(x.offsets[((token + m) * groups + g) * parts + part]);
            for (int k = 0; k < step / 4; k++) {
                __m512i b0 = _mm512_loadu_si512(p0 + k * 64), b1 = _mm512_loadu_si512(p1 + k * 64);
                for (int m = 0; m < rows; m++) {
                    __m512i four = spread(a + m * inputs + g * GROUP + part * step + k * 4);
                    sums[m][0] = _mm512_dpbusd_epi32(sums[m][0], b0, four);
                    sums[m][1] = _mm512_dpbusd_epi32(sums[m][1], b1, four);
                }
            }
            for (int m = 0; m < rows; m++) {
                __m512 scale = _mm512_set1_ps(x.scales[((token + m) * groups + g) * parts + part]);
                f[m][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[m][0]), _mm512_mul_ps(s0, scale), f[m][0]);
                f[m][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[m][1]), _mm512_mul_ps(s1, scale), f[m][1]);
            }
        }
    }
}

static inline __m512 halves(const uint8_t *from)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
}

static inline __attribute__((always_inline)) void tile_four(
    const uint8_t *w0, const uint8_t *w1, Quantized x, long token, long groups, __m512 f[TILE][2], const int rows)
{
    enum { PARTS = GROUP / GROUP_FOUR, DATA = GROUP_FOUR * LANES / 2 };
    const long inputs = groups * GROUP;
    const int8_t *a = x.values + token * inputs;
    const __m512i low = _mm512_set1_epi8(15);
    for (long g = 0; g < groups * PARTS; g++, w0 += FOUR_STEP, w1 += FOUR_STEP) {
        __m512i sums[TILE][2];
        for (int m = 0; m < rows; m++)
            sums[m][0] = sums[m][1] = _mm512_setzero_si512();
        if (rows == 1)
            foresee(w0, w1, 2 * groups * PARTS * FOUR_STEP, FOUR_STEP);
        for (int k = 0; k < GROUP_FOUR / 8; k++) {
            __m512i b0 = _mm512_loadu_si512(w0 + k * 64), b1 = _mm512_loadu_si512(w1 + k * 64);
            __m512i l0 = _mm512_and_si512(b0, low), l1 = _mm512_and_si512(b1, low);
            __m512i h0 = _mm512_and_si512(_mm512_srli_epi16(b0, 4), low);
            __m512i h1 = _mm512_and_si512(_mm512_srli_epi16(b1, 4), low);
            for (int m = 0; m < rows; m++) {
                const int8_t *eight = a + m * inputs + g * GROUP_FOUR + k * 8;
                __m512i first = spread(eight), second = spread(eight + 4);
                sums[m][0] = _mm512_dpbusd_epi32(sums[m][0], l0, first);
                sums[m][1] = _mm512_dpbusd_epi32(sums[m][1], l1, first);
                sums[m][0] = _mm512_dpbusd_epi32(sums[m][0], h0, second);
                sums[m][1] = _mm512_dpbusd_epi32(sums[m][1], h1, second);
            }
        }
        __m512 s0 = halves(w0 + DATA), s1 = halves(w1 + DATA);
        __m512 least0 = halves(w0 + DATA + 2 * LANES), least1 = halves(w1 + DATA + 2 * LANES);
        for (int m = 0; m < rows; m++) {
            __m512 scale = _mm512_set1_ps(x.scales[(token + m) * groups * PARTS + g]);
            __m512 sum = _mm512_set1_ps(x.sums[(token + m) * groups * PARTS + g]);
            f[m][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[m][0]), _mm512_mul_ps(s0, scale), f[m][0]);
            f[m][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[m][1]), _mm512_mul_ps(s1, scale), f[m][1]);
            f[m][0] = _mm512_fmadd_ps(least0, sum, f[m][0]);
            f[m][1] = _mm512_fmadd_ps(least1, sum, f[m][1]);
        }
    }
}

static inline __attribute__((always_inline)) void tile(const Matrix *matrix, Quantized x, float *y, long stride,
    long pair, long token, int add, const int rows)
{
    size_t bytes = panel_bytes(matrix->kind, matrix->inputs);
    const uint8_t *w0 = matrix->panels + (size_t)pair * bytes, *w1 = w0 + bytes;
    const long output = pair * LANES, left = matrix->outputs - output, groups = matrix->inputs / GROUP;
    __mmask16 k0 = lanes(left), k1 = lanes(left - LANES);
    __m512 b0 = _mm512_setzero_ps(), b1 = b0, factor = _mm512_set1_ps(matrix->factor), f[TILE][2];
    if (matrix->bias) {
        b0 = _mm512_maskz_loadu_ps(k0, matrix->bias + output);
        b1 = _mm512_maskz_loadu_ps(k1, matrix->bias + output + 16);
    }
    for (int m = 0; m < rows; m++)
        f[m][0] = f[m][1] = _mm512_setzero_ps();
    if (matrix->kind == EIGHT_BITS && x.group == GROUP)
        tile_eight(w0, w1, x, token, groups, f, rows, 0);
    else if (matrix->kind == EIGHT_BITS)
        tile_eight(w0, w1, x, token, groups, f, rows, 1);
    else
        tile_four(w0, w1, x, token, groups, f, rows);
    for (int m = 0; m < rows; m++) {
        float *to = y + (token + m) * stride + output;
        f[m][0] = _mm512_fmadd_ps(f[m][0], factor, b0);
        f[m][1] = _mm512_fmadd_ps(f[m][1], factor, b1);
        if (add) {
            f[m][0] = _mm512_add_ps(f[m][0], _mm512_maskz_loadu_ps(k0, to));
            f[m][1] = _mm512_add_ps(f[m][1], _mm512_maskz_loadu_ps(k1, to + 16));
        }
        _mm512_mask_storeu_ps(to, k0, f[m][0]);
        _mm512_mask_storeu_ps(to + 16, k1, f[m][1]);
    }
}

void product_item(const Matrix *matrix, Quantized x, float *y, long stride, long pair, long first, long count, int add)
{
    for (long end = first + count; first < end; first += TILE) {
        switch (end - first) {
        case 1: tile(matrix, x, y, stride, pair, first, add, 1); break;
        case 2: tile(matrix, x, y, stride, pair, first, add, 2); break;
        case 3: tile(matrix, x, y, stride, pair, first, add, 3); break;
        case 4: tile(matrix, x, y, stride, pair, first, add, 4); break;
        case 5: tile(matrix, x, y, stride, pair, first, add, 5); break;
        default: tile(matrix, x, y, stride, pair, first, add, TILE); break;
        }
    }
}

static inline __attribute__((always_inline)) void quantize_row(
    const float *row, long width, long inputs, Quantized to, long token, const int group)
{
    const long groups = inputs / group;
    for (long g = 0; g < groups; g++) {
        __m512 parts[GROUP / 16];
        __m512i most = _mm512_setzero_si512();
        for (int i = 0; i < group / 16; i++) {
            parts[i] = _mm512_maskz_loadu_ps(lanes(width - g * group - i * 16), row + g * group + i * 16);
            most = larger_sizes(most, parts[i]);
        }
        float largest = largest_size(most), scale = largest / 127.0f, factor = factor_to(127, largest);
        __mmask16 some = factor > 0 ? 0xffff : 0; /* else zeros, which a scale that is not finite makes NaN */
        __m512 by = _mm512_set1_ps(factor);
        __m512i sums = _mm512_setzero_si512();
        for (int i = 0; i < group / 16; i++) {
            __m512i whole = _mm512_maskz_cvtps_epi32(some, _mm512_mul_ps(parts[i], by));
            _mm_storeu_si128((__m128i *)(to.values + token * inputs + g * group + i * 16), _mm512_cvtsepi32_epi8(whole));
            sums = _mm512_add_epi32(sums, whole);
        }
        int32_t sum = _mm512_reduce_add_epi32(sums);
        to.scales[token * groups + g] = scale;
        to.offsets[token * groups + g] = -128 * sum;
        to.sums[token * groups + g] = (float)sum * scale;
    }
}

void quantize_rows(const float *x, long stride, long width, long inputs, Quantized to, long first, long count)
{
    for (long token = first; token < first + count; token++) {
        if (to.group == GROUP)
            quantize_row(x + token * stride, width, inputs, to, token, GROUP);
        else
            quantize_row(x + token * stride, width, inputs, to, token, GROUP_FOUR);
    }
}

void matrix_row(const Matrix *matrix, long row, float *to, long width)
{
    const uint8_t *panel = matrix->panels + (size_t)(row / LANES) * panel_bytes(matrix->kind, matrix->inputs);
    const long lane = row % LANES;
    for (long k = 0; k < width; k++) {
        if (matrix->kind == EIGHT_BITS) {
            const uint8_t *group = panel + k / GROUP * EIGHT_STEP;
            float scale;
            memcpy(&scale, group + GROUP * LANES + 4 * lane, 4);
            to[k] = (float)((int)group[k % GROUP / 4 * 64 + lane * 4 + k % 4] - 128) * scale * matrix->factor;
        } else {
            const uint8_t *group = panel + k / GROUP_FOUR * FOUR_STEP;
            const long in = k % GROUP_FOUR;
            uint16_t scale, least;
            memcpy(&scale, group + GROUP_FOUR * LANES / 2 + 2 * lane, 2);
            memcpy(&least, group + GROUP_FOUR * LANES / 2 + 2 * LANES + 2 * lane, 2);
            int byte = group[in / 8 * 64 + lane * 4 + in % 4], value = in % 8 < 4 ? byte & 15 : byte >> 4;
            to[k] = ((float)value * _cvtsh_ss(scale) + _cvtsh_ss(least)) * matrix->factor;
        }
    }
}
