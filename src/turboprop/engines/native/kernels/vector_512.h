/* vector.h in registers of 512 bits. */

typedef __m512 Floats;
typedef __m512i Ints;

/* The lanes of the next 16 of `left` values. */
ALWAYS __mmask16 lanes(int64_t left)
{
    return left >= 16 ? 0xffff : left > 0 ? (__mmask16)((1u << left) - 1) : 0;
}

ALWAYS Floats zero16(void) { return _mm512_setzero_ps(); }
ALWAYS Floats all16(float x) { return _mm512_set1_ps(x); }
ALWAYS Floats load16(const void *x) { return _mm512_loadu_ps(x); }
ALWAYS void store16(float *to, Floats x) { _mm512_storeu_ps(to, x); }

/* The next 16 of `left` values; 0, or `none`, beyond. */
ALWAYS Floats load_some16(const float *x, int64_t left) { return _mm512_maskz_loadu_ps(lanes(left), x); }
ALWAYS Floats load_some_or16(Floats none, const float *x, int64_t left)
{
    return _mm512_mask_loadu_ps(none, lanes(left), x);
}
ALWAYS void store_some16(float *to, int64_t left, Floats x) { _mm512_mask_storeu_ps(to, lanes(left), x); }
ALWAYS Floats some16(Floats x, int64_t left) { return _mm512_maskz_mov_ps(lanes(left), x); }

/* The values from .. to - 1 of 16, which can all be read, and `none` beside them. */
ALWAYS Floats load_between16(Floats none, const float *x, int64_t from, int64_t to)
{
    __mmask16 k = lanes(to);
    if (from > 0)
        k = from >= 16 ? 0 : (__mmask16)(k & (0xffffu << from));
    return _mm512_mask_loadu_ps(none, k, x);
}

ALWAYS Floats add16(Floats a, Floats b) { return _mm512_add_ps(a, b); }
ALWAYS Floats sub16(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
ALWAYS Floats mul16(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
ALWAYS Floats div16(Floats a, Floats b) { return _mm512_div_ps(a, b); }
ALWAYS Floats fma16(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
/* c - a * b */
ALWAYS Floats fnma16(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); }
ALWAYS Floats min16(Floats a, Floats b) { return _mm512_min_ps(a, b); }
ALWAYS Floats max16(Floats a, Floats b) { return _mm512_max_ps(a, b); }
ALWAYS Floats abs16(Floats x) { return _mm512_abs_ps(x); }
ALWAYS Floats round16(Floats x) { return _mm512_roundscale_ps(x, 8); }

ALWAYS float sum16(Floats x) { return _mm512_reduce_add_ps(x); }
ALWAYS float least16(Floats x) { return _mm512_reduce_min_ps(x); }
ALWAYS float most16(Floats x) { return _mm512_reduce_max_ps(x); }

/* y * 2^n; 0 where x < least. */
ALWAYS Floats times_power16(Floats y, Floats n, Floats x, float least)
{
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(least), _CMP_NLT_UQ), y, n);
}

/* -y where x < 0, else y. */
ALWAYS Floats negative_where16(Floats x, Floats y)
{
    return _mm512_mask_sub_ps(y, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), _mm512_setzero_ps(), y);
}

/* Numbers from memory where x is not 0, else 0. */
ALWAYS Floats load_where16(Floats x, const float *from)
{
    return _mm512_maskz_loadu_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NEQ_UQ), from);
}

