/* Matrix products in float32, of weights of 32 or 16 bits.

   An output is a sum of sums: of CHAIN inputs each, whose products are added in their order, each with one rounding.
   Every set of instructions does the same operations in this order, so all give the same bits, and weights of 16 bits
   the bits of the same in 32. A sum that is begun anew loses less than one of all inputs.

   A tile is 2 columns, a register of outputs each, by as many tokens as there are registers for their sums: 8 of 512 bits
   (16 of 32), 6 of 256 (12 of 16). Where a register has 4 outputs it is 4 columns by 5 tokens. */
#include "columns.h"
#include "panels.h"

#ifdef KERNELS_AVX512
#define TILE 8
#elif defined(KERNELS_AVX2) || defined(KERNELS_AVXVNNI)
#define TILE 6
#elif defined(KERNELS_PLAIN)
#define TILE 2
#else
#define TILE 5
#endif
enum { CHAIN = 256 };

/* The weights of a register of outputs. */
ALWAYS Reals floats_at(const uint8_t *from, const int kind)
{
    return kind == FLOAT32 ? load_reals(from) : kind == FLOAT16 ? halves_at(from) : brains_at(from);
}

ALWAYS void tile(const Matrix *matrix, const float *x, int64_t x_stride, float *y, int64_t stride, int64_t panel,
    int64_t side, int add, const int rows, const int columns, const int kind)
{
    const int64_t each = kind == FLOAT32 ? 4 : 2, inputs = matrix->inputs, output = (2 * panel + side) * LANES;
    const int64_t left = matrix->outputs - output;
    const uint8_t *w = matrix->panels + (size_t)panel * panel_bytes(kind, inputs) + side * LANES * each;
    const float *bias = matrix->bias;
    Reals b[MOST], f[TILE][MOST];
    for (int m = 0; m < rows; m++)
        EACH_COLUMN(f[m][c] = no_reals());
    for (int64_t first = 0; first < inputs; first += CHAIN) {
        const int64_t end = first + CHAIN < inputs ? first + CHAIN : inputs;
        Reals sums[TILE][MOST];
        for (int m = 0; m < rows; m++)
            EACH_COLUMN(sums[m][c] = no_reals());
        for (int64_t k = first; k < end; k++, w += 2 * LANES * each) {
            EACH_COLUMN(b[c] = floats_at(w + c * WIDTH * each, kind));
            for (int m = 0; m < rows; m++) {
                Reals one = all_reals(x[m * x_stride + k]);
                EACH_COLUMN(sums[m][c] = times_plus(b[c], one, sums[m][c]));
            }
        }
        for (int m = 0; m < rows; m++)
            EACH_COLUMN(f[m][c] = add_reals(f[m][c], sums[m][c]));
    }
    EACH_COLUMN(b[c] = bias ? load_some_reals(bias + output + c * WIDTH, left - c * WIDTH) : no_reals());
    for (int m = 0; m < rows; m++) {
        float *to = y + m * stride + output;
        EACH_COLUMN(f[m][c] = add_reals(f[m][c], b[c]));
        if (add)
            EACH_COLUMN(f[m][c] = add_reals(f[m][c], load_some_reals(to + c * WIDTH, left - c * WIDTH)));
        EACH_COLUMN(store_some_reals(to + c * WIDTH, left - c * WIDTH, f[m][c]));
    }
}

ALWAYS void tiles(const Matrix *matrix, const float *x, int64_t x_stride, float *y, int64_t stride, int64_t panel,
    int64_t side, int64_t count, int add, const int kind)
{
#define ROWS(rows) tile(matrix, x, x_stride, y, stride, panel, side, add, rows, COLUMNS, kind)
    for (; count > 0; count -= TILE, x += TILE * x_stride, y += TILE * stride) {
        switch (count) {
        case 1: ROWS(1); break;
#if TILE > 2
        case 2: ROWS(2); break;
        case 3: ROWS(3); break;
        case 4: ROWS(4); break;
#endif
#if TILE > 5
        case 5: ROWS(5); break;
#endif
#if TILE > 6
        case 6: ROWS(6); break;
        case 7: ROWS(7); break;
#endif
        default: ROWS(TILE); break;
        }
    }
#undef ROWS
}

ALWAYS void item(const Matrix *matrix, const float *x, int64_t x_stride, float *y, int64_t stride, int64_t panel,
    int64_t count, int add, const int kind)
{
    if (MOST > 2 && count == 1)
        tile(matrix, x, x_stride, y, stride, panel, 0, add, 1, MOST, kind);
    else
        for (int64_t side = 0; side < 2; side += COLUMNS * WIDTH / LANES)
            tiles(matrix, x, x_stride, y, stride, panel, side, count, add, kind);
}

void float_item(const Matrix *matrix, const float *x, int64_t x_stride, float *y, int64_t stride, int64_t panel,
    int64_t first, int64_t count, int add)
{
    x += first * x_stride;
    y += first * stride;
    if (matrix->kind == FLOAT32)
        item(matrix, x, x_stride, y, stride, panel, count, add, FLOAT32);
    else if (matrix->kind == FLOAT16)
        item(matrix, x, x_stride, y, stride, panel, count, add, FLOAT16);
    else
        item(matrix, x, x_stride, y, stride, panel, count, add, BFLOAT16);
}
