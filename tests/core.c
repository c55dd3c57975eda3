/* core.c: the async core against the virtual clock. */
#include "test.h"

static aw_loop *virtual_loop(void)
{
    aw_loop *l = aw_loop_new(NULL);
    if (l) l->is_virtual = true;
    return l;
}

/* Ends the loop: nothing may be left. */
static void close_loop(aw_loop *l)
{
    aw_loop_free(l);
}

static char trail[512];
static void mark(const char *text) { strcat(trail, text); }
static void mark_arg(void *text) { mark((const char *)text); }

ASYNC(sleeper, (int64_t ms; int result;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, self->ms);
        RETURN(self->result);
    } FINALLY {
        mark(OUTCOME() == AW_ECANCELED ? "C" : OUTCOME() == AW_EDEADLINE ? "D" : "F");
    }
}

ASYNC(parent_calls, (int64_t ms;), int rc;)
{
    BEGIN {
        DEFER(mark_arg, (char *)"1");
        DEFER(mark_arg, (char *)"2");
        AWAIT_TO(self->rc, sleeper, self->ms, 7);
        RETURN(self->rc);
    } FINALLY { mark("P"); }
}

TEST(await_returns)
{
    aw_loop *l = virtual_loop();
    int64_t start = aw_now_ms(l);
    trail[0] = 0;
    SPAWN_ON(l, parent_calls, 3600000);
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_STR(trail, "FP21");
    CHECK_EQ(aw_now_ms(l) - start, 3600000);
    close_loop(l);
}

ASYNC(deadline_user, (int64_t ms;), int rc;)
{
    BEGIN {
        AWAIT_FOR_TO(self->ms, self->rc, parent_calls, 1000);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        AWAIT_FOR_TO(self->ms, self->rc, aw_sleep_ms, 1000);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        AWAIT_FOR_TO(2000, self->rc, parent_calls, 1000);
        CHECK_EQ(self->rc, 7);
        mark("E");
    }
}

TEST(deadlines)
{
    aw_loop *l = virtual_loop();
    trail[0] = 0;
    SPAWN_ON(l, deadline_user, 50);
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_STR(trail, "DP21FP21E");
    trail[0] = 0;
    SPAWN_ON(l, deadline_user, 0);
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_STR(trail, "DP21FP21E");
    close_loop(l);
}

ASYNC(gatherer, (int how;), int rc; int a, b;)
{
    BEGIN {
        START_TO(self->a, sleeper, 100, 1);
        START_TO(self->b, sleeper, 300, -5);
        START(sleeper, 200, 3);
        if (self->how == 0) GATHER_TO(self->rc);
        else if (self->how == 1) RACE_TO(self->rc);
        else if (self->how == 2) GATHER_FOR_TO(250, self->rc);
        else if (self->how == 3) RETURN(5);
        else if (self->how == 4) {
            START(sleeper, 10, AW_EIO);
            AWAIT(aw_sleep_ms, 1000);
        }
        CHECK_EQ(self->a, self->a);
        RETURN(self->rc);
    } FINALLY {
        char text[80];
        snprintf(text, sizeof text, "[%d %d %d]", OUTCOME(), self->a, self->b);
        mark(text);
    }
}

TEST(groups)
{
    static const char *const expect[] = {
        "FFD[0 1 -5]", "FCC[1 1 -6]", "FFD[0 1 -5]", "CCC[5 -6 -6]", "FCCC[-30 -6 -6]"};
    int how;
    for (how = 0; how < 5; how++) {
        aw_loop *l = virtual_loop();
        trail[0] = 0;
        SPAWN_ON(l, gatherer, how);
        CHECK_EQ(aw_loop_run(l), 0);
        CHECK_STR(trail, expect[how]);
        close_loop(l);
    }
}

ASYNC(nested_fin, (), int x;)
{
    BEGIN { AWAIT(aw_sleep_ms, 1000); }
    FINALLY {
        mark("f");
        AWAIT(aw_sleep_ms, 100);
        mark("g");
        AWAIT_FOR_TO(10, self->x, aw_sleep_ms, 5000);
        CHECK_EQ(self->x, AW_EDEADLINE);
        AWAIT_TO(self->x, aw_sleep_ms, 100000);
        CHECK_EQ(self->x, AW_EDEADLINE);
        mark("h");
    }
}
ASYNC(canceller, (), aw_task t; int rc; int64_t at;)
{
    BEGIN {
        self->t = SPAWN(nested_fin);
        AWAIT(aw_sleep_ms, 10);
        aw_cancel(self->t);
        AWAIT(aw_sleep_ms, 10);
        aw_cancel(self->t);
        AWAIT_TO(self->rc, aw_join, self->t);
        CHECK_EQ(self->rc, AW_ECHILDCANCELED);
        AWAIT_TO(self->rc, aw_join, self->t);
        CHECK_EQ(self->rc, AW_ECHILDCANCELED);
        mark("J");
    }
}
TEST(finally_grace)
{
    aw_loop *l = virtual_loop();
    int64_t start = aw_now_ms(l);
    trail[0] = 0;
    SPAWN_ON(l, canceller);
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_STR(trail, "fghJ");
    CHECK_EQ(aw_now_ms(l) - start, 5010);
    close_loop(l);
}

ASYNC(pipe_reader, (int fd;), char c;)
{
    BEGIN {
        AWAIT(aw_readable, self->fd);
        CHECK_EQ(read(self->fd, &self->c, 1), 1);
        AWAIT(aw_readable, self->fd);
        mark(self->c == 'x' ? "x" : "?");
    }
}
ASYNC(pipe_writer, (int fd;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, 5);
        AWAIT(aw_writable, self->fd);
        CHECK_EQ(write(self->fd, "xy", 2), 2);
    }
}
TEST(fds)
{
    aw_loop *l = virtual_loop();
    int p[2];
    CHECK_EQ(pipe(p), 0);
    trail[0] = 0;
    SPAWN_ON(l, pipe_reader, p[0]);
    SPAWN_ON(l, pipe_writer, p[1]);
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_STR(trail, "x");
    close_loop(l);
    close(p[0]); close(p[1]);
}
static int slow(void *arg) { *(int *)arg = 5; return 42; }
ASYNC(threader, (), int x; int rc;)
{
    BEGIN { AWAIT_TO(self->rc, aw_thread, slow, &self->x); CHECK_EQ(self->rc, 42); CHECK_EQ(self->x, 5); mark("T"); }
}
TEST(threads)
{
    aw_loop *l = virtual_loop();
    trail[0] = 0;
    SPAWN_ON(l, threader);
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_STR(trail, "T");
    close_loop(l);
}
