/* The steps that take one token at a time. */
#include "program.h"
#include "vector.h"

#include <math.h>
#include <string.h>

static void rms(const float *x, float *to, const float *weight, long width, float eps)
{
    __m512 squares = _mm512_setzero_ps();
    for (long i = 0; i < width; i += 16) {
        __m512 v = _mm512_maskz_loadu_ps(lanes(width - i), x + i);
        squares = _mm512_fmadd_ps(v, v, squares);
    }
    __m512 by = _mm512_set1_ps(1.0f / sqrtf(_mm512_reduce_add_ps(squares) / (float)width + eps));
    for (long i = 0; i < width; i += 16) {
        __mmask16 k = lanes(width - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(k, x + i), by);
        _mm512_mask_storeu_ps(to + i, k, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(k, weight + i)));
    }
}

static void layer(const float *x, float *to, const float *weight, const float *bias, long width, float eps)
{
    __m512 sum = _mm512_setzero_ps(), squares = sum;
    for (long i = 0; i < width; i += 16)
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(lanes(width - i), x + i));
    __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / (float)width);
    for (long i = 0; i < width; i += 16) {
        __mmask16 k = lanes(width - i);
        __m512 v = _mm512_maskz_sub_ps(k, _mm512_maskz_loadu_ps(k, x + i), mean);
        squares = _mm512_fmadd_ps(v, v, squares);
    }
    __m512 by = _mm512_set1_ps(1.0f / sqrtf(_mm512_reduce_add_ps(squares) / (float)width + eps));
    for (long i = 0; i < width; i += 16) {
        __mmask16 k = lanes(width - i);
        __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(k, x + i), mean), by);
        if (weight)
            v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(k, weight + i));
        if (bias)
            v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(k, bias + i));
        _mm512_mask_storeu_ps(to + i, k, v);
    }
}

static void turn_halves(const float *x, float *to, const float *cosines, const float *sines, long dims)
{
    const long half = dims / 2;
    for (long i = 0; i < half; i += 16) {
        __mmask16 k = lanes(half - i);
        __m512 a = _mm512_maskz_loadu_ps(k, x + i), b = _mm512_maskz_loadu_ps(k, x + half + i);
        __m512 c = _mm512_maskz_loadu_ps(k, cosines + i), s = _mm512_maskz_loadu_ps(k, sines + i);
        _mm512_mask_storeu_ps(to + i, k, _mm512_fnmadd_ps(b, s, _mm512_mul_ps(a, c)));
        _mm512_mask_storeu_ps(to + half + i, k, _mm512_fmadd_ps(a, s, _mm512_mul_ps(b, c)));
    }
}

static void turn_neighbours(const float *x, float *to, const float *cosines, const float *sines, long dims)
{
    for (long i = 0; i < dims / 2; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        to[2 * i] = a * cosines[i] - b * sines[i];
        to[2 * i + 1] = b * cosines[i] + a * sines[i];
    }
}

static void rope(const Run *run, const Step *step, const float *x, float *to, long token)
{
    const float *cosines = run->rotations[step->d] + token * step->b, *sines = cosines + step->b / 2;
    for (long head = 0; head < step->width; head += step->a) {
        if (step->c)
            turn_neighbours(x + head, to + head, cosines, sines, step->b);
        else
            turn_halves(x + head, to + head, cosines, sines, step->b);
        if (to != x && step->b < step->a)
            memcpy(to + head + step->b, x + head + step->b, sizeof *to * (size_t)(step->a - step->b));
    }
}

static inline __m512 function(__m512 x, int kind)
{
    const __m512 half = _mm512_set1_ps(0.5f), one = _mm512_set1_ps(1);
    switch (kind) {
    case GELU:
        return _mm512_mul_ps(_mm512_mul_ps(x, half), _mm512_add_ps(one, erf16(_mm512_mul_ps(x, _mm512_set1_ps(0.70710678f)))));
    case GELU_TANH: { /* Hendrycks and Gimpel 2016, arXiv 1606.08415 */
        __m512 cube = _mm512_mul_ps(_mm512_mul_ps(x, x), x);
        __m512 inner = _mm512_mul_ps(_mm512_fmadd_ps(cube, _mm512_set1_ps(0.044715f), x), _mm512_set1_ps(0.79788456f));
        return _mm512_mul_ps(_mm512_mul_ps(x, half), _mm512_add_ps(one, tanh16(inner)));
    }
    case SILU:
        return _mm512_div_ps(x, _mm512_add_ps(one, exp16(_mm512_sub_ps(_mm512_setzero_ps(), x))));
    case RELU:
        return _mm512_max_ps(_mm512_setzero_ps(), x);
    default:
        return tanh16(x);
    }
}

static void activate(const float *x, const float *y, float *to, long width, int kind)
{
    for (long i = 0; i < width; i += 16) {
        __mmask16 k = lanes(width - i);
        __m512 v = function(_mm512_maskz_loadu_ps(k, x + i), kind);
        if (y)
            v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(k, y + i));
        _mm512_mask_storeu_ps(to + i, k, v);
    }
}

static void combine(const float *x, const float *y, float *to, long width, int kind)
{
    for (long i = 0; i < width; i += 16) {
        __mmask16 k = lanes(width - i);
        __m512 a = _mm512_maskz_loadu_ps(k, x + i), b = _mm512_maskz_loadu_ps(k, y + i);
        _mm512_mask_storeu_ps(to + i, k, kind == STEP_ADD ? _mm512_add_ps(a, b) : _mm512_mul_ps(a, b));
    }
}

void row_step(const Run *run, const Step *step, long first, long count)
{
    for (long t = first; t < first + count; t++) {
        const float *x = place(run, step->x, t), *y = place(run, step->y, t);
        float *to = place(run, step->to, t);
        const long width = step->width;
        switch (step->kind) {
        case STEP_TOKENS:
            matrix_row(step->detail, run->ids[t], to, width);
            break;
        case STEP_TABLE: {
            long row = step->b ? (run->types ? run->types[t] : 0) : run->positions[t] + step->a;
            memcpy(to, step->weight + row * width, sizeof *to * (size_t)width);
            break;
        }
        case STEP_RMS:
            for (long part = 0; part < width; part += step->a)
                rms(x + part, to + part, step->weight, step->a, step->f);
            break;
        case STEP_LAYER:
            layer(x, to, step->weight, step->bias, width, step->f);
            break;
        case STEP_ROPE:
            rope(run, step, x, to, t);
            break;
        case STEP_ACTIVATE:
            activate(x, step->b ? y : NULL, to, width, step->a);
            break;
        case STEP_ADD:
            combine(x, step->weight ? step->weight : y, to, width, STEP_ADD);
            break;
        case STEP_MULTIPLY:
            combine(x, y, to, width, STEP_MULTIPLY);
            break;
        case STEP_SCALE:
            for (long i = 0; i < width; i++)
                to[i] = x[i] * step->f;
            break;
        case STEP_PICK:
            memcpy(to, place(run, step->x, run->rows[t]), sizeof *to * (size_t)width);
            break;
        }
    }
}
