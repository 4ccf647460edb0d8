/* Late interaction (Khattab and Zaharia 2020, arXiv 2004.12832): each token of a query takes the token of the document
   that is most like it, and their similarities are summed. Token vectors of a document are in 8 or 4 bits. */
#include "kernels.h"
#include "vector.h"

enum { DOCUMENT_TOKENS = 4 /* at once: with LANES tokens of the query their sums fill the registers of AVX2 */ };

/* One group of GROUP_FOUR features: signed bytes, or 16 bytes whose low halves are the first features + 8, the high ones
   the last. */
ALWAYS void unpack(const uint8_t *from, int bits, float scale, float *to)
{
    const Reals by = all_reals(scale);
    if (bits == 8) {
        for (int i = 0; i < GROUP_FOUR; i += WIDTH)
            store_reals(to + i, times(signed_at(from + i), by));
        return;
    }
    const Wholes less = all_wholes(-8), low = all_wholes(15);
    for (int i = 0; i < GROUP_FOUR / 2; i += WIDTH) {
        Wholes x = bytes_at(from + i);
        store_reals(to + i, times(reals_of(add_wholes(both(x, low), less)), by));
        store_reals(to + GROUP_FOUR / 2 + i, times(reals_of(add_wholes(down_wholes(x, 4), less)), by));
    }
}

ALWAYS void nearest(const float *queries, int64_t padded, int64_t width, const float *document, int64_t from, float *best,
    const int tokens)
{
    Floats sums[DOCUMENT_TOKENS], most = load16(best + from);
    for (int t = 0; t < tokens; t++)
        sums[t] = zero16();
    for (int64_t d = 0; d < width; d++) {
        const Floats q = load16(queries + d * padded + from);
        for (int t = 0; t < tokens; t++)
            sums[t] = fma16(q, all16(document[t * width + d]), sums[t]);
    }
    for (int t = 0; t < tokens; t++)
        most = max16(most, sums[t]);
    store16(best + from, most);
}

/* The sum over the first `count` of `padded` queries (whole LANES), which stand in columns: [width][padded]. `width` is
   of whole GROUP_FOURs. `values` are [tokens][width * bits / 8], `scales` float32 [tokens][width / GROUP_FOUR]. `scratch`
   holds DOCUMENT_TOKENS * width + padded numbers. Each sum goes over the features in their order, so all sets of
   instructions give the same bits. */
float max_similarity(const float *queries, int64_t count, int64_t padded, int64_t width, const uint8_t *values,
    const float *scales, int bits, int64_t tokens, float *scratch)
{
    const int64_t groups = width / GROUP_FOUR, bytes = GROUP_FOUR * bits / 8;
    float *best = scratch + DOCUMENT_TOKENS * width, total = 0;
    for (int64_t q = 0; q < padded; q++)
        best[q] = -INFINITY;
    for (int64_t first = 0; first < tokens; first += DOCUMENT_TOKENS) {
        const int64_t left = tokens - first < DOCUMENT_TOKENS ? tokens - first : DOCUMENT_TOKENS;
        for (int64_t at = 0; at < left * groups; at++)
            unpack(values + (first * groups + at) * bytes, bits, scales[first * groups + at], scratch + at * GROUP_FOUR);
        for (int64_t q = 0; q < padded; q += LANES) {
            switch (left) {
            case 1: nearest(queries, padded, width, scratch, q, best, 1); break;
            case 2: nearest(queries, padded, width, scratch, q, best, 2); break;
            case 3: nearest(queries, padded, width, scratch, q, best, 3); break;
            default: nearest(queries, padded, width, scratch, q, best, DOCUMENT_TOKENS); break;
            }
        }
    }
    for (int64_t q = 0; q < count; q++)
        total += best[q];
    return total;
}
