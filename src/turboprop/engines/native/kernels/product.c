/* Matrix products of 8-bit activations with weights of 8 to 4 bits, on AVX-512 VNNI.

   `vpdpbusd` adds 4 products of an unsigned and a signed byte to each of 16 sums. The weights are the unsigned side:
   int8 weights are stored + 128, and the sums begin at -128 times the sum of the activations. A tile is 32 outputs by
   up to 6 tokens: 12 integer sums, 12 float sums, 2 weight registers, and the broadcast, of 32 registers. */
#include "kernels.h"
#include "vector.h"

#include <string.h>

enum {
    TILE = 6,
    EIGHT_STEP = GROUP * LANES + 4 * LANES,
    FOUR_DATA = GROUP_FOUR * LANES / 2,
    FOUR_STEP = FOUR_DATA + 4 * LANES,
    PARTS = SUPER / GROUP_FOUR,
    SUPER_SCALES = 2 * PARTS * LANES,
    SUPER_TAIL = SUPER_SCALES + 4 * LANES,
};

/* Bits of a weight beside the first four. */
static inline long more_bits(int kind)
{
    return kind == SUPER_SIX ? 2 : kind == SUPER_FIVE ? 1 : 0;
}

static inline long part_bytes(long more)
{
    return FOUR_DATA + more * CACHE_LINE;
}

static inline long super_step(long more)
{
    return PARTS * part_bytes(more) + SUPER_TAIL;
}

size_t panel_bytes(int kind, long inputs)
{
    long bytes = kind == EIGHT_BITS ? inputs / GROUP * EIGHT_STEP
        : kind == FOUR_BITS         ? inputs / GROUP_FOUR * FOUR_STEP
                                    : inputs / SUPER * super_step(more_bits(kind));
    return (size_t)bytes;
}

static inline __m512i spread(const int8_t *four)
{
    int32_t word;
    memcpy(&word, four, 4);
    return _mm512_set1_epi32(word);
}

/* For a single token memory sets the pace: the lines of the next pair of panels are asked for while this one's are
   multiplied. A token of a Qwen3-0.6B shape took 16.9 ms with it and 18.4 without; matrices of Q4_K came at 12 GB/s
   without and at 21 with it. GCC 12 leaves a function out that does nothing else, unless it is always inlined. */
static inline __attribute__((always_inline)) void foresee(const uint8_t *w0, const uint8_t *w1, long ahead, long bytes)
{
    for (long line = 0; line < bytes; line += CACHE_LINE) {
        _mm_prefetch((const char *)w0 + ahead + line, _MM_HINT_T1);
        _mm_prefetch((const char *)w1 + ahead + line, _MM_HINT_T1);
    }
}

