/* Shared declarations of the CPU kernels. program.c says how a model is described and run. */
#ifndef TURBOPROP_KERNELS_H
#define TURBOPROP_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum {
    LANES = 16,          /* outputs of a panel: one 512-bit register of 32-bit sums, or two of 256 */
    GROUP = 128,         /* inputs that share a scale of the activations, and of int8 weights */
    GROUP_FOUR = 32,     /* inputs that share a scale and a minimum of 4-bit weights */
    HALF = 16,           /* inputs that share a scale of 6-bit weights */
    SUPER = 256,         /* inputs of a block of ggml's K types: their scales are integers times one float16 */
    BLOCK = 32,          /* tokens of a block of the key-value cache */
    HEAD_GROUP = 32,     /* features of a head that share a scale, in queries and keys */
    CACHE_LINE = 64,
};

/* Threads that help with runs, one run at a time. */
typedef struct Team Team;
Team *team_new(int threads);
void team_free(Team *team);
/* Calls work(context, thread, threads) here as thread 0, and on those helpers that come while it lasts; returns when
   all that came are done. */
void team_run(Team *team, void (*work)(void *context, int thread, int threads), void *context);
/* Passes a moment of waiting; `*turns` begins at 0. */
void wait_turn(int *turns);

/* Activations in 8 bits; rows are padded with zeros to whole GROUPs. A scale for each GROUP_FOUR inputs is more exact,
   and costs nothing where the weights' scales change as often. */
typedef struct {
    int8_t *values;      /* [tokens][inputs] */
    float *scales;       /* [tokens][inputs / group] */
    int32_t *offsets;    /* the same, for each half of a GROUP_FOUR: -128 * the sum of the values, for weights
                            that are stored + 128 or + 32 */
    float *sums;         /* the same: the sum of what the values stand for, for weights with a minimum */
    int64_t group;       /* inputs that share a scale: GROUP, or GROUP_FOUR */
} Quantized;

typedef enum { EIGHT_BITS = 0, FOUR_BITS = 1, SUPER_FOUR = 2, SUPER_FIVE = 3, SUPER_SIX = 4 } WeightKind;

/* A matrix in panels of LANES outputs; both extents padded with zeros. A panel is one stream of groups:
   EIGHT_BITS: GROUP inputs as [GROUP / 4][LANES][4] bytes, each weight + 128, then LANES float32 scales;
   FOUR_BITS: GROUP_FOUR inputs as [GROUP_FOUR / 8][LANES][4] bytes, inputs 0-3 of each 8 in the low halves and 4-7 in
   the high ones, then LANES float16 scales, then LANES float16 minima: a weight is value * scale + minimum;
   SUPER_FOUR, _FIVE, _SIX (Q4_K, Q5_K, Q6_K): SUPER inputs. Eight parts of GROUP_FOUR inputs: four bits as above, then
   for the 5th bit [LANES][4] bytes, where bit n is that of the inputs 4n to 4n + 3, and for the 5th and 6th twice as
   many, two bits each. Then the scales of the groups of 32 as [8][LANES] bytes, their minima as [8][LANES] bytes, and
   LANES float16 each that scales and minima are multiplied with; of SIX the signed scales of the groups of 16 as
   [16][LANES] bytes, LANES float16, and LANES unused: a weight is (value - 32) * scale. */
typedef struct {
    const uint8_t *panels;
    const float *bias;   /* [outputs] or NULL */
    float factor;        /* of all weights: it brings the float16 scales into their range */
    int32_t inputs;      /* padded to GROUP */
    int32_t outputs;     /* as the model has them; panels are padded to an even number */
    int32_t kind;
} Matrix;

size_t panel_bytes(int kind, long inputs);
void quantize_rows(const float *x, long stride, long width, long inputs, Quantized to, long first, long count);
/* One item of a product: the panels `pair` and `pair` + 1 times the tokens first .. first + count - 1. With `add` the
   product is added to what y holds. */
void product_item(const Matrix *matrix, Quantized x, float *y, long stride, long pair, long first, long count, int add);
void matrix_row(const Matrix *matrix, long row, float *to, long width);

#endif
