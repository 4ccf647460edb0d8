/* vector.h in pairs of registers of 256 bits. */

typedef struct {
    __m256 a, b;
} Floats;
typedef struct {
    __m256i a, b;
} Ints;

#define BOTH(type, a_, b_) ((type){a_, b_})

ALWAYS Floats zero16(void) { return BOTH(Floats, _mm256_setzero_ps(), _mm256_setzero_ps()); }
ALWAYS Floats all16(float x) { return BOTH(Floats, _mm256_set1_ps(x), _mm256_set1_ps(x)); }
ALWAYS Floats load16(const void *x)
{
    return BOTH(Floats, _mm256_loadu_ps(x), _mm256_loadu_ps((const float *)x + 8));
}
ALWAYS void store16(float *to, Floats x)
{
    _mm256_storeu_ps(to, x.a);
    _mm256_storeu_ps(to + 8, x.b);
}

/* All bits of those of the next 16 that are among `left`. */
ALWAYS Ints lanes(int64_t left)
{
    static const int32_t places[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    __m256i end = _mm256_set1_epi32(left > 16 ? 16 : left < 0 ? 0 : (int32_t)left);
    return BOTH(Ints, _mm256_cmpgt_epi32(end, _mm256_loadu_si256((const __m256i *)places)),
        _mm256_cmpgt_epi32(end, _mm256_loadu_si256((const __m256i *)(places + 8))));
}

ALWAYS Floats choose16(Floats no, Floats yes, Ints where)
{
    return BOTH(Floats, _mm256_blendv_ps(no.a, yes.a, _mm256_castsi256_ps(where.a)),
        _mm256_blendv_ps(no.b, yes.b, _mm256_castsi256_ps(where.b)));
}

/* The next 16 of `left` values; 0 beyond. */
ALWAYS Floats load_some16(const float *x, int64_t left)
{
    if (left >= 16)
        return load16(x);
    Ints k = lanes(left);
    return BOTH(Floats, _mm256_maskload_ps(x, k.a), _mm256_maskload_ps(x + 8, k.b));
}
ALWAYS void store_some16(float *to, int64_t left, Floats x)
{
    if (left >= 16) {
        store16(to, x);
        return;
    }
    Ints k = lanes(left);
    _mm256_maskstore_ps(to, k.a, x.a);
    _mm256_maskstore_ps(to + 8, k.b, x.b);
}

ALWAYS Floats add16(Floats x, Floats y) { return BOTH(Floats, _mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)); }
ALWAYS Floats sub16(Floats x, Floats y) { return BOTH(Floats, _mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)); }
ALWAYS Floats mul16(Floats x, Floats y) { return BOTH(Floats, _mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)); }
ALWAYS Floats div16(Floats x, Floats y) { return BOTH(Floats, _mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)); }
ALWAYS Floats fma16(Floats x, Floats y, Floats z)
{
    return BOTH(Floats, _mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b));
}
/* z - x * y */
ALWAYS Floats fnma16(Floats x, Floats y, Floats z)
{
    return BOTH(Floats, _mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b));
}
ALWAYS Floats min16(Floats x, Floats y) { return BOTH(Floats, _mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)); }
ALWAYS Floats max16(Floats x, Floats y) { return BOTH(Floats, _mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)); }
ALWAYS Floats abs16(Floats x)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return BOTH(Floats, _mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b));
}
ALWAYS Floats round16(Floats x)
{
    return BOTH(Floats, _mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
        _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* In the order of _mm512_reduce_add_ps: halves, quarters, and so on. */
#define REDUCE(x, operation)                                                                                           \
    __m256 eight = _mm256_##operation(x.a, x.b);                                                                       \
    __m128 four = _mm_##operation(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));                     \
    __m128 two = _mm_##operation(four, _mm_movehl_ps(four, four));                                                     \
    return _mm_cvtss_f32(_mm_##operation(two, _mm_movehdup_ps(two)))
ALWAYS float sum16(Floats x) { REDUCE(x, add_ps); }
ALWAYS float least16(Floats x) { REDUCE(x, min_ps); }
ALWAYS float most16(Floats x) { REDUCE(x, max_ps); }
#undef REDUCE

ALWAYS __m256 times_power8(__m256 y, __m256 n, __m256 x, float least)
{
    /* In two steps: 2^128 is beyond float32, and times a y below 1 it is not. */
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1), one = _mm256_set1_epi32(127);
    __m256i rest = _mm256_sub_epi32(whole, half);
    y = _mm256_mul_ps(y, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, one), 23)));
    y = _mm256_mul_ps(y, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, one), 23)));
    return _mm256_and_ps(y, _mm256_cmp_ps(x, _mm256_set1_ps(least), _CMP_NLT_UQ));
}
/* y * 2^n; 0 where x < least. */
ALWAYS Floats times_power16(Floats y, Floats n, Floats x, float least)
{
    return BOTH(Floats, times_power8(y.a, n.a, x.a, least), times_power8(y.b, n.b, x.b, least));
}