/* -128 times the sum of a group of GROUP_FOUR activations, which has an offset for each half. */
static inline int32_t halves_offset(Quantized x, long token, long inputs, long group)
{
    const int32_t *from = x.offsets + token * (inputs / HALF) + 2 * group;
    return from[0] + from[1];
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
                sums[m][0] = sums[m][1] = _mm512_set1_epi32(fine ? halves_offset(x, token + m, inputs, g * parts + part)
                                                           : x.offsets[(token + m) * groups + g]);
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

/* The bits 4 and 5 of four inputs of each lane, beside their low four: input 4 * quad and those after it. */
static inline __attribute__((always_inline)) __m512i with_high(
    __m512i low, const uint8_t *high, const int quad, const int more)
{
    if (more == 0)
        return low;
    const int at = quad * more % 8;
    __m512i bits = _mm512_loadu_si512(high + quad * more / 8 * CACHE_LINE);
    bits = at > 4 ? _mm512_srli_epi16(bits, at - 4) : _mm512_slli_epi16(bits, 4 - at);
    return _mm512_ternarylogic_epi64(low, bits, _mm512_set1_epi8(more == 1 ? 16 : 48), 0xf8); /* low | bits & mask */
}

/* Adds the products of the quads first .. end - 1 of a part of GROUP_FOUR inputs. */
static inline __attribute__((always_inline)) void quads(const uint8_t *w0, const uint8_t *w1, const int8_t *a, long inputs,
    __m512i sums[TILE][2], const int rows, const int more, const int first, const int end)
{
    const __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 8
    for (int quad = first; quad < end; quad++) {
        __m512i b0 = _mm512_loadu_si512(w0 + quad / 2 * CACHE_LINE), b1 = _mm512_loadu_si512(w1 + quad / 2 * CACHE_LINE);
        if (quad % 2) {
            b0 = _mm512_srli_epi16(b0, 4);
            b1 = _mm512_srli_epi16(b1, 4);
        }
        b0 = with_high(_mm512_and_si512(b0, low), w0 + FOUR_DATA, quad, more);
        b1 = with_high(_mm512_and_si512(b1, low), w1 + FOUR_DATA, quad, more);
        for (int m = 0; m < rows; m++) {
            __m512i four = spread(a + m * inputs + quad * 4);
            sums[m][0] = _mm512_dpbusd_epi32(sums[m][0], b0, four);
            sums[m][1] = _mm512_dpbusd_epi32(sums[m][1], b1, four);
        }
    }
}

/* Adds sums of integers, times the scales of weights and activations, and the minima times the activations' sums. */
static inline __attribute__((always_inline)) void add_four(Quantized x, long token, long parts, long part, __m512i sums[TILE][2],
    __m512 s0, __m512 s1, __m512 least0, __m512 least1, __m512 f[TILE][2], const int rows)
{
    for (int m = 0; m < rows; m++) {
        __m512 scale = _mm512_set1_ps(x.scales[(token + m) * parts + part]);
        __m512 sum = _mm512_set1_ps(x.sums[(token + m) * parts + part]);
        f[m][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[m][0]), _mm512_mul_ps(s0, scale), f[m][0]);
        f[m][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[m][1]), _mm512_mul_ps(s1, scale), f[m][1]);
        f[m][0] = _mm512_fmadd_ps(least0, sum, f[m][0]);
        f[m][1] = _mm512_fmadd_ps(least1, sum, f[m][1]);
    }
}

static inline __attribute__((always_inline)) void tile_four(
    const uint8_t *w0, const uint8_t *w1, Quantized x, long token, long groups, __m512 f[TILE][2], const int rows)
{
    const long inputs = groups * GROUP, parts = inputs / GROUP_FOUR;
    const int8_t *a = x.values + token * inputs;
    for (long part = 0; part < parts; part++, w0 += FOUR_STEP, w1 += FOUR_STEP) {
        __m512i sums[TILE][2];
        for (int m = 0; m < rows; m++)
            sums[m][0] = sums[m][1] = _mm512_setzero_si512();
        if (rows == 1)
            foresee(w0, w1, 2 * parts * FOUR_STEP, FOUR_STEP);
        quads(w0, w1, a + part * GROUP_FOUR, inputs, sums, rows, 0, 0, GROUP_FOUR / 4);
        const uint8_t *t0 = w0 + FOUR_DATA, *t1 = w1 + FOUR_DATA;
        add_four(x, token, parts, part, sums, halves(t0), halves(t1), halves(t0 + 2 * LANES), halves(t1 + 2 * LANES), f, rows);
    }
}

/* LANES bytes, unsigned or signed, times `by`. */
static inline __m512 unsigned_times(const uint8_t *from, __m512 by)
{
    return _mm512_mul_ps(by, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)from))));
}

static inline __m512 signed_times(const uint8_t *from, __m512 by)
{
    return _mm512_mul_ps(by, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from))));
}

