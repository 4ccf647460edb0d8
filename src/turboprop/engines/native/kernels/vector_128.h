/* vector.h in fours of registers of 128 bits. */

typedef struct {
    float32x4_t part[4];
} Floats;
typedef struct {
    int32x4_t part[4];
} Ints;

/* For each of the four, and no loop: GCC 12 keeps an array in registers where all its places are constants. */
#define FOUR(type, ...)                                                                                                \
    type to;                                                                                                           \
    { enum { i = 0 }; to.part[i] = __VA_ARGS__; }                                                                      \
    { enum { i = 1 }; to.part[i] = __VA_ARGS__; }                                                                      \
    { enum { i = 2 }; to.part[i] = __VA_ARGS__; }                                                                      \
    { enum { i = 3 }; to.part[i] = __VA_ARGS__; }                                                                      \
    return to

ALWAYS Floats all16(float x) { FOUR(Floats, vdupq_n_f32(x)); }
ALWAYS Floats zero16(void) { return all16(0); }
ALWAYS Floats load16(const void *x) { FOUR(Floats, vld1q_f32((const float *)x + 4 * i)); }
ALWAYS void store16(float *to, Floats x)
{
    vst1q_f32(to, x.part[0]);
    vst1q_f32(to + 4, x.part[1]);
    vst1q_f32(to + 8, x.part[2]);
    vst1q_f32(to + 12, x.part[3]);
}

/* All bits of those of the next 16 that are among `left`. */
ALWAYS Ints lanes(int64_t left)
{
    static const int32_t places[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const int32x4_t end = vdupq_n_s32(left > 16 ? 16 : left < 0 ? 0 : (int32_t)left);
    FOUR(Ints, vreinterpretq_s32_u32(vcgtq_s32(end, vld1q_s32(places + 4 * i))));
}

ALWAYS Floats choose16(Floats no, Floats yes, Ints where)
{
    FOUR(Floats, vbslq_f32(vreinterpretq_u32_s32(where.part[i]), yes.part[i], no.part[i]));
}

/* The next 16 of `left` values; 0 beyond. There are no loads of some lanes. */
ALWAYS Floats load_some16(const float *x, int64_t left)
{
    if (left >= 16)
        return load16(x);
    float some[16] = {0};
    for (int64_t i = 0; i < left; i++)
        some[i] = x[i];
    return load16(some);
}
ALWAYS void store_some16(float *to, int64_t left, Floats x)
{
    if (left >= 16) {
        store16(to, x);
        return;
    }
    float some[16];
    store16(some, x);
    for (int64_t i = 0; i < left; i++)
        to[i] = some[i];
}

ALWAYS Floats add16(Floats x, Floats y) { FOUR(Floats, vaddq_f32(x.part[i], y.part[i])); }
ALWAYS Floats sub16(Floats x, Floats y) { FOUR(Floats, vsubq_f32(x.part[i], y.part[i])); }
ALWAYS Floats mul16(Floats x, Floats y) { FOUR(Floats, vmulq_f32(x.part[i], y.part[i])); }
ALWAYS Floats div16(Floats x, Floats y) { FOUR(Floats, vdivq_f32(x.part[i], y.part[i])); }
ALWAYS Floats fma16(Floats x, Floats y, Floats z) { FOUR(Floats, vfmaq_f32(z.part[i], x.part[i], y.part[i])); }
/* z - x * y */
ALWAYS Floats fnma16(Floats x, Floats y, Floats z) { FOUR(Floats, vfmsq_f32(z.part[i], x.part[i], y.part[i])); }
/* The second operand where one is NaN, as on x86. */
ALWAYS float32x4_t min4(float32x4_t x, float32x4_t y) { return vbslq_f32(vcltq_f32(x, y), x, y); }
ALWAYS float32x4_t max4(float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
ALWAYS Floats min16(Floats x, Floats y) { FOUR(Floats, min4(x.part[i], y.part[i])); }
ALWAYS Floats max16(Floats x, Floats y) { FOUR(Floats, max4(x.part[i], y.part[i])); }
ALWAYS Floats abs16(Floats x) { FOUR(Floats, vabsq_f32(x.part[i])); }
ALWAYS Floats round16(Floats x) { FOUR(Floats, vrndnq_f32(x.part[i])); }

/* In the order of _mm512_reduce_add_ps: halves, quarters, and so on. */
#define REDUCE(x, operation)                                                                                           \
    float32x4_t four = operation(operation(x.part[0], x.part[2]), operation(x.part[1], x.part[3]));                    \
    four = operation(four, vextq_f32(four, four, 2));                                                                  \
    return vgetq_lane_f32(operation(four, vdupq_laneq_f32(four, 1)), 0)
ALWAYS float sum16(Floats x) { REDUCE(x, vaddq_f32); }
ALWAYS float least16(Floats x) { REDUCE(x, min4); }
ALWAYS float most16(Floats x) { REDUCE(x, max4); }
#undef REDUCE

ALWAYS float32x4_t times_power4(float32x4_t y, float32x4_t n, float32x4_t x, float least)
{
    /* In two steps: 2^128 is beyond float32, and times a y below 1 it is not. */
    const int32x4_t whole = vcvtnq_s32_f32(n), half = vshrq_n_s32(whole, 1), one = vdupq_n_s32(127);
    const int32x4_t rest = vsubq_s32(whole, half);
    y = vmulq_f32(y, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, one), 23)));
    y = vmulq_f32(y, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, one), 23)));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(y), vcltq_f32(x, vdupq_n_f32(least))));
}
/* y * 2^n; 0 where x < least. */
ALWAYS Floats times_power16(Floats y, Floats n, Floats x, float least)
{
    FOUR(Floats, times_power4(y.part[i], n.part[i], x.part[i], least));
}

