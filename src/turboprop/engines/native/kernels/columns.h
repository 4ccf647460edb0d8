/* The outputs of a panel as columns of a register each, for the tiles of products. */
#ifndef TURBOPROP_COLUMNS_H
#define TURBOPROP_COLUMNS_H

#include "kernels.h"
#include "vector.h"

enum {
    MOST = 2 * LANES / WIDTH,     /* columns of a panel */
    COLUMNS = WIDTH < 8 ? 4 : 2,  /* of a tile of several tokens */
};
/* Once for each column. It is no loop: GCC 12 writes sums to memory, again and again, from loops in the unrolled ones. */
#define EACH_COLUMN(...)                                                                                               \
    do {                                                                                                               \
        { enum { c = 0 }; __VA_ARGS__; }                                                                               \
        { enum { c = 1 }; __VA_ARGS__; }                                                                               \
        if (columns > 2) {                                                                                             \
            { enum { c = 2 % MOST }; __VA_ARGS__; }                                                                    \
            { enum { c = 3 % MOST }; __VA_ARGS__; }                                                                    \
        }                                                                                                              \
        if (columns > 4) {                                                                                             \
            { enum { c = 4 % MOST }; __VA_ARGS__; }                                                                    \
            { enum { c = 5 % MOST }; __VA_ARGS__; }                                                                    \
            { enum { c = 6 % MOST }; __VA_ARGS__; }                                                                    \
            { enum { c = 7 % MOST }; __VA_ARGS__; }                                                                    \
        }                                                                                                              \
    } while (0)

#endif
