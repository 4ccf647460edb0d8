/* Activations in 8 bits, for the products that follow. */
#include "kernels.h"
#include "vector.h"

static inline __attribute__((always_inline)) void quantize_row(
    const float *row, int64_t width, int64_t inputs, Quantized to, int64_t token, const int group)
{
    const int64_t groups = inputs / group;
    for (int64_t g = 0; g < groups; g++) {
        Floats parts[GROUP / 16];
        Ints most = no_ints();
        for (int i = 0; i < group / 16; i++) {
            parts[i] = load_some16(row + g * group + i * 16, width - g * group - i * 16);
            most = larger_sizes(most, parts[i]);
        }
        float largest = largest_size(most), scale = largest / 127.0f, factor = factor_to(127, largest);
        Floats by = all16(factor);
        Ints sums = no_ints(), whole[GROUP / 16];
        for (int i = 0; i < group / 16; i++) {
            whole[i] = whole16(mul16(parts[i], by), factor > 0); /* else zeros, which a scale that is not finite makes NaN */
            store_signed(to.values + token * inputs + g * group + i * 16, whole[i]);
            sums = add_ints(sums, whole[i]);
        }
        int32_t sum = sum_ints(sums);
        to.scales[token * groups + g] = scale;
        if (group == GROUP) {
            to.offsets[token * groups + g] = -128 * sum;
        } else {
            int32_t second = sum_ints(whole[1]);
            to.offsets[(token * groups + g) * 2] = -128 * (sum - second);
            to.offsets[(token * groups + g) * 2 + 1] = -128 * second;
        }
        to.sums[token * groups + g] = (float)sum * scale;
    }
}

void quantize_rows(const float *x, int64_t stride, int64_t width, int64_t inputs, Quantized to, int64_t first,
    int64_t count)
{
    for (int64_t token = first; token < first + count; token++) {
        if (to.group == GROUP)
            quantize_row(x + token * stride, width, inputs, to, token, GROUP);
        else
            quantize_row(x + token * stride, width, inputs, to, token, GROUP_FOUR);
    }
}
