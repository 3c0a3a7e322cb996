/* How many floats one vector of this processor holds. */
#ifndef LANES_H
#define LANES_H

#if defined(__AVX512F__)
#include <immintrin.h>
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float vf __attribute__((vector_size(4 * LANES), aligned(4)));

#endif