/* -y where x < 0, else y. */
ALWAYS Floats negative_where16(Floats x, Floats y)
{
    const __m256 none = _mm256_setzero_ps();
    return BOTH(Floats, _mm256_blendv_ps(y.a, _mm256_sub_ps(none, y.a), _mm256_cmp_ps(x.a, none, _CMP_LT_OQ)),
        _mm256_blendv_ps(y.b, _mm256_sub_ps(none, y.b), _mm256_cmp_ps(x.b, none, _CMP_LT_OQ)));
}

/* Numbers from memory where x is not 0, else 0. */
ALWAYS Floats load_where16(Floats x, const float *from)
{
    const __m256 none = _mm256_setzero_ps();
    Floats found = load16(from);
    return BOTH(Floats, _mm256_and_ps(found.a, _mm256_cmp_ps(x.a, none, _CMP_NEQ_UQ)),
        _mm256_and_ps(found.b, _mm256_cmp_ps(x.b, none, _CMP_NEQ_UQ)));
}

ALWAYS Ints no_ints(void) { return BOTH(Ints, _mm256_setzero_si256(), _mm256_setzero_si256()); }
ALWAYS Ints bits_of(Floats x) { return BOTH(Ints, _mm256_castps_si256(x.a), _mm256_castps_si256(x.b)); }
ALWAYS Ints max_ints(Ints x, Ints y)
{
    return BOTH(Ints, _mm256_max_epi32(x.a, y.a), _mm256_max_epi32(x.b, y.b));
}
ALWAYS Ints add_ints(Ints x, Ints y)
{
    return BOTH(Ints, _mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b));
}
ALWAYS int32_t sum_ints(Ints x)
{
    __m256i eight = _mm256_add_epi32(x.a, x.b);
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
/* Rounded; 0 unless `wanted`. */
ALWAYS Ints whole16(Floats x, int wanted)
{
    __m256i k = _mm256_set1_epi32(wanted ? -1 : 0);
    return BOTH(Ints, _mm256_and_si256(k, _mm256_cvtps_epi32(x.a)), _mm256_and_si256(k, _mm256_cvtps_epi32(x.b)));
}

/* The largest of larger_sizes(). */
ALWAYS float largest_size(Ints most)
{
    __m256i eight = _mm256_max_epi32(most.a, most.b);
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1))));
}

/* 16 in 16 bits, in their order. */
ALWAYS __m256i words(Ints x)
{
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xd8);
}

/* In 8 bits, with and without sign; what is beyond becomes the outermost. */
ALWAYS void store_signed(int8_t *to, Ints x)
{
    __m256i all = words(x);
    _mm_storeu_si128((__m128i *)to, _mm_packs_epi16(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
}
ALWAYS void store_unsigned(uint8_t *to, Ints x)
{
    const __m256i most = _mm256_set1_epi32(255);
    __m256i all = words(BOTH(Ints, _mm256_min_epu32(x.a, most), _mm256_min_epu32(x.b, most)));
    _mm_storeu_si128((__m128i *)to, _mm_packus_epi16(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
}
/* Numbers of 10 bits: the upper 8 and the lower 2. */
ALWAYS void store_ten(uint8_t *high, uint8_t *low, Ints x)
{
    const __m256i three = _mm256_set1_epi32(3);
    store_unsigned(high, BOTH(Ints, _mm256_srli_epi32(x.a, 2), _mm256_srli_epi32(x.b, 2)));
    store_unsigned(low, BOTH(Ints, _mm256_and_si256(x.a, three), _mm256_and_si256(x.b, three)));
}

/* One register, of WIDTH numbers: products keep as many of these as there are. */
enum { WIDTH = 8 };
typedef __m256 Reals;
typedef __m256i Wholes;

ALWAYS Reals no_reals(void) { return _mm256_setzero_ps(); }
ALWAYS Reals all_reals(float x) { return _mm256_set1_ps(x); }
ALWAYS Reals load_reals(const void *from) { return _mm256_loadu_ps(from); }
ALWAYS void store_reals(float *to, Reals x) { _mm256_storeu_ps(to, x); }
ALWAYS Reals load_some_reals(const float *from, int64_t left)
{
    return left >= 8 ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, lanes(left).a);
}
ALWAYS void store_some_reals(float *to, int64_t left, Reals x)
{
    if (left >= 8)
        _mm256_storeu_ps(to, x);
    else
        _mm256_maskstore_ps(to, lanes(left).a, x);
}
ALWAYS Reals add_reals(Reals x, Reals y) { return _mm256_add_ps(x, y); }
ALWAYS Reals times(Reals x, Reals y) { return _mm256_mul_ps(x, y); }
ALWAYS Reals times_plus(Reals x, Reals y, Reals z) { return _mm256_fmadd_ps(x, y, z); }
ALWAYS Reals reals_of(Wholes x) { return _mm256_cvtepi32_ps(x); }
/* Numbers from memory: float16, bfloat16, and signed bytes. */
ALWAYS Reals halves_at(const uint8_t *from) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from)); }
ALWAYS Reals brains_at(const uint8_t *from)
{
    __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
}
ALWAYS Reals signed_at(const uint8_t *from)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)from)));
}

