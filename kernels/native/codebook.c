/* y = x W^T for a weight of vectors: W[r v + i, c] = sum over books of book[index[r, c]][i].
 *
 * One index stands for v consecutive outputs of one input column, so that a looked-up vector times
 * x[c] is added to v outputs at once. Vectors are padded with zeros to WIDTH floats.
 */
#include "pool.h"
#include "rows.h"

#include <string.h>

#define MOST_BOOKS 2
#define AHEAD 256 /* indices that are fetched ahead */

typedef struct {
    const uint16_t *index[MOST_BOOKS]; /* [vectors][columns] */
    const float *book[MOST_BOOKS];     /* [entries][width] */
    int64_t books;                     /* 1 or 2 */
    int64_t vectors;                   /* ceil(rows / length) */
    int64_t rows;                      /* outputs */
    int64_t columns;                   /* inputs */
    int64_t length;                    /* v */
    int64_t width;                     /* 4, 8 or 16, and at least v */
} Vectors;

/* One row of indices by `count` (a constant) rows of x, which lie as [columns][count]. */
#define FOR_WIDTH(WIDTH)                                                                         \
    typedef float v##WIDTH __attribute__((vector_size(4 * WIDTH), aligned(4)));                  \
    INLINE void pass_##WIDTH(const Vectors *w, int64_t vector, const float *x, float *y,         \
                             int count) {                                                        \
        v##WIDTH sum[2 * MOST_ROWS];                                                             \
        for (int m = 0; m < 2 * count; m++) sum[m] = (v##WIDTH){0};                              \
        for (int64_t b = 0; b < w->books; b++) {                                                 \
            const uint16_t *index = w->index[b] + vector * w->columns;                           \
            const float *book = w->book[b];                                                      \
            int64_t c = 0;                                                                       \
            for (; c + 2 <= w->columns; c += 2) {                                                \
                v##WIDTH one = *(const v##WIDTH *)(book + (int64_t)index[c] * WIDTH);            \
                v##WIDTH two = *(const v##WIDTH *)(book + (int64_t)index[c + 1] * WIDTH);        \
                __builtin_prefetch(index + c + AHEAD);                                           \
                _Pragma("GCC unroll 8") for (int m = 0; m < count; m++) {                        \
                    sum[2 * m] += one * x[c * count + m];                                        \
                    sum[2 * m + 1] += two * x[(c + 1) * count + m];                              \
                }                                                                                \
            }                                                                                    \
            if (c < w->columns) {                                                                \
                v##WIDTH one = *(const v##WIDTH *)(book + (int64_t)index[c] * WIDTH);            \
                for (int m = 0; m < count; m++) sum[2 * m] += one * x[c * count + m];            \
            }                                                                                    \
        }                                                                                        \
        int64_t first = vector * w->length, left = w->rows - first;                              \
        for (int m = 0; m < count; m++) {                                                        \
            v##WIDTH all = sum[2 * m] + sum[2 * m + 1];                                          \
            memcpy(y + m * w->rows + first, &all,                                                \
                   sizeof(float) * (left < w->length ? left : w->length));                       \
        }                                                                                        \
    }                                                                                            \
    static void vector_##WIDTH(const Vectors *w, int64_t vector, const float *x, float *y,       \
                               int64_t batch) {                                                  \
        for (int64_t m = 0, count; m < batch; m += count) {                                      \
            const float *part = x + m * w->columns;                                              \
            float *out = y + m * w->rows;                                                        \
            count = pass_rows(batch - m);                                                        \
            if (count == 8) pass_##WIDTH(w, vector, part, out, 8);                               \
            else if (count == 4) pass_##WIDTH(w, vector, part, out, 4);                          \
            else if (count == 2) pass_##WIDTH(w, vector, part, out, 2);                          \
            else pass_##WIDTH(w, vector, part, out, 1);                                          \
        }                                                                                        \
    }
FOR_WIDTH(4)
FOR_WIDTH(8)
FOR_WIDTH(16)

/* What all rows of indices have in common while some rows of x pass. */
typedef struct {
    const Vectors *w;
    void (*run)(const Vectors *, int64_t, const float *, float *, int64_t);
    const float *x;
    float *y;
    int64_t batch;
} Pass;

static void vectors_of(const void *job, int64_t first, int64_t last) {
    const Pass *p = job;
    for (int64_t vector = first; vector < last; vector++)
        p->run(p->w, vector, p->x, p->y, p->batch);
}

/* x: [batch][columns]; y: [batch][rows]; `room` has as many floats as x. Returns 0, or 1 for a
 * width that there is not. */
int codebook_matmul(const Vectors *w, const float *x, float *y, float *room, int64_t batch,
                    int threads) {
    void (*run)(const Vectors *, int64_t, const float *, float *, int64_t) =
        w->width == 4 ? vector_4 : w->width == 8 ? vector_8 : w->width == 16 ? vector_16 : 0;
    if (!run) return 1;
    for (int64_t m = 0; m < batch; m += BATCH) {
        int64_t some = batch - m < BATCH ? batch - m : BATCH;
        const float *part = x + m * w->columns;
        if (some > 1) {
            interleave(part, room + m * w->columns, some, w->columns);
            part = room + m * w->columns;
        }
        Pass job = {w, run, part, y + m * w->rows, some};
        pool_run(vectors_of, &job, w->vectors, threads);
    }
    return 0;
}
