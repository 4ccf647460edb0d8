/* Where things are in a panel, see kernels.h. */
#ifndef TURBOPROP_PANELS_H
#define TURBOPROP_PANELS_H

#include "kernels.h"

enum {
    EIGHT_STEP = GROUP * LANES + 4 * LANES,
    FOUR_DATA = GROUP_FOUR * LANES / 2,
    FOUR_STEP = FOUR_DATA + 4 * LANES,
    PARTS = SUPER / GROUP_FOUR,
    SUPER_SCALES = 2 * PARTS * LANES,
    SUPER_TAIL = SUPER_SCALES + 4 * LANES,
};

/* Bits of a weight beside the first four. */
static inline long more_bits(int kind)
{
    return kind == SUPER_SIX ? 2 : kind == SUPER_FIVE ? 1 : 0;
}

static inline long part_bytes(long more)
{
    return FOUR_DATA + more * CACHE_LINE;
}

static inline long super_step(long more)
{
    return PARTS * part_bytes(more) + SUPER_TAIL;
}

#endif
