/* Matrix products of 8-bit activations with weights of 8 to 4 bits.

   `vpdpbusd` adds 4 products of an unsigned and a signed byte to each of 16 sums, or of 8. The weights are the unsigned
   side: int8 weights are stored + 128, and the sums begin at -128 times the sum of the activations. In registers of 512
   bits a tile is 2 panels by up to 6 tokens: 12 integer sums, 12 float sums, 2 weight registers, and the broadcast, of
   32 registers. Of the 16 of 256 bits the integer sums of one panel take as many, and the float sums wait in memory. */
#include "panels.h"
#include "vector.h"

#ifdef KERNELS_AVX2
#define TILE 4 /* besides there are products that wait to be added */
#else
#define TILE 6
#endif
enum { PAIR = 2 };
typedef const uint8_t *Panels[PAIR];

/* For a single token memory sets the pace: the lines of the next pair of panels are asked for while this one's are
   multiplied. A token of a Qwen3-0.6B shape took 16.9 ms with it and 18.4 without; matrices of Q4_K came at 12 GB/s
   without and at 21 with it. GCC 12 leaves a function out that does nothing else, unless it is always inlined. */
ALWAYS void foresee(const Panels w, long ahead, long bytes)
{
    for (long line = 0; line < bytes; line += CACHE_LINE) {
        _mm_prefetch((const char *)w[0] + ahead + line, _MM_HINT_T1);
        _mm_prefetch((const char *)w[1] + ahead + line, _MM_HINT_T1);
    }
}

/* -128 times the sum of a group of GROUP_FOUR activations, which has an offset for each half. */
static inline int32_t halves_offset(Quantized x, long token, long inputs, long group)
{
    const int32_t *from = x.offsets + token * (inputs / HALF) + 2 * group;
    return from[0] + from[1];
}

/* Adds the products of `count` inputs, up to GROUP, with weights of 8 bits. */
ALWAYS void eights(const Panels w, const int8_t *a, long inputs, Ints sums[TILE][PAIR], const int rows, const int panels,
    const int count)
{
#ifdef KERNELS_AVX2
    int32_t even[TILE][GROUP / 4], odd[TILE][GROUP / 4];
    for (int m = 0; m < rows; m++) {
        for (int k = 0; k < count / 4; k += 8) {
            __m256i bytes = _mm256_loadu_si256((const __m256i *)(a + m * inputs + 4 * k));
            _mm256_storeu_si256((__m256i *)(even[m] + k), even_signed(bytes));
            _mm256_storeu_si256((__m256i *)(odd[m] + k), odd_signed(bytes));
        }
    }
#endif
    for (int k = 0; k < count / 4; k++) {
        Ints b[PAIR];
        for (int p = 0; p < panels; p++)
            b[p] = load_ints(w[p] + k * CACHE_LINE);
        for (int m = 0; m < rows; m++) {
#ifdef KERNELS_AVX2
            Spread first = spread(&even[m][k]), second = spread(&odd[m][k]);
            for (int p = 0; p < panels; p++)
                sums[m][p] = dot_words(dot_words(sums[m][p], even_words(b[p]), first), odd_words(b[p]), second);
#else
            Spread four = spread(a + m * inputs + k * 4);
            for (int p = 0; p < panels; p++)
                sums[m][p] = dot(sums[m][p], b[p], four);
#endif
        }
    }
}

