/* Matrix products of 8-bit activations with weights of 8 to 4 bits.

   `vpdpbusd` adds 4 products of an unsigned and a signed byte to each sum of a register. The weights are the unsigned
   side: int8 weights are stored + 128, and the sums begin at -128 times the sum of the activations. A tile is 2 columns,
   a register of outputs each, by up to 6 tokens: 12 integer sums, 12 float sums, 2 weight registers, and the broadcast,
   of 32 registers. Where there are 16 it has up to 4 tokens, and the float sums wait in memory meanwhile: int8 on
   AVX-VNNI makes 256 GOP/s so, and 198 with 6. Where a register has 4 outputs a tile is 4 columns by 4 tokens. */
#include "columns.h"
#include "panels.h"

#ifdef KERNELS_AVX512
#define TILE 6
#elif defined(KERNELS_PLAIN)
#define TILE 2 /* each operation is many: with 4 tokens the compiler takes 23 seconds, not 9, and 0.7 MB of code */
#else
#define TILE 4
#endif
/* Where column c begins: its side of the panel, its first output there, and its bytes of a line. */
#define SIDE(c) ((c) * WIDTH / LANES)
#define LANE(c) ((c) * WIDTH % LANES)
#define AT(from, line, c) ((from) + (line) * LINE + SIDE(c) * CACHE_LINE + 4 * LANE(c))

/* -128 times the sum of a group of GROUP_FOUR activations, which has an offset for each half. */
static inline int32_t halves_offset(Quantized x, int64_t token, int64_t inputs, int64_t group)
{
    const int32_t *from = x.offsets + token * (inputs / HALF) + 2 * group;
    return from[0] + from[1];
}

/* Adds the products of `count` inputs, up to GROUP, with weights of 8 bits. */
ALWAYS void eights(const uint8_t *w, const int8_t *a, int64_t inputs, Wholes sums[TILE][MOST], const int rows,
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
#ifdef KERNELS_DOTPROD
    for (int k = 0; k < count / 4; k += 4, a += 16) {
        Wholes near[TILE];
        for (int m = 0; m < rows; m++)
            near[m] = load_wholes(a + m * inputs);
#pragma GCC unroll 4
        for (int quad = 0; quad < 4; quad++) {
            Wholes b[MOST];
            EACH_COLUMN(b[c] = as_factor(load_wholes(AT(w, k + quad, c))));
            for (int m = 0; m < rows; m++)
                EACH_COLUMN(sums[m][c] = dot_quad(sums[m][c], b[c], near[m], quad));
        }
    }
#else
    for (int k = 0; k < count / 4; k++) {
        Wholes b[MOST];
#ifdef KERNELS_AVX2
        EACH_COLUMN(b[c] = even_unsigned(load_wholes(AT(w, k, c))));
        for (int m = 0; m < rows; m++) {
            Wholes two = spread(&even[m][k]);
            EACH_COLUMN(sums[m][c] = dot_words(sums[m][c], b[c], two));
        }
        EACH_COLUMN(b[c] = odd_unsigned(load_wholes(AT(w, k, c))));
        for (int m = 0; m < rows; m++) {
            Wholes two = spread(&odd[m][k]);
            EACH_COLUMN(sums[m][c] = dot_words(sums[m][c], b[c], two));
        }
#else
        EACH_COLUMN(b[c] = load_wholes(AT(w, k, c)));
        for (int m = 0; m < rows; m++) {
            Wholes four = spread(a + m * inputs + k * 4);
            EACH_COLUMN(sums[m][c] = dot(sums[m][c], b[c], four));
        }
#endif
    }
#endif
}

