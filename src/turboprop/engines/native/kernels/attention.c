/* Attention over a cache of 8-bit keys and values in blocks of tokens (paged attention, Kwon et al. 2023,
   arXiv 2309.06180), in 8-bit products throughout.

   A chunk holds one head of one block: keys in 10 bits, the upper 8 as [padded / 4][BLOCK][4] bytes and the lower 2 as
   [padded / 16][BLOCK][4] bytes, feature 4 * j + i of each 16 in byte i at bit 2 * j; values as [BLOCK / 4][padded][4]
   signed bytes; the keys' scales and least values [padded / HEAD_GROUP][2][BLOCK] and the values' scales [BLOCK] as
   float32. HEAD_GROUP features of a key share a scale and a least value. Rounding keys moves the distribution of
   stories260K by 0.0021 (Kullback-Leibler) in 8 bits with a scale alone, by 0.0008 with both and by 0.0001 in 10 bits,
   where weights and activations in int8 move it by 0.0011. A value has one scale, which goes into the probabilities.
   These are rounded to 8 bits a block at a time, so a block of small ones keeps its precision beside a block with a
   large one. */
#include "attention_tiles.h"

#include <math.h>
#include <string.h>

size_t cache_chunk_bytes(long padded)
{
    return key_bytes(padded) + value_bytes(padded);
}

static size_t lay_out(Scratch *scratch, uint8_t *at, long padded, long longest)
{
    const long parts = padded / HEAD_GROUP;
    size_t used = 0;
#define TAKE(field, bytes) (scratch->field = (void *)(at + used), used += ((size_t)(bytes) + 63) / 64 * 64)
    TAKE(scores, 4 * ROWS * longest);
    TAKE(weights, ROWS * longest);
    TAKE(steps, 4 * ROWS * (longest / BLOCK));
    TAKE(out, 4 * ROWS * padded);
    TAKE(scales, 4 * ROWS * parts);
    TAKE(sums, 4 * ROWS * parts);
    TAKE(queries, ROWS * padded);
#undef TAKE
    return used;
}

size_t attention_scratch_bytes(long padded, long longest)
{
    Scratch scratch;
    return lay_out(&scratch, NULL, padded, longest);
}

static float largest(const float *x, long count)
{
    Ints most = no_ints();
    for (long i = 0; i < count; i += 16)
        most = larger_sizes(most, load_some16(x + i, count - i));
    return largest_size(most);
}

/* Up to 32 numbers to 8 bits; what lies beyond `count` becomes 0, and all where `by` is 0. Returns their sum. */
static int32_t to_bytes(const float *x, long count, float by, int8_t *to)
{
    Ints a = whole16(mul16(load_some16(x, count), all16(by)), by > 0);
    Ints b = whole16(mul16(load_some16(x + 16, count - 16), all16(by)), by > 0);
    store_signed(to, a);
    store_signed(to + 16, b);
    return sum_ints(add_ints(a, b));
}

/* Up to 32 numbers to 0 .. 1023 above the least of them: their upper 8 and their lower 2 bits. Returns what 1 stands
   for. */
static float ten_bits(const float *x, long count, uint8_t *high, uint8_t *low, float *least)
{
    const Floats none = all16(x[0]);
    Floats a = load_some_or16(none, x, count), b = load_some_or16(none, x + 16, count - 16);
    float from = least16(min16(a, b)), to = most16(max16(a, b));
    Floats by = all16(factor_to(1023, to - from)), base = all16(from);
    store_ten(high, low, whole16(mul16(sub16(a, base), by), 1));
    store_ten(high + 16, low + 16, whole16(mul16(sub16(b, base), by), 1));
    *least = from + largest(x, count) * 0; /* what is not finite stays so */
    return (to - from) / 1023.0f;
}

static void store_head(
    const float *key, const float *value, uint8_t *keys, uint8_t *chunk, long slot, long width, long padded)
{
    float *scales = (float *)key_scales(keys, padded);
    int8_t bytes[HEAD_GROUP];
    uint8_t high[HEAD_GROUP], low[HEAD_GROUP];
    for (long part = 0; part < padded; part += HEAD_GROUP) {
        long count = width - part < HEAD_GROUP ? width - part : HEAD_GROUP;
        float step = ten_bits(key + part, count, high, low, &scales[2 * part / HEAD_GROUP * BLOCK + BLOCK + slot]);
        scales[2 * part / HEAD_GROUP * BLOCK + slot] = step;
        for (long i = 0; i < HEAD_GROUP; i += 16) {
            uint8_t *to = (uint8_t *)low_bits(keys, padded) + ((part + i) / 16 * BLOCK + slot) * 4;
            for (long j = 0; j < 4; j++)
                to[j] = (uint8_t)(low[i + j] | low[i + 4 + j] << 2 | low[i + 8 + j] << 4 | low[i + 12 + j] << 6);
        }
        for (long i = 0; i < HEAD_GROUP; i += 4)
            memcpy(keys + ((part + i) / 4 * BLOCK + slot) * 4, high + i, 4);
    }
    float most = largest(value, width);
    uint8_t *values = chunk + slot / 4 * padded * 4 + slot % 4;
    for (long part = 0; part < width; part += HEAD_GROUP) {
        long count = width - part < HEAD_GROUP ? width - part : HEAD_GROUP;
        to_bytes(value + part, count, factor_to(127, most), bytes);
        for (long i = 0; i < count; i++)
            values[(part + i) * 4] = (uint8_t)bytes[i];
    }
    ((float *)value_scales(chunk, padded))[slot] = most / 127.0f;
}

