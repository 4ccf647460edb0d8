/* Matrix products of 8-bit activations with weights of 8 to 4 bits.

   `vpdpbusd` adds 4 products of an unsigned and a signed byte to each sum of a register. The weights are the unsigned
   side: int8 weights are stored + 128, and the sums begin at -128 times the sum of the activations. A tile is 2 columns,
   a register of outputs each, by up to 6 tokens: 12 integer sums, 12 float sums, 2 weight registers, and the broadcast,
   of 32 registers. Where there are 16 it has up to 4 tokens, and the float sums wait in memory meanwhile: int8 on
   AVX-VNNI makes 256 GOP/s so, and 198 with 6. */
#include "panels.h"
#include "vector.h"

#ifdef KERNELS_AVX512
#define TILE 6
#else
#define TILE 4
#endif
enum { MOST = 2 * LANES / WIDTH };  /* columns of two panels */
/* Once for each column. It is no loop: GCC 12 writes sums to memory, again and again, from loops in the unrolled ones. */
#define EACH_COLUMN(...)                                                                                               \
    do {                                                                                                               \
        { enum { c = 0 }; __VA_ARGS__; }                                                                               \
        { enum { c = 1 }; __VA_ARGS__; }                                                                               \
        if (columns > 2) {                                                                                             \
            { enum { c = MOST - 2 }; __VA_ARGS__; }                                                                    \
            { enum { c = MOST - 1 }; __VA_ARGS__; }                                                                    \
        }                                                                                                              \
    } while (0)
/* Where column c begins: its panel, its first output there. */
#define PANEL(c) ((c) * WIDTH / LANES)
#define LANE(c) ((c) * WIDTH % LANES)
typedef const uint8_t *Panels[2];

/* For a few tokens memory sets the pace: the lines of the next pair of panels are asked for while the first tile of this
   one is multiplied. Four tokens of Q4_K, Q5_K and Q6_K took 0.44 to 0.47 of the time so, of Q4_0 0.87; with more than one
   token int8 gains nothing. A token of a Qwen3-0.6B shape took 16.9 ms with it and 18.4 without; matrices of Q4_K came
   at 12 GB/s without and at 21 with it. GCC 12 leaves a function out that does nothing else, unless it is always
   inlined. */
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
ALWAYS void eights(const Panels w, const int8_t *a, long inputs, Wholes sums[TILE][MOST], const int rows,
    const int columns, const int count)
{
#ifdef KERNELS_AVX2
    int32_t even[TILE][GROUP / 4], odd[TILE][GROUP / 4];
    for (int m = 0; m < rows; m++) {
        for (int k = 0; k < count / 4; k += WIDTH) {
            Wholes bytes = load_wholes(a + m * inputs + 4 * k);
            _mm256_storeu_si256((__m256i *)(even[m] + k), even_signed(bytes));
            _mm256_storeu_si256((__m256i *)(odd[m] + k), odd_signed(bytes));
        }
    }
#endif
    for (int k = 0; k < count / 4; k++) {
        Wholes b[MOST];
#ifdef KERNELS_AVX2
        EACH_COLUMN(b[c] = even_unsigned(load_wholes(w[PANEL(c)] + k * CACHE_LINE + 4 * LANE(c))));
        for (int m = 0; m < rows; m++) {
            Wholes two = spread(&even[m][k]);
            EACH_COLUMN(sums[m][c] = dot_words(sums[m][c], b[c], two));
        }
        EACH_COLUMN(b[c] = odd_unsigned(load_wholes(w[PANEL(c)] + k * CACHE_LINE + 4 * LANE(c))));
        for (int m = 0; m < rows; m++) {
            Wholes two = spread(&odd[m][k]);
            EACH_COLUMN(sums[m][c] = dot_words(sums[m][c], b[c], two));
        }
#else
        EACH_COLUMN(b[c] = load_wholes(w[PANEL(c)] + k * CACHE_LINE + 4 * LANE(c)));
        for (int m = 0; m < rows; m++) {
            Wholes four = spread(a + m * inputs + k * 4);
            EACH_COLUMN(sums[m][c] = dot(sums[m][c], b[c], four));
        }
#endif
    }
}