ALWAYS void tile_eight(const Panels panel, Quantized x, long token, long groups, Floats f[TILE][PAIR], const int rows,
    const int panels, const int fine)
{
    const long inputs = groups * GROUP, step = fine ? GROUP_FOUR : GROUP, parts = GROUP / step;
    const int8_t *a = x.values + token * inputs;
    Panels w = {panel[0], panel[1]};
    for (long g = 0; g < groups; g++, w[0] += EIGHT_STEP, w[1] += EIGHT_STEP) {
        if (rows == 1 && panels == PAIR)
            foresee(w, 2 * groups * EIGHT_STEP, EIGHT_STEP);
        Floats s[PAIR];
        for (int p = 0; p < panels; p++)
            s[p] = load16(w[p] + GROUP * LANES);
        for (long part = 0; part < parts; part++) {
            Ints sums[TILE][PAIR];
            Panels from = {w[0] + part * step * LANES, w[1] + part * step * LANES};
            for (int m = 0; m < rows; m++)
                for (int p = 0; p < panels; p++)
                    sums[m][p] = all_ints(fine ? halves_offset(x, token + m, inputs, g * parts + part)
                                               : x.offsets[(token + m) * groups + g]);
            eights(from, a + g * GROUP + part * step, inputs, sums, rows, panels, fine ? GROUP_FOUR : GROUP);
            for (int m = 0; m < rows; m++) {
                Floats scale = all16(x.scales[((token + m) * groups + g) * parts + part]);
                for (int p = 0; p < panels; p++)
                    f[m][p] = fma16(floats16(sums[m][p]), mul16(s[p], scale), f[m][p]);
            }
        }
    }
}

/* The bits 4 and 5 of four inputs of each lane, beside their low four: input 4 * quad and those after it. */
ALWAYS Ints with_high(Ints low, const uint8_t *high, const int quad, const int more)
{
    if (more == 0)
        return low;
    const int at = quad * more % 8;
    Ints bits = load_ints(high + quad * more / 8 * CACHE_LINE);
    bits = at > 4 ? down_words(bits, at - 4) : up_words(bits, 4 - at);
    return or_masked(low, bits, all_bytes(more == 1 ? 16 : 48));
}

/* Adds the products of the quads first .. end - 1 of a part of GROUP_FOUR inputs. */
ALWAYS void quads(const Panels w, const int8_t *a, long inputs, Ints sums[TILE][PAIR], const int rows, const int panels,
    const int more, const int first, const int end)
{
#ifdef KERNELS_AVX2
    /* Sums of pairs in words: 8 of 2 * 15 * 127, 4 of 2 * 31 * 127 and 2 of 2 * 63 * 127 are below 2^15. */
    const int hold = 8 >> more;
    Ints held[TILE][PAIR];
#endif
#pragma GCC unroll 8
    for (int quad = first; quad < end; quad++) {
        Ints b[PAIR];
        for (int p = 0; p < panels; p++) {
            b[p] = load_ints(w[p] + quad / 2 * CACHE_LINE);
            if (quad % 2)
                b[p] = down_words(b[p], 4);
            b[p] = with_high(and_ints(b[p], all_bytes(15)), w[p] + FOUR_DATA, quad, more);
        }
        for (int m = 0; m < rows; m++) {
            Spread four = spread(a + m * inputs + quad * 4);
            for (int p = 0; p < panels; p++) {
#ifdef KERNELS_AVX2
                Ints two = pairs(b[p], four);
                held[m][p] = (quad - first) % hold ? add_words(held[m][p], two) : two;
                if ((quad - first) % hold == hold - 1)
                    sums[m][p] = add_pairs(sums[m][p], held[m][p]);
#else
                sums[m][p] = dot(sums[m][p], b[p], four);
#endif
            }
        }
    }
}

/* Adds sums of integers, times the scales of weights and activations, and the minima times the activations' sums. */
ALWAYS void add_four(Quantized x, long token, long parts, long part, Ints sums[TILE][PAIR], const Floats s[PAIR],
    const Floats least[PAIR], Floats f[TILE][PAIR], const int rows, const int panels)
{
    for (int m = 0; m < rows; m++) {
        Floats scale = all16(x.scales[(token + m) * parts + part]);
        Floats sum = all16(x.sums[(token + m) * parts + part]);
        for (int p = 0; p < panels; p++) {
            f[m][p] = fma16(floats16(sums[m][p]), mul16(s[p], scale), f[m][p]);
            f[m][p] = fma16(least[p], sum, f[m][p]);
        }
    }
}

