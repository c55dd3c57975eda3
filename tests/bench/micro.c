/* micro.c: what the smallest things cost, in ns, and how often they malloc.

   micro             all of them: NAME;median;least;most;mallocs
   micro NAME COUNT  one of them, so often: for callgrind
*/
#define ASYNCWEB_IMPLEMENTATION
#include "asyncweb.h"
#include <time.h>

enum { BATCH = 100, ROUNDS = 11 };
static long mallocs;            /* the linker sends all of them through here */

void *__real_malloc(size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
    mallocs++;
    return __real_malloc(n);
}

void *__wrap_realloc(void *p, size_t n)
{
    mallocs++;
    return __real_realloc(p, n);
}

ASYNC(nothing, ())
{
    BEGIN { RETURN(1); }
}

/* Tasks of the loop's, a hundred at a time; each runs, ends, is freed. */
static void spawn(aw_loop *l, long n)
{
    long i;
    for (i = 0; i < n; i++) {
        SPAWN_ON(l, nothing);
        if (i % BATCH == BATCH - 1) aw_loop_step(l, 0);
    }
    aw_loop_run(l);
}

ASYNC(awaits, (long n;), long i; int rc;)
{
    BEGIN {
        for (self->i = 0; self->i < self->n; self->i++)
            AWAIT_TO(self->rc, nothing);
    }
}

static void await(aw_loop *l, long n)
{
    SPAWN_ON(l, awaits, n);
    aw_loop_run(l);
}

/* Of all kinds of lengths, a hundred at a time. */
static void timer(aw_loop *l, long n)
{
    static aw__timer timers[BATCH];
    long i;

    for (i = 0; i < n; i++) {
        aw__timer *t = &timers[i % BATCH];
        if (i >= BATCH) aw__timer_stop(l, t);
        aw__timer_start(l, t, 1000 + i * 37 % 30000, AW__TIMER_SLEEP);
    }
    for (i = 0; i < BATCH && i < n; i++) aw__timer_stop(l, &timers[i]);
}

static const struct {
    const char *name;
    void (*run)(aw_loop *, long);
} all[] = {{"spawn", spawn}, {"await", await}, {"timer", timer}};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Mallocs are those after the first round: in steady state. */
static void measure(aw_loop *l, size_t which, long n)
{
    double ns[ROUNDS], begun;
    int i;

    all[which].run(l, n);
    mallocs = 0;
    for (i = 0; i < ROUNDS; i++) {
        begun = now();
        all[which].run(l, n);
        ns[i] = (now() - begun) / (double)n;
    }
    qsort(ns, ROUNDS, sizeof *ns, by_size);
    printf("%s;%.1f;%.1f;%.1f;%ld\n", all[which].name, ns[ROUNDS / 2], ns[0],
           ns[ROUNDS - 1], mallocs);
}

int main(int argc, char **argv)
{
    aw_loop *l = aw_loop_new(NULL);
    size_t i;

    for (i = 0; l && i < sizeof all / sizeof *all; i++) {
        if (argc < 3) measure(l, i, 1000000);
        else if (strcmp(all[i].name, argv[1]) == 0) all[i].run(l, atol(argv[2]));
    }
    aw_loop_free(l);
    return l == NULL;
}
