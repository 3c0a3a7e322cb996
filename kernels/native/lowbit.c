/* y = x W^T for a weight of 2, 3, 4 or 8 bits in groups, float32 throughout.
 *
 * LANES rows of W make a block, one row a lane. A block's codes are 32-bit words in the order
 * [word][lane]; along a row they are one dense little-endian stream, so that 32 columns are `bits`
 * words. A group's products are summed with the bare codes, and the scale comes in once a group:
 *     y[m, n] = sum over groups of scale * (sum of x q - offset * sum of x),
 * where q = code - 2^(bits - 1) and offset = zero - 2^(bits - 1), or q = names[code] for the likes of
 * NF4. Only the order of the sums differs from a float32 product with the dequantized weight.
 *
 * Vectors are those of GCC and Clang, so that one text serves AVX-512, AVX2, NEON and plain C;
 * the one instruction that is named is AVX-512's permutation, which looks up sixteen codes at once.
 */
#include "lanes.h"
#include "pool.h"
#include "rows.h"

#include <stdint.h>
#include <string.h>

#define CHUNK 32    /* columns that fill whole words whatever the bits */
#define AHEAD 1024  /* words that are fetched ahead, from memory that is larger than the caches */

typedef uint32_t vu __attribute__((vector_size(4 * LANES), aligned(4)));
typedef uint16_t vh __attribute__((vector_size(2 * LANES), aligned(2)));
typedef int8_t vb __attribute__((vector_size(LANES), aligned(1)));

typedef struct {
    const uint32_t *words; /* [blocks][columns / 32 * bits][LANES] */
    const void *scale;     /* [blocks][groups][LANES], float16 or float32; NULL where all are 1 */
    const int8_t *offset;  /* [blocks][groups][LANES]; NULL where all are 0 */
    const float *names;    /* [16], what codes of 4 bits stand for; NULL for integers */
    int64_t rows;          /* of W, without the padding of the last block */
    int64_t columns;       /* a multiple of 32 */
    int64_t group;         /* columns of a group: a multiple of 32 that divides `columns` */
    int64_t share;         /* rows that share one x, a multiple of LANES; then there is no offset */
    int32_t bits;          /* 2, 3, 4 or 8 */
    int32_t wide;          /* 1: the scales are float32 */
} Weight;

/* What a permutation by the lowest four bits of each lane makes of codes of `bits` bits. */
INLINE vf table_for(const float *names, int bits) {
    vf table;
    for (int i = 0; i < LANES; i++) table[i] = (float)((i & ((1 << bits) - 1)) - (1 << (bits - 1)));
#ifdef __AVX512F__
    if (names) memcpy(&table, names, sizeof table);
#else
    (void)names;
#endif
    return table;
}

/* Column `j` (a constant) of 32 in `words`: integers from -2^(bits - 1), or what the codes name. */
INLINE vf decode(const vu *words, int j, int bits, vf table, const float *names) {
    int shift = j * bits % 32;
    vu part = words[j * bits / 32];
    if (shift + bits > 32) { /* 3 bits lie across words twice in 32 */
        part = (part >> shift) | (words[j * bits / 32 + 1] << (32 - shift));
        shift = 0;
    }
#ifdef __AVX512F__
    if (bits <= 4)
        return (vf)_mm512_permutexvar_ps((__m512i)(shift ? part >> shift : part), (__m512)table);
#endif
    (void)table;
    if (bits == 4 && names) {
        vf value;
        for (int i = 0; i < LANES; i++) value[i] = names[part[i] >> shift & 15];
        return value;
    }
    /* Put into the mantissa of 2^(23 - shift), a code is a number without any conversion. */
    if (shift + bits > 20) {
        part >>= shift;
        shift = 0;
    }
    uint32_t mask = ((1u << bits) - 1) << shift, power = (uint32_t)(127 + 23 - shift) << 23;
    return (vf)((part & mask) | power) - (float)((1 << (23 - shift)) + (1 << (bits - 1)));
}