static inline __attribute__((always_inline)) void tile_super(const uint8_t *w0, const uint8_t *w1, Quantized x, long token,
    long groups, __m512 f[TILE][2], const int rows, const int more)
{
    const long inputs = groups * GROUP, parts = inputs / GROUP_FOUR, step = super_step(more), bytes = part_bytes(more);
    const long ahead = 2 * (parts / PARTS) * step, lines = (step / CACHE_LINE + PARTS - 1) / PARTS * CACHE_LINE;
    const int8_t *a = x.values + token * inputs;
    for (long first = 0; first < parts; first += PARTS, w0 += step, w1 += step) {
        const uint8_t *t0 = w0 + PARTS * bytes, *t1 = w1 + PARTS * bytes;
        __m512 d0 = halves(t0 + SUPER_SCALES), d1 = halves(t1 + SUPER_SCALES);
        __m512 m0 = halves(t0 + SUPER_SCALES + 2 * LANES), m1 = halves(t1 + SUPER_SCALES + 2 * LANES);
        for (long part = 0; part < PARTS; part++, a += GROUP_FOUR) {
            const uint8_t *p0 = w0 + part * bytes, *p1 = w1 + part * bytes;
            __m512i sums[TILE][2];
            if (rows == 1)
                foresee(w0, w1, ahead + part * lines, part * lines + lines < step ? lines : step - part * lines);
            if (more < 2) {
                for (int m = 0; m < rows; m++)
                    sums[m][0] = sums[m][1] = _mm512_setzero_si512();
                quads(p0, p1, a, inputs, sums, rows, more, 0, GROUP_FOUR / 4);
                const uint8_t *s0 = t0 + part * LANES, *s1 = t1 + part * LANES;
                const long minima = PARTS * LANES;
                add_four(x, token, parts, first + part, sums, unsigned_times(s0, d0), unsigned_times(s1, d1),
                    unsigned_times(s0 + minima, m0), unsigned_times(s1 + minima, m1), f, rows);
                continue;
            }
#pragma GCC unroll 2
            for (int half = 0; half < 2; half++) {
                const long group = 2 * (first + part) + half;
                for (int m = 0; m < rows; m++) { /* -128 times the sum of the activations becomes -32 times it */
                    const int32_t *offset = x.offsets + (token + m) * 2 * parts + group;
                    sums[m][0] = sums[m][1] = _mm512_srai_epi32(_mm512_set1_epi32(*offset), 2);
                }
                if (half == 0)
                    quads(p0, p1, a, inputs, sums, rows, 2, 0, HALF / 4);
                else
                    quads(p0, p1, a, inputs, sums, rows, 2, HALF / 4, GROUP_FOUR / 4);
                __m512 s0 = signed_times(t0 + (2 * part + half) * LANES, d0), s1 = signed_times(t1 + (2 * part + half) * LANES, d1);
                for (int m = 0; m < rows; m++) {
                    __m512 scale = _mm512_set1_ps(x.scales[(token + m) * parts + first + part]);
                    f[m][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[m][0]), _mm512_mul_ps(s0, scale), f[m][0]);
                    f[m][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[m][1]), _mm512_mul_ps(s1, scale), f[m][1]);
                }
            }
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
    else if (matrix->kind == FOUR_BITS)
        tile_four(w0, w1, x, token, groups, f, rows);
    else if (matrix->kind == SUPER_FOUR)
        tile_super(w0, w1, x, token, groups, f, rows, 0);
    else if (matrix->kind == SUPER_FIVE)
        tile_super(w0, w1, x, token, groups, f, rows, 1);
    else
        tile_super(w0, w1, x, token, groups, f, rows, 2);
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
        __m512i sums = _mm512_setzero_si512(), whole[GROUP / 16];
        for (int i = 0; i < group / 16; i++) {
            whole[i] = _mm512_maskz_cvtps_epi32(some, _mm512_mul_ps(parts[i], by));
            _mm_storeu_si128((__m128i *)(to.values + token * inputs + g * group + i * 16), _mm512_cvtsepi32_epi8(whole[i]));
            sums = _mm512_add_epi32(sums, whole[i]);
        }
        int32_t sum = _mm512_reduce_add_epi32(sums);
        to.scales[token * groups + g] = scale;
        if (group == GROUP) {
            to.offsets[token * groups + g] = -128 * sum;
        } else {
            int32_t second = _mm512_reduce_add_epi32(whole[1]);
            to.offsets[(token * groups + g) * 2] = -128 * (sum - second);
            to.offsets[(token * groups + g) * 2 + 1] = -128 * second;
        }
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