ALWAYS void tile_eight(const uint8_t *w, Quantized x, int64_t token, int64_t groups, Reals f[TILE][MOST],
    const int rows, const int columns, const int fine)
{
    const int64_t inputs = groups * GROUP, step = fine ? GROUP_FOUR : GROUP, parts = GROUP / step;
    const int8_t *a = x.values + token * inputs;
    for (int64_t g = 0; g < groups; g++, w += EIGHT_STEP) {
        Reals s[MOST];
        EACH_COLUMN(s[c] = load_reals(AT(w, 0, c)));
        for (int64_t part = 0; part < parts; part++) {
            Wholes sums[TILE][MOST];
            const uint8_t *from = AT(w, 1 + part * step / 4, 0);
            for (int m = 0; m < rows; m++) {
                Wholes begin = all_wholes(FACTOR_LESS ? 0
                        : fine                        ? halves_offset(x, token + m, inputs, g * parts + part)
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

/* Weights of 4 to 6 bits as bytes; `from` is where a column's bytes of the part begin. */
ALWAYS Wholes quad_at(const uint8_t *from, const int quad, const int more)
{
    Wholes b = load_wholes(from + low_line(quad, more) * LINE);
    b = quad % 2 ? upper_fours(b) : both(b, all_bytes(15));
    if (more == 0)
        return b;
    const int at = quad * more % 8;
    Wholes bits = load_wholes(from + high_line(quad, more) * LINE);
    bits = at > 4 ? down_words(bits, at - 4) : up_words(bits, 4 - at);
    return or_masked(b, bits, all_bytes(more == 1 ? 16 : 48));
}

/* Adds the products of the quads first .. end - 1 of a part of GROUP_FOUR inputs. */
ALWAYS void quads(const uint8_t *w, const int8_t *a, int64_t inputs, Wholes sums[TILE][MOST], const int rows,
    const int columns, const int more, const int first, const int end)
{
#ifdef KERNELS_AVX2
    /* Sums of pairs in words: 8 of 2 * 15 * 127, 4 of 2 * 31 * 127 and 2 of 2 * 63 * 127 are below 2^15. */
    const int hold = 8 >> more;
    Wholes held[TILE][MOST];
#elif defined(KERNELS_DOTPROD)
    Wholes near[TILE];
#endif
#pragma GCC unroll 8
    for (int quad = first; quad < end; quad++) {
        Wholes b[MOST];
        EACH_COLUMN(b[c] = quad_at(AT(w, 0, c), quad, more));
        for (int m = 0; m < rows; m++) {
#ifdef KERNELS_DOTPROD
            if (quad % 4 == 0)
                near[m] = load_wholes(a + m * inputs + quad * 4);
            EACH_COLUMN(sums[m][c] = dot_quad(sums[m][c], b[c], near[m], quad % 4));
#elif defined(KERNELS_AVX2)
            Wholes four = spread(a + m * inputs + quad * 4);
            if ((quad - first) % hold == 0)
                EACH_COLUMN(held[m][c] = pairs(b[c], four));
            else
                EACH_COLUMN(held[m][c] = add_words(held[m][c], pairs(b[c], four)));
            if ((quad - first) % hold == hold - 1)
                EACH_COLUMN(sums[m][c] = add_pairs(sums[m][c], held[m][c]));
#else
            Wholes four = spread(a + m * inputs + quad * 4);
            EACH_COLUMN(sums[m][c] = dot(sums[m][c], b[c], four));
#endif
        }
    }
}

/* Adds sums of integers, times the scales of weights and activations, and the minima times the activations' sums. */
ALWAYS void add_four(Quantized x, int64_t token, int64_t parts, int64_t part, Wholes sums[TILE][MOST],
    const Reals s[MOST], const Reals least[MOST], Reals f[TILE][MOST], const int rows, const int columns)
{
    for (int m = 0; m < rows; m++) {
        Reals scale = all_reals(x.scales[(token + m) * parts + part]);
        Reals sum = all_reals(x.sums[(token + m) * parts + part]);
        EACH_COLUMN(f[m][c] = times_plus(reals_of(sums[m][c]), times(s[c], scale), f[m][c]));
        EACH_COLUMN(f[m][c] = times_plus(least[c], sum, f[m][c]));
    }
}

ALWAYS void tile_four(const uint8_t *w, Quantized x, int64_t token, int64_t groups, Reals f[TILE][MOST], const int rows,
    const int columns, const int fetch)
{
    const int64_t inputs = groups * GROUP, parts = inputs / GROUP_FOUR;
    const int8_t *a = x.values + token * inputs;
    for (int64_t part = 0; part < parts; part++, w += FOUR_STEP) {
        if (fetch && rows > 1)
            ask_for(w + parts * FOUR_STEP, FOUR_STEP);
        Wholes sums[TILE][MOST];
        Reals s[MOST], least[MOST];
        for (int m = 0; m < rows; m++)
            EACH_COLUMN(sums[m][c] = no_wholes());
        EACH_COLUMN(s[c] = halves_at(AT(w, 0, c) - 2 * LANE(c)));
        EACH_COLUMN(least[c] = halves_at(AT(w, 0, c) - 2 * LANE(c) + 2 * LANES));
        quads(w + LINE, a + part * GROUP_FOUR, inputs, sums, rows, columns, 0, 0, GROUP_FOUR / 4);
        add_four(x, token, parts, part, sums, s, least, f, rows, columns);
    }
}

ALWAYS Reals six_bits(Wholes x) { return reals_of(both(x, all_wholes(63))); }

/* The number of which three others have two bits each, above their six. */
ALWAYS Reals upper_bits(Wholes first, Wholes second, Wholes third)
{
    Wholes two = or_masked(down_wholes(first, 6), down_wholes(second, 4), all_wholes(12));
    return reals_of(or_masked(two, down_wholes(third, 2), all_wholes(48)));
}

/* A part of weights of 4 or 5 bits, whose scales and minima the head has as integers. */
ALWAYS void part_super(const uint8_t *from, Quantized x, int64_t token, int64_t parts, int64_t part,
    const Reals s[MOST], const Reals least[MOST], Reals f[TILE][MOST], const int rows, const int columns,
    const int more)
{
    const int64_t inputs = parts * GROUP_FOUR;
    Wholes sums[TILE][MOST];
    for (int m = 0; m < rows; m++)
        EACH_COLUMN(sums[m][c] = no_wholes());
    quads(from, x.values + token * inputs + part * GROUP_FOUR, inputs, sums, rows, columns, more, 0, GROUP_FOUR / 4);
    add_four(x, token, parts, part, sums, s, least, f, rows, columns);
}

/* `more` is 0 or 1. */
ALWAYS void tile_super(const uint8_t *panel, int64_t side, Quantized x, int64_t token, int64_t groups,
    Reals f[TILE][MOST], const int rows, const int columns, const int more, const int fetch)
{
    const int64_t parts = groups * GROUP / GROUP_FOUR, ahead = parts / PARTS * super_step(more);
    for (int64_t first = 0; first < parts; first += PARTS, panel += super_step(more)) {
        const uint8_t *head = panel + side * head_bytes(more);
        const uint8_t *from = panel + 2 * head_bytes(more) + side * CACHE_LINE;
        Reals d[MOST], dmin[MOST];
#define HEAD(c) (head + SIDE(c) * head_bytes(more))
        EACH_COLUMN(d[c] = halves_at(HEAD(c) + PACKED_SCALES + 2 * LANE(c)));
        EACH_COLUMN(dmin[c] = halves_at(HEAD(c) + PACKED_SCALES + 2 * LANES + 2 * LANE(c)));
        for (int64_t part = first; part < first + PARTS; part += 2, head += 3 * LANES) {
            Wholes packed[MOST], second[MOST], third[MOST];
            if (fetch && rows > 1)
                ask_for(panel + ahead + (part - first) * (super_step(more) / PARTS), 2 * (super_step(more) / PARTS));
            Reals s[MOST], least[MOST];
            EACH_COLUMN(packed[c] = bytes_at(HEAD(c) + LANE(c)));
            EACH_COLUMN(second[c] = bytes_at(HEAD(c) + LANES + LANE(c)));
            EACH_COLUMN(third[c] = bytes_at(HEAD(c) + 2 * LANES + LANE(c)));
            EACH_COLUMN(s[c] = times(d[c], six_bits(packed[c])));
            EACH_COLUMN(least[c] = times(dmin[c], six_bits(second[c])));
            part_super(from, x, token, parts, part, s, least, f, rows, columns, more);
            from += part_bytes(more);
            EACH_COLUMN(s[c] = times(d[c], six_bits(third[c])));
            EACH_COLUMN(least[c] = times(dmin[c], upper_bits(packed[c], second[c], third[c])));
            part_super(from, x, token, parts, part + 1, s, least, f, rows, columns, more);
            from += part_bytes(more);
        }
#undef HEAD
    }
}

ALWAYS void tile_six(const uint8_t *panel, int64_t side, Quantized x, int64_t token, int64_t groups,
    Reals f[TILE][MOST], const int rows, const int columns, const int fetch)
{
    const int64_t inputs = groups * GROUP, parts = inputs / GROUP_FOUR, ahead = parts / PARTS * super_step(2);
    const int8_t *a = x.values + token * inputs;
    for (int64_t first = 0; first < parts; first += PARTS, panel += super_step(2)) {
        const uint8_t *head = panel + side * head_bytes(2), *from = panel + 2 * head_bytes(2) + side * CACHE_LINE;
        Reals d[MOST], s[MOST];
#define HEAD(c) (head + SIDE(c) * head_bytes(2))
        EACH_COLUMN(d[c] = halves_at(HEAD(c) + SIX_SCALES + 2 * LANE(c)));
        for (int64_t part = first; part < first + PARTS; part++, a += GROUP_FOUR, from += part_bytes(2)) {
            if (fetch && rows > 1)
                ask_for(panel + ahead + (part - first) * (super_step(2) / PARTS), super_step(2) / PARTS);
#pragma GCC unroll 2
            for (int half = 0; half < 2; half++, head += LANES) {
                Wholes sums[TILE][MOST];
                for (int m = 0; m < rows; m++) { /* -128 times the sum of the activations becomes -32 times it */
                    Wholes begin = down_wholes(all_wholes(x.offsets[(token + m) * 2 * parts + 2 * part + half]), 2);
                    EACH_COLUMN(sums[m][c] = begin);
                }
                if (half == 0)
                    quads(from, a, inputs, sums, rows, columns, 2, 0, HALF / 4);
                else
                    quads(from, a, inputs, sums, rows, columns, 2, HALF / 4, GROUP_FOUR / 4);
                EACH_COLUMN(s[c] = times(d[c], signed_at(HEAD(c) + LANE(c))));
                for (int m = 0; m < rows; m++) {
                    Reals scale = all_reals(x.scales[(token + m) * parts + part]);
                    EACH_COLUMN(f[m][c] = times_plus(reals_of(sums[m][c]), times(s[c], scale), f[m][c]));
                }
            }
        }
#undef HEAD
    }
}

/* A side of a panel, or both where a register has a whole line, for `rows` tokens. With `fetch` it asks for the bytes of
   the next panel: the first tile of this one takes longer to multiply than to fetch, and the processor does not run ahead
   by itself. */
ALWAYS void tile(const Matrix *matrix, Quantized x, float *y, int64_t stride, int64_t panel, int64_t side,
    int64_t token, int add, const int rows, const int columns, const int fetch)
{
    const uint8_t *at = matrix->panels + (size_t)panel * panel_bytes(matrix->kind, matrix->inputs);
    const uint8_t *lines = at + side * CACHE_LINE;
    const int64_t output = (2 * panel + side) * LANES, left = matrix->outputs - output, groups = matrix->inputs / GROUP;
    const float *bias = matrix->bias;
    Reals b[MOST], factor = all_reals(matrix->factor), f[TILE][MOST];
    EACH_COLUMN(b[c] = bias ? load_some_reals(bias + output + c * WIDTH, left - c * WIDTH) : no_reals());
    for (int m = 0; m < rows; m++)
        EACH_COLUMN(f[m][c] = no_reals());
    if (matrix->kind == EIGHT_BITS && x.group == GROUP)
        tile_eight(lines, x, token, groups, f, rows, columns, 0);
    else if (matrix->kind == EIGHT_BITS)
        tile_eight(lines, x, token, groups, f, rows, columns, 1);
    else if (matrix->kind == FOUR_BITS)
        tile_four(lines, x, token, groups, f, rows, columns, fetch);
    else if (matrix->kind == SUPER_FOUR)
        tile_super(at, side, x, token, groups, f, rows, columns, 0, fetch);
    else if (matrix->kind == SUPER_FIVE)
        tile_super(at, side, x, token, groups, f, rows, columns, 1, fetch);
    else
        tile_six(at, side, x, token, groups, f, rows, columns, fetch);
    for (int m = 0; m < rows; m++) {
        float *to = y + (token + m) * stride + output;
        EACH_COLUMN(f[m][c] = times_plus(f[m][c], factor, b[c]));
        if (add)
            EACH_COLUMN(f[m][c] = add_reals(f[m][c], load_some_reals(to + c * WIDTH, left - c * WIDTH)));
        EACH_COLUMN(store_some_reals(to + c * WIDTH, left - c * WIDTH, f[m][c]));
    }
}

ALWAYS void tiles(const Matrix *matrix, Quantized x, float *y, int64_t stride, int64_t panel, int64_t side,
    int64_t first, int64_t count, int add)
{
    int fetch = side == 0;
    for (int64_t end = first + count; first < end; first += TILE, fetch = 0) {
        switch (end - first) {
        case 1: tile(matrix, x, y, stride, panel, side, first, add, 1, COLUMNS, fetch); break;
#if TILE > 2
        case 2: tile(matrix, x, y, stride, panel, side, first, add, 2, COLUMNS, fetch); break;
        case 3: tile(matrix, x, y, stride, panel, side, first, add, 3, COLUMNS, fetch); break;
#endif
#if TILE > 4
        case 4: tile(matrix, x, y, stride, panel, side, first, add, 4, COLUMNS, fetch); break;
        case 5: tile(matrix, x, y, stride, panel, side, first, add, 5, COLUMNS, fetch); break;
#endif
        default: tile(matrix, x, y, stride, panel, side, first, add, TILE, COLUMNS, fetch); break;
        }
    }
}

void product_item(const Matrix *matrix, Quantized x, float *y, int64_t stride, int64_t panel, int64_t first,
    int64_t count, int add)
{
    if (MOST > 2 && count == 1)
        tile(matrix, x, y, stride, panel, 0, first, add, 1, MOST, 0);
    else
        for (int64_t side = 0; side < 2; side += COLUMNS * WIDTH / LANES)
            tiles(matrix, x, y, stride, panel, side, first, count, add);
}