static long sequence_of(const Run *run, long token)
{
    long low = 0, high = run->sequences - 1;
    while (low < high) {
        long middle = (low + high + 1) / 2;
        if (run->begins[middle] <= token)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* The blocks of a head lie together, keys and values apart, so that each is read in a row. */
static uint8_t *keys_at(const Run *run, const AttentionShape *how, long sequence, long block, long head)
{
    size_t number = (size_t)run->blocks[run->block_begins[sequence] + block];
    return run->caches[how->layer] + ((size_t)head * (size_t)run->cache_blocks + number) * key_bytes(how->padded);
}

static uint8_t *values_at(const Run *run, const AttentionShape *how, long sequence, long block, long head)
{
    size_t number = (size_t)run->blocks[run->block_begins[sequence] + block], all = (size_t)run->cache_blocks;
    uint8_t *values = run->caches[how->layer] + (size_t)how->kv_heads * all * key_bytes(how->padded);
    return values + ((size_t)head * all + number) * value_bytes(how->padded);
}

void store_rows(const Run *run, const Step *step, long first, long count)
{
    const AttentionShape *how = step->detail;
    for (long t = first; t < first + count; t++) {
        long sequence = sequence_of(run, t), at = run->past[sequence] + t - run->begins[sequence];
        const float *key = place(run, step->x, t), *value = place(run, step->y, t);
        for (long head = 0; head < how->kv_heads; head++)
            store_head(key + head * how->head_dim, value + head * how->head_dim,
                keys_at(run, how, sequence, at / BLOCK, head), values_at(run, how, sequence, at / BLOCK, head),
                at % BLOCK, how->head_dim, how->padded);
    }
}

#define EACH_TILE(rows, call)                                                                                          \
    for (long row = 0; row < (rows); row += TILE) {                                                                    \
        switch ((rows) - row) {                                                                                        \
        case 1: call(1); break;                                                                                        \
        case 2: call(2); break;                                                                                        \
        case 3: call(3); break;                                                                                        \
        default: call(TILE); break;                                                                                    \
        }                                                                                                              \
    }

/* Slots that nothing was stored in hold anything, NaN too: their scales are not read. */
static inline Floats weighted(Floats probabilities, const float *scales)
{
    return mul16(probabilities, load_where16(probabilities, scales));
}

/* Scores of one row to probabilities, not yet divided by their sum, which is returned; then, a block at a time, to
   bytes that hold them times the values' scales. Only keys from .. to - 1 are visible. */
static float weigh(const Run *run, const AttentionShape *how, Scratch *s, long sequence, long head, long row, long longest,
    long from, long to)
{
    float *scores = s->scores + row * longest;
    const long first = from / BLOCK * BLOCK;
    const Floats none = all16(-INFINITY);
    Floats most = none, total = zero16();
    for (long j = first; j < to; j += 16) {
        Floats v = load_between16(none, scores + j, from - j, to - j);
        store16(scores + j, v);
        most = max16(most, v);
    }
    Floats top = all16(most16(most));
    for (long j = first; j < to; j += BLOCK) {
        const float *scales = value_scales(values_at(run, how, sequence, j / BLOCK, head), how->padded);
        Floats a = exp16(sub16(load16(scores + j), top)), b = zero16();
        if (j + 16 < to)
            b = exp16(sub16(load16(scores + j + 16), top));
        total = add16(total, add16(a, b));
        a = weighted(a, scales);
        b = weighted(b, scales + 16);
        float largest = largest_size(larger_sizes(larger_sizes(no_ints(), a), b));
        Floats by = all16(factor_to(255, largest));
        uint8_t *weights = s->weights + row * longest + j;
        store_unsigned(weights, whole16(mul16(a, by), 1));
        store_unsigned(weights + 16, whole16(mul16(b, by), 1));
        s->steps[row * (longest / BLOCK) + j / BLOCK] = largest / 255.0f;
    }
    return sum16(total);
}

/* Up to ROWS rows, each a token of the sequence and a query head, that share the key-value head. */
static void attend_rows(const Run *run, const Step *step, Scratch *s, long sequence, long head, const long *tokens,
    const long *heads, long rows, long longest)
{
    const AttentionShape *how = step->detail;
    const long padded = how->padded, parts = padded / HEAD_GROUP, past = run->past[sequence];
    const long begin = run->begins[sequence], length = past + run->begins[sequence + 1] - begin;
    long from[ROWS], to[ROWS], least = length, most = 0;
    for (long row = 0; row < rows; row++) {
        const float *query = place(run, step->x, tokens[row]) + heads[row] * how->head_dim;
        for (long part = 0; part < parts; part++) {
            long count = how->head_dim - part * HEAD_GROUP;
            count = count < HEAD_GROUP ? count : HEAD_GROUP;
            float top = largest(query + part * HEAD_GROUP, count);
            int32_t sum = to_bytes(query + part * HEAD_GROUP, count, factor_to(127, top),
                s->queries + row * padded + part * HEAD_GROUP);
            s->scales[row * parts + part] = top / 127.0f * how->scale;
            s->sums[row * parts + part] = top / 127.0f * how->scale * (float)sum;
        }
        long at = past + tokens[row] - begin;
        from[row] = how->window && at - how->window + 1 > 0 ? at - how->window + 1 : 0;
        to[row] = how->causal ? at + 1 : how->window && at + how->window < length ? at + how->window : length;
        least = from[row] < least ? from[row] : least;
        most = to[row] > most ? to[row] : most;
    }
    for (long block = least / BLOCK; block * BLOCK < most; block++) {
        const uint8_t *chunk = keys_at(run, how, sequence, block, head);
#define SCORE(count) score_tile(s, chunk, padded, row, s->scores + block * BLOCK, longest, count)
        EACH_TILE(rows, SCORE)
    }
    float totals[ROWS];
    for (long row = 0; row < rows; row++) {
        /* Blocks that other rows of the item see and this one does not have no weight. */
        memset(s->steps + row * (longest / BLOCK), 0, 4 * (size_t)(longest / BLOCK));
        totals[row] = weigh(run, how, s, sequence, head, row, longest, from[row], to[row]);
    }
    memset(s->out, 0, 4 * (size_t)(rows * padded));
    for (long block = least / BLOCK; block * BLOCK < most; block++) {
        const uint8_t *chunk = values_at(run, how, sequence, block, head);
        for (long row = 0; row < rows; row++)
            value_row(s, chunk, padded, row, block, longest);
    }
    for (long row = 0; row < rows; row++) {
        float *y = place(run, step->to, tokens[row]) + heads[row] * how->head_dim;
        Floats by = all16(1.0f / totals[row]);
        for (long i = 0; i < how->head_dim; i += 16)
            store_some16(y + i, how->head_dim - i, mul16(by, load_some16(s->out + row * padded + i, how->head_dim - i)));
    }
}

/* Tokens of one item: as many as fill ROWS with the query heads of one key-value head. */
static long item_tokens(const AttentionShape *how)
{
    long group = how->heads / how->kv_heads;
    return group >= ROWS ? 1 : ROWS / group;
}

static long sequence_items(const Run *run, const AttentionShape *how, long sequence)
{
    const long each = item_tokens(how), length = run->begins[sequence + 1] - run->begins[sequence];
    return (length + each - 1) / each * how->kv_heads;
}

long attend_items(const Run *run, const Step *step)
{
    long items = 0;
    for (long sequence = 0; sequence < run->sequences; sequence++)
        items += sequence_items(run, step->detail, sequence);
    return items;
}

void attend_item(const Run *run, const Step *step, int thread, long item, AttendPlace *at)
{
    const AttentionShape *how = step->detail;
    const long group = how->heads / how->kv_heads, each = item_tokens(how);
    long count = sequence_items(run, how, at->sequence);
    for (; item >= at->before + count; count = sequence_items(run, how, at->sequence)) {
        at->before += count;
        at->sequence++;
    }
    const long sequence = at->sequence, begin = run->begins[sequence], end = run->begins[sequence + 1];
    /* The late tokens of a sequence see the most: they come first. */
    const long tile = count / how->kv_heads - 1 - (item - at->before) / how->kv_heads;
    const long head = (item - at->before) % how->kv_heads, first = begin + tile * each;
    const long last = end < first + each ? end : first + each;
    const long longest = (run->past[sequence] + end - begin + BLOCK - 1) / BLOCK * BLOCK;
    long rows = 0, tokens[ROWS], heads[ROWS];
    Scratch scratch;
    lay_out(&scratch, run->scratch + run->scratch_bytes * thread, how->padded, longest);
    for (long token = first; token < last; token++) {
        for (long member = 0; member < group; member++) {
            tokens[rows] = token;
            heads[rows++] = head * group + member;
            if (rows == ROWS || (token == last - 1 && member == group - 1)) {
                attend_rows(run, step, &scratch, sequence, head, tokens, heads, rows, longest);
                rows = 0;
            }
        }
    }
}
