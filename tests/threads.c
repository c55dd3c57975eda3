/* threads.c: to be built with -fsanitize=thread instead of address,undefined.

   Loops in several threads, posts and helper threads, on the real clock. */
#include "test.h"
#include <pthread.h>

static void no_log(void *data, aw_log_level level, const char *line)
{
    (void)data, (void)level, (void)line;
}

static aw_loop *quiet_loop(void)
{
    aw_loop_config config;
    memset(&config, 0, sizeof config);
    config.log = no_log;
    config.debug = true;
    return aw_loop_new(&config);
}

static int adds_one(void *arg)
{
    return *(int *)arg + 1;
}

ASYNC(busy, (int n; aw_queue *q;), int i; int rc; int value; void *item;)
{
    BEGIN {
        for (self->i = 0; self->i < 30; self->i++) {
            self->value = self->i;
            AWAIT_TO(self->rc, aw_thread, adds_one, &self->value);
            if (self->rc != self->i + 1) RETURN(AW_EIO);
            AWAIT_FOR_TO(1, self->rc, aw_sleep_ms, self->n % 3);
            AWAIT(aw_queue_put, self->q, self);
            AWAIT(aw_queue_get, self->q, &self->item);
        }
    }
}

ASYNC(crowd, (), aw_queue q; void *items[4]; int i; int rc;)
{
    BEGIN {
        aw_queue_init(&self->q, self->items, 4);
        for (self->i = 0; self->i < 20; self->i++)
            START(busy, self->i, &self->q);
        GATHER();
        AWAIT(aw_sleep_ms, 2);
        RETURN(1);
    }
}

static void *runs_a_loop(void *arg)
{
    aw_loop *l = quiet_loop();
    aw_task t = SPAWN_ON(l, crowd);
    int rc = aw_loop_run(l);
    *(int *)arg = rc < 0 ? rc : (int)l->slots[t.slot].u.result;
    aw_loop_free(l);
    return NULL;
}

TEST(two_loops_tsan)
{
    int result[3] = {0, 0, 0}, i;
    pthread_t id[3];
    for (i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&id[i], NULL, runs_a_loop, &result[i]), 0);
    for (i = 0; i < 3; i++) pthread_join(id[i], NULL);
    for (i = 0; i < 3; i++) CHECK_EQ(result[i], 1);
}

enum { POSTERS = 4, POSTS = 5000 };

typedef struct inbox {
    aw_loop *loop;
    aw_event full;
    int got;                    /* only the loop's thread touches it */
} inbox;

static void receive(aw_loop *l, void *arg)
{
    inbox *in = (inbox *)arg;
    CHECK(l == in->loop);
    if (++in->got == POSTERS * POSTS) aw_event_set(&in->full);
}

static void *posts(void *arg)
{
    inbox *in = (inbox *)arg;
    int i;
    for (i = 0; i < POSTS; i++) CHECK_EQ(aw_post(in->loop, receive, in), 0);
    return NULL;
}

ASYNC(waits_full, (inbox *in;))
{
    BEGIN { AWAIT_FOR(60000, aw_event_wait, &self->in->full); }
}

TEST(post_from_thread)
{
    pthread_t id[POSTERS];
    inbox in;
    int i;
    memset(&in, 0, sizeof in);
    in.loop = quiet_loop();
    SPAWN_ON(in.loop, waits_full, &in);
    for (i = 0; i < POSTERS; i++)
        CHECK_EQ(pthread_create(&id[i], NULL, posts, &in), 0);
    CHECK_EQ(aw_loop_run(in.loop), 0);
    for (i = 0; i < POSTERS; i++) pthread_join(id[i], NULL);
    CHECK_EQ(in.got, POSTERS * POSTS);
    aw_loop_free(in.loop);
}

/* What was posted before the end is done, at the latest in aw_loop_free. */
TEST(post_before_free)
{
    inbox in;
    memset(&in, 0, sizeof in);
    in.loop = quiet_loop();
    CHECK_EQ(aw_post(in.loop, receive, &in), 0);
    CHECK_EQ(aw_post(in.loop, receive, &in), 0);
    aw_loop_free(in.loop);
    CHECK_EQ(in.got, 2);
}

static int naps(void *arg)
{
    struct timespec t = {0, 20000000};
    nanosleep(&t, NULL);
    *(int *)arg = 1;
    return 0;
}

ASYNC(naps_in_thread, (), int done; int rc;)
{
    BEGIN {
        AWAIT_FOR_TO(1, self->rc, aw_thread, naps, &self->done);
        CHECK_EQ(self->rc, 0);              /* cannot be interrupted */
        CHECK_EQ(self->done, 1);
        AWAIT(aw_thread, naps, &self->done);
    } FINALLY {
        CHECK_EQ(self->done, 1);
    }
}

/* More work than threads; the loop is freed in the middle of it. */
TEST(free_while_threads_work)
{
    aw_loop *l = quiet_loop();
    int i;
    for (i = 0; i < 10; i++) SPAWN_ON(l, naps_in_thread);
    for (i = 0; i < 3; i++) CHECK(aw_loop_step(l, 5) > 0);
    aw_loop_free(l);
}

/* ---- signals belong to the loop that runs aw_run ---- */

typedef struct apart {
    int pipe[2];
    volatile int result;
} apart;

ASYNC(waits_apart, (int fd;), char c;)
{
    BEGIN {
        AWAIT(aw_readable, self->fd);
        RETURN(read(self->fd, &self->c, 1) == 1 ? self->c : AW_EIO);
    }
}

static void *runs_apart(void *arg)
{
    apart *a = (apart *)arg;
    aw_loop *l = quiet_loop();
    aw_task t = SPAWN_ON(l, waits_apart, a->pipe[0]);
    int rc = aw_loop_run(l);
    a->result = rc < 0 ? rc : (int)l->slots[t.slot].u.result;
    aw_loop_free(l);
    return NULL;
}

ASYNC(signals_itself, ())
{
    BEGIN {
        raise(SIGUSR1);                 /* a dump, and life goes on */
        AWAIT(aw_sleep_ms, 1);
        raise(SIGTERM);
    }
}

static int starts_signals(aw_loop *l, void *data)
{
    (void)data;
    return SPAWN_ON(l, signals_itself).loop ? 0 : AW_ENOMEM;
}

VIEW(nothing) { return aw_text(req, ""); }
ROUTES(signal_app, GET("/", nothing))

TEST(signal_two_loops)
{
    struct sigaction before, after;
    pthread_t other;
    apart a;
    a.result = 0;
    CHECK_EQ(pipe(a.pipe), 0);
    CHECK_EQ(sigaction(SIGTERM, NULL, &before), 0);
    CHECK_EQ(pthread_create(&other, NULL, runs_apart, &a), 0);
    CHECK_EQ(aw_run(signal_app, .port = AW_ANY_PORT, .log = no_log,
                    .on_start = starts_signals), 0);
    CHECK_EQ(sigaction(SIGTERM, NULL, &after), 0);
    CHECK(before.sa_handler == after.sa_handler);
    /* The other loop has heard of none of this, and goes on. */
    CHECK_EQ(write(a.pipe[1], "x", 1), 1);
    CHECK_EQ(pthread_join(other, NULL), 0);
    CHECK_EQ(a.result, 'x');
    close(a.pipe[0]);
    close(a.pipe[1]);
}
