/* The nearest of a book's vectors, for many short vectors: found[n] is the column j of the largest
 * half[n][j] + sum over i of x[n][i] book[i][j], the first where several are. */
#include "lanes.h"
#include "pool.h"
#include "rows.h"

#include <stdint.h>

#define TOGETHER 4 /* vectors that share what is loaded of the book */

typedef int32_t vi __attribute__((vector_size(4 * LANES), aligned(4)));

typedef struct {
    const float *x;    /* [n][length] */
    const float *book; /* [length][count] */
    const float *half; /* [n][count], or [count] where `step` is 0 */
    int32_t *found;    /* [n] */
    int64_t n, length, count, step;
} Search;

/* Where `value` is above `best`, put it and `now` in their places. */
INLINE void keep(vf value, vi now, vf *best, vi *place) {
#ifdef __AVX512F__
    __mmask16 above = _mm512_cmp_ps_mask((__m512)value, (__m512)*best, _CMP_GT_OQ);
    *best = (vf)_mm512_mask_mov_ps((__m512)*best, above, (__m512)value);
    *place = (vi)_mm512_mask_mov_epi32((__m512i)*place, above, (__m512i)now);
#else
    vi above = value > *best;
    *best = (vf)((above & (vi)value) | (~above & (vi)*best));
    *place = (above & now) | (~above & *place);
#endif
}

/* `some` vectors from the `first`; it and `length` are constants where this is called. */
INLINE void search(const Search *s, int64_t first, int some, int length) {
    const float *x = s->x + first * length;
    vf best[TOGETHER];
    vi place[TOGETHER], now;
    for (int i = 0; i < LANES; i++) now[i] = i;
    for (int m = 0; m < some; m++) {
        best[m] = (vf){0} - __builtin_inff();
        place[m] = (vi){0};
    }
    for (int64_t j = 0; j < s->count; j += LANES, now += LANES) {
        vf value[TOGETHER];
        for (int m = 0; m < some; m++)
            value[m] = *(const vf *)(s->half + (first + m) * s->step + j);
        for (int i = 0; i < length; i++) {
            vf entry = *(const vf *)(s->book + i * s->count + j);
            for (int m = 0; m < some; m++) value[m] += entry * x[m * length + i];
        }
        for (int m = 0; m < some; m++) keep(value[m], now, &best[m], &place[m]);
    }
    for (int m = 0; m < some; m++) {
        int at = 0;
        for (int i = 1; i < LANES; i++)
            if (best[m][i] > best[m][at] || (best[m][i] == best[m][at] && place[m][i] < place[m][at]))
                at = i;
        s->found[first + m] = place[m][at];
    }
}

#define FOR_LENGTH(LENGTH)                                                        \
    case LENGTH:                                                                  \
        for (; at + TOGETHER <= last; at += TOGETHER) search(s, at, TOGETHER, LENGTH); \
        for (; at < last; at++) search(s, at, 1, LENGTH);                         \
        break;

static void searches(const void *job, int64_t first, int64_t last) {
    const Search *s = job;
    int64_t at = first;
    switch (s->length) {
        FOR_LENGTH(1)
        FOR_LENGTH(2)
        FOR_LENGTH(3)
        FOR_LENGTH(4)
        FOR_LENGTH(5)
        FOR_LENGTH(6)
        FOR_LENGTH(7)
        FOR_LENGTH(8)
    }
}

/* Returns 0, or 1 for lengths and counts that it does not take. */
int nearest_find(const Search *s, int threads) {
    if (s->length < 1 || s->length > 8 || s->count < LANES || s->count % LANES) return 1;
    pool_run(searches, s, s->n, threads);
    return 0;
}
