/* Attention in float32. A chunk holds one head of one block: keys [padded][BLOCK], then values [BLOCK][padded]. Scores
   and results are sums in the order of features and of keys, each product with one rounding: every set of instructions
   gives the same bits. */
#ifndef TURBOPROP_ATTENTION_EXACT_H
#define TURBOPROP_ATTENTION_EXACT_H

#include "attention_tiles.h"

static inline size_t exact_bytes(int64_t padded)
{
    return (size_t)(4 * BLOCK * padded);
}

static void store_exact(
    const float *key, const float *value, uint8_t *keys, uint8_t *values, int64_t slot, int64_t width, int64_t padded)
{
    float *to = (float *)keys + slot;
    for (int64_t i = 0; i < width; i++)
        to[i * BLOCK] = key[i];
    memcpy((float *)values + slot * padded, value, 4 * (size_t)width);
}

ALWAYS void score_exact(const uint8_t *keys, const float *const *queries, int64_t width, float scale, float *to,
    int64_t stride, const int rows)
{
    for (int64_t first = 0; first < BLOCK; first += 2 * WIDTH) {
        const float *from = (const float *)keys + first;
        Reals f[TILE][2], k[2];
        for (int m = 0; m < rows; m++)
            EACH_COLUMN(f[m][c] = no_reals());
        for (int64_t d = 0; d < width; d++) {
            EACH_COLUMN(k[c] = load_reals(from + d * BLOCK + c * WIDTH));
            for (int m = 0; m < rows; m++) {
                Reals q = all_reals(queries[m][d]);
                EACH_COLUMN(f[m][c] = times_plus(k[c], q, f[m][c]));
            }
        }
        for (int m = 0; m < rows; m++)
            EACH_COLUMN(store_reals(to + m * stride + first + c * WIDTH, times(f[m][c], all_reals(scale))));
    }
}

/* Scores 0 .. most - 1 of one row to probabilities, not yet divided by their sum, which is returned: only from .. to - 1
   are visible, the others become 0. */
static float weigh_exact(float *scores, int64_t from, int64_t to, int64_t most)
{
    const Floats none = all16(-INFINITY);
    Floats top = none, total = zero16();
    for (int64_t j = 0; j < most; j += 16) {
        Floats v = load_between16(none, scores + j, from - j, to - j);
        store16(scores + j, v);
        top = max16(top, v);
    }
    top = all16(most16(top));
    for (int64_t j = 0; j < most; j += 16) {
        Floats v = exp16(sub16(load16(scores + j), top));
        store16(scores + j, v);
        total = add16(total, v);
    }
    return sum16(total);
}

/* Slots of a block: from .. to - 1 are visible to a row, sure_from .. sure_to - 1 to all. */
typedef struct {
    int64_t from, sure_from, sure_to, to;
} Slots;

/* Adds the values of a block, weighted. What a row does not see, and may be no number, it does not take times 0. */
ALWAYS void value_exact(const float *values, const float *weights, int64_t stride, Slots seen, float *out,
    int64_t padded, const int rows)
{
#define EACH_SLOT(begin, end, condition)                                                                               \
    for (int64_t slot = begin; slot < end; slot++) {                                                                   \
        EACH_COLUMN(v[c] = load_reals(values + slot * padded + d + c * WIDTH));                                        \
        for (int m = 0; m < rows; m++) {                                                                               \
            const float weight = weights[m * stride + slot];                                                           \
            if (condition)                                                                                             \
                EACH_COLUMN(f[m][c] = times_plus(v[c], all_reals(weight), f[m][c]));                                   \
        }                                                                                                              \
    }
    for (int64_t d = 0; d < padded; d += 2 * WIDTH) {
        Reals f[TILE][2], v[2];
        for (int m = 0; m < rows; m++)
            EACH_COLUMN(f[m][c] = no_reals());
        EACH_SLOT(seen.from, seen.sure_from, weight != 0)
        EACH_SLOT(seen.sure_from, seen.sure_to, 1)
        EACH_SLOT(seen.sure_to, seen.to, weight != 0)
        for (int m = 0; m < rows; m++) {
            float *at = out + m * padded + d;
            EACH_COLUMN(store_reals(at + c * WIDTH, add_reals(load_reals(at + c * WIDTH), f[m][c])));
        }
    }
#undef EACH_SLOT
}

#endif