ALWAYS void tile_four(const Panels panel, Quantized x, long token, long groups, Floats f[TILE][PAIR], const int rows,
    const int panels)
{
    const long inputs = groups * GROUP, parts = inputs / GROUP_FOUR;
    const int8_t *a = x.values + token * inputs;
    Panels w = {panel[0], panel[1]};
    for (long part = 0; part < parts; part++, w[0] += FOUR_STEP, w[1] += FOUR_STEP) {
        Ints sums[TILE][PAIR];
        Floats s[PAIR], least[PAIR];
        for (int m = 0; m < rows; m++)
            for (int p = 0; p < panels; p++)
                sums[m][p] = no_ints();
        if (rows == 1 && panels == PAIR)
            foresee(w, 2 * parts * FOUR_STEP, FOUR_STEP);
        quads(w, a + part * GROUP_FOUR, inputs, sums, rows, panels, 0, 0, GROUP_FOUR / 4);
        for (int p = 0; p < panels; p++) {
            s[p] = halves16(w[p] + FOUR_DATA);
            least[p] = halves16(w[p] + FOUR_DATA + 2 * LANES);
        }
        add_four(x, token, parts, part, sums, s, least, f, rows, panels);
    }
}

ALWAYS void tile_super(const Panels panel, Quantized x, long token, long groups, Floats f[TILE][PAIR], const int rows,
    const int panels, const int more)
{
    const long inputs = groups * GROUP, parts = inputs / GROUP_FOUR, step = super_step(more), bytes = part_bytes(more);
    const long ahead = 2 * (parts / PARTS) * step, lines = (step / CACHE_LINE + PARTS - 1) / PARTS * CACHE_LINE;
    const int8_t *a = x.values + token * inputs;
    Panels w = {panel[0], panel[1]};
    for (long first = 0; first < parts; first += PARTS, w[0] += step, w[1] += step) {
        const Panels tail = {w[0] + PARTS * bytes, w[1] + PARTS * bytes};
        Floats d[PAIR], dmin[PAIR], s[PAIR], least[PAIR];
        for (int p = 0; p < panels; p++) {
            d[p] = halves16(tail[p] + SUPER_SCALES);
            dmin[p] = halves16(tail[p] + SUPER_SCALES + 2 * LANES);
        }
        for (long part = 0; part < PARTS; part++, a += GROUP_FOUR) {
            const Panels from = {w[0] + part * bytes, w[1] + part * bytes};
            Ints sums[TILE][PAIR];
            if (rows == 1 && panels == PAIR)
                foresee(w, ahead + part * lines, part * lines + lines < step ? lines : step - part * lines);
            if (more < 2) {
                for (int m = 0; m < rows; m++)
                    for (int p = 0; p < panels; p++)
                        sums[m][p] = no_ints();
                quads(from, a, inputs, sums, rows, panels, more, 0, GROUP_FOUR / 4);
                for (int p = 0; p < panels; p++) {
                    s[p] = mul16(d[p], unsigned16(tail[p] + part * LANES));
                    least[p] = mul16(dmin[p], unsigned16(tail[p] + (PARTS + part) * LANES));
                }
                add_four(x, token, parts, first + part, sums, s, least, f, rows, panels);
                continue;
            }
#pragma GCC unroll 2
            for (int half = 0; half < 2; half++) {
                const long group = 2 * (first + part) + half;
                for (int m = 0; m < rows; m++) /* -128 times the sum of the activations becomes -32 times it */
                    for (int p = 0; p < panels; p++)
                        sums[m][p] = down_ints(all_ints(x.offsets[(token + m) * 2 * parts + group]), 2);
                if (half == 0)
                    quads(from, a, inputs, sums, rows, panels, 2, 0, HALF / 4);
                else
                    quads(from, a, inputs, sums, rows, panels, 2, HALF / 4, GROUP_FOUR / 4);
                for (int p = 0; p < panels; p++)
                    s[p] = mul16(d[p], signed16(tail[p] + (2 * part + half) * LANES));
                for (int m = 0; m < rows; m++) {
                    Floats scale = all16(x.scales[(token + m) * parts + first + part]);
                    for (int p = 0; p < panels; p++)
                        f[m][p] = fma16(floats16(sums[m][p]), mul16(s[p], scale), f[m][p]);
                }
            }
        }
    }
}