ALWAYS void tile_eight(const Panels panel, Quantized x, long token, long groups, Reals f[TILE][MOST], const int rows,
    const int columns, const int fine)
{
    const long inputs = groups * GROUP, step = fine ? GROUP_FOUR : GROUP, parts = GROUP / step;
    const int8_t *a = x.values + token * inputs;
    Panels w = {panel[0], panel[1]};
    for (long g = 0; g < groups; g++, w[0] += EIGHT_STEP, w[1] += EIGHT_STEP) {
        if (rows == 1 && columns == MOST)
            foresee(w, 2 * groups * EIGHT_STEP, EIGHT_STEP);
        Reals s[MOST];
        EACH_COLUMN(s[c] = load_reals(w[PANEL(c)] + GROUP * LANES + 4 * LANE(c)));
        for (long part = 0; part < parts; part++) {
            Wholes sums[TILE][MOST];
            const Panels from = {w[0] + part * step * LANES, w[1] + part * step * LANES};
            for (int m = 0; m < rows; m++) {
                Wholes begin = all_wholes(fine ? halves_offset(x, token + m, inputs, g * parts + part)
                                               : x.offsets[(token + m) * groups + g]);
                EACH_COLUMN(sums[m][c] = begin);
            }
            eights(from, a + g * GROUP + part * step, inputs, sums, rows, columns, fine ? GROUP_FOUR : GROUP);
            for (int m = 0; m < rows; m++) {
                Reals scale = all_reals(x.scales[((token + m) * groups + g) * parts + part]);
                EACH_COLUMN(f[m][c] = times_plus(reals_of(sums[m][c]), times(s[c], scale), f[m][c]));
            }
        }
    }
}

/* The bits 4 and 5 of four inputs of each lane, beside their low four: input 4 * quad and those after it. */
ALWAYS Wholes with_high(Wholes low, const uint8_t *high, const int quad, const int more)
{
    if (more == 0)
        return low;
    const int at = quad * more % 8;
    Wholes bits = load_wholes(high + quad * more / 8 * CACHE_LINE);
    bits = at > 4 ? down_words(bits, at - 4) : up_words(bits, 4 - at);
    return or_masked(low, bits, all_bytes(more == 1 ? 16 : 48));
}

/* Weights of 4 to 6 bits as bytes: `from` is where those of a part begin. */
ALWAYS Wholes quad_at(const uint8_t *from, const int quad, const int more)
{
    Wholes b = load_wholes(from + quad / 2 * CACHE_LINE);
    if (quad % 2)
        b = down_words(b, 4);
    return with_high(both(b, all_bytes(15)), from + FOUR_DATA, quad, more);
}

/* Adds the products of the quads first .. end - 1 of a part of GROUP_FOUR inputs. */
ALWAYS void quads(const Panels w, const int8_t *a, long inputs, Wholes sums[TILE][MOST], const int rows,
    const int columns, const int more, const int first, const int end)
{
#ifdef KERNELS_AVX2
    /* Sums of pairs in words: 8 of 2 * 15 * 127, 4 of 2 * 31 * 127 and 2 of 2 * 63 * 127 are below 2^15. */
    const int hold = 8 >> more;
    Wholes held[TILE][MOST];
#endif
#pragma GCC unroll 8
    for (int quad = first; quad < end; quad++) {
        Wholes b[MOST];
        EACH_COLUMN(b[c] = quad_at(w[PANEL(c)] + 4 * LANE(c), quad, more));
        for (int m = 0; m < rows; m++) {
            Wholes four = spread(a + m * inputs + quad * 4);
#ifdef KERNELS_AVX2
            if ((quad - first) % hold == 0)
                EACH_COLUMN(held[m][c] = pairs(b[c], four));
            else
                EACH_COLUMN(held[m][c] = add_words(held[m][c], pairs(b[c], four)));
            if ((quad - first) % hold == hold - 1)
                EACH_COLUMN(sums[m][c] = add_pairs(sums[m][c], held[m][c]));
#else
            EACH_COLUMN(sums[m][c] = dot(sums[m][c], b[c], four));
#endif
        }
    }
}

