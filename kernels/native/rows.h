/* Rows of x: how many go into one pass, and how they lie in memory then. */
#ifndef ROWS_H
#define ROWS_H

#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))
#define MOST_ROWS 8 /* in one pass over a part of the weight: more do not fit the registers */
#define BATCH 64    /* rows that stay in the second-level cache */

/* The largest number of rows that a pass takes of so many. */
INLINE int64_t pass_rows(int64_t left) {
    return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/* Lay the rows of each pass side by side, so that one column of them is one piece of memory. */
INLINE void interleave(const float *x, float *to, int64_t batch, int64_t columns) {
    for (int64_t m = 0, count; m < batch; m += count) {
        count = pass_rows(batch - m);
        for (int64_t i = 0; i < count; i++)
            for (int64_t k = 0; k < columns; k++)
                to[m * columns + k * count + i] = x[(m + i) * columns + k];
    }
}

#endif
