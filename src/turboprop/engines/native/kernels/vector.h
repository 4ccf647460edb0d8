/* 16 numbers at once: in one register of 512 bits, two of 256 or four of 128, or in C for any processor, which give the
   same bits. */
#ifndef TURBOPROP_VECTOR_H
#define TURBOPROP_VECTOR_H

#ifdef KERNELS_DOTPROD
#include <arm_neon.h>
#elif !defined(KERNELS_PLAIN)
#include <immintrin.h>
#endif
#include <math.h>
#include <stdint.h>
#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))

#ifdef KERNELS_AVX512
#include "vector_512.h"
#elif defined(KERNELS_DOTPROD)
#include "vector_128.h"
#elif defined(KERNELS_PLAIN)
#include "vector_plain.h"
#else
#include "vector_256.h"
#endif

#ifndef KERNELS_AVX512
/* The next 16 of `left` values, and `none` beyond. */
ALWAYS Floats load_some_or16(Floats none, const float *x, int64_t left)
{
    return choose16(none, load_some16(x, left), lanes(left));
}
/* The same of values that are there; 0 beyond. */
ALWAYS Floats some16(Floats x, int64_t left) { return left >= 16 ? x : choose16(zero16(), x, lanes(left)); }

/* The values from .. to - 1 of 16, which can all be read, and `none` beside them. */
ALWAYS Floats load_between16(Floats none, const float *x, int64_t from, int64_t to)
{
    return choose16(choose16(none, load16(x), lanes(to)), none, lanes(from));
}
#endif

#ifndef KERNELS_DOTPROD
/* Of each byte. */
ALWAYS Wholes upper_fours(Wholes x) { return both(down_words(x, 4), all_bytes(15)); }

/* Bytes without sign as dot() takes them, less FACTOR_LESS each. */
enum { FACTOR_LESS = 0 };
ALWAYS Wholes as_factor(Wholes x) { return x; }
#endif

/* The same four bytes in each number. */
ALWAYS Wholes spread(const void *four)
{
    int32_t word;
    memcpy(&word, four, 4);
    return all_wholes(word);
}

/* Asks for bytes that are wanted later, into the second cache. GCC 12 leaves a function out that does nothing else, unless
   it is always inlined. */
ALWAYS void ask_for(const uint8_t *at, int64_t bytes)
{
    for (int64_t line = 0; line < bytes; line += CACHE_LINE)
        __builtin_prefetch(at + line, 0, 2);
}

/* The larger sizes of two times 16 numbers, as whole numbers: a NaN is larger than all others and is kept. */
ALWAYS Ints larger_sizes(Ints most, Floats x)
{
    return max_ints(most, bits_of(abs16(x)));
}

/* What brings numbers of at most `largest` to at most `to`. 0 where float32 cannot hold it, which is so of numbers
   near the smallest ones, and where `largest` is not finite. */
ALWAYS float factor_to(float to, float largest)
{
    return largest > 1e-36f && largest < INFINITY ? to / largest : 0;
}

/* e^x within 2e-7 of its size: 2^n times the Taylor polynomial of degree 6 of the rest, which is within ln 2 / 2.
   Below -87.3, where the result is no normal number, 0. NaN stays NaN: minima and maxima give their second operand. */
ALWAYS Floats exp16(Floats from)
{
    Floats x = min16(all16(88.7f), from);
    Floats n = round16(mul16(x, all16(1.44269504f)));
    Floats r = fnma16(n, all16(0.693359375f), x);
    r = fnma16(n, all16(-2.12194440e-4f), r);
    Floats y = all16(1.0f / 720);
    y = fma16(y, r, all16(1.0f / 120));
    y = fma16(y, r, all16(1.0f / 24));
    y = fma16(y, r, all16(1.0f / 6));
    y = fma16(y, r, all16(0.5f));
    y = fma16(y, r, all16(1.0f));
    y = fma16(y, r, all16(1.0f));
    return times_power16(y, n, from, -87.3f);
}

ALWAYS Floats tanh16(Floats x)
{
    Floats e = exp16(add16(x, x)), one = all16(1);
    return sub16(one, div16(all16(2), add16(e, one)));
}

/* Near x where x is small, and never beyond `most`. */
ALWAYS Floats cap16(Floats x, float most)
{
    return mul16(tanh16(mul16(x, all16(1.0f / most))), all16(most));
}

/* Abramowitz and Stegun 7.1.26: within 1.5e-7. */
ALWAYS Floats erf16(Floats x)
{
    Floats a = abs16(x), one = all16(1);
    Floats t = div16(one, fma16(a, all16(0.3275911f), one));
    Floats p = all16(1.061405429f);
    p = fma16(p, t, all16(-1.453152027f));
    p = fma16(p, t, all16(1.421413741f));
    p = fma16(p, t, all16(-0.284496736f));
    p = fma16(p, t, all16(0.254829592f));
    Floats y = fnma16(mul16(p, t), exp16(sub16(zero16(), mul16(a, a))), one);
    return negative_where16(x, y);
}

#endif
