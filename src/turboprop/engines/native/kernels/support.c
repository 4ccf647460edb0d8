/* Compiled for any processor: says whether the other files' instructions are there. */
#include "kernels.h"

#if defined(KERNELS_PLAIN)
int kernels_supported(void)
{
    return 1;
}
#elif defined(__x86_64__)
#include <cpuid.h>

#define BIT(number) (1u << (number))
/* Leaf 1, ecx. */
#define FMA BIT(12)
#define OSXSAVE BIT(27)
#define F16C BIT(29)
/* Leaf 7: ebx, and ecx. */
#define AVX2 BIT(5)
#define AVX512 (BIT(16) | BIT(17) | BIT(30) | BIT(31)) /* F, DQ, BW, VL */
#define AVX512VNNI BIT(11)
/* Leaf 7.1, eax. */
#define AVXVNNI BIT(4)
/* Registers that the system keeps for each thread: of 256 bits, and of 512. */
#define WIDE 6u
#define WIDEST 0xe6u

static int has(unsigned found, unsigned wanted)
{
    return (found & wanted) == wanted;
}

/* It asks the processor: not every compiler's __builtin_cpu_supports() knows F16C and AVX-VNNI, and Zig's takes 190 KB. */
int kernels_supported(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0, kept = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, FMA | OSXSAVE | F16C))
        return 0;
    __asm__("xgetbv" : "=a"(kept), "=d"(d) : "c"(0));
    if (!has(kept, WIDE) || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !has(b, AVX2))
        return 0;
#if defined(KERNELS_AVX512)
#ifndef __APPLE__ /* which keeps them from their first use on, and says so only then */
    if (!has(kept, WIDEST))
        return 0;
#endif
    return has(b, AVX512) && has(c, AVX512VNNI);
#elif defined(KERNELS_AVXVNNI)
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && has(a, AVXVNNI);
#else
    return 1;
#endif
}
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>

int kernels_supported(void)
{
    int found = 0;
    size_t size = sizeof found;
    return !sysctlbyname("hw.optional.arm.FEAT_DotProd", &found, &size, NULL, 0) && found;
}
#elif defined(__aarch64__)
#include <sys/auxv.h>

int kernels_supported(void)
{
    return getauxval(AT_HWCAP) >> 20 & 1; /* HWCAP_ASIMDDP */
}
#else
int kernels_supported(void)
{
    return 0;
}
#endif