INLINE vf load_scale(const Weight *w, int64_t at) {
    if (w->wide) return *(const vf *)((const float *)w->scale + at * LANES);
    const uint16_t *half = (const uint16_t *)w->scale + at * LANES;
#ifdef __AVX512F__
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)half));
#else
    vu code = __builtin_convertvector(*(const vh *)half, vu);
    vf size = (vf)((code & 0x7fff) << 13) * 0x1p112f; /* the exponents' biases: 127 - 15 */
    return (vf)((vu)size | (code & 0x8000) << 16);
#endif
}

/* Add a group's sums, `parts` for each of `count` rows, times its scales to the totals. */
INLINE void add_group(const Weight *w, int64_t at, const vf *sum, const float *sums, int64_t groups,
                      vf *total, int count, int parts) {
    vf scale = (vf){0} + 1, offset = {0};
    if (w->scale) scale = load_scale(w, at);
    if (w->offset) offset = __builtin_convertvector(*(const vb *)(w->offset + at * LANES), vf);
    for (int m = 0; m < count; m++) {
        vf all = sum[m * parts];
        for (int i = 1; i < parts; i++) all += sum[m * parts + i];
        if (w->offset) all -= offset * sums[m * groups];
        total[m] += scale * all;
    }
}

/* Write a block's totals; the last block may reach beyond the rows. */
INLINE void store(const Weight *w, int64_t block, const vf *total, float *y, int count) {
    int64_t first = block * LANES, left = w->rows - first;
    for (int m = 0; m < count; m++)
        memcpy(y + m * w->rows + first, &total[m], sizeof(float) * (left < LANES ? left : LANES));
}

/* A block by `count` (a constant) rows of x, which lie as [columns][count]. `sums` holds the sums
 * of x over groups, [count][groups], and is read only where there are offsets. */
INLINE void pass(const Weight *w, int64_t block, const float *x, const float *sums, float *y,
                 int count, int bits) {
    int64_t groups = w->columns / w->group;
    const uint32_t *at = w->words + block * (w->columns / 32 * bits) * LANES;
    const int parts = count == 1 ? 4 : count == 2 ? 2 : 1; /* sums at once hide each other's time */
    vf table = table_for(w->names, bits), total[MOST_ROWS];
    for (int m = 0; m < count; m++) total[m] = (vf){0};
    for (int64_t g = 0; g < groups; g++) {
        vf sum[MOST_ROWS];
        for (int i = 0; i < count * parts; i++) sum[i] = (vf){0};
        for (int64_t k = 0; k < w->group; k += CHUNK) {
            vu words[8];
            for (int i = 0; i < bits; i++) {
                words[i] = *(const vu *)(at + i * LANES);
                __builtin_prefetch(at + i * LANES + AHEAD);
            }
#pragma GCC unroll 32
            for (int j = 0; j < CHUNK; j++) {
                vf value = decode(words, j, bits, table, w->names);
#pragma GCC unroll 8
                for (int m = 0; m < count; m++)
                    sum[m * parts + j % parts] += value * x[j * count + m];
            }
            at += bits * LANES;
            x += CHUNK * count;
        }
        add_group(w, block * groups + g, sum, sums + g, groups, total, count, parts);
    }
    store(w, block, total, y, count);
}

#define FOR_BITS(BITS)                                                                           \
    static void block_##BITS(const Weight *w, int64_t block, const float *x, const float *sums,  \
                             float *y, int64_t batch) {                                          \
        for (int64_t m = 0, count; m < batch; m += count) {                                      \
            const float *part = x + m * w->columns, *sum = sums + m * (w->columns / w->group);   \
            float *out = y + m * w->rows;                                                        \
            count = pass_rows(batch - m);                                                        \
            if (count == 8) pass(w, block, part, sum, out, 8, BITS);                             \
            else if (count == 4) pass(w, block, part, sum, out, 4, BITS);                        \
            else if (count == 2) pass(w, block, part, sum, out, 2, BITS);                        \
            else pass(w, block, part, sum, out, 1, BITS);                                        \
        }                                                                                        \
    }
