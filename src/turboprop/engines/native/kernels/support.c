/* Compiled for any processor: says whether the other files' instructions are there. */
#include "kernels.h"

#if defined(KERNELS_PLAIN)
int kernels_supported(void)
{
    return 1;
}
#elif defined(__x86_64__)
#include <cpuid.h>

int kernels_supported(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    /* Not every compiler knows the names of F16C and AVX-VNNI. */
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 29 & 1))
        return 0;
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return 0;
#if defined(KERNELS_AVX512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
#elif defined(KERNELS_AVXVNNI)
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && a >> 4 & 1;
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