/* Adds sums of integers, times the scales of weights and activations, and the minima times the activations' sums. */
ALWAYS void add_four(Quantized x, long token, long parts, long part, Wholes sums[TILE][MOST], const Reals s[MOST],
    const Reals least[MOST], Reals f[TILE][MOST], const int rows, const int columns)
{
    for (int m = 0; m < rows; m++) {
        Reals scale = all_reals(x.scales[(token + m) * parts + part]);
        Reals sum = all_reals(x.sums[(token + m) * parts + part]);
        EACH_COLUMN(f[m][c] = times_plus(reals_of(sums[m][c]), times(s[c], scale), f[m][c]));
        EACH_COLUMN(f[m][c] = times_plus(least[c], sum, f[m][c]));
    }
}

ALWAYS void tile_four(const Panels panel, Quantized x, long token, long groups, Reals f[TILE][MOST], const int rows,
    const int columns, const int fetch)
{
    const long inputs = groups * GROUP, parts = inputs / GROUP_FOUR;
    const int8_t *a = x.values + token * inputs;
    Panels w = {panel[0], panel[1]};
    for (long part = 0; part < parts; part++, w[0] += FOUR_STEP, w[1] += FOUR_STEP) {
        Wholes sums[TILE][MOST];
        Reals s[MOST], least[MOST];
        for (int m = 0; m < rows; m++)
            EACH_COLUMN(sums[m][c] = no_wholes());
        if (fetch && columns == MOST)
            foresee(w, 2 * parts * FOUR_STEP, FOUR_STEP);
        quads(w, a + part * GROUP_FOUR, inputs, sums, rows, columns, 0, 0, GROUP_FOUR / 4);
        EACH_COLUMN(s[c] = halves_at(w[PANEL(c)] + FOUR_DATA + 2 * LANE(c)));
        EACH_COLUMN(least[c] = halves_at(w[PANEL(c)] + FOUR_DATA + 2 * LANES + 2 * LANE(c)));
        add_four(x, token, parts, part, sums, s, least, f, rows, columns);
    }
}

ALWAYS void tile_super(const Panels panel, Quantized x, long token, long groups, Reals f[TILE][MOST], const int rows,
    const int columns, const int more, const int fetch)
{
    const long inputs = groups * GROUP, parts = inputs / GROUP_FOUR, step = super_step(more), bytes = part_bytes(more);
    const long ahead = 2 * (parts / PARTS) * step, lines = (step / CACHE_LINE + PARTS - 1) / PARTS * CACHE_LINE;
    const int8_t *a = x.values + token * inputs;
    Panels w = {panel[0], panel[1]};
    for (long first = 0; first < parts; first += PARTS, w[0] += step, w[1] += step) {
        const Panels tail = {w[0] + PARTS * bytes, w[1] + PARTS * bytes};
        Reals d[MOST], dmin[MOST], s[MOST], least[MOST];
        EACH_COLUMN(d[c] = halves_at(tail[PANEL(c)] + SUPER_SCALES + 2 * LANE(c)));
        EACH_COLUMN(dmin[c] = halves_at(tail[PANEL(c)] + SUPER_SCALES + 2 * LANES + 2 * LANE(c)));
        for (long part = 0; part < PARTS; part++, a += GROUP_FOUR) {
            const Panels from = {w[0] + part * bytes, w[1] + part * bytes};
            Wholes sums[TILE][MOST];
            if (fetch && columns == MOST)
                foresee(w, ahead + part * lines, part * lines + lines < step ? lines : step - part * lines);
            if (more < 2) {
                for (int m = 0; m < rows; m++)
                    EACH_COLUMN(sums[m][c] = no_wholes());
                quads(from, a, inputs, sums, rows, columns, more, 0, GROUP_FOUR / 4);
                EACH_COLUMN(s[c] = times(d[c], unsigned_at(tail[PANEL(c)] + part * LANES + LANE(c))));
                EACH_COLUMN(least[c] = times(dmin[c], unsigned_at(tail[PANEL(c)] + (PARTS + part) * LANES + LANE(c))));
                add_four(x, token, parts, first + part, sums, s, least, f, rows, columns);
                continue;
            }
#pragma GCC unroll 2
            for (int half = 0; half < 2; half++) {
                const long group = 2 * (first + part) + half;
                for (int m = 0; m < rows; m++) { /* -128 times the sum of the activations becomes -32 times it */
                    Wholes begin = down_wholes(all_wholes(x.offsets[(token + m) * 2 * parts + group]), 2);
                    EACH_COLUMN(sums[m][c] = begin);
                }
                if (half == 0)
                    quads(from, a, inputs, sums, rows, columns, 2, 0, HALF / 4);
                else
                    quads(from, a, inputs, sums, rows, columns, 2, HALF / 4, GROUP_FOUR / 4);
                EACH_COLUMN(s[c] = times(d[c], signed_at(tail[PANEL(c)] + (2 * part + half) * LANES + LANE(c))));
                for (int m = 0; m < rows; m++) {
                    Reals scale = all_reals(x.scales[(token + m) * parts + first + part]);
                    EACH_COLUMN(f[m][c] = times_plus(reals_of(sums[m][c]), times(s[c], scale), f[m][c]));
                }
            }
        }
    }
}

