/* OpenMP waits at the end of a loop for every thread of its team, those too that another program
 * keeps from running; on a busy machine that is a hundred times the loop itself. Here nobody waits
 * for a helper that has not begun. */
#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>

#define MOST_HELPERS 63
#define PARTS 4 /* of each thread: who is late leaves the rest to the others */

static struct {
    pthread_mutex_t use;  /* held by the caller whose loop it is */
    pthread_mutex_t lock; /* of all below, but `next` */
    pthread_cond_t begun, done;
    int helpers;          /* threads that there are */
    int wanted;           /* helpers that may still join the loop; 0 between loops */
    int running;          /* helpers in the loop */
    void (*run)(const void *, int64_t, int64_t);
    const void *job;
    int64_t items, parts;
    atomic_llong next; /* part that nobody has taken yet */
} pool = {.use = PTHREAD_MUTEX_INITIALIZER,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .begun = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

static void take_parts(void) {
    int64_t part;
    while ((part = atomic_fetch_add(&pool.next, 1)) < pool.parts)
        pool.run(pool.job, part * pool.items / pool.parts, (part + 1) * pool.items / pool.parts);
}

static void *help(void *unused) {
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        while (!pool.wanted) pthread_cond_wait(&pool.begun, &pool.lock);
        pool.wanted--;
        pool.running++;
        pthread_mutex_unlock(&pool.lock);
        take_parts();
        pthread_mutex_lock(&pool.lock);
        if (!--pool.running) pthread_cond_signal(&pool.done);
    }
    return unused;
}

void pool_run(void (*run)(const void *, int64_t, int64_t), const void *job, int64_t items,
              int threads) {
    /* A second caller at the same time does its loop alone. */
    if (threads < 2 || items < 2 || pthread_mutex_trylock(&pool.use)) {
        run(job, 0, items);
        return;
    }
    int helpers = threads - 1 < MOST_HELPERS ? threads - 1 : MOST_HELPERS;
    pthread_mutex_lock(&pool.lock);
    while (pool.helpers < helpers) {
        pthread_t made;
        if (pthread_create(&made, 0, help, 0)) break;
        pthread_detach(made);
        pool.helpers++;
    }
    pool.run = run;
    pool.job = job;
    pool.items = items;
    pool.parts = items < (int64_t)threads * PARTS ? items : (int64_t)threads * PARTS;
    atomic_store(&pool.next, 0);
    pool.wanted = helpers;
    pthread_cond_broadcast(&pool.begun);
    pthread_mutex_unlock(&pool.lock);
    take_parts();
    pthread_mutex_lock(&pool.lock);
    pool.wanted = 0;
    while (pool.running) pthread_cond_wait(&pool.done, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
    pthread_mutex_unlock(&pool.use);
}