/* The outputs of 1 or 2 panels for `rows` tokens. */
ALWAYS void tile(const Matrix *matrix, Quantized x, float *y, long stride, long panel, long token, int add,
    const int rows, const int panels)
{
    size_t bytes = panel_bytes(matrix->kind, matrix->inputs);
    const Panels w = {matrix->panels + (size_t)panel * bytes, matrix->panels + (size_t)(panel + 1) * bytes};
    const long output = panel * LANES, left = matrix->outputs - output, groups = matrix->inputs / GROUP;
    Floats b[PAIR], factor = all16(matrix->factor), f[TILE][PAIR];
    for (int p = 0; p < panels; p++)
        b[p] = matrix->bias ? load_some16(matrix->bias + output + p * LANES, left - p * LANES) : zero16();
    for (int m = 0; m < rows; m++)
        for (int p = 0; p < panels; p++)
            f[m][p] = zero16();
    if (matrix->kind == EIGHT_BITS && x.group == GROUP)
        tile_eight(w, x, token, groups, f, rows, panels, 0);
    else if (matrix->kind == EIGHT_BITS)
        tile_eight(w, x, token, groups, f, rows, panels, 1);
    else if (matrix->kind == FOUR_BITS)
        tile_four(w, x, token, groups, f, rows, panels);
    else if (matrix->kind == SUPER_FOUR)
        tile_super(w, x, token, groups, f, rows, panels, 0);
    else if (matrix->kind == SUPER_FIVE)
        tile_super(w, x, token, groups, f, rows, panels, 1);
    else
        tile_super(w, x, token, groups, f, rows, panels, 2);
    for (int m = 0; m < rows; m++) {
        for (int p = 0; p < panels; p++) {
            float *to = y + (token + m) * stride + output + p * LANES;
            f[m][p] = fma16(f[m][p], factor, b[p]);
            if (add)
                f[m][p] = add16(f[m][p], load_some16(to, left - p * LANES));
            store_some16(to, left - p * LANES, f[m][p]);
        }
    }
}

ALWAYS void tiles(const Matrix *matrix, Quantized x, float *y, long stride, long panel, long first, long count, int add,
    const int panels)
{
    for (long end = first + count; first < end; first += TILE) {
        switch (end - first) {
        case 1: tile(matrix, x, y, stride, panel, first, add, 1, panels); break;
        case 2: tile(matrix, x, y, stride, panel, first, add, 2, panels); break;
        case 3: tile(matrix, x, y, stride, panel, first, add, 3, panels); break;
#if TILE > 4
        case 4: tile(matrix, x, y, stride, panel, first, add, 4, panels); break;
        case 5: tile(matrix, x, y, stride, panel, first, add, 5, panels); break;
#endif
        default: tile(matrix, x, y, stride, panel, first, add, TILE, panels); break;
        }
    }
}

void product_item(const Matrix *matrix, Quantized x, float *y, long stride, long pair, long first, long count, int add)
{
#ifdef KERNELS_AVX512
    tiles(matrix, x, y, stride, pair, first, count, add, PAIR);
#else
    if (count == 1) {
        tile(matrix, x, y, stride, pair, first, add, 1, PAIR);
    } else {
        tiles(matrix, x, y, stride, pair, first, count, add, 1);
        tiles(matrix, x, y, stride, pair + 1, first, count, add, 1);
    }
#endif
}