FOR_BITS(2)
FOR_BITS(3)
FOR_BITS(4)
FOR_BITS(8)

#if defined(__AVX512BF16__) && defined(__AVX512BW__)
#define SHORT_BITS 4
/* As `pass` with integers of 4 bits, for rows of bfloat16: codes are exact in it, so are products in
 * float32, and one instruction adds up two columns. Those are j and j + 4 of every 8, which a word
 * has at the same place of its halves; x lies as [columns / 2][count] of such pairs. */
INLINE void pass_short(const Weight *w, int64_t block, const uint32_t *x, const float *sums,
                       float *y, int count) {
    int64_t groups = w->columns / w->group;
    const uint32_t *at = w->words + block * (w->columns / 8) * LANES;
    const int parts = count == 1 ? 4 : count == 2 ? 2 : 1;
    uint16_t names[32]; /* bit 4 of an index belongs to the next code */
    for (int i = 0; i < 32; i++) {
        float value = (float)((i & 15) - 8);
        uint32_t pattern;
        memcpy(&pattern, &value, sizeof pattern);
        names[i] = (uint16_t)(pattern >> 16);
    }
    __m512i table = _mm512_loadu_si512(names);
    vf total[MOST_ROWS];
    for (int m = 0; m < count; m++) total[m] = (vf){0};
    for (int64_t g = 0; g < groups; g++) {
        vf sum[MOST_ROWS];
        for (int i = 0; i < count * parts; i++) sum[i] = (vf){0};
        for (int64_t k = 0; k < w->group; k += CHUNK) {
#pragma GCC unroll 16
            for (int j = 0; j < CHUNK / 2; j++) {
                __m512i word = _mm512_loadu_si512(at + j / 4 * LANES);
                if (j % 4 == 0) __builtin_prefetch(at + j / 4 * LANES + AHEAD);
                __m512i place = j % 4 ? _mm512_srli_epi16(word, j % 4 * 4) : word;
                __m512bh value = (__m512bh)_mm512_permutexvar_epi16(place, table);
#pragma GCC unroll 8
                for (int m = 0; m < count; m++) {
                    __m512bh both = (__m512bh)_mm512_set1_epi32((int)x[j * count + m]);
                    vf *to = &sum[m * parts + j % parts];
                    *to = (vf)_mm512_dpbf16_ps((__m512)*to, value, both);
                }
            }
            at += 4 * LANES;
            x += CHUNK / 2 * count;
        }
        add_group(w, block * groups + g, sum, sums + g, groups, total, count, parts);
    }
    store(w, block, total, y, count);
}

static void block_short(const Weight *w, int64_t block, const float *x, const float *sums, float *y,
                        int64_t batch) {
    const uint32_t *pairs = (const uint32_t *)x;
    for (int64_t m = 0, count; m < batch; m += count) {
        const uint32_t *part = pairs + m * (w->columns / 2);
        const float *sum = sums + m * (w->columns / w->group);
        float *out = y + m * w->rows;
        count = pass_rows(batch - m);
        if (count == 8) pass_short(w, block, part, sum, out, 8);
        else if (count == 4) pass_short(w, block, part, sum, out, 4);
        else if (count == 2) pass_short(w, block, part, sum, out, 2);
        else pass_short(w, block, part, sum, out, 1);
    }
}

/* Rows of bfloat16 as the pairs of `pass_short`. */
static void pair_up(const uint16_t *x, uint32_t *to, int64_t batch, int64_t columns) {
    for (int64_t m = 0, count; m < batch; m += count) {
        count = pass_rows(batch - m);
        for (int64_t i = 0; i < count; i++)
            for (int64_t k = 0; k < columns / 2; k++) {
                const uint16_t *pair = x + (m + i) * columns + k / 4 * 8 + k % 4;
                to[m * (columns / 2) + k * count + i] = pair[0] | (uint32_t)pair[4] << 16;
            }
    }
}
#else
#define SHORT_BITS 0
#endif