/* -y where x < 0, else y. */
ALWAYS Floats negative_where16(Floats x, Floats y)
{
    FOUR(Floats, vbslq_f32(vcltzq_f32(x.part[i]), vsubq_f32(vdupq_n_f32(0), y.part[i]), y.part[i]));
}

/* Numbers from memory where x is not 0, else 0. */
ALWAYS Floats load_where16(Floats x, const float *from)
{
    const Floats found = load16(from);
    FOUR(Floats, vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(found.part[i]), vceqzq_f32(x.part[i]))));
}

ALWAYS Ints no_ints(void) { FOUR(Ints, vdupq_n_s32(0)); }
ALWAYS Ints bits_of(Floats x) { FOUR(Ints, vreinterpretq_s32_f32(x.part[i])); }
ALWAYS Ints max_ints(Ints x, Ints y) { FOUR(Ints, vmaxq_s32(x.part[i], y.part[i])); }
ALWAYS Ints add_ints(Ints x, Ints y) { FOUR(Ints, vaddq_s32(x.part[i], y.part[i])); }
ALWAYS int32_t sum_ints(Ints x)
{
    return vaddvq_s32(vaddq_s32(vaddq_s32(x.part[0], x.part[1]), vaddq_s32(x.part[2], x.part[3])));
}
/* Rounded; 0 unless `wanted`. */
ALWAYS Ints whole16(Floats x, int wanted)
{
    const int32x4_t k = vdupq_n_s32(wanted ? -1 : 0);
    FOUR(Ints, vandq_s32(k, vcvtnq_s32_f32(x.part[i])));
}

/* The largest of larger_sizes(). */
ALWAYS float largest_size(Ints most)
{
    const int32x4_t four = vmaxq_s32(vmaxq_s32(most.part[0], most.part[1]), vmaxq_s32(most.part[2], most.part[3]));
    return vgetq_lane_f32(vreinterpretq_f32_s32(vdupq_n_s32(vmaxvq_s32(four))), 0);
}

/* In 8 bits, with and without sign; what is beyond becomes the outermost. */
ALWAYS void store_signed(int8_t *to, Ints x)
{
    const int16x8_t low = vqmovn_high_s32(vqmovn_s32(x.part[0]), x.part[1]);
    const int16x8_t high = vqmovn_high_s32(vqmovn_s32(x.part[2]), x.part[3]);
    vst1q_s8(to, vqmovn_high_s16(vqmovn_s16(low), high));
}
ALWAYS uint16x8_t unsigned_words(int32x4_t x, int32x4_t y)
{
    return vqmovn_high_u32(vqmovn_u32(vreinterpretq_u32_s32(x)), vreinterpretq_u32_s32(y));
}
ALWAYS void store_unsigned(uint8_t *to, Ints x)
{
    const uint16x8_t low = unsigned_words(x.part[0], x.part[1]), high = unsigned_words(x.part[2], x.part[3]);
    vst1q_u8(to, vqmovn_high_u16(vqmovn_u16(low), high));
}
ALWAYS Ints shifted(Ints x)
{
    FOUR(Ints, vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(x.part[i]), 2)));
}
ALWAYS Ints lowest_two(Ints x) { FOUR(Ints, vandq_s32(x.part[i], vdupq_n_s32(3))); }
/* Numbers of 10 bits: the upper 8 and the lower 2. */
ALWAYS void store_ten(uint8_t *high, uint8_t *low, Ints x)
{
    store_unsigned(high, shifted(x));
    store_unsigned(low, lowest_two(x));
}
#undef FOUR

/* One register, of WIDTH numbers: products keep as many of these as there are. */
enum { WIDTH = 4 };
typedef float32x4_t Reals;
typedef int32x4_t Wholes;

