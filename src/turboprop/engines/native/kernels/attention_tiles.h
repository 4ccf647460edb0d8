/* The products of attention: queries by the keys of a block, and weights by its values. attention.c tells how they lie. */
#ifndef TURBOPROP_ATTENTION_TILES_H
#define TURBOPROP_ATTENTION_TILES_H

#include "program.h"
#include "vector.h"

enum {
    ROWS = 8,
    TILE = 4,
    KEYS = 4 * BLOCK,  /* bytes of 4 features of a block's keys */
};

static inline size_t key_bytes(int64_t padded)
{
    return (size_t)(BLOCK * padded + BLOCK * padded / 4 + 8 * BLOCK * (padded / HEAD_GROUP));
}

static inline size_t value_bytes(int64_t padded)
{
    return (size_t)(BLOCK * padded + 4 * BLOCK);
}

static inline const uint8_t *low_bits(const uint8_t *keys, int64_t padded)
{
    return keys + BLOCK * padded;
}

static inline const float *key_scales(const uint8_t *keys, int64_t padded)
{
    return (const float *)(keys + BLOCK * padded + BLOCK * padded / 4);
}

static inline const float *value_scales(const uint8_t *values, int64_t padded)
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

/* Once for each of the 2 columns, a register of keys each, that are multiplied together. No loop: see product.c. */
#define EACH_COLUMN(...)                                                                                               \
    do {                                                                                                               \
        { enum { c = 0 }; __VA_ARGS__; }                                                                               \
        { enum { c = 1 }; __VA_ARGS__; }                                                                               \
    } while (0)

static inline int32_t sum_bytes(const int8_t *part)
{
    int32_t sum = 0;
    for (int i = 0; i < HEAD_GROUP; i++)
        sum += part[i];
    return sum;
}

/* The products of the queries' next HEAD_GROUP features and those of the keys of 2 columns, of 10 bits each. */
ALWAYS void score_part(const uint8_t *keys, const uint8_t *low, const int8_t *queries, int64_t padded,
    Wholes sums[TILE][2], const int rows)
{
    for (int m = 0; m < rows; m++) {
        const int32_t begin = FACTOR_LESS ? FACTOR_LESS * sum_bytes(queries + m * padded) : 0;
        EACH_COLUMN(sums[m][c] = all_wholes(begin));
    }
#ifdef KERNELS_AVX2
    /* Bytes become words anyway: the 10 bits of a key in one. */
    int32_t even[TILE][HEAD_GROUP / 4], odd[TILE][HEAD_GROUP / 4];
    for (int m = 0; m < rows; m++) {
        Wholes bytes = load_wholes(queries + m * padded);
        _mm256_storeu_si256((__m256i *)even[m], even_signed(bytes));
        _mm256_storeu_si256((__m256i *)odd[m], odd_signed(bytes));
    }
    for (int k = 0; k < HEAD_GROUP / 4; k++) {
        Wholes high[2], two[2], word[2];
        EACH_COLUMN(high[c] = load_wholes(keys + k * KEYS + 4 * c * WIDTH));
        EACH_COLUMN(two[c] = both(down_words(load_wholes(low + k / 4 * KEYS + 4 * c * WIDTH), k % 4 * 2), all_bytes(3)));
        EACH_COLUMN(word[c] = add_words(up_words(even_unsigned(high[c]), 2), even_unsigned(two[c])));
        for (int m = 0; m < rows; m++) {
            Wholes q = spread(&even[m][k]);
            EACH_COLUMN(sums[m][c] = dot_words(sums[m][c], word[c], q));
        }
        EACH_COLUMN(word[c] = add_words(up_words(odd_unsigned(high[c]), 2), odd_unsigned(two[c])));
        for (int m = 0; m < rows; m++) {
            Wholes q = spread(&odd[m][k]);
            EACH_COLUMN(sums[m][c] = dot_words(sums[m][c], word[c], q));
        }
    }
#else
    Wholes rest[TILE][2];
    for (int m = 0; m < rows; m++)
        EACH_COLUMN(rest[m][c] = no_wholes());
    for (int k = 0; k < HEAD_GROUP / 4; k++) {
        Wholes high[2], two[2];
        EACH_COLUMN(high[c] = as_factor(load_wholes(keys + k * KEYS + 4 * c * WIDTH)));
        EACH_COLUMN(two[c] = both(down_words(load_wholes(low + k / 4 * KEYS + 4 * c * WIDTH), k % 4 * 2), all_bytes(3)));
        for (int m = 0; m < rows; m++) {
            Wholes q = spread(queries + m * padded + k * 4);
            EACH_COLUMN(sums[m][c] = dot(sums[m][c], high[c], q));
            EACH_COLUMN(rest[m][c] = dot(rest[m][c], two[c], q));
        }
    }
    for (int m = 0; m < rows; m++)
        EACH_COLUMN(sums[m][c] = add_wholes(up_wholes(sums[m][c], 2), rest[m][c]));
#endif
}

