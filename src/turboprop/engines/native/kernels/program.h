/* A model as a list of steps over rows of float32, and what one run of it is given. */
#ifndef TURBOPROP_PROGRAM_H
#define TURBOPROP_PROGRAM_H

#include "kernels.h"

typedef enum {
    STEP_TOKENS,    /* to = rows of `matrix` for the ids */
    STEP_TABLE,     /* to = rows of `weight` for position + a, or with b for the type of the token */
    STEP_QUANTIZE,  /* x in 8 bits, a inputs wide, b inputs to a scale, for the products that follow */
    STEP_PRODUCT,   /* to = the quantised rows (b as there), or x in float32, times `matrix`; with a added to what is there */
    STEP_RMS,       /* to = x / rms(x) * weight, over each a features */
    STEP_LAYER,     /* to = (x - mean) / deviation * weight + bias */
    STEP_ROPE,      /* to = x turned by rotation d: heads of a features, the first b turn; c: neighbours, not halves */
    STEP_STORE,     /* keys x and values y into the cache of `attention` */
    STEP_ATTEND,    /* to = attention of the queries x */
    STEP_ACTIVATE,  /* to = function a of x, with b times y */
    STEP_ADD,       /* to = x + y, or x + weight */
    STEP_MULTIPLY,  /* to = x * y */
    STEP_SCALE,     /* to = x * f */
    STEP_PICK,      /* to = the rows asked for of x */
    STEP_CAP,       /* to = f * tanh(x / f) */
    STEP_ROUTE,     /* to = the Routing of logits x: the b likeliest of a experts; c: 1 shares add up to 1, 2 a sigmoid each */
    STEP_GATHER,    /* to = the rows of x in the order of the Routing y (a, b as there) */
    STEP_EXPERTS,   /* to = those rows, quantised (c inputs to a scale) or x in float32, times the expert's of the matrices */
    STEP_COMBINE,   /* to = the sum of the rows x of a token, each times its share */
} StepKind;

typedef enum { GELU, GELU_TANH, SILU, RELU, TANH } Function;

/* Token t of a value lies at arena + base * capacity + t * stride + column; where base is negative, in the output. */
typedef struct {
    int64_t base;
    int32_t stride, column;
} Place;

typedef struct {
    int32_t heads, kv_heads, head_dim, padded;  /* padded to whole HEAD_GROUPs */
    int32_t causal, window;                     /* window 0: all */
    float scale, cap;                           /* cap 0: none */
    int32_t layer, exact;                       /* exact: keys and values are kept in float32 */
} AttentionShape;

typedef struct {
    int32_t kind, picked;  /* picked: over the rows asked for, not over all tokens */
    int32_t rows;          /* of each of them */
    Place x, y, to;
    int32_t width, a, b, c, d;
    float f;
    const float *weight, *bias;
    const void *detail;    /* a Matrix, one for each expert, or an AttentionShape */
} Step;

typedef struct {
    const Step *steps;
    int64_t count;
    float *arena, *output;
    int64_t capacity;            /* tokens that the arena holds */
    Quantized quantized;
    uint8_t *const *caches;      /* one for each layer, of cache_blocks blocks */
    int64_t cache_blocks;
    const float *const *rotations;  /* cosines and sines [tokens][2][dims / 2], one table for each kind */
    uint8_t *scratch;            /* scratch_bytes for each thread */
    int64_t scratch_bytes;
    const int32_t *ids, *positions, *types;
    const int32_t *begins, *past, *blocks, *block_begins, *rows;
    const int32_t *seen;         /* [sequences] tokens of each that others see, the first ones; NULL: all */
    int64_t tokens, sequences, picked;
    void *counters;              /* structure_sizes tells how many bytes a step */
    const volatile int *stop;
    Team *team;
} Run;

size_t attention_scratch_bytes(int64_t padded, int64_t longest);
size_t cache_chunk_bytes(int64_t padded, int exact);
void store_rows(const Run *run, const Step *step, int64_t first, int64_t count);
/* The sequence that a thread's last item was of, and the items of those before it. */
typedef struct {
    int64_t sequence, before;
} AttendPlace;
int64_t attend_items(const Run *run, const Step *step);
/* The items of one thread must come in their order. */
void attend_item(const Run *run, const Step *step, int thread, int64_t item, AttendPlace *at);
void row_step(const Run *run, const Step *step, int64_t first, int64_t count);

static inline float *place(const Run *run, Place at, int64_t token)
{
    float *begin = at.base < 0 ? run->output : run->arena + at.base * run->capacity;
    return begin + token * at.stride + at.column;
}

/* Which experts a run's tokens take. Rows are a token and one of its experts, sorted by expert, then by token. */
typedef struct {
    int32_t *active, *experts;  /* how many experts have rows, and which */
    int32_t *begins;            /* [experts + 1]: their first rows */
    int32_t *tokens;            /* [rows]: the token of a row */
    int32_t *places;            /* [tokens][top]: the row of a token and of its next likely expert */
    float *shares;              /* the same: what it counts with */
} Routing;

static inline Routing routing(const Run *run, Place at, int64_t experts, int64_t top)
{
    Routing found = {.active = (int32_t *)place(run, at, 0)};
    found.experts = found.active + 1;
    found.begins = found.experts + experts;
    found.tokens = found.begins + experts + 1;
    found.places = found.tokens + run->tokens * top;
    found.shares = (float *)(found.places + run->tokens * top);
    return found;
}

enum { MOST_EXPERTS = 4096 };
void route(const Run *run, const Step *step);

#endif
