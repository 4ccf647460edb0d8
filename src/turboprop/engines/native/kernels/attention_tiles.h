/* The products of attention: queries by the keys of a block, and weights by its values. attention.c tells how they lie. */
#ifndef TURBOPROP_ATTENTION_TILES_H
#define TURBOPROP_ATTENTION_TILES_H

#include "program.h"
#include "vector.h"

enum {
    ROWS = 8,
    TILE = 4,
#ifdef KERNELS_AVX512
    SIDES = 2,  /* of a block, 16 keys each, that are multiplied together */
#else
    SIDES = 1,
#endif
    KEYS = 4 * BLOCK,  /* bytes of 4 features of a block's keys */
};

static inline size_t key_bytes(long padded)
{
    return (size_t)(BLOCK * padded + BLOCK * padded / 4 + 8 * BLOCK * (padded / HEAD_GROUP));
}

static inline size_t value_bytes(long padded)
{
    return (size_t)(BLOCK * padded + 4 * BLOCK);
}

static inline const uint8_t *low_bits(const uint8_t *keys, long padded)
{
    return keys + BLOCK * padded;
}

static inline const float *key_scales(const uint8_t *keys, long padded)
{
    return (const float *)(keys + BLOCK * padded + BLOCK * padded / 4);
}

static inline const float *value_scales(const uint8_t *values, long padded)
{
    return (const float *)(values + BLOCK * padded);
}

/* What one thread needs for the rows of one item. */
typedef struct {
    float *scores;       /* [ROWS][longest] */
    uint8_t *weights;    /* [ROWS][longest]: probabilities times the values' scales */
    float *steps;        /* [ROWS][longest / BLOCK]: what 1 of them stands for */
    float *out;          /* [ROWS][padded] */
    float *scales;       /* [ROWS][padded / HEAD_GROUP] of the queries */
    float *sums;         /* the same: the sum of what they stand for */
    int8_t *queries;     /* [ROWS][padded] */
} Scratch;

/* Adds the products of the next HEAD_GROUP features of 16 * sides keys, of 10 bits each. */
ALWAYS void score_part(const uint8_t *keys, const uint8_t *low, const int8_t *queries, long padded,
    Ints sums[TILE][SIDES], const int rows)
{
    for (int m = 0; m < rows; m++)
        for (int side = 0; side < SIDES; side++)
            sums[m][side] = no_ints();
#ifdef KERNELS_AVX2
    int32_t even[TILE][HEAD_GROUP / 4], odd[TILE][HEAD_GROUP / 4];
    for (int m = 0; m < rows; m++) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(queries + m * padded));
        _mm256_storeu_si256((__m256i *)even[m], even_signed(bytes));
        _mm256_storeu_si256((__m256i *)odd[m], odd_signed(bytes));
    }
    for (int k = 0; k < HEAD_GROUP / 4; k++) {
        /* Bytes become words anyway: the 10 bits of a key in one. */
        Ints high = load_ints(keys + k * KEYS), two = load_ints(low + k / 4 * KEYS);
        two = and_ints(down_words(two, k % 4 * 2), all_bytes(3));
        Ints first = add_words(up_words(even_words(high), 2), even_words(two));
        Ints second = add_words(up_words(odd_words(high), 2), odd_words(two));
        for (int m = 0; m < rows; m++)
            sums[m][0] = dot_words(dot_words(sums[m][0], first, spread(&even[m][k])), second, spread(&odd[m][k]));
    }
#else
    for (int k = 0; k < HEAD_GROUP / 4; k++) {
        Ints high[SIDES];
        for (int side = 0; side < SIDES; side++)
            high[side] = load_ints(keys + k * KEYS + side * CACHE_LINE);
        for (int m = 0; m < rows; m++) {
            Spread q = spread(queries + m * padded + k * 4);
            for (int side = 0; side < SIDES; side++)
                sums[m][side] = dot(sums[m][side], high[side], q);
        }
    }
    for (int m = 0; m < rows; m++)
        for (int side = 0; side < SIDES; side++)
            sums[m][side] = up_ints(sums[m][side], 2);
    for (int k = 0; k < HEAD_GROUP / 4; k++) {
        Ints two[SIDES];
        for (int side = 0; side < SIDES; side++) {
            two[side] = load_ints(low + k / 4 * KEYS + side * CACHE_LINE);
            two[side] = and_ints(down_words(two[side], k % 4 * 2), all_bytes(3));
        }
        for (int m = 0; m < rows; m++) {
            Spread q = spread(queries + m * padded + k * 4);
            for (int side = 0; side < SIDES; side++)
                sums[m][side] = dot(sums[m][side], two[side], q);
        }
    }
#endif
}

ALWAYS void score_tile(
    const Scratch *s, const uint8_t *chunk, long padded, long row, float *to, long stride, const int rows)
{
    const long parts = padded / HEAD_GROUP;
    const float *scales = key_scales(chunk, padded);
    for (long line = 0; line < (long)key_bytes(padded); line += CACHE_LINE)
        _mm_prefetch((const char *)chunk + key_bytes(padded) + line, _MM_HINT_T1);
    for (long first = 0; first < BLOCK; first += SIDES * LANES) {
        Floats f[TILE][SIDES];
        for (int m = 0; m < rows; m++)
            for (int side = 0; side < SIDES; side++)
                f[m][side] = zero16();
        for (long part = 0; part < parts; part++) {
            Ints sums[TILE][SIDES];
            score_part(chunk + part * HEAD_GROUP * BLOCK + 4 * first,
                low_bits(chunk, padded) + part * HEAD_GROUP * BLOCK / 4 + 4 * first,
                s->queries + row * padded + part * HEAD_GROUP, padded, sums, rows);
            for (int m = 0; m < rows; m++) {
                Floats q = all16(s->scales[(row + m) * parts + part]), sum = all16(s->sums[(row + m) * parts + part]);
                for (int side = 0; side < SIDES; side++) {
                    const float *of = scales + 2 * part * BLOCK + first + side * LANES;
                    f[m][side] = fma16(load16(of + BLOCK), sum, f[m][side]);
                    f[m][side] = fma16(floats16(sums[m][side]), mul16(load16(of), q), f[m][side]);
                }
            }
        }
        for (int m = 0; m < rows; m++)
            for (int side = 0; side < SIDES; side++)
                store16(to + (row + m) * stride + first + side * LANES, f[m][side]);
    }
}

static inline void value_row(
    const Scratch *s, const uint8_t *chunk, long padded, long row, long block, long longest)
{
    const uint8_t *weights = s->weights + row * longest + block * BLOCK;
    float *out = s->out + row * padded;
    const Floats step = all16(s->steps[row * (longest / BLOCK) + block]);
    Spread fours[BLOCK / 4];
    for (int k = 0; k < BLOCK / 4; k++)
        fours[k] = spread(weights + k * 4);
    for (long d = 0; d < padded; d += 16) {
        Ints even = no_ints(), odd = even;
        for (int k = 0; k < BLOCK / 4; k += 2) {
            const uint8_t *at = chunk + (k * padded + d) * 4, *next = at + 4 * padded;
            _mm_prefetch((const char *)at + value_bytes(padded), _MM_HINT_T1);
            _mm_prefetch((const char *)next + value_bytes(padded), _MM_HINT_T1);
            even = spread_dot(even, fours[k], load_ints(at));
            odd = spread_dot(odd, fours[k + 1], load_ints(next));
        }
        store16(out + d, fma16(floats16(add_ints(even, odd)), step, load16(out + d)));
    }
}

#endif