ALWAYS Wholes no_wholes(void) { return _mm256_setzero_si256(); }
ALWAYS Wholes all_wholes(int32_t x) { return _mm256_set1_epi32(x); }
ALWAYS Wholes load_wholes(const void *from) { return _mm256_loadu_si256(from); }
ALWAYS Wholes bytes_at(const uint8_t *from) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from)); }
ALWAYS Wholes add_wholes(Wholes x, Wholes y) { return _mm256_add_epi32(x, y); }
ALWAYS Wholes up_wholes(Wholes x, int by) { return _mm256_slli_epi32(x, by); }
ALWAYS Wholes down_wholes(Wholes x, int by) { return _mm256_srai_epi32(x, by); }
/* As bytes, four to a number; shifts are of words. */
ALWAYS Wholes all_bytes(int x) { return _mm256_set1_epi8((char)x); }
ALWAYS Wholes both(Wholes x, Wholes y) { return _mm256_and_si256(x, y); }
ALWAYS Wholes up_words(Wholes x, int by) { return _mm256_slli_epi16(x, by); }
ALWAYS Wholes down_words(Wholes x, int by) { return _mm256_srli_epi16(x, by); }
/* x | y & mask */
ALWAYS Wholes or_masked(Wholes x, Wholes y, Wholes mask) { return _mm256_or_si256(x, _mm256_and_si256(y, mask)); }
#ifdef KERNELS_AVX2
/* `vpmaddubsw` adds the products of two unsigned and two signed bytes and keeps 16 bits, which is too few for bytes of 8
   bits. These become words first: the even ones of each number, and the odd ones. */
ALWAYS Wholes even_signed(Wholes x) { return _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8); }
ALWAYS Wholes odd_signed(Wholes x) { return _mm256_srai_epi16(x, 8); }
ALWAYS Wholes even_unsigned(Wholes x) { return _mm256_and_si256(x, _mm256_set1_epi16(255)); }
ALWAYS Wholes odd_unsigned(Wholes x) { return _mm256_srli_epi16(x, 8); }
ALWAYS Wholes dot_words(Wholes sum, Wholes x, Wholes y)
{
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x, y));
    /* Else GCC 12 adds products to each other first and runs out of registers: 145 GOP/s in int8 became 133. */
    __asm__("" : "+x"(sum));
    return sum;
}
/* Where the sums of two products have no more than 16 bits, as words; and such words added to sums. */
ALWAYS Wholes pairs(Wholes x, Wholes y) { return _mm256_maddubs_epi16(x, y); }
ALWAYS Wholes add_words(Wholes x, Wholes y) { return _mm256_add_epi16(x, y); }
ALWAYS Wholes add_pairs(Wholes sum, Wholes words) { return dot_words(sum, words, _mm256_set1_epi16(1)); }
#elif defined(__AVXVNNI__)
/* Adds the products of unsigned and signed bytes. */
ALWAYS Wholes dot(Wholes sum, Wholes x, Wholes y) { return _mm256_dpbusd_avx_epi32(sum, x, y); }
#else
ALWAYS Wholes dot(Wholes sum, Wholes x, Wholes y) { return _mm256_dpbusd_epi32(sum, x, y); }
#endif
