/* Attention over a cache of 8-bit keys and values in blocks of tokens (paged attention, Kwon et al. 2023,
   arXiv 2309.06180), in 8-bit products throughout.

   A chunk holds one head of one block: keys in 10 bits, the upper 8 as [padded / 4][BLOCK][4] bytes and the lower 2 as
   [padded / 16][BLOCK][4] bytes, feature 4 * j + i of each 16 in byte i at bit 2 * j; values as [BLOCK / 4][padded][4]
   signed bytes; the keys' scales and least values [padded / HEAD_GROUP][2][BLOCK] and the values' scales [BLOCK] as
   float32. HEAD_GROUP features of a key share a scale and a least value. Rounding keys moves the distribution of
   stories260K by 0.0021 (Kullback-Leibler) in 8 bits with a scale alone, by 0.0008 with both and by 0.0001 in 10 bits,
   where weights and activations in int8 move it by 0.0011. A value has one scale, which goes into the probabilities.
   These are rounded to 8 bits a block at a time, so a block of small ones keeps its precision beside a block with a
   large one.

   With weights in float32 keys and values are float32, too: attention_exact.h. */
#include "attention_exact.h"

#include <math.h>
#include <string.h>

/* Of the keys, and of the values, of one head of one block. */
static size_t sizes(int64_t padded, int exact, int values)
{
    return exact ? exact_bytes(padded) : values ? value_bytes(padded) : key_bytes(padded);
}

size_t cache_chunk_bytes(int64_t padded, int exact)
{
    return sizes(padded, exact, 0) + sizes(padded, exact, 1);
}

static size_t lay_out(Scratch *scratch, uint8_t *at, int64_t padded, int64_t longest)
{
    const int64_t parts = padded / HEAD_GROUP;
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

size_t attention_scratch_bytes(int64_t padded, int64_t longest)
{
    Scratch scratch;
    return lay_out(&scratch, NULL, padded, longest);
}

static float largest(const float *x, int64_t count)
{
    Ints most = no_ints();
    for (int64_t i = 0; i < count; i += 16)
        most = larger_sizes(most, load_some16(x + i, count - i));
    return largest_size(most);
}

/* Up to 32 numbers to 8 bits; what lies beyond `count` becomes 0, and all where `by` is 0. Returns their sum. */
static int32_t to_bytes(const float *x, int64_t count, float by, int8_t *to)
{
    Ints a = whole16(mul16(load_some16(x, count), all16(by)), by > 0);
    Ints b = whole16(mul16(load_some16(x + 16, count - 16), all16(by)), by > 0);
    store_signed(to, a);
    store_signed(to + 16, b);
    return sum_ints(add_ints(a, b));
}

/* Up to 32 numbers to 0 .. 1023 above the least of them: their upper 8 and their lower 2 bits. Returns what 1 stands
   for. */
static float ten_bits(const float *x, int64_t count, uint8_t *high, uint8_t *low, float *least)
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
    const float *key, const float *value, uint8_t *keys, uint8_t *chunk, int64_t slot, int64_t width, int64_t padded)
{
    float *scales = (float *)key_scales(keys, padded);
    int8_t bytes[HEAD_GROUP];
    uint8_t high[HEAD_GROUP], low[HEAD_GROUP];
    for (int64_t part = 0; part < padded; part += HEAD_GROUP) {
        int64_t count = width - part < HEAD_GROUP ? width - part : HEAD_GROUP;
        float step = ten_bits(key + part, count, high, low, &scales[2 * part / HEAD_GROUP * BLOCK + BLOCK + slot]);
        scales[2 * part / HEAD_GROUP * BLOCK + slot] = step;
        for (int64_t i = 0; i < HEAD_GROUP; i += 16) {
            uint8_t *to = (uint8_t *)low_bits(keys, padded) + ((part + i) / 16 * BLOCK + slot) * 4;
            for (int64_t j = 0; j < 4; j++)
                to[j] = (uint8_t)(low[i + j] | low[i + 4 + j] << 2 | low[i + 8 + j] << 4 | low[i + 12 + j] << 6);
        }
        for (int64_t i = 0; i < HEAD_GROUP; i += 4)
            memcpy(keys + ((part + i) / 4 * BLOCK + slot) * 4, high + i, 4);
    }
    float most = largest(value, width);
    uint8_t *values = chunk + slot / 4 * padded * 4 + slot % 4;
    for (int64_t part = 0; part < width; part += HEAD_GROUP) {
        int64_t count = width - part < HEAD_GROUP ? width - part : HEAD_GROUP;
        to_bytes(value + part, count, factor_to(127, most), bytes);
        for (int64_t i = 0; i < count; i++)
            values[(part + i) * 4] = (uint8_t)bytes[i];
    }
    ((float *)value_scales(chunk, padded))[slot] = most / 127.0f;
}