ALWAYS void score_tile(
    const Scratch *s, const uint8_t *chunk, int64_t padded, int64_t row, float *to, int64_t stride, const int rows)
{
    const int64_t parts = padded / HEAD_GROUP;
    for (int64_t first = 0; first < BLOCK; first += 2 * WIDTH) {
        Reals f[TILE][2];
        for (int m = 0; m < rows; m++)
            EACH_COLUMN(f[m][c] = no_reals());
        for (int64_t part = 0; part < parts; part++) {
            const uint8_t *keys = chunk + part * HEAD_GROUP * BLOCK, *low = low_bits(chunk, padded) + part * HEAD_GROUP * BLOCK / 4;
            Wholes sums[TILE][2];
            if (first == 0) {
                ask_for(keys + key_bytes(padded), HEAD_GROUP * BLOCK);
                ask_for(low + key_bytes(padded), HEAD_GROUP * BLOCK / 4);
            }
            score_part(keys + 4 * first, low + 4 * first, s->queries + row * padded + part * HEAD_GROUP, padded, sums, rows);
            const float *of = key_scales(chunk, padded) + 2 * part * BLOCK + first;
            Reals step[2], least[2];
            EACH_COLUMN(step[c] = load_reals(of + c * WIDTH));
            EACH_COLUMN(least[c] = load_reals(of + BLOCK + c * WIDTH));
            for (int m = 0; m < rows; m++) {
                Reals q = all_reals(s->scales[(row + m) * parts + part]), sum = all_reals(s->sums[(row + m) * parts + part]);
                EACH_COLUMN(f[m][c] = times_plus(least[c], sum, f[m][c]));
                EACH_COLUMN(f[m][c] = times_plus(reals_of(sums[m][c]), times(step[c], q), f[m][c]));
            }
        }
        for (int m = 0; m < rows; m++)
            EACH_COLUMN(store_reals(to + (row + m) * stride + first + c * WIDTH, f[m][c]));
    }
}

static inline void value_row(
    const Scratch *s, const uint8_t *chunk, int64_t padded, int64_t row, int64_t block, int64_t longest)
{
    const uint8_t *weights = s->weights + row * longest + block * BLOCK;
    float *out = s->out + row * padded;
    const Reals step = all_reals(s->steps[row * (longest / BLOCK) + block]);
    Wholes fours[BLOCK / 4];
    for (int k = 0; k < BLOCK / 4; k++)
        fours[k] = as_factor(spread(weights + k * 4));
    for (int64_t d = 0; d < padded; d += WIDTH) {
        Wholes even = no_wholes(), odd = even;
        for (int k = 0; k < BLOCK / 4; k += 2) {
            const uint8_t *at = chunk + (k * padded + d) * 4, *next = at + 4 * padded;
            if (d % LANES == 0) {
                ask_for(at + value_bytes(padded), CACHE_LINE);
                ask_for(next + value_bytes(padded), CACHE_LINE);
            }
#ifdef KERNELS_AVX2
            Wholes v = load_wholes(at), w = load_wholes(next);
            even = dot_words(even, even_signed(v), even_unsigned(fours[k]));
            odd = dot_words(odd, odd_signed(v), odd_unsigned(fours[k]));
            even = dot_words(even, even_signed(w), even_unsigned(fours[k + 1]));
            odd = dot_words(odd, odd_signed(w), odd_unsigned(fours[k + 1]));
#elif defined(KERNELS_DOTPROD)
            Wholes v = load_wholes(at), w = load_wholes(next), one = all_bytes(1);
            even = dot(dot(even, fours[k], v), fours[k + 1], w);
            odd = dot(dot(odd, one, v), one, w);
#else
            even = dot(even, fours[k], load_wholes(at));
            odd = dot(odd, fours[k + 1], load_wholes(next));
#endif
        }
        if (FACTOR_LESS) /* then `odd` has the sums of the values, and they are times 2^7 */
            odd = up_wholes(odd, 7);
        store_reals(out + d, times_plus(reals_of(add_wholes(even, odd)), step, load_reals(out + d)));
    }
}

#endif
