/* vector.h in fours of 4 numbers, for any processor: GCC's vector extensions, which Clang has, too, and no instruction set
   beyond what the compiler takes for granted. */

typedef float Reals __attribute__((vector_size(16)));
typedef int32_t Wholes __attribute__((vector_size(16)));
typedef uint32_t Bits __attribute__((vector_size(16)));
typedef int16_t Words __attribute__((vector_size(16)));
typedef uint16_t UnsignedWords __attribute__((vector_size(16)));

typedef struct {
    Reals part[4];
} Floats;
typedef struct {
    Wholes part[4];
} Ints;

#define FOUR(type, ...)                                                                                                \
    type to;                                                                                                           \
    { enum { i = 0 }; to.part[i] = __VA_ARGS__; }                                                                      \
    { enum { i = 1 }; to.part[i] = __VA_ARGS__; }                                                                      \
    { enum { i = 2 }; to.part[i] = __VA_ARGS__; }                                                                      \
    { enum { i = 3 }; to.part[i] = __VA_ARGS__; }                                                                      \
    return to

/* One register, of WIDTH numbers: products keep as many of these as there are. */
enum { WIDTH = 4 };

ALWAYS Reals no_reals(void) { return (Reals){0}; }
ALWAYS Reals all_reals(float x) { return (Reals){x, x, x, x}; }
ALWAYS Reals load_reals(const void *from)
{
    Reals x;
    memcpy(&x, from, sizeof x);
    return x;
}
ALWAYS void store_reals(float *to, Reals x) { memcpy(to, &x, sizeof x); }
ALWAYS Reals load_some_reals(const float *from, int64_t left)
{
    Reals x = {0};
    memcpy(&x, from, 4 * (size_t)(left > 4 ? 4 : left < 0 ? 0 : left));
    return x;
}
ALWAYS void store_some_reals(float *to, int64_t left, Reals x)
{
    memcpy(to, &x, 4 * (size_t)(left > 4 ? 4 : left < 0 ? 0 : left));
}
ALWAYS Reals add_reals(Reals x, Reals y) { return x + y; }
ALWAYS Reals times(Reals x, Reals y) { return x * y; }
ALWAYS Reals reals_of(Wholes x) { return __builtin_convertvector(x, Reals); }
ALWAYS Reals choose(Wholes where, Reals yes, Reals no) { return (Reals)(((Wholes)yes & where) | ((Wholes)no & ~where)); }

#if defined(__FMA__) || defined(__aarch64__)
/* x * y + z, rounded once. */
ALWAYS Reals times_plus(Reals x, Reals y, Reals z)
{
    for (int i = 0; i < 4; i++)
        z[i] = __builtin_fmaf(x[i], y[i], z[i]);
    return z;
}
#else
typedef double Doubles __attribute__((vector_size(32)));
typedef int64_t Longs __attribute__((vector_size(32)));
typedef int64_t Pair __attribute__((vector_size(16)));

/* The same in double for all numbers: the product is exact, and the sum, rounded to odd, becomes the same float32 as the
   exact one (Boldo and Melquiond 2008, doi 10.1109/TC.2007.70819). `off` is what rounding to nearest took off the sum
   (Knuth's TwoSum). */
static __attribute__((noinline, unused)) void add_to_odd(const float *x, const float *y, float *z)
{
    for (int i = 0; i < 4; i++) {
        const double product = (double)x[i] * (double)y[i], more = (double)z[i];
        double sum = product + more, other = sum - product, off = (product - (sum - other)) + (more - other);
        int64_t bits;
        memcpy(&bits, &sum, 8);
        if ((off > 0 || off < 0) && !(bits & 1))
            bits += (off > 0) == (sum > 0) ? 1 : -1;
        memcpy(&sum, &bits, 8);
        z[i] = (float)sum;
    }
}

/* x * y + z, rounded once. That the sum is rounded to double first matters only where this is the middle of two float32
   numbers, or where these have fewer digits. */
ALWAYS Reals times_plus(Reals x, Reals y, Reals z)
{
    const Doubles product = __builtin_convertvector(x, Doubles) * __builtin_convertvector(y, Doubles);
    const Doubles sum = product + __builtin_convertvector(z, Doubles);
    const Longs middle = ((Longs)sum & 0x1fffffff) ^ 0x10000000;
    Reals found = __builtin_convertvector(sum, Reals);
    const Wholes low = {(int32_t)middle[0], (int32_t)middle[1], (int32_t)middle[2], (int32_t)middle[3]};
    const Pair rare = (Pair)((low == 0) | ((Reals)((Wholes)found & 0x7fffffff) < 0x1p-126f));
    if (__builtin_expect((rare[0] | rare[1]) != 0, 0)) {
        add_to_odd((const float *)&x, (const float *)&y, (float *)&z);
        found = z;
    }
    return found;
}
#endif

