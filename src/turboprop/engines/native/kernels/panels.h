/* Where things are in a panel, see kernels.h. */
#ifndef TURBOPROP_PANELS_H
#define TURBOPROP_PANELS_H

#include "kernels.h"

enum {
    /* Bytes of both sides of a panel. */
    LINE = 2 * CACHE_LINE,
    EIGHT_STEP = 2 * GROUP * LANES + LINE,
    FOUR_LINES = GROUP_FOUR / 8,
    FOUR_STEP = (FOUR_LINES + 1) * LINE,
    PARTS = SUPER / GROUP_FOUR,
    /* Of the head of one side. */
    PACKED_SCALES = 3 * PARTS / 2 * LANES,
    SIX_SCALES = SUPER / HALF * LANES,
};

/* Bytes of a weight that is a float. */
static inline int64_t float_bytes(int kind)
{
    return kind == FLOAT32 ? 4 : 2;
}

/* Bits of a weight beside the first four. */
static inline int64_t more_bits(int kind)
{
    return kind == SUPER_SIX ? 2 : kind == SUPER_FIVE ? 1 : 0;
}

/* What precedes the parts of a group of SUPER inputs, for one side. */
static inline int64_t head_bytes(int64_t more)
{
    return more == 2 ? SIX_SCALES + 2 * LANES : PACKED_SCALES + 4 * LANES;
}

static inline int64_t part_bytes(int64_t more)
{
    return (FOUR_LINES + more) * LINE;
}

static inline int64_t super_step(int64_t more)
{
    return 2 * head_bytes(more) + PARTS * part_bytes(more);
}

/* The lines of a part with the low four bits, and the others, of the inputs 4 * quad to 4 * quad + 3. */
static inline int64_t low_line(int64_t quad, int64_t more)
{
    return quad / 2 + (more == 2 ? 1 + quad / 4 : more);
}

static inline int64_t high_line(int64_t quad, int64_t more)
{
    return more == 2 ? quad / 4 * 3 : 0;
}

#endif
