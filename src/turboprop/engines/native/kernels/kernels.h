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
    /* Raised whenever weights are laid out in another way: whoever lays them out has the same number. */
    LAYOUT_VERSION = 4,
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

typedef enum {
    EIGHT_BITS = 0,
    FOUR_BITS = 1,
    SUPER_FOUR = 2,
    SUPER_FIVE = 3,
    SUPER_SIX = 4,
    FLOAT32 = 5, /* the activations of this and of the next two are float32 */
    FLOAT16 = 6,
    BFLOAT16 = 7, /* the upper half of a float32 */
} WeightKind;

/* A matrix in panels of 2 * LANES outputs; both extents padded with zeros. A panel has two sides of LANES outputs, whose
   lines of 64 bytes take turns, in the order in which a product reads them: then the processor fetches them ahead by
   itself. One core reads Q4_K at 0.96 of the speed of a plain loop over memory so. With a side after the other it were
   0.5, and 0.8 with prefetching.
   EIGHT_BITS: for GROUP inputs a line of LANES float32 scales, then lines of [LANES][4] bytes, each weight + 128;
   FOUR_BITS: for GROUP_FOUR inputs a line of LANES float16 scales and LANES float16 minima, then lines of [LANES][4]
   bytes, inputs 0-3 of each 8 in the low halves and 4-7 in the high ones: a weight is value * scale + minimum;
   SUPER_FOUR, _FIVE, _SIX (Q4_K, Q5_K, Q6_K): for SUPER inputs a head for each side, then eight parts of GROUP_FOUR
   inputs. A part has lines of four bits as above. For the 5th bit a line of [LANES][4] bytes precedes them, where bit n
   is that of the inputs 4n to 4n + 3; for the 5th and 6th one precedes those of each 16 inputs, two bits each. The head
   has the scales and minima of the groups of 32, 6 bits each, those of two groups in [3][LANES] bytes: scale, minimum,
   scale, and the second minimum in the upper bits, the lowest first; then LANES float16 each that scales and minima are
   multiplied with. That of SIX has the signed scales of the groups of 16 as [16][LANES] bytes and LANES float16: a
   weight is (value - 32) * scale. So weights take as many bits as in the file: 4.5, 5.5 and 6.5625.
   FLOAT32, FLOAT16, BFLOAT16: for each input the weights of all 2 * LANES outputs. */
typedef struct {
    const uint8_t *panels;
    const float *bias;   /* [outputs] or NULL */
    float factor;        /* of all weights: it brings the float16 scales into their range */
    int32_t inputs;      /* padded to GROUP; of floats as the model has them */
    int32_t outputs;     /* as the model has them */
    int32_t kind;
} Matrix;

size_t panel_bytes(int kind, int64_t inputs);
void quantize_rows(const float *x, int64_t stride, int64_t width, int64_t inputs, Quantized to, int64_t first,
    int64_t count);
/* One item of a product: a panel times the tokens first .. first + count - 1. With `add` the product is added to what y
   holds. */
void product_item(const Matrix *matrix, Quantized x, float *y, int64_t stride, int64_t panel, int64_t first,
    int64_t count, int add);
/* The same in float32, of weights of FLOAT32 and after it; rows of x are x_stride apart. */
void float_item(const Matrix *matrix, const float *x, int64_t x_stride, float *y, int64_t stride, int64_t panel,
    int64_t first, int64_t count, int add);
void matrix_row(const Matrix *matrix, int64_t row, float *to, int64_t width);

#endif
