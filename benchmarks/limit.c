/* One instruction of a kind and nothing else: what a processor can do at most. `limit.py` compiles this once for each
   instruction, with LOOP_<its name> defined, and once for reading memory. */
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Seconds of the thread's own processor time. */
static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

/* Sums that do not wait for each other: more than the latency of an instruction times those begun in a cycle (5 x 2). */
#define SUMS 12
#define EACH(do) do(0) do(1) do(2) do(3) do(4) do(5) do(6) do(7) do(8) do(9) do(10) do(11)

#if defined(LOOP_vpdpbusd_512)
#include <immintrin.h>
typedef __m512i Sum;
#define OPERATIONS 128 /* of an instruction: a product and a sum each */
#define BEGIN(i) Sum s##i = _mm512_set1_epi32(i);
#define STEP(i) s##i = _mm512_dpbusd_epi32(s##i, a, b);
#define FACTORS Sum a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
#elif defined(LOOP_vpdpbusd_256)
#include <immintrin.h>
typedef __m256i Sum;
#define OPERATIONS 64
#define BEGIN(i) Sum s##i = _mm256_set1_epi32(i);
#define STEP(i) s##i = _mm256_dpbusd_avx_epi32(s##i, a, b);
#define FACTORS Sum a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5);
#elif defined(LOOP_vpmaddwd_256)
/* Exact 8-bit products without VNNI are those of words. */
#include <immintrin.h>
typedef __m256i Sum;
#define OPERATIONS 32
#define BEGIN(i) Sum s##i = _mm256_set1_epi32(i);
/* The factor is what the sum was, so that no product is taken out of the loop. */
#define STEP(i) s##i = _mm256_add_epi32(s##i, _mm256_madd_epi16(s##i, b));
#define FACTORS Sum b = _mm256_set1_epi16(5);
#elif defined(LOOP_vdpbf16ps_512)
#include <immintrin.h>
typedef __m512 Sum;
#define OPERATIONS 64
#define BEGIN(i) Sum s##i = _mm512_set1_ps(i);
#define STEP(i) s##i = _mm512_dpbf16_ps(s##i, a, b);
#define FACTORS __m512bh a = (__m512bh)_mm512_set1_epi32(0x3f803f80), b = (__m512bh)_mm512_set1_epi32(0x3f003f00);
#elif defined(LOOP_vfmaddps_512)
#include <immintrin.h>
typedef __m512 Sum;
#define OPERATIONS 32
#define BEGIN(i) Sum s##i = _mm512_set1_ps(i);
#define STEP(i) s##i = _mm512_fmadd_ps(a, b, s##i);
#define FACTORS Sum a = _mm512_set1_ps(1), b = _mm512_set1_ps(0.5f);
#elif defined(LOOP_vfmaddps_256)
#include <immintrin.h>
typedef __m256 Sum;
#define OPERATIONS 16
#define BEGIN(i) Sum s##i = _mm256_set1_ps(i);
#define STEP(i) s##i = _mm256_fmadd_ps(a, b, s##i);
#define FACTORS Sum a = _mm256_set1_ps(1), b = _mm256_set1_ps(0.5f);
#elif defined(LOOP_sdot)
#include <arm_neon.h>
typedef int32x4_t Sum;
#define OPERATIONS 32
#define BEGIN(i) Sum s##i = vdupq_n_s32(i);
#define STEP(i) s##i = vdotq_s32(s##i, a, b);
#define FACTORS int8x16_t a = vdupq_n_s8(3), b = vdupq_n_s8(5);
#elif defined(LOOP_smmla)
#include <arm_neon.h>
typedef int32x4_t Sum;
#define OPERATIONS 64
#define BEGIN(i) Sum s##i = vdupq_n_s32(i);
#define STEP(i) s##i = vmmlaq_s32(s##i, a, b);
#define FACTORS int8x16_t a = vdupq_n_s8(3), b = vdupq_n_s8(5);
#elif defined(LOOP_bfmmla)
#include <arm_neon.h>
typedef float32x4_t Sum;
#define OPERATIONS 32
#define BEGIN(i) Sum s##i = vdupq_n_f32(i);
#define STEP(i) s##i = vbfmmlaq_f32(s##i, a, b);
#define FACTORS bfloat16x8_t a = vreinterpretq_bf16_u16(vdupq_n_u16(0x3f80)), b = a;
#elif defined(LOOP_fmla)
#include <arm_neon.h>
typedef float32x4_t Sum;
#define OPERATIONS 8
#define BEGIN(i) Sum s##i = vdupq_n_f32(i);
#define STEP(i) s##i = vfmaq_f32(s##i, a, b);
#define FACTORS Sum a = vdupq_n_f32(1), b = vdupq_n_f32(0.5f);
#endif