/* What all blocks of a weight have in common while some rows of x pass. */
typedef struct {
    const Weight *w;
    void (*run)(const Weight *, int64_t, const float *, const float *, float *, int64_t);
    const float *x, *sums;
    float *y;
    int64_t batch, step; /* step: from one share's x to the next */
} Pass;

static void blocks_of(const void *job, int64_t first, int64_t last) {
    const Pass *p = job;
    for (int64_t block = first; block < last; block++)
        p->run(p->w, block, p->x + block * LANES / p->w->share * p->step, p->sums, p->y, p->batch);
}

/* Lanes of a block, which the weight has to be laid out for. */
int lowbit_lanes(void) { return LANES; }

/* Bits of the codes that `lowbit_matmul_short` takes; 0 where there is no such function. */
int lowbit_short_bits(void) { return SHORT_BITS; }

/* x: [batch][columns] of bfloat16; the rest as for `lowbit_matmul`, for integers and one x alone.
 * Returns 0, or 1 for what it does not take. */
int lowbit_matmul_short(const Weight *w, const uint16_t *x, float *y, float *room, int64_t batch,
                        int threads) {
#if SHORT_BITS
    if (w->bits != SHORT_BITS || w->names || w->share < w->rows) return 1;
    int64_t groups = w->columns / w->group, blocks = (w->rows + LANES - 1) / LANES;
    float *sums = room + batch * w->columns;
    if (w->offset)
        for (int64_t i = 0; i < batch * groups; i++) {
            float sum = 0;
            for (int64_t k = 0; k < w->group; k++) {
                uint32_t pattern = (uint32_t)x[i * w->group + k] << 16;
                float value;
                memcpy(&value, &pattern, sizeof value);
                sum += value;
            }
            sums[i] = sum;
        }
    for (int64_t m = 0; m < batch; m += BATCH) {
        int64_t some = batch - m < BATCH ? batch - m : BATCH;
        uint32_t *pairs = (uint32_t *)room + m * (w->columns / 2);
        pair_up(x + m * w->columns, pairs, some, w->columns);
        Pass job = {w, block_short, (const float *)pairs, sums + m * groups, y + m * w->rows, some,
                    0};
        pool_run(blocks_of, &job, blocks, threads);
    }
    return 0;
#else
    (void)w, (void)x, (void)y, (void)room, (void)batch, (void)threads;
    return 1;
#endif
}

/* x: [rows / share][batch][columns]; y: [batch][rows]. `room` has as many floats as x for an
 * interleaved one, and batch * groups for sums. Returns 0, or 1 for another number of bits. */
int lowbit_matmul(const Weight *w, const float *x, float *y, float *room, int64_t batch,
                  int threads) {
    void (*run)(const Weight *, int64_t, const float *, const float *, float *, int64_t) =
        w->bits == 2   ? block_2
        : w->bits == 3 ? block_3
        : w->bits == 4 ? block_4
        : w->bits == 8 ? block_8
                       : 0;
    if (!run) return 1;
    int64_t groups = w->columns / w->group, blocks = (w->rows + LANES - 1) / LANES;
    int64_t shares = (w->rows + w->share - 1) / w->share, step = batch * w->columns;
    float *sums = room + shares * step;
    if (w->offset)
        for (int64_t i = 0; i < batch * groups; i++) {
            float sum = 0;
            for (int64_t k = 0; k < w->group; k++) sum += x[i * w->group + k];
            sums[i] = sum;
        }
    for (int64_t m = 0; m < batch; m += BATCH) {
        int64_t some = batch - m < BATCH ? batch - m : BATCH;
        const float *part = x + m * w->columns;
        if (some > 1) {
            float *to = room + m * w->columns;
            for (int64_t i = 0; i < shares; i++)
                interleave(part + i * step, to + i * step, some, w->columns);
            part = to;
        }
        Pass job = {w, run, part, sums + m * groups, y + m * w->rows, some, step};
        pool_run(blocks_of, &job, blocks, threads);
    }
    return 0;
}