/* 2 columns from a panel on, or all of two panels, for `rows` tokens. */
ALWAYS void tile(const Matrix *matrix, Quantized x, float *y, long stride, long panel, long token, int add,
    const int rows, const int columns, const int fetch)
{
    size_t bytes = panel_bytes(matrix->kind, matrix->inputs);
    const Panels w = {matrix->panels + (size_t)panel * bytes, matrix->panels + (size_t)(panel + 1) * bytes};
    const long output = panel * LANES, left = matrix->outputs - output, groups = matrix->inputs / GROUP;
    const float *bias = matrix->bias;
    Reals b[MOST], factor = all_reals(matrix->factor), f[TILE][MOST];
    EACH_COLUMN(b[c] = bias ? load_some_reals(bias + output + c * WIDTH, left - c * WIDTH) : no_reals());
    for (int m = 0; m < rows; m++)
        EACH_COLUMN(f[m][c] = no_reals());
    if (matrix->kind == EIGHT_BITS && x.group == GROUP)
        tile_eight(w, x, token, groups, f, rows, columns, 0);
    else if (matrix->kind == EIGHT_BITS)
        tile_eight(w, x, token, groups, f, rows, columns, 1);
    else if (matrix->kind == FOUR_BITS)
        tile_four(w, x, token, groups, f, rows, columns, fetch);
    else if (matrix->kind == SUPER_FOUR)
        tile_super(w, x, token, groups, f, rows, columns, 0, fetch);
    else if (matrix->kind == SUPER_FIVE)
        tile_super(w, x, token, groups, f, rows, columns, 1, fetch);
    else
        tile_super(w, x, token, groups, f, rows, columns, 2, fetch);
    for (int m = 0; m < rows; m++) {
        float *to = y + (token + m) * stride + output;
        EACH_COLUMN(f[m][c] = times_plus(f[m][c], factor, b[c]));
        if (add)
            EACH_COLUMN(f[m][c] = add_reals(f[m][c], load_some_reals(to + c * WIDTH, left - c * WIDTH)));
        EACH_COLUMN(store_some_reals(to + c * WIDTH, left - c * WIDTH, f[m][c]));
    }
}

ALWAYS void tiles(const Matrix *matrix, Quantized x, float *y, long stride, long panel, long first, long count, int add)
{
    int fetch = 1;
    for (long end = first + count; first < end; first += TILE, fetch = 0) {
        switch (end - first) {
        case 1: tile(matrix, x, y, stride, panel, first, add, 1, 2, fetch); break;
        case 2: tile(matrix, x, y, stride, panel, first, add, 2, 2, fetch); break;
        case 3: tile(matrix, x, y, stride, panel, first, add, 3, 2, fetch); break;
#if TILE > 4
        case 4: tile(matrix, x, y, stride, panel, first, add, 4, 2, fetch); break;
        case 5: tile(matrix, x, y, stride, panel, first, add, 5, 2, fetch); break;
#endif
        default: tile(matrix, x, y, stride, panel, first, add, TILE, 2, fetch); break;
        }
    }
}

void product_item(const Matrix *matrix, Quantized x, float *y, long stride, long pair, long first, long count, int add)
{
    if (MOST > 2 && count == 1)
        tile(matrix, x, y, stride, pair, first, add, 1, MOST, 1);
    else
        for (long panel = 0; panel < 2; panel += 2 * WIDTH / LANES)
            tiles(matrix, x, y, stride, pair + panel, first, count, add);
}