ALWAYS Reals no_reals(void) { return vdupq_n_f32(0); }
ALWAYS Reals all_reals(float x) { return vdupq_n_f32(x); }
ALWAYS Reals load_reals(const void *from) { return vld1q_f32(from); }
ALWAYS void store_reals(float *to, Reals x) { vst1q_f32(to, x); }
ALWAYS Reals load_some_reals(const float *from, int64_t left)
{
    if (left >= 4)
        return vld1q_f32(from);
    float some[4] = {0};
    for (int64_t i = 0; i < left; i++)
        some[i] = from[i];
    return vld1q_f32(some);
}
ALWAYS void store_some_reals(float *to, int64_t left, Reals x)
{
    float some[4];
    vst1q_f32(left >= 4 ? to : some, x);
    for (int64_t i = 0; left < 4 && i < left; i++)
        to[i] = some[i];
}
ALWAYS Reals add_reals(Reals x, Reals y) { return vaddq_f32(x, y); }
ALWAYS Reals times(Reals x, Reals y) { return vmulq_f32(x, y); }
ALWAYS Reals times_plus(Reals x, Reals y, Reals z) { return vfmaq_f32(z, x, y); }
ALWAYS Reals reals_of(Wholes x) { return vcvtq_f32_s32(x); }
/* Numbers from memory: float16, bfloat16, and signed bytes. */
ALWAYS Reals halves_at(const uint8_t *from)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(from)));
}
ALWAYS Reals brains_at(const uint8_t *from)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(from)), 16));
}
ALWAYS Reals signed_at(const uint8_t *from)
{
    int32_t four;
    memcpy(&four, from, 4);
    const int8x8_t bytes = vreinterpret_s8_s32(vdup_n_s32(four));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
}

ALWAYS Wholes no_wholes(void) { return vdupq_n_s32(0); }
ALWAYS Wholes all_wholes(int32_t x) { return vdupq_n_s32(x); }
ALWAYS Wholes load_wholes(const void *from) { return vreinterpretq_s32_u8(vld1q_u8(from)); }
ALWAYS Wholes bytes_at(const uint8_t *from)
{
    uint32_t four;
    memcpy(&four, from, 4);
    const uint8x8_t bytes = vreinterpret_u8_u32(vdup_n_u32(four));
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))));
}
ALWAYS Wholes add_wholes(Wholes x, Wholes y) { return vaddq_s32(x, y); }
ALWAYS Wholes up_wholes(Wholes x, int by) { return vshlq_s32(x, vdupq_n_s32(by)); }
ALWAYS Wholes down_wholes(Wholes x, int by) { return vshlq_s32(x, vdupq_n_s32(-by)); }
/* As bytes, four to a number; shifts are of words. */
ALWAYS Wholes all_bytes(int x) { return vreinterpretq_s32_u8(vdupq_n_u8((uint8_t)x)); }
ALWAYS Wholes both(Wholes x, Wholes y) { return vandq_s32(x, y); }
ALWAYS Wholes up_words(Wholes x, int by)
{
    return vreinterpretq_s32_u16(vshlq_u16(vreinterpretq_u16_s32(x), vdupq_n_s16((int16_t)by)));
}
ALWAYS Wholes down_words(Wholes x, int by) { return up_words(x, -by); }
/* x | y & mask */
ALWAYS Wholes or_masked(Wholes x, Wholes y, Wholes mask) { return vorrq_s32(x, vandq_s32(y, mask)); }

/* Of each byte. */
ALWAYS Wholes upper_fours(Wholes x) { return vreinterpretq_s32_u8(vshrq_n_u8(vreinterpretq_u8_s32(x), 4)); }

/* Bytes without sign as dot() takes them, less FACTOR_LESS each: `sdot` multiplies signed bytes. Those of up to 7 bits
   can stay as they are. */
enum { FACTOR_LESS = 1 << 7 };
ALWAYS Wholes as_factor(Wholes x) { return veorq_s32(x, vreinterpretq_s32_u8(vdupq_n_u8(FACTOR_LESS))); }
ALWAYS Wholes dot(Wholes sum, Wholes x, Wholes y)
{
    sum = vdotq_s32(sum, vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(y));
    __asm__("" : "+w"(sum)); /* see dot_quad() */
    return sum;
}
/* The same with four bytes of y for all: those of number `quad`, which is constant once the loops are unrolled. */
ALWAYS Wholes dot_quad(Wholes sum, Wholes x, Wholes y, const int quad)
{
    const int8x16_t a = vreinterpretq_s8_s32(x), b = vreinterpretq_s8_s32(y);
    switch (quad) {
    case 0: sum = vdotq_laneq_s32(sum, a, b, 0); break;
    case 1: sum = vdotq_laneq_s32(sum, a, b, 1); break;
    case 2: sum = vdotq_laneq_s32(sum, a, b, 2); break;
    default: sum = vdotq_laneq_s32(sum, a, b, 3);
    }
    /* Else GCC 12 computes much before it is wanted and runs out of registers: 1.6 times as many instructions. */
    __asm__("" : "+w"(sum));
    return sum;
}
