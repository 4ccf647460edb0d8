/* The steps that take one token at a time. */
#include "program.h"
#include "vector.h"

#include <math.h>
#include <string.h>

static void rms(const float *x, float *to, const float *weight, int64_t width, float eps)
{
    Floats squares = zero16();
    for (int64_t i = 0; i < width; i += 16) {
        Floats v = load_some16(x + i, width - i);
        squares = fma16(v, v, squares);
    }
    Floats by = all16(1.0f / sqrtf(sum16(squares) / (float)width + eps));
    for (int64_t i = 0; i < width; i += 16) {
        Floats v = mul16(load_some16(x + i, width - i), by);
        store_some16(to + i, width - i, mul16(v, load_some16(weight + i, width - i)));
    }
}

static void layer(const float *x, float *to, const float *weight, const float *bias, int64_t width, float eps)
{
    Floats sum = zero16(), squares = sum;
    for (int64_t i = 0; i < width; i += 16)
        sum = add16(sum, load_some16(x + i, width - i));
    Floats mean = all16(sum16(sum) / (float)width);
    for (int64_t i = 0; i < width; i += 16) {
        Floats v = some16(sub16(load_some16(x + i, width - i), mean), width - i);
        squares = fma16(v, v, squares);
    }
    Floats by = all16(1.0f / sqrtf(sum16(squares) / (float)width + eps));
    for (int64_t i = 0; i < width; i += 16) {
        Floats v = mul16(sub16(load_some16(x + i, width - i), mean), by);
        if (weight)
            v = mul16(v, load_some16(weight + i, width - i));
        if (bias)
            v = add16(v, load_some16(bias + i, width - i));
        store_some16(to + i, width - i, v);
    }
}

static void turn_halves(const float *x, float *to, const float *cosines, const float *sines, int64_t dims)
{
    const int64_t half = dims / 2;
    for (int64_t i = 0; i < half; i += 16) {
        const int64_t left = half - i;
        Floats a = load_some16(x + i, left), b = load_some16(x + half + i, left);
        Floats c = load_some16(cosines + i, left), s = load_some16(sines + i, left);
        store_some16(to + i, left, fnma16(b, s, mul16(a, c)));
        store_some16(to + half + i, left, fma16(a, s, mul16(b, c)));
    }
}

static void turn_neighbours(const float *x, float *to, const float *cosines, const float *sines, int64_t dims)
{
    for (int64_t i = 0; i < dims / 2; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        to[2 * i] = a * cosines[i] - b * sines[i];
        to[2 * i + 1] = b * cosines[i] + a * sines[i];
    }
}

static void rope(const Run *run, const Step *step, const float *x, float *to, int64_t token)
{
    const float *cosines = run->rotations[step->d] + token * step->b, *sines = cosines + step->b / 2;
    for (int64_t head = 0; head < step->width; head += step->a) {
        if (step->c)
            turn_neighbours(x + head, to + head, cosines, sines, step->b);
        else
            turn_halves(x + head, to + head, cosines, sines, step->b);
        if (to != x && step->b < step->a)
            memcpy(to + head + step->b, x + head + step->b, sizeof *to * (size_t)(step->a - step->b));
    }
}

static inline Floats function(Floats x, int kind)
{
    const Floats half = all16(0.5f), one = all16(1);
    switch (kind) {
    case GELU:
        return mul16(mul16(x, half), add16(one, erf16(mul16(x, all16(0.70710678f)))));
    case GELU_TANH: { /* Hendrycks and Gimpel 2016, arXiv 1606.08415 */
        Floats cube = mul16(mul16(x, x), x);
        Floats inner = mul16(fma16(cube, all16(0.044715f), x), all16(0.79788456f));
        return mul16(mul16(x, half), add16(one, tanh16(inner)));
    }
    case SILU:
        return div16(x, add16(one, exp16(sub16(zero16(), x))));
    case RELU:
        return max16(zero16(), x);
    default:
        return tanh16(x);
    }
}

static void activate(const float *x, const float *y, float *to, int64_t width, int kind)
{
    for (int64_t i = 0; i < width; i += 16) {
        Floats v = function(load_some16(x + i, width - i), kind);
        if (y)
            v = mul16(v, load_some16(y + i, width - i));
        store_some16(to + i, width - i, v);
    }
}

static void combine(const float *x, const float *y, float *to, int64_t width, int kind)
{
    for (int64_t i = 0; i < width; i += 16) {
        Floats a = load_some16(x + i, width - i), b = load_some16(y + i, width - i);
        store_some16(to + i, width - i, kind == STEP_ADD ? add16(a, b) : mul16(a, b));
    }
}

static void cap(const float *x, float *to, int64_t width, float most)
{
    for (int64_t i = 0; i < width; i += 16)
        store_some16(to + i, width - i, cap16(load_some16(x + i, width - i), most));
}

static void sum_rows(const Run *run, const Step *step, float *to, int64_t token)
{
    const Routing from = routing(run, step->y, step->a, step->b);
    const int32_t *rows = from.places + token * step->b;
    const float *shares = from.shares + token * step->b;
    for (int64_t i = 0; i < step->width; i += 16) {
        const int64_t left = step->width - i;
        Floats sum = zero16();
        for (int64_t slot = 0; slot < step->b; slot++)
            sum = fma16(load_some16(place(run, step->x, rows[slot]) + i, left), all16(shares[slot]), sum);
        store_some16(to + i, left, sum);
    }
}

void row_step(const Run *run, const Step *step, int64_t first, int64_t count)
{
    for (int64_t t = first; t < first + count; t++) {
        const float *x = place(run, step->x, t), *y = place(run, step->y, t);
        float *to = place(run, step->to, t);
        const int64_t width = step->width;
        switch (step->kind) {
        case STEP_TOKENS:
            matrix_row(step->detail, run->ids[t], to, width);
            break;
        case STEP_TABLE: {
            int64_t row = step->b ? (run->types ? run->types[t] : 0) : run->positions[t] + step->a;
            memcpy(to, step->weight + row * width, sizeof *to * (size_t)width);
            break;
        }
        case STEP_RMS:
            for (int64_t part = 0; part < width; part += step->a)
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
            for (int64_t i = 0; i < width; i++)
                to[i] = x[i] * step->f;
            break;
        case STEP_CAP:
            cap(x, to, width, step->f);
            break;
        case STEP_GATHER:
            memcpy(to, place(run, step->x, routing(run, step->y, step->a, step->b).tokens[t]), sizeof *to * (size_t)width);
            break;
        case STEP_COMBINE:
            sum_rows(run, step, to, t);
            break;
        case STEP_PICK:
            memcpy(to, place(run, step->x, run->rows[t]), sizeof *to * (size_t)width);
            break;
        }
    }
}