ALWAYS Ints no_ints(void) { return _mm512_setzero_si512(); }
ALWAYS Ints bits_of(Floats x) { return _mm512_castps_si512(x); }
ALWAYS Ints max_ints(Ints a, Ints b) { return _mm512_max_epi32(a, b); }
ALWAYS Ints add_ints(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
ALWAYS int32_t sum_ints(Ints x) { return _mm512_reduce_add_epi32(x); }
/* Rounded; 0 unless `wanted`. */
ALWAYS Ints whole16(Floats x, int wanted) { return _mm512_maskz_cvtps_epi32(wanted ? 0xffff : 0, x); }

/* The largest of larger_sizes(). */
ALWAYS float largest_size(Ints most)
{
    return _mm512_cvtss_f32(_mm512_castsi512_ps(_mm512_set1_epi32(_mm512_reduce_max_epi32(most))));
}

/* In 8 bits, with and without sign; what is beyond becomes the outermost. */
ALWAYS void store_signed(int8_t *to, Ints x) { _mm_storeu_si128((__m128i *)to, _mm512_cvtsepi32_epi8(x)); }
ALWAYS void store_unsigned(uint8_t *to, Ints x) { _mm_storeu_si128((__m128i *)to, _mm512_cvtusepi32_epi8(x)); }
/* Numbers of 10 bits: the upper 8 and the lower 2. */
ALWAYS void store_ten(uint8_t *high, uint8_t *low, Ints x)
{
    store_unsigned(high, _mm512_srli_epi32(x, 2));
    _mm_storeu_si128((__m128i *)low, _mm512_cvtepi32_epi8(_mm512_and_si512(x, _mm512_set1_epi32(3))));
}

/* One register, of WIDTH numbers: products keep as many of these as there are. */
enum { WIDTH = 16 };
typedef __m512 Reals;
typedef __m512i Wholes;

ALWAYS Reals no_reals(void) { return _mm512_setzero_ps(); }
ALWAYS Reals all_reals(float x) { return _mm512_set1_ps(x); }
ALWAYS Reals load_reals(const void *from) { return _mm512_loadu_ps(from); }
ALWAYS void store_reals(float *to, Reals x) { _mm512_storeu_ps(to, x); }
ALWAYS Reals load_some_reals(const float *from, int64_t left) { return _mm512_maskz_loadu_ps(lanes(left), from); }
ALWAYS void store_some_reals(float *to, int64_t left, Reals x) { _mm512_mask_storeu_ps(to, lanes(left), x); }
ALWAYS Reals add_reals(Reals x, Reals y) { return _mm512_add_ps(x, y); }
ALWAYS Reals times(Reals x, Reals y) { return _mm512_mul_ps(x, y); }
ALWAYS Reals times_plus(Reals x, Reals y, Reals z) { return _mm512_fmadd_ps(x, y, z); }
ALWAYS Reals reals_of(Wholes x) { return _mm512_cvtepi32_ps(x); }
/* Numbers from memory: float16, bfloat16, and signed bytes. */
ALWAYS Reals halves_at(const uint8_t *from) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from)); }
ALWAYS Reals brains_at(const uint8_t *from)
{
    __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
}
ALWAYS Reals signed_at(const uint8_t *from)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from)));
}

ALWAYS Wholes no_wholes(void) { return _mm512_setzero_si512(); }
ALWAYS Wholes all_wholes(int32_t x) { return _mm512_set1_epi32(x); }
ALWAYS Wholes load_wholes(const void *from) { return _mm512_loadu_si512(from); }
ALWAYS Wholes bytes_at(const uint8_t *from) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)from)); }
ALWAYS Wholes add_wholes(Wholes x, Wholes y) { return _mm512_add_epi32(x, y); }
ALWAYS Wholes up_wholes(Wholes x, int by) { return _mm512_slli_epi32(x, (unsigned)by); }
ALWAYS Wholes down_wholes(Wholes x, int by) { return _mm512_srai_epi32(x, (unsigned)by); }
/* As bytes, four to a number; shifts are of words. */
ALWAYS Wholes all_bytes(int x) { return _mm512_set1_epi8((char)x); }
ALWAYS Wholes both(Wholes x, Wholes y) { return _mm512_and_si512(x, y); }
ALWAYS Wholes up_words(Wholes x, int by) { return (Wholes)((__v32hu)x << by); }
ALWAYS Wholes down_words(Wholes x, int by) { return (Wholes)((__v32hu)x >> by); }
/* x | y & mask */
ALWAYS Wholes or_masked(Wholes x, Wholes y, Wholes mask) { return _mm512_ternarylogic_epi64(x, y, mask, 0xf8); }

/* Adds the products of unsigned and signed bytes. */
ALWAYS Wholes dot(Wholes sum, Wholes x, Wholes y) { return _mm512_dpbusd_epi32(sum, x, y); }