#ifdef OPERATIONS
/* The products and sums of about `seconds` of processor time, and how long they really took. */
double limit(double seconds, double *took)
{
    const double begin = now();
    double done = 0;
    FACTORS
    EACH(BEGIN)
    do {
        for (int turn = 0; turn < 4096; turn++) {
            EACH(STEP)
#if defined(__x86_64__)
            /* Nothing of the sums is known to the compiler from here on: it cannot join two turns. */
            __asm__ volatile("" : "+x"(s0), "+x"(s1), "+x"(s2), "+x"(s3), "+x"(s4), "+x"(s5));
            __asm__ volatile("" : "+x"(s6), "+x"(s7), "+x"(s8), "+x"(s9), "+x"(s10), "+x"(s11));
#else
            __asm__ volatile("" : "+w"(s0), "+w"(s1), "+w"(s2), "+w"(s3), "+w"(s4), "+w"(s5));
            __asm__ volatile("" : "+w"(s6), "+w"(s7), "+w"(s8), "+w"(s9), "+w"(s10), "+w"(s11));
#endif
        }
        done += 4096.0 * SUMS * OPERATIONS;
        *took = now() - begin;
    } while (*took < seconds);
    return done;
}
#elif defined(LOOP_tdpbusd) || defined(LOOP_tdpbf16ps)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Tiles of 16 rows of 64 bytes: 4 of sums, 2 of each factor, as a product of 2 x 2 tiles has them. */
#ifdef LOOP_tdpbusd
#define TILE_STEP(to, a, b) _tile_dpbusd(to, a, b)
#define OF_A_TILE (2.0 * 16 * 16 * 64)
#else
#define TILE_STEP(to, a, b) _tile_dpbf16ps(to, a, b)
#define OF_A_TILE (2.0 * 16 * 16 * 32)
#endif

double limit(double seconds, double *took)
{
    enum { GIVE_PERMISSION = 0x1023, TILES = 18 };
    uint8_t how[64] __attribute__((aligned(64))) = {1};
    *took = 0;
    if (syscall(SYS_arch_prctl, GIVE_PERMISSION, TILES))
        return 0;
    for (int tile = 0; tile < 8; tile++) {
        how[16 + 2 * tile] = 64;
        how[48 + tile] = 16;
    }
    /* GCC believes that the next line reads 8 bytes of the 64, and leaves away what it thinks nobody reads. */
    __asm__ volatile("" : : "r"(how) : "memory");
    _tile_loadconfig(how);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    const double begin = now();
    double done = 0;
    do {
        for (int turn = 0; turn < 1024; turn++) {
            TILE_STEP(0, 4, 6);
            TILE_STEP(1, 4, 7);
            TILE_STEP(2, 5, 6);
            TILE_STEP(3, 5, 7);
        }
        done += 1024 * 4 * OF_A_TILE;
        *took = now() - begin;
    } while (*took < seconds);
    _tile_release();
    return done;
}
#else
/* Bytes read of `count` numbers, a piece after the other and from the start again, in about `seconds` of processor time. */
double read_memory(const uint64_t *from, int64_t count, double seconds, double *took)
{
    enum { PIECE = 1 << 17 };
    const double begin = now();
    double done = 0;
    uint64_t sums[8] = {0};
    int64_t at = 0;
    do {
        const int64_t end = at + PIECE < count ? at + PIECE : count / 8 * 8;
        done += 8.0 * (double)(end - at);
        for (; at < end; at += 8)
            for (int i = 0; i < 8; i++)
                sums[i] += from[at + i];
        if (at >= count / 8 * 8)
            at = 0;
        __asm__ volatile("" : : "r"(sums) : "memory");
        *took = now() - begin;
    } while (*took < seconds);
    return done;
}
#endif