/* Numbers from memory: float16, bfloat16, and signed bytes. */
ALWAYS Reals halves_at(const uint8_t *from)
{
    uint16_t x[4];
    memcpy(x, from, sizeof x);
    const Bits half = {x[0], x[1], x[2], x[3]}, wide = (half & 0x7fff) << 13;
    const Reals sized = (Reals)wide * all_reals(0x1p112f); /* exponents begin at -14, and here at -126 */
    const Wholes beyond = (Wholes)wide >= 0x7c00 << 13;
    return (Reals)((Wholes)choose(beyond, (Reals)(wide | 0x7f800000), sized) | (Wholes)((half & 0x8000) << 16));
}
ALWAYS Reals brains_at(const uint8_t *from)
{
    uint16_t x[4];
    memcpy(x, from, sizeof x);
    return (Reals)((Bits){x[0], x[1], x[2], x[3]} << 16);
}
ALWAYS Reals signed_at(const uint8_t *from)
{
    return (Reals){(int8_t)from[0], (int8_t)from[1], (int8_t)from[2], (int8_t)from[3]};
}

ALWAYS Wholes no_wholes(void) { return (Wholes){0}; }
ALWAYS Wholes all_wholes(int32_t x) { return (Wholes){x, x, x, x}; }
ALWAYS Wholes load_wholes(const void *from)
{
    Wholes x;
    memcpy(&x, from, sizeof x);
    return x;
}
ALWAYS Wholes bytes_at(const uint8_t *from) { return (Wholes){from[0], from[1], from[2], from[3]}; }
ALWAYS Wholes add_wholes(Wholes x, Wholes y) { return x + y; }
ALWAYS Wholes up_wholes(Wholes x, int by) { return (Wholes)((Bits)x << by); }
ALWAYS Wholes down_wholes(Wholes x, int by) { return x >> by; }
/* As bytes, four to a number; shifts are of words. */
ALWAYS Wholes all_bytes(int x) { return all_wholes((int32_t)((uint32_t)x * 0x01010101)); }
ALWAYS Wholes both(Wholes x, Wholes y) { return x & y; }
ALWAYS Wholes up_words(Wholes x, int by) { return (Wholes)((UnsignedWords)x << by); }
ALWAYS Wholes down_words(Wholes x, int by) { return (Wholes)((UnsignedWords)x >> by); }
/* x | y & mask */
ALWAYS Wholes or_masked(Wholes x, Wholes y, Wholes mask) { return x | (y & mask); }
/* Adds the products of unsigned and signed bytes, each of which a word holds. */
ALWAYS Wholes dot(Wholes sum, Wholes x, Wholes y)
{
    const Wholes even = (Wholes)((Words)(x & all_wholes(0x00ff00ff)) * ((Words)up_words(y, 8) >> 8));
    const Wholes odd = (Wholes)((Words)down_words(x, 8) * ((Words)y >> 8));
    return sum + (up_wholes(even, 16) >> 16) + (even >> 16) + (up_wholes(odd, 16) >> 16) + (odd >> 16);
}

ALWAYS Floats all16(float x) { FOUR(Floats, all_reals(x)); }
ALWAYS Floats zero16(void) { return all16(0); }
ALWAYS Floats load16(const void *x) { FOUR(Floats, load_reals((const float *)x + 4 * i)); }
ALWAYS void store16(float *to, Floats x) { memcpy(to, &x, sizeof x); }
/* All bits of those of the next 16 that are among `left`. */
ALWAYS Ints lanes(int64_t left)
{
    const int32_t end = left > 16 ? 16 : left < 0 ? 0 : (int32_t)left;
    FOUR(Ints, (Wholes){4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3} < end);
}
ALWAYS Floats choose16(Floats no, Floats yes, Ints where) { FOUR(Floats, choose(where.part[i], yes.part[i], no.part[i])); }
/* The next 16 of `left` values; 0 beyond. */
ALWAYS Floats load_some16(const float *x, int64_t left) { FOUR(Floats, load_some_reals(x + 4 * i, left - 4 * i)); }
ALWAYS void store_some16(float *to, int64_t left, Floats x)
{
    memcpy(to, &x, 4 * (size_t)(left > 16 ? 16 : left < 0 ? 0 : left));
}

ALWAYS Floats add16(Floats x, Floats y) { FOUR(Floats, x.part[i] + y.part[i]); }
ALWAYS Floats sub16(Floats x, Floats y) { FOUR(Floats, x.part[i] - y.part[i]); }
ALWAYS Floats mul16(Floats x, Floats y) { FOUR(Floats, x.part[i] * y.part[i]); }
ALWAYS Floats div16(Floats x, Floats y) { FOUR(Floats, x.part[i] / y.part[i]); }
ALWAYS Floats fma16(Floats x, Floats y, Floats z) { FOUR(Floats, times_plus(x.part[i], y.part[i], z.part[i])); }
/* z - x * y */
ALWAYS Floats fnma16(Floats x, Floats y, Floats z) { FOUR(Floats, times_plus(-x.part[i], y.part[i], z.part[i])); }
/* The second operand where one is NaN, as on x86. */
ALWAYS Reals min4(Reals x, Reals y) { return choose(x < y, x, y); }
ALWAYS Reals max4(Reals x, Reals y) { return choose(x > y, x, y); }
ALWAYS Floats min16(Floats x, Floats y) { FOUR(Floats, min4(x.part[i], y.part[i])); }
ALWAYS Floats max16(Floats x, Floats y) { FOUR(Floats, max4(x.part[i], y.part[i])); }
ALWAYS Reals abs4(Reals x) { return (Reals)((Wholes)x & 0x7fffffff); }
ALWAYS Floats abs16(Floats x) { FOUR(Floats, abs4(x.part[i])); }
/* To whole numbers, the even one of two as near: float32 has no others beyond 2^23. */
ALWAYS Reals round4(Reals x)
{
    const Reals size = abs4(x), most = all_reals(0x1p23f);
    return choose(size < most, (Reals)((Wholes)(size + most - most) | ((Wholes)x & INT32_MIN)), x);
}
ALWAYS Floats round16(Floats x) { FOUR(Floats, round4(x.part[i])); }