static int64_t sequence_of(const Run *run, int64_t token)
{
    int64_t low = 0, high = run->sequences - 1;
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (run->begins[middle] <= token)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* The blocks of a head lie together, keys and values apart, so that each is read in a row. */
static uint8_t *keys_at(const Run *run, const AttentionShape *how, int64_t sequence, int64_t block, int64_t head)
{
    size_t number = (size_t)run->blocks[run->block_begins[sequence] + block];
    const size_t each = sizes(how->padded, how->exact, 0);
    return run->caches[how->layer] + ((size_t)head * (size_t)run->cache_blocks + number) * each;
}

static uint8_t *values_at(const Run *run, const AttentionShape *how, int64_t sequence, int64_t block, int64_t head)
{
    size_t number = (size_t)run->blocks[run->block_begins[sequence] + block], all = (size_t)run->cache_blocks;
    uint8_t *values = run->caches[how->layer] + (size_t)how->kv_heads * all * sizes(how->padded, how->exact, 0);
    return values + ((size_t)head * all + number) * sizes(how->padded, how->exact, 1);
}

void store_rows(const Run *run, const Step *step, int64_t first, int64_t count)
{
    const AttentionShape *how = step->detail;
    for (int64_t t = first; t < first + count; t++) {
        int64_t sequence = sequence_of(run, t), at = run->past[sequence] + t - run->begins[sequence];
        const float *key = place(run, step->x, t), *value = place(run, step->y, t);
        for (int64_t head = 0; head < how->kv_heads; head++, key += how->head_dim, value += how->head_dim) {
            uint8_t *keys = keys_at(run, how, sequence, at / BLOCK, head);
            uint8_t *values = values_at(run, how, sequence, at / BLOCK, head);
            if (how->exact)
                store_exact(key, value, keys, values, at % BLOCK, how->head_dim, how->padded);
            else
                store_head(key, value, keys, values, at % BLOCK, how->head_dim, how->padded);
        }
    }
}

#define EACH_TILE(rows, call)                                                                                          \
    for (int64_t row = 0; row < (rows); row += TILE) {                                                                 \
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
static float weigh(const Run *run, const AttentionShape *how, Scratch *s, int64_t sequence, int64_t head, int64_t row,
    int64_t longest, int64_t from, int64_t to)
{
    float *scores = s->scores + row * longest;
    const int64_t first = from / BLOCK * BLOCK;
    const Floats none = all16(-INFINITY);
    Floats most = none, total = zero16();
    for (int64_t j = first; j < to; j += 16) {
        Floats v = load_between16(none, scores + j, from - j, to - j);
        store16(scores + j, v);
        most = max16(most, v);
    }
    Floats top = all16(most16(most));
    for (int64_t j = first; j < to; j += BLOCK) {
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

/* The rows of one item: each a token of the sequence and a query head, which share the key-value head. */
typedef struct {
    const float *queries[ROWS];
    int64_t count, from[ROWS], to[ROWS]; /* keys from .. to - 1 are visible to a row */
    int64_t least, most;                 /* and to any of them; sure_from .. sure_to - 1 to all, where there are such */
    int64_t sure_from, sure_to;
    float totals[ROWS];               /* what the probabilities in `out` are to be divided by */
} Rows;

static void cap_scores(Scratch *s, const Rows *rows, int64_t longest, float most)
{
    for (int64_t row = 0; row < rows->count; row++) {
        float *scores = s->scores + row * longest;
        for (int64_t j = rows->least / BLOCK * BLOCK; j < rows->most; j += 16)
            store16(scores + j, cap16(load16(scores + j), most));
    }
}

static void attend_quantised(const Run *run, const AttentionShape *how, Scratch *s, int64_t sequence, int64_t head,
    Rows *rows, int64_t longest)
{
    const int64_t padded = how->padded, parts = padded / HEAD_GROUP;
    for (int64_t row = 0; row < rows->count; row++) {
        for (int64_t part = 0; part < parts; part++) {
            const float *query = rows->queries[row] + part * HEAD_GROUP;
            int64_t count = how->head_dim - part * HEAD_GROUP;
            count = count < HEAD_GROUP ? count : HEAD_GROUP;
            float top = largest(query, count);
            int32_t sum = to_bytes(query, count, factor_to(127, top), s->queries + row * padded + part * HEAD_GROUP);
            s->scales[row * parts + part] = top / 127.0f * how->scale;
            s->sums[row * parts + part] = top / 127.0f * how->scale * (float)sum;
        }
    }
    for (int64_t block = rows->least / BLOCK; block * BLOCK < rows->most; block++) {
        const uint8_t *chunk = keys_at(run, how, sequence, block, head);
#define SCORE(count) score_tile(s, chunk, padded, row, s->scores + block * BLOCK, longest, count)
        EACH_TILE(rows->count, SCORE)
    }
    if (how->cap > 0)
        cap_scores(s, rows, longest, how->cap);
    for (int64_t row = 0; row < rows->count; row++) {
        /* Blocks that other rows of the item see and this one does not have no weight. */
        memset(s->steps + row * (longest / BLOCK), 0, 4 * (size_t)(longest / BLOCK));
        rows->totals[row] = weigh(run, how, s, sequence, head, row, longest, rows->from[row], rows->to[row]);
    }
    for (int64_t block = rows->least / BLOCK; block * BLOCK < rows->most; block++) {
        const uint8_t *chunk = values_at(run, how, sequence, block, head);
        for (int64_t row = 0; row < rows->count; row++)
            value_row(s, chunk, padded, row, block, longest);
    }
}

/* A slot of a block, `least` at the least. */
static int64_t within(int64_t slot, int64_t least)
{
    return slot < least ? least : slot > BLOCK ? BLOCK : slot;
}

static void attend_exact(const Run *run, const AttentionShape *how, Scratch *s, int64_t sequence, int64_t head,
    Rows *rows, int64_t longest)
{
    const int64_t first = rows->least / BLOCK * BLOCK;
    for (int64_t at = first; at < rows->most; at += BLOCK) {
        const uint8_t *keys = keys_at(run, how, sequence, at / BLOCK, head);
#define SCORE_EXACT(count)                                                                                             \
    score_exact(keys, rows->queries + row, how->head_dim, how->scale, s->scores + row * longest + at, longest, count)
        EACH_TILE(rows->count, SCORE_EXACT)
    }
    if (how->cap > 0)
        cap_scores(s, rows, longest, how->cap);
    for (int64_t row = 0; row < rows->count; row++)
        rows->totals[row] =
            weigh_exact(s->scores + row * longest + first, rows->from[row] - first, rows->to[row] - first, rows->most - first);
    for (int64_t at = first; at < rows->most; at += BLOCK) {
        const float *values = (const float *)values_at(run, how, sequence, at / BLOCK, head);
        const int64_t from = within(rows->least - at, 0), sure_from = within(rows->sure_from - at, from);
        const int64_t sure_to = within(rows->sure_to - at, sure_from);
        const Slots seen = {from, sure_from, sure_to, within(rows->most - at, sure_to)};
#define VALUE_EXACT(count)                                                                                             \
    value_exact(values, s->scores + row * longest + at, longest, seen, s->out + row * how->padded, how->padded, count)
        EACH_TILE(rows->count, VALUE_EXACT)
    }
}

static void attend_rows(const Run *run, const Step *step, Scratch *s, int64_t sequence, int64_t head,
    const int64_t *tokens, const int64_t *heads, int64_t count, int64_t longest)
{
    const AttentionShape *how = step->detail;
    const int64_t past = run->past[sequence], begin = run->begins[sequence];
    const int64_t length = past + (run->seen ? run->seen[sequence] : run->begins[sequence + 1] - begin);
    Rows rows = {.count = count, .least = length, .most = 0, .sure_from = 0, .sure_to = length};
    for (int64_t row = 0; row < count; row++) {
        rows.queries[row] = place(run, step->x, tokens[row]) + heads[row] * how->head_dim;
        int64_t at = past + tokens[row] - begin;
        int64_t from = how->window && at - how->window + 1 > 0 ? at - how->window + 1 : 0;
        int64_t to = how->causal ? at + 1 : how->window ? at + how->window : length;
        rows.to[row] = to = to < length ? to : length;
        rows.from[row] = from = from < to ? from : to - 1; /* behind all that is seen there is still its last token */
        rows.least = from < rows.least ? from : rows.least;
        rows.most = to > rows.most ? to : rows.most;
        rows.sure_from = from > rows.sure_from ? from : rows.sure_from;
        rows.sure_to = to < rows.sure_to ? to : rows.sure_to;
    }
    memset(s->out, 0, 4 * (size_t)(count * how->padded));
    if (how->exact)
        attend_exact(run, how, s, sequence, head, &rows, longest);
    else
        attend_quantised(run, how, s, sequence, head, &rows, longest);
    for (int64_t row = 0; row < count; row++) {
        float *y = place(run, step->to, tokens[row]) + heads[row] * how->head_dim;
        const float *out = s->out + row * how->padded;
        Floats by = all16(1.0f / rows.totals[row]);
        for (int64_t i = 0; i < how->head_dim; i += 16)
            store_some16(y + i, how->head_dim - i, mul16(by, load_some16(out + i, how->head_dim - i)));
    }
}

/* Tokens of one item: as many as fill ROWS with the query heads of one key-value head. */
static int64_t item_tokens(const AttentionShape *how)
{
    int64_t group = how->heads / how->kv_heads;
    return group >= ROWS ? 1 : ROWS / group;
}

static int64_t sequence_items(const Run *run, const AttentionShape *how, int64_t sequence)
{
    const int64_t each = item_tokens(how), length = run->begins[sequence + 1] - run->begins[sequence];
    return (length + each - 1) / each * how->kv_heads;
}

int64_t attend_items(const Run *run, const Step *step)
{
    int64_t items = 0;
    for (int64_t sequence = 0; sequence < run->sequences; sequence++)
        items += sequence_items(run, step->detail, sequence);
    return items;
}

void attend_item(const Run *run, const Step *step, int thread, int64_t item, AttendPlace *at)
{
    const AttentionShape *how = step->detail;
    const int64_t group = how->heads / how->kv_heads, each = item_tokens(how);
    int64_t count = sequence_items(run, how, at->sequence);
    for (; item >= at->before + count; count = sequence_items(run, how, at->sequence)) {
        at->before += count;
        at->sequence++;
    }
    const int64_t sequence = at->sequence, begin = run->begins[sequence], end = run->begins[sequence + 1];
    /* The late tokens of a sequence see the most: they come first. */
    const int64_t tile = count / how->kv_heads - 1 - (item - at->before) / how->kv_heads;
    const int64_t head = (item - at->before) % how->kv_heads, first = begin + tile * each;
    const int64_t last = end < first + each ? end : first + each;
    const int64_t longest = (run->past[sequence] + end - begin + BLOCK - 1) / BLOCK * BLOCK;
    int64_t rows = 0, tokens[ROWS], heads[ROWS];
    Scratch scratch;
    lay_out(&scratch, run->scratch + run->scratch_bytes * thread, how->padded, longest);
    for (int64_t token = first; token < last; token++) {
        for (int64_t member = 0; member < group; member++) {
            tokens[rows] = token;
            heads[rows++] = head * group + member;
            if (rows == ROWS || (token == last - 1 && member == group - 1)) {
                attend_rows(run, step, &scratch, sequence, head, tokens, heads, rows, longest);
                rows = 0;
            }
        }
    }
}
