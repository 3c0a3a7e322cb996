/* A few threads that help where they are free. */
#ifndef POOL_H
#define POOL_H

#include <stdint.h>

/* Calls run(job, first, last) so that every item below `items` is in one of the calls. The calling
 * thread takes parts until there are none; helpers, up to `threads` - 1, take what they get to. */
void pool_run(void (*run)(const void *job, int64_t first, int64_t last), const void *job,
              int64_t items, int threads);

#endif