/* In the order of _mm512_reduce_add_ps: halves, quarters, and so on. */
#define REDUCE(x, operation)                                                                                           \
    const Reals four = operation(operation(x.part[0], x.part[2]), operation(x.part[1], x.part[3]));                    \
    const Reals last = operation(four, ((Reals){four[2], four[3], 0, 0}));                                             \
    return operation(last, all_reals(last[1]))[0]
ALWAYS float sum16(Floats x) { REDUCE(x, add_reals); }
ALWAYS float least16(Floats x) { REDUCE(x, min4); }
ALWAYS float most16(Floats x) { REDUCE(x, max4); }
#undef REDUCE

ALWAYS Wholes whole4(Reals x) { return __builtin_convertvector(round4(x), Wholes); }
ALWAYS Reals times_power4(Reals y, Reals n, Reals x, float least)
{
    /* In two steps: 2^128 is beyond float32, and times a y below 1 it is not. */
    const Wholes whole = whole4(n), half = whole >> 1, rest = whole - half;
    y = y * (Reals)up_wholes(half + 127, 23) * (Reals)up_wholes(rest + 127, 23);
    return choose(x < least, no_reals(), y);
}
/* y * 2^n; 0 where x < least. */
ALWAYS Floats times_power16(Floats y, Floats n, Floats x, float least)
{
    FOUR(Floats, times_power4(y.part[i], n.part[i], x.part[i], least));
}
/* -y where x < 0, else y. */
ALWAYS Floats negative_where16(Floats x, Floats y) { FOUR(Floats, choose(x.part[i] < 0, 0 - y.part[i], y.part[i])); }
/* Numbers from memory where x is not 0, else 0. */
ALWAYS Floats load_where16(Floats x, const float *from)
{
    FOUR(Floats, choose(x.part[i] == 0, no_reals(), load_reals(from + 4 * i)));
}

ALWAYS Ints no_ints(void) { FOUR(Ints, no_wholes()); }
ALWAYS Ints bits_of(Floats x) { FOUR(Ints, (Wholes)x.part[i]); }
ALWAYS Wholes larger(Wholes x, Wholes y) { return (x & (x > y)) | (y & ~(x > y)); }
ALWAYS Ints max_ints(Ints x, Ints y) { FOUR(Ints, larger(x.part[i], y.part[i])); }
ALWAYS Ints add_ints(Ints x, Ints y) { FOUR(Ints, x.part[i] + y.part[i]); }
ALWAYS int32_t sum_ints(Ints x)
{
    const Wholes four = x.part[0] + x.part[1] + x.part[2] + x.part[3];
    return four[0] + four[1] + four[2] + four[3];
}
/* Rounded; 0 unless `wanted`. */
ALWAYS Ints whole16(Floats x, int wanted) { FOUR(Ints, whole4(x.part[i]) & (wanted ? -1 : 0)); }
/* The largest of larger_sizes(). */
ALWAYS float largest_size(Ints most)
{
    const Wholes four = larger(larger(most.part[0], most.part[1]), larger(most.part[2], most.part[3]));
    const Wholes two = larger(four, (Wholes){four[2], four[3], 0, 0});
    return ((Reals)larger(two, all_wholes(two[1])))[0];
}
#undef FOUR

/* In 8 bits, with and without sign; what is beyond becomes the outermost. */
ALWAYS void store_signed(int8_t *to, Ints x)
{
    for (int i = 0; i < 16; i++) {
        const int32_t one = x.part[i / 4][i % 4];
        to[i] = (int8_t)(one > 127 ? 127 : one < -128 ? -128 : one);
    }
}
ALWAYS void store_unsigned(uint8_t *to, Ints x)
{
    for (int i = 0; i < 16; i++) {
        const uint32_t one = (uint32_t)x.part[i / 4][i % 4];
        to[i] = (uint8_t)(one > 255 ? 255 : one);
    }
}
/* Numbers of 10 bits: the upper 8 and the lower 2. */
ALWAYS void store_ten(uint8_t *high, uint8_t *low, Ints x)
{
    for (int i = 0; i < 16; i++) {
        const uint32_t one = (uint32_t)x.part[i / 4][i % 4];
        high[i] = (uint8_t)(one >> 2 > 255 ? 255 : one >> 2);
        low[i] = (uint8_t)(one & 3);
    }
}
