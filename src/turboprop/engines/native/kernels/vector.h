/* Functions of 16 numbers at once. */
#ifndef TURBOPROP_VECTOR_H
#define TURBOPROP_VECTOR_H

#include <immintrin.h>
#include <math.h>

/* The lanes of the next 16 of `left` values. */
static inline __mmask16 lanes(long left)
{
    return left >= 16 ? 0xffff : left > 0 ? (__mmask16)((1u << left) - 1) : 0;
}

/* The larger sizes of two times 16 numbers, as whole numbers: a NaN is larger than all others and is kept. */
static inline __m512i larger_sizes(__m512i most, __m512 x)
{
    return _mm512_max_epi32(most, _mm512_castps_si512(_mm512_abs_ps(x)));
}

static inline float largest_size(__m512i most)
{
    return _mm512_cvtss_f32(_mm512_castsi512_ps(_mm512_set1_epi32(_mm512_reduce_max_epi32(most))));
}

/* What brings numbers of at most `largest` to at most `to`. 0 where float32 cannot hold it, which is so of numbers
   near the smallest ones, and where `largest` is not finite. */
static inline float factor_to(float to, float largest)
{
    return largest > 1e-36f && largest < INFINITY ? to / largest : 0;
}

/* e^x within 2e-7 of its size: 2^n times the Taylor polynomial of degree 6 of the rest, which is within ln 2 / 2.
   Below -87.3, where the result is no normal number, 0. NaN stays NaN: minima and maxima give their second operand. */
static inline __m512 exp16(__m512 x)
{
    __mmask16 normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.3f), _CMP_NLT_UQ);
    x = _mm512_min_ps(_mm512_set1_ps(88.7f), x);
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 8);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 y = _mm512_set1_ps(1.0f / 720);
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f / 120));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f / 24));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f / 6));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.5f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f));
    return _mm512_maskz_scalef_ps(normal, y, n);
}

static inline __m512 tanh16(__m512 x)
{
    __m512 e = exp16(_mm512_add_ps(x, x)), one = _mm512_set1_ps(1);
    return _mm512_sub_ps(one, _mm512_div_ps(_mm512_set1_ps(2), _mm512_add_ps(e, one)));
}

/* Abramowitz and Stegun 7.1.26: within 1.5e-7. */
static inline __m512 erf16(__m512 x)
{
    __m512 a = _mm512_abs_ps(x), one = _mm512_set1_ps(1);
    __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(a, _mm512_set1_ps(0.3275911f), one));
    __m512 p = _mm512_set1_ps(1.061405429f);
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-1.453152027f));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.421413741f));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.284496736f));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.254829592f));
    __m512 y = _mm512_fnmadd_ps(_mm512_mul_ps(p, t), exp16(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(a, a))), one);
    return _mm512_mask_sub_ps(y, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), _mm512_setzero_ps(), y);
}

#endif
