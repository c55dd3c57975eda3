/* core.c: cancellation, FINALLY, children and deadlines of the async core,
   on virtual time. The other half is core_tasks.c. */
#include "core.h"
#include <limits.h>

/* ---- calls and clean-up ---- */

ASYNC(caller, (int64_t ms;), int rc;)
{
    BEGIN {
        DEFER(mark_arg, (char *)"1");
        DEFER(mark_arg, (char *)"2");
        DEFER(mark_arg, (char *)"3");
        AWAIT_TO(self->rc, sleeper, self->ms, 7);
        RETURN(self->rc);
    } FINALLY {
        mark("f");
    }
}

/* Each error has a text of its own, and no other error's number. */
TEST(errors_have_texts)
{
    static const int errors[] = {
#define CODE(name, number, text) AW_##name,
        AW_ERRORS(CODE)
#undef CODE
        AW_OK};
    enum { N = sizeof errors / sizeof *errors };
    for (int i = 0; i < N; i++) {
        CHECK(strlen(aw_strerror(errors[i])) > 4);
        for (int k = 0; k < i; k++) {
            CHECK(errors[i] != errors[k]);
            CHECK(strcmp(aw_strerror(errors[i]), aw_strerror(errors[k])) != 0);
        }
    }
    CHECK_STR(aw_strerror(AW_OK), "no error");
    CHECK_STR(aw_strerror(1), "unknown error");
    CHECK_STR(aw_strerror(INT_MIN), "unknown error");
    CHECK_STR(aw_strerror(AW_HTTP(404)), "Not Found");
    CHECK_STR(aw_strerror(AW_HTTP(599)), "unknown error");
    CHECK_STR(aw_strerror(AW_HTTP(0)), "unknown error");
}

TEST(errno_becomes_an_error)
{
    static const int pairs[][2] = {
        {ENOMEM, AW_ENOMEM}, {ENOBUFS, AW_ENOMEM}, {EAGAIN, AW_EAGAIN},
        {EINVAL, AW_EINVAL}, {EBADF, AW_EBADF}, {EPIPE, AW_ECLOSED},
        {ECONNREFUSED, AW_ECONNREFUSED}, {ECONNRESET, AW_ECONNRESET},
        {ECONNABORTED, AW_ECONNRESET}, {ENETUNREACH, AW_EUNREACH},
        {EHOSTUNREACH, AW_EUNREACH}, {ENETDOWN, AW_EUNREACH},
        {ETIMEDOUT, AW_ETIMEDOUT}, {EADDRINUSE, AW_EADDRINUSE},
        {EADDRNOTAVAIL, AW_EADDRNOTAVAIL}, {EACCES, AW_EACCES},
        {EPERM, AW_EACCES}, {EMFILE, AW_EMFILE}, {ENFILE, AW_EMFILE},
        {ENOENT, AW_ENOENT}, {EAFNOSUPPORT, AW_ENOTSUP},
        {EOPNOTSUPP, AW_ENOTSUP}, {EIO, AW_EIO}, {0, AW_EIO}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        NOTE("errno %d", pairs[i][0]);
        CHECK_EQ(aw__error_of(pairs[i][0]), pairs[i][1]);
    }
}

TEST(await_returns_finally_then_defers)
{
    aw_loop *l = open_loop();
    SPAWN_ON(l, caller, 3600000);
    CHECK_EQ(run_and_close(l), 3600000);
    CHECK_STR(trail, "Ff321");
}

ASYNC(counts_up, (), int i; int evaluated; int sum;)
{
    BEGIN {
        for (self->i = 0; self->i < 5; self->i++) {
            AWAIT_TO(self->sum, sleeper, ++self->evaluated, 3);
            CHECK_EQ(self->sum, 3);
        }
        CHECK_EQ(self->evaluated, 5);
        RETURN(self->evaluated);
    }
}

ASYNC(expects, (int want; aw_task task;), int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw_join, self->task);
        CHECK_EQ(self->rc, self->want);
        mark("J");
    }
}

TEST(arguments_are_evaluated_once)
{
    aw_loop *l = open_loop();
    aw_task t = SPAWN_ON(l, counts_up);
    SPAWN_ON(l, expects, 5, t);
    run_and_close(l);
    CHECK_STR(trail, "FFFFFJ");
}

ASYNC(fails_at_depth, (int depth;))
{
    BEGIN {
        if (self->depth == 0) RETURN(AW_EIO);
        AWAIT(fails_at_depth, self->depth - 1);
        mark("never");
    } FINALLY {
        CHECK_EQ(OUTCOME(), AW_EIO);
        mark("f");
    }
}

TEST(error_travels_up)
{
    aw_loop *l = open_loop();
    SPAWN_ON(l, fails_at_depth, 3);
    run_and_close(l);
    CHECK_STR(trail, "ffff");
    CHECK_EQ(times_said("in fails_at_depth at "), 4);
}

ASYNC(swallows, (), int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, fails_at_depth, 2);
        AWAIT_TO(self->rc, fails_at_depth, 1);
        RETURN(self->rc);
    }
}

/* A backtrace tells of the error that left, not of one dealt with before. */
TEST(backtrace_begins_anew)
{
    aw_loop *l = open_loop();
    SPAWN_ON(l, swallows);
    run_and_close(l);
    CHECK_EQ(times_said("in fails_at_depth at "), 2);
    CHECK_EQ(times_said("in swallows at "), 1);
}

ASYNC(leaves_by, (int how;), int i;)
{
    BEGIN {
        for (self->i = 0; self->i < 10; self->i++) {
            AWAIT(aw_yield);
            if (self->i == 1) continue;
            if (self->how == 0 && self->i == 2) break;
            if (self->how == 1 && self->i == 2) goto out;
            if (self->how == 2 && self->i == 2) RETURN(2);
            mark_number("", self->i);
        }
        if (self->how == 3) break;          /* out of the body */
        if (self->how == 4) continue;       /* likewise */
        mark("loop done ");
out:
        AWAIT(aw_yield);
        mark("end ");
    } FINALLY {
        if (self->how == 5) RETURN(-9);     /* ends only the FINALLY */
        mark("F");
    }
}

TEST(goto_continue_break_return)
{
    static const char *const expect[] = {
        "0 loop done end F", "0 end F", "0 F",
        "0 2 3 4 5 6 7 8 9 F", "0 2 3 4 5 6 7 8 9 F",
        "0 2 3 4 5 6 7 8 9 loop done end "};
    int how;
    for (how = 0; how < 6; how++) {
        aw_loop *l = open_loop();
        aw_task t = SPAWN_ON(l, leaves_by, how);
        char want[80];
        NOTE("how %d", how);
        snprintf(want, sizeof want, "%sJ", expect[how]);
        SPAWN_ON(l, expects, how == 2 ? 2 : 0, t);
        run_and_close(l);
        CHECK_STR(trail, want);
    }
}

/* ---- cancellation ---- */

ASYNC(awaits_forever, (), int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, sleeper, AW_FOREVER, 0);
        mark("swallowed!");
        AWAIT_TO(self->rc, sleeper, AW_FOREVER, 0);
    } FINALLY {
        CHECK_EQ(OUTCOME(), AW_ECANCELED);
        mark("f");
    }
}

TEST(cancel_is_no_result)
{
    aw_loop *l = open_loop();
    aw_task t = SPAWN_ON(l, awaits_forever);
    SPAWN_ON(l, cancel_after, 10, t);
    SPAWN_ON(l, expects, AW_ECHILDCANCELED, t);
    CHECK_EQ(run_and_close(l), 10);
    CHECK_STR(trail, "CfJ");
    CHECK_STR(said, "");
}

ASYNC(gathers_two, (int race;), int rc;)
{
    BEGIN {
        START(sleeper, 1000, 1);
        START(cleaner, 2000, 100);
        if (self->race) RACE_TO(self->rc);
        else GATHER_TO(self->rc);
        mark("swallowed!");
    } FINALLY {
        CHECK_EQ(OUTCOME(), AW_ECANCELED);
        mark("f");
    }
}

static void cancel_group(int race)
{
    aw_loop *l = open_loop();
    aw_task t = SPAWN_ON(l, gathers_two, race);
    SPAWN_ON(l, cancel_after, 10, t);
    SPAWN_ON(l, expects, AW_ECHILDCANCELED, t);
    CHECK_EQ(run_and_close(l), 110);
    CHECK_STR(trail, "C()fJ");
    CHECK_STR(said, "");
}

TEST(cancel_in_gather)
{
    cancel_group(0);
}

TEST(cancel_in_race)
{
    cancel_group(1);
}

TEST(cancel_in_finally_twice)
{
    aw_loop *l = open_loop();
    aw_task t = SPAWN_ON(l, cleaner, 1000, 4000);
    SPAWN_ON(l, cancel_after, 10, t);
    SPAWN_ON(l, cancel_after, 1010, t);     /* both find it in its FINALLY */
    SPAWN_ON(l, cancel_after, 2010, t);
    CHECK_EQ(run_and_close(l), 4010);
    CHECK_STR(trail, "()");
    CHECK_STR(said, "");
}

/* Being cancelled again does not prolong the clean-up: one absolute time. */
TEST(cancel_again_is_no_more_time)
{
    aw_loop *l = open_loop();
    aw_task t = SPAWN_ON(l, cleaner, 1000, 60000);
    SPAWN_ON(l, cancel_after, 10, t);
    SPAWN_ON(l, cancel_after, 3010, t);
    CHECK_EQ(run_and_close(l), 5010);
    CHECK_STR(trail, "()");
}

ASYNC(starts_cleaner, (), aw_task child; int rc;)
{
    BEGIN {
        self->child = START_TO(self->rc, cleaner, 10, 500);
        AWAIT(aw_sleep_ms, 100);            /* it is in its FINALLY now */
        aw_cancel(self->child);
        GATHER();
        CHECK_EQ(self->rc, 0);              /* its body had finished */
        mark("g");
    }
}

TEST(cancel_child_in_finally)
{
    aw_loop *l = open_loop();
    SPAWN_ON(l, starts_cleaner);
    CHECK_EQ(run_and_close(l), 510);
    CHECK_STR(trail, "()g");
}

ASYNC(leaves_children, (int how;))
{
    BEGIN {
        START(cleaner, 1000, 300);
        START(cleaner, 2000, 500);
        AWAIT(aw_sleep_ms, 10);
        if (self->how == 0) RETURN(5);
        if (self->how == 1) RETURN(AW_EIO);
        AWAIT(aw_sleep_ms, 60000);
    } FINALLY {
        mark(OUTCOME() == 5 ? "5" : OUTCOME() == AW_EIO ? "E" : "C");
    }
}

TEST(children_end_before_owner_finally)
{
    int how;
    for (how = 0; how < 3; how++) {
        aw_loop *l = open_loop();
        aw_task t = SPAWN_ON(l, leaves_children, how);
        if (how == 2) SPAWN_ON(l, cancel_after, 10, t);
        CHECK_EQ(run_and_close(l), 510);
        CHECK_STR(trail, how == 0 ? "(())5" : how == 1 ? "(())E" : "(())C");
    }
}

ASYNC(owns_fd, (int fd;))
{
    BEGIN {
        mark("b");
        AWAIT(aw_sleep_ms, 1000);
        mark("never");
    } FINALLY {
        close(self->fd);
        mark("c");
    }
}

ASYNC(gives_fd_away, (), aw_task task; int pipe[2];)
{
    BEGIN {
        CHECK_EQ(pipe(self->pipe), 0);
        self->task = SPAWN(owns_fd, self->pipe[0]);
        START(owns_fd, self->pipe[1]);
        aw_cancel(self->task);              /* neither has run yet */
        RETURN(0);
    }
}

/* The harness counts descriptors: a task that was never entered leaks one. */
TEST(cancel_before_first_step_fd)
{
    aw_loop *l = open_loop();
    SPAWN_ON(l, gives_fd_away);
    CHECK_EQ(run_and_close(l), 0);
    CHECK_STR(trail, "bcbc");
}

ASYNC(inner_entered, (), int rc;)
{
    BEGIN {
        mark("i");                          /* a called function is entered */
        AWAIT_TO(self->rc, aw_yield);
        mark("never");
    } FINALLY { mark("x"); }
}

ASYNC(cancels_itself, (int how;), int rc;)
{
    BEGIN {
        aw_cancel(AW_SELF());
        mark("a");
        if (self->how == 0) RETURN(4);      /* no await: nothing happens */
        if (self->how == 1) AWAIT_TO(self->rc, aw_sleep_ms, 0);
        if (self->how == 2) AWAIT_TO(self->rc, inner_entered);
        if (self->how == 3) SHIELD(sleeper, 100, 0);
        mark("s");
        AWAIT_TO(self->rc, aw_yield);
        mark("never");
    } FINALLY { mark("f"); }
}

TEST(cancel_self)
{
    static const char *const expect[] = {"afJ", "afJ", "aixfJ", "aFsfJ"};
    int how;
    for (how = 0; how < 4; how++) {
        aw_loop *l = open_loop();
        aw_task t = SPAWN_ON(l, cancels_itself, how);
        SPAWN_ON(l, expects, how == 0 ? 4 : AW_ECHILDCANCELED, t);
        NOTE("how %d", how);
        CHECK_EQ(run_and_close(l), how == 3 ? 100 : 0);
        CHECK_STR(trail, expect[how]);
    }
}

ASYNC(kills_parent, (aw_task parent;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, 10);
        aw_cancel(self->parent);
        mark("k");
        AWAIT(aw_sleep_ms, 1000);
        mark("never");
    } FINALLY { mark("c"); }
}

ASYNC(parent_killed, (int how;), int rc;)
{
    BEGIN {
        START(kills_parent, AW_SELF());
        if (self->how == 0) GATHER();
        if (self->how == 1) AWAIT(sleeper, 5000, 0);
        if (self->how == 2) RACE_TO(self->rc);
        mark("never");
    } FINALLY { mark("p"); }
}

TEST(cancel_parent_from_child)
{
    static const char *const expect[] = {"kcp", "kCcp", "kcp"};
    int how;
    for (how = 0; how < 3; how++) {
        aw_loop *l = open_loop();
        SPAWN_ON(l, parent_killed, how);
        CHECK_EQ(run_and_close(l), 10);
        CHECK_STR(trail, expect[how]);
    }
}

ASYNC(opens_late, (aw_event *event;), int fd; int rc;)
{
    BEGIN {
        self->fd = -1;
        AWAIT_TO(self->rc, aw_event_wait, self->event);
        mark("d");                          /* the done await is delivered */
        self->fd = open("/dev/null", O_RDONLY);
        AWAIT(aw_yield);
        mark("never");
    } FINALLY {
        if (self->fd >= 0) close(self->fd);
        mark("f");
    }
}

ASYNC(sets_and_cancels, (aw_event *event; aw_task task;))
{
    BEGIN {
        AWAIT(aw_yield);
        AWAIT(aw_yield);
        aw_event_set(self->event);          /* done ... */
        aw_cancel(self->task);              /* ... and cancelled */
    }
}

TEST(cancel_same_turn_as_completion)
{
    aw_event event = {NULL, false};
    aw_loop *l = open_loop();
    aw_task t = SPAWN_ON(l, opens_late, &event);
    SPAWN_ON(l, sets_and_cancels, &event, t);
    SPAWN_ON(l, expects, AW_ECHILDCANCELED, t);
    run_and_close(l);
    CHECK_STR(trail, "dfJ");
}

ASYNC(inner_slow, ())
{
    BEGIN {
        AWAIT(aw_sleep_ms, 60000);
    } FINALLY {
        CHECK_EQ(OUTCOME(), AW_EDEADLINE);
        AWAIT(aw_sleep_ms, 1000);
        mark("i");
    }
}

ASYNC(middle, (), int rc;)
{
    BEGIN {
        AWAIT_FOR_TO(100, self->rc, inner_slow);
        mark("swallowed!");
    } FINALLY {
        CHECK_EQ(OUTCOME(), AW_ECANCELED);
        mark("m");
    }
}

ASYNC(outer, (), int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, middle);
        mark("swallowed!");
    } FINALLY { mark("o"); }
}

TEST(cancel_outer_during_inner_unwind)
{
    aw_loop *l = open_loop();
    aw_task t = SPAWN_ON(l, outer);
    SPAWN_ON(l, cancel_after, 500, t);
    SPAWN_ON(l, expects, AW_ECHILDCANCELED, t);
    CHECK_EQ(run_and_close(l), 1100);
    CHECK_STR(trail, "imoJ");
}

ASYNC(hangs_in_finally, ())
{
    BEGIN { AWAIT(aw_sleep_ms, 60000); }
    FINALLY {
        AWAIT(aw_sleep_ms, 60000);
        mark("h");
    }
}

ASYNC(outer_cleans, (int64_t ms;), int rc;)
{
    BEGIN { AWAIT_FOR_TO(1000, self->rc, hangs_in_finally); }
    FINALLY {
        AWAIT_TO(self->rc, aw_sleep_ms, self->ms);
        mark(self->rc == 0 ? "o" : "!");
    }
}

/* The inner function has used up its time; what lies around it is asked to
   end only afterwards and has time of its own. */
TEST(cancel_wider_has_its_own_grace)
{
    int hangs;
    for (hangs = 0; hangs < 2; hangs++) {
        aw_loop *l = open_loop();
        aw_task t = SPAWN_ON(l, outer_cleans, hangs ? 60000 : 3000);
        SPAWN_ON(l, cancel_after, 5500, t);
        /* 1000 + 5000, and then 3000, or at most 5000 more. */
        CHECK_EQ(run_and_close(l), hangs ? 11000 : 9000);
        CHECK_STR(trail, hangs ? "h!" : "ho");
    }
}

ASYNC(commits_twice, (), int rc;)
{
    BEGIN {
        SHIELD(sleeper, 1000, 0);
        mark("committed ");
        AWAIT(aw_sleep_ms, 1000);
        mark("never");
    } FINALLY { mark("f"); }
}

TEST(shield_is_not_interrupted)
{
    aw_loop *l = open_loop();
    aw_task t = SPAWN_ON(l, commits_twice);
    SPAWN_ON(l, cancel_after, 10, t);
    SPAWN_ON(l, cancel_after, 20, t);
    CHECK_EQ(run_and_close(l), 1000);
    CHECK_STR(trail, "Fcommitted f");
}

ASYNC(commits_for_ever, (int direct;), int rc;)
{
    BEGIN {
        if (self->direct) SHIELD(aw_sleep_ms, AW_FOREVER);
        else SHIELD(sleeper, AW_FOREVER, 0);
        mark("never");
    } FINALLY {
        CHECK_EQ(OUTCOME(), AW_ECANCELED);
        mark("f");
    }
}

TEST(shield_ends_with_the_grace)
{
    int direct;
    for (direct = 0; direct < 2; direct++) {
        aw_loop *l = open_loop();
        aw_task t = SPAWN_ON(l, commits_for_ever, direct);
        SPAWN_ON(l, cancel_after, 10, t);
        CHECK_EQ(run_and_close(l), 5010);
        CHECK_STR(trail, direct ? "f" : "Df");
    }
}

/* ---- FINALLY ---- */

ASYNC(deadline_in_finally, (), int rc; int64_t at;)
{
    BEGIN { AWAIT(aw_sleep_ms, 1000); }
    FINALLY {
        self->at = aw_now_ms(AW_LOOP());
        AWAIT_FOR_TO(50, self->rc, aw_sleep_ms, 60000);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        AWAIT_FOR_TO(50, self->rc, sleeper, 60000, 0);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        START_TO(self->rc, sleeper, 60000, 0);
        GATHER_FOR(50);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        CHECK_EQ(aw_now_ms(AW_LOOP()) - self->at, 150);
        mark("f");
    }
}

TEST(finally_await_for_fires)
{
    aw_loop *l = open_loop();
    aw_task t = SPAWN_ON(l, deadline_in_finally);
    SPAWN_ON(l, cancel_after, 10, t);
    CHECK_EQ(run_and_close(l), 160);
    CHECK_STR(trail, "DDf");
    CHECK_STR(said, "");
}

ASYNC(hangs_everywhere, (), int rc; aw_event never;)
{
    BEGIN { AWAIT(aw_sleep_ms, 60000); }
    FINALLY {
        mark("a");
        AWAIT(aw_event_wait, &self->never);         /* here 5 s pass */
        mark("b");
        AWAIT_TO(self->rc, aw_sleep_ms, 60000);     /* at once from here on */
        CHECK_EQ(self->rc, AW_EDEADLINE);
        AWAIT_TO(self->rc, sleeper, 60000, 0);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        START_TO(self->rc, sleeper, 60000, 0);
        GATHER();
        SHIELD(aw_sleep_ms, 60000);
        mark("c");
    }
}

TEST(finally_hangs_grace)
{
    aw_loop *l = open_loop();
    aw_task t = SPAWN_ON(l, hangs_everywhere);
    SPAWN_ON(l, cancel_after, 10, t);
    SPAWN_ON(l, expects, AW_ECHILDCANCELED, t);
    CHECK_EQ(run_and_close(l), 5010);
    CHECK_STR(trail, "abDcCJ");
    CHECK_EQ(times_said("took more than cleanup_ms"), 1);
    CHECK_EQ(times_said("an await in FINALLY failed"), 3);
}

/* Another time than the default, and AW_OFF: as long as it takes. */
TEST(finally_grace_is_configured)
{
    int how;
    for (how = 0; how < 2; how++) {
        aw_loop *l = open_loop_with(how ? 300 : -1, 0);
        aw_task t = SPAWN_ON(l, cleaner, 1000, 60000);
        SPAWN_ON(l, cancel_after, 10, t);
        CHECK_EQ(run_and_close(l), how ? 310 : 60010);
        CHECK_STR(trail, "()");
    }
}

ASYNC(fails_in_finally, (int result;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, 10);
        RETURN(self->result);
    } FINALLY {
        AWAIT(sleeper, 10, AW_EIO);
        mark("a");
        AWAIT(sleeper, 10, AW_EBADF);
        mark("b");
        RETURN(99);
    }
}

TEST(finally_await_fails)
{
    aw_loop *l = open_loop();
    aw_task t = SPAWN_ON(l, fails_in_finally, 3);
    SPAWN_ON(l, expects, 3, t);
    run_and_close(l);
    CHECK_STR(trail, "EaEbJ");
    CHECK_EQ(times_said("an await in FINALLY failed"), 2);
}

ASYNC(starts_in_finally, (), int rc;)
{
    BEGIN { RETURN(6); }
    FINALLY {
        START_TO(self->rc, cleaner, 1000, 100);
        START(sleeper, 1000, 0);
        AWAIT(aw_sleep_ms, 10);
        mark("f");
    }
}

TEST(finally_start_no_gather)
{
    aw_loop *l = open_loop();
    aw_task t = SPAWN_ON(l, starts_in_finally);
    SPAWN_ON(l, expects, 6, t);
    CHECK_EQ(run_and_close(l), 110);
    CHECK_STR(trail, "f(C)J");
}

ASYNC(child_fails_in_finally, (), int rc;)
{
    BEGIN { AWAIT(aw_sleep_ms, 1000); }
    FINALLY {
        START(sleeper, 10, AW_EIO);
        START(sleeper, 1000, 0);
        AWAIT(aw_sleep_ms, 50);             /* goes on undisturbed */
        mark("f");
        GATHER_TO(self->rc);
        CHECK_EQ(self->rc, AW_EIO);
        mark("g");
    }
}

TEST(finally_child_fails)
{
    aw_loop *l = open_loop();
    aw_task t = SPAWN_ON(l, child_fails_in_finally);
    SPAWN_ON(l, cancel_after, 10, t);
    SPAWN_ON(l, expects, AW_ECHILDCANCELED, t);
    CHECK_EQ(run_and_close(l), 60);
    CHECK_STR(trail, "ECfgJ");
}

ASYNC(spawns_in_finally, (), aw_task task; int rc;)
{
    BEGIN { AWAIT(aw_sleep_ms, 60000); }
    FINALLY {
        self->task = SPAWN(sleeper, 10, 0);
        CHECK(aw_ended(self->task));
        aw_cancel(self->task);
        AWAIT_TO(self->rc, aw_join, self->task);
        CHECK_EQ(self->rc, AW_ESHUTDOWN);
        START_TO(self->rc, sleeper, 10, 8);
        GATHER();
        CHECK_EQ(self->rc, 8);
        mark("f");
    }
}

TEST(finally_spawn_on_shutdown)
{
    aw_loop *l = open_loop();
    SPAWN_ON(l, spawns_in_finally);
    CHECK_EQ(aw_loop_step(l, 0), 1);
    aw_loop_free(l);
    CHECK_STR(trail, "Ff");
}

/* ---- children ---- */

ASYNC(sleeps_beside_child, (), int rc; int64_t at;)
{
    BEGIN {
        START(sleeper, 100, 3);
        START_TO(self->rc, sleeper, 200, AW_EIO);
        self->at = aw_now_ms(AW_LOOP());
        AWAIT(aw_sleep_ms, 1000);
        CHECK_EQ(aw_now_ms(AW_LOOP()) - self->at, 1000);
        CHECK_EQ(self->rc, AW_EIO);
        GATHER();
        mark("g");
    }
}

TEST(child_end_does_not_wake_sleep)
{
    aw_loop *l = open_loop();
    SPAWN_ON(l, sleeps_beside_child);
    run_and_close(l);
    CHECK_STR(trail, "FEg");
}

ASYNC(child_fails_first, (int how;), int rc;)
{
    BEGIN {
        START(sleeper, 100, AW_EIO);
        START(sleeper, 1000, 0);
        if (self->how == 0) AWAIT(aw_sleep_ms, 5000);
        if (self->how == 1) AWAIT_TO(self->rc, aw_sleep_ms, 5000);
        if (self->how == 2) AWAIT_TO(self->rc, sleeper, 5000, 0);
        if (self->how == 3) AWAIT_FOR_TO(5000, self->rc, sleeper, 5000, 0);
        mark("never");
        GATHER();
    } FINALLY {
        CHECK_EQ(OUTCOME(), AW_EIO);
        mark("f");
    }
}

/* Without a GATHER the body learns of it at the await it stands in. */
TEST(child_error_without_gather)
{
    int how;
    for (how = 0; how < 4; how++) {
        aw_loop *l = open_loop();
        aw_task t = SPAWN_ON(l, child_fails_first, how);
        SPAWN_ON(l, expects, AW_EIO, t);
        NOTE("how %d", how);
        CHECK_EQ(run_and_close(l), 100);
        CHECK_STR(trail, how < 2 ? "ECfJ" : "ECCfJ");
    }
}

ASYNC(gathers_late, (int how; aw_event *event;), int rc;)
{
    BEGIN {
        START(sleeper, 100, AW_EIO);
        START(sleeper, 1000, 0);
        AWAIT(aw_event_wait, self->event);
        mark("e");                  /* its await was done: delivered */
        if (self->how == 0) GATHER_TO(self->rc);
        if (self->how == 1) GATHER();
        CHECK_EQ(self->rc, AW_EIO);
        AWAIT(aw_sleep_ms, 60000);  /* dealt with: it may go on, for long */
        mark("l");
    } FINALLY { mark(OUTCOME() == AW_EIO ? "E" : "0"); }
}

/* Ends in the same turn as a child that fails, and just before it. */
ASYNC(sets_after, (int64_t ms; aw_event *event;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, self->ms);
        aw_event_set(self->event);
    }
}

TEST(child_error_before_gather)
{
    int how;
    for (how = 0; how < 2; how++) {
        aw_event event = {NULL, false};
        aw_loop *l = open_loop();
        SPAWN_ON(l, sets_after, 100, &event);
        SPAWN_ON(l, gathers_late, how, &event);
        NOTE("how %d", how);
        CHECK_EQ(run_and_close(l), how ? 100 : 60100);
        CHECK_STR(trail, how ? "EeCE" : "EeCl0");
    }
}

ASYNC(quick_then_forgiven, (aw_event *event;))
{
    BEGIN { AWAIT(aw_event_wait, self->event); }
}

ASYNC(forgiven, (aw_event *event;), int rc;)
{
    BEGIN {
        START(sleeper, 100, AW_EIO);
        AWAIT(quick_then_forgiven, self->event);
        GATHER_TO(self->rc);
        CHECK_EQ(self->rc, AW_EIO);
        AWAIT_TO(self->rc, sleeper, 20000, 5);
        CHECK_EQ(self->rc, 5);
        SHIELD(sleeper, 20000, 5);
        mark("l");
    } FINALLY {
        AWAIT(aw_sleep_ms, 20000);
        mark("f");
    }
}

/* A body that took the error in a GATHER is not being unwound any more: no
   time runs out for it. */
TEST(child_error_forgiven_has_no_grace)
{
    aw_event event = {NULL, false};
    aw_loop *l = open_loop();
    SPAWN_ON(l, sets_after, 100, &event);
    SPAWN_ON(l, forgiven, &event);
    CHECK_EQ(run_and_close(l), 60100);
    CHECK_STR(trail, "EFFlf");
    CHECK_STR(said, "");
}

ASYNC(races_late, (int wait;), int rc;)
{
    BEGIN {
        START(sleeper, 100, 7);
        START(sleeper, 5000, 8);
        AWAIT(aw_sleep_ms, self->wait);
        RACE_TO(self->rc);
        CHECK_EQ(self->rc, 7);
        CHECK_EQ(aw_now_ms(AW_LOOP()) % 1, 0);
        START(sleeper, 100, 9);
        RACE_TO(self->rc);          /* a new race of the same frame */
        CHECK_EQ(self->rc, 9);
        mark("r");
    }
}

TEST(race_already_won)
{
    aw_loop *l = open_loop();
    SPAWN_ON(l, races_late, 1000);
    CHECK_EQ(run_and_close(l), 1100);
    CHECK_STR(trail, "FCFr");
}

ASYNC(race_of_errors, (), int rc; int other;)
{
    BEGIN {
        START(sleeper, 100, AW_EIO);
        START_TO(self->other, sleeper, 5000, 8);
        RACE_TO(self->rc);
        CHECK_EQ(self->rc, AW_EIO);     /* also an error wins */
        CHECK_EQ(self->other, AW_ECHILDCANCELED);
        mark("r");
    }
}

TEST(race_won_by_an_error)
{
    aw_loop *l = open_loop();
    SPAWN_ON(l, race_of_errors);
    CHECK_EQ(run_and_close(l), 100);
    CHECK_STR(trail, "ECr");
    CHECK_STR(said, "");
}

ASYNC(races_nobody, (), int rc;)
{
    BEGIN {
        RACE_TO(self->rc);
        CHECK_EQ(self->rc, AW_EINVAL);
        GATHER();
        GATHER_FOR(10);
        START(sleeper, 1, 0);
        GATHER();
        RACE_TO(self->rc);              /* its child was gathered */
        CHECK_EQ(self->rc, AW_EINVAL);
        mark("r");
    }
}

TEST(race_empty)
{
    aw_loop *l = open_loop();
    SPAWN_ON(l, races_nobody);
    CHECK_EQ(run_and_close(l), 1);
    CHECK_STR(trail, "Fr");
}

ASYNC(grandchildren, (int result;), int rc;)
{
    BEGIN {
        START(sleeper, 100, self->result);
        START(sleeper, 1000, 0);
        GATHER();
        mark("g");
    } FINALLY { mark("f"); }
}

ASYNC(grandparent, (int how;), int a, b; int rc;)
{
    BEGIN {
        START_TO(self->a, grandchildren, self->how == 0 ? AW_EIO : 0);
        if (self->how == 0) START_TO(self->b, grandchildren, 0);
        else START(grandchildren, AW_EBADF);
        GATHER_TO(self->rc);
        if (self->how == 0) {
            CHECK_EQ(self->a, AW_EIO);
            CHECK_EQ(self->b, 0);
            CHECK_EQ(self->rc, 0);
        } else {
            CHECK_EQ(self->a, AW_ECHILDCANCELED);
            CHECK_EQ(self->rc, AW_EBADF);
        }
        mark("p");
    }
}

TEST(nested_groups)
{
    int how;
    for (how = 0; how < 2; how++) {
        aw_loop *l = open_loop();
        SPAWN_ON(l, grandparent, how);
        CHECK_EQ(run_and_close(l), how == 0 ? 1000 : 100);
        CHECK_STR(trail, how == 0 ? "EFCfFgfp" : "FECfCfp");
    }
}

ASYNC(fails_cleaning, (int64_t ms; int rc;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, self->ms);
        RETURN(self->rc);
    } FINALLY { AWAIT(aw_sleep_ms, 10); }
}

ASYNC(two_fail, (), int rc; int quiet;)
{
    BEGIN {
        START(fails_cleaning, 100, AW_EIO);
        START(fails_cleaning, 105, AW_EBADF);   /* fails while it is told */
        START_TO(self->quiet, fails_cleaning, 100, AW_EACCES);
        GATHER_TO(self->rc);
        CHECK_EQ(self->rc, AW_EIO);
        CHECK_EQ(self->quiet, AW_EACCES);
        mark("g");
    }
}

TEST(gather_two_errors)
{
    aw_loop *l = open_loop();
    SPAWN_ON(l, two_fail);
    CHECK_EQ(run_and_close(l), 115);
    CHECK_STR(trail, "g");
    CHECK_EQ(times_said("a further child of the group failed"), 1);
    CHECK_EQ(times_said("not an open descriptor"), 1);
}

ASYNC(cancels_child, (), aw_task child; int rc; int quiet;)
{
    BEGIN {
        self->child = START(sleeper, 5000, 0);
        START(sleeper, 100, 0);
        AWAIT(aw_sleep_ms, 10);
        aw_cancel(self->child);
        AWAIT_TO(self->rc, aw_join, self->child);
        CHECK_EQ(self->rc, AW_ECHILDCANCELED);
        self->child = START_TO(self->quiet, sleeper, 5000, 0);
        aw_cancel(self->child);
        GATHER();
        CHECK_EQ(self->quiet, AW_ECHILDCANCELED);
        mark("g");
    }
}

TEST(gather_child_cancelled_on_purpose)
{
    aw_loop *l = open_loop();
    SPAWN_ON(l, cancels_child);
    CHECK_EQ(run_and_close(l), 100);
    CHECK_STR(trail, "CCFg");
    CHECK_STR(said, "");
}

ASYNC(gathers_for, (int how;), int a, b; int rc;)
{
    BEGIN {
        START_TO(self->a, sleeper, 100, 1);
        if (self->how == 0) START_TO(self->b, cleaner, 300, 50);
        else START(cleaner, 300, 50);
        GATHER_FOR_TO(200, self->rc);
        CHECK_EQ(self->a, 1);
        if (self->how == 0) CHECK_EQ(self->b, AW_EDEADLINE);
        CHECK_EQ(self->rc, self->how == 0 ? 0 : AW_EDEADLINE);
        GATHER();                       /* nothing is left of it */
        mark("g");
    }
}

TEST(gather_for_cuts_late_children)
{
    int how;
    for (how = 0; how < 2; how++) {
        aw_loop *l = open_loop();
        SPAWN_ON(l, gathers_for, how);
        CHECK_EQ(run_and_close(l), 250);
        CHECK_STR(trail, "F()g");
    }
}

/* ---- deadlines ---- */

ASYNC(leaf_deadlines, (), int rc; aw_event event; aw_semaphore sem; int p[2];
      aw_queue queue; void *item; aw_task task;)
{
    BEGIN {
        CHECK_EQ(pipe(self->p), 0);
        self->task = SPAWN(sleeper, 1000, 0);
        AWAIT_FOR_TO(10, self->rc, aw_sleep_ms, 100);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        AWAIT_FOR_TO(10, self->rc, aw_event_wait, &self->event);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        AWAIT_FOR_TO(10, self->rc, aw_semaphore_acquire, &self->sem);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        AWAIT_FOR_TO(10, self->rc, aw_queue_get, &self->queue, &self->item);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        AWAIT_FOR_TO(10, self->rc, aw_queue_put, &self->queue, NULL);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        AWAIT_FOR_TO(10, self->rc, aw_readable, self->p[0]);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        AWAIT_FOR_TO(10, self->rc, aw_join, self->task);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        CHECK(!self->event.waiters && !self->sem.waiters);
        CHECK(!self->queue.getters && !self->queue.putters);
        AWAIT_FOR(10, aw_sleep_ms, 100);        /* without _TO it leaves */
        mark("never");
    } FINALLY {
        CHECK_EQ(OUTCOME(), AW_EDEADLINE);
        close(self->p[0]);
        close(self->p[1]);
        mark("f");
    }
}

TEST(deadline_leaf)
{
    aw_loop *l = open_loop();
    SPAWN_ON(l, leaf_deadlines);
    CHECK_EQ(run_and_close(l), 1000);
    CHECK_STR(trail, "fF");
}

ASYNC(early_enough, (), int i; int rc;)
{
    BEGIN {
        for (self->i = 0; self->i < 100; self->i++) {
            AWAIT_FOR_TO(50, self->rc, sleeper, 10, 5);
            CHECK_EQ(self->rc, 5);
        }
        CHECK_EQ(AW_LOOP()->wheel.count, 0);    /* each was removed */
        AWAIT_FOR(50, aw_yield);
        AWAIT(aw_sleep_ms, 60000);
        mark("l");
    }
}

TEST(deadline_removed)
{
    aw_loop *l = open_loop();
    SPAWN_ON(l, early_enough);
    CHECK_EQ(run_and_close(l), 61000);
    CHECK(strstr(trail, "Fl") != NULL);
}

ASYNC(within, (int64_t ms; int64_t sleep;), int rc;)
{
    BEGIN {
        AWAIT_FOR_TO(self->ms, self->rc, sleeper, self->sleep, 4);
        mark_number("i", self->rc);
        RETURN(self->rc);
    } FINALLY { mark(OUTCOME() == AW_EDEADLINE ? "x" : "f"); }
}

ASYNC(nests, (int64_t out; int64_t in; int64_t sleep; int want;), int rc;)
{
    BEGIN {
        AWAIT_FOR_TO(self->out, self->rc, within, self->in, self->sleep);
        CHECK_EQ(self->rc, self->want);
        mark("n");
    }
}

TEST(deadline_inner_gt_outer)
{
    static const struct {
        int64_t out, in, sleep, took;
        int want;
        const char *trail;
    } rows[] = {
        {100, 200, 1000, 100, AW_EDEADLINE, "Dxn"},
        {200, 100, 1000, 100, AW_EDEADLINE, "Di-5 xn"},
        {100, 100, 1000, 100, AW_EDEADLINE, "Dxn"},
        {0, 100, 1000, 0, AW_EDEADLINE, "Dxn"},
        {100, 0, 1000, 0, AW_EDEADLINE, "Di-5 xn"},
        {0, 0, 1000, 0, AW_EDEADLINE, "Dxn"},
        {AW_FOREVER, 100, 1000, 100, AW_EDEADLINE, "Di-5 xn"},
        {100, AW_FOREVER, 1000, 100, AW_EDEADLINE, "Dxn"},
        {200, 200, 100, 100, 4, "Fi4 fn"},
        {AW_FOREVER, AW_FOREVER, 100, 100, 4, "Fi4 fn"},
        {-5, AW_FOREVER, 100, 0, AW_EDEADLINE, "Dxn"}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_loop *l = open_loop();
        NOTE("row %d", (int)i);
        SPAWN_ON(l, nests, rows[i].out, rows[i].in, rows[i].sleep,
                 rows[i].want);
        CHECK_EQ(run_and_close(l), rows[i].took);
        CHECK_STR(trail, rows[i].trail);
    }
}

ASYNC(odd_durations, (), int rc; int64_t at; aw_event event;)
{
    BEGIN {
        AWAIT_FOR_TO(0, self->rc, aw_yield);        /* was done already */
        CHECK_EQ(self->rc, 0);
        AWAIT_FOR_TO(0, self->rc, aw_sleep_ms, 1);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        AWAIT_FOR_TO(INT64_MIN, self->rc, aw_event_wait, &self->event);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        aw_event_set(&self->event);
        AWAIT_FOR_TO(-1, self->rc, aw_event_wait, &self->event);
        CHECK_EQ(self->rc, 0);                      /* never suspended */
        AWAIT_FOR_TO(AW_FOREVER, self->rc, aw_sleep_ms, 10);
        CHECK_EQ(self->rc, 0);
        AWAIT_FOR_TO(AW_FOREVER - 1, self->rc, aw_sleep_ms, 10);
        CHECK_EQ(self->rc, 0);
        AWAIT_FOR_TO(10, self->rc, aw_sleep_ms, AW_FOREVER);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        AWAIT_FOR_TO(10, self->rc, aw_sleep_ms, AW_FOREVER - 1);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        AWAIT(aw_sleep_ms, INT64_MIN);
        START_TO(self->rc, sleeper, 10, 0);
        GATHER_FOR(0);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        mark("o");
    }
}

TEST(deadline_zero_negative_forever)
{
    aw_loop *l = open_loop();
    SPAWN_ON(l, odd_durations);
    CHECK_EQ(run_and_close(l), 40);
    CHECK_STR(trail, "Do");
}

ASYNC(always_done, (aw_event *set;), int i;)
{
    BEGIN {
        for (;;) AWAIT(aw_event_wait, self->set);
    } FINALLY { mark("f"); }
}

ASYNC(bounds_busy, (int64_t ms;), int rc; aw_event set;)
{
    BEGIN {
        aw_event_set(&self->set);
        AWAIT_FOR_TO(self->ms, self->rc, always_done, &self->set);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        mark("b");
    }
}

static void advance_clock(aw_loop *l)
{
    l->now++;
}

/* Also one that never waits, but makes room for others now and then. */
TEST(deadline_of_the_always_ready)
{
    int ms;
    for (ms = 0; ms <= 5; ms += 5) {
        aw_loop *l = open_loop();
        l->before_run = advance_clock;      /* each step takes a millisecond */
        SPAWN_ON(l, bounds_busy, ms);
        CHECK_EQ(aw_loop_run(l), 0);
        CHECK_STR(trail, "fb");
        close_loop(l);
    }
}

/* Neither the number of entries nor that of their bytes. */
TEST(tables_do_not_wrap)
{
    aw_loop *l = open_loop();
    const int32_t had = l->slot_cap;
    size_t n;
    for (n = 1; n < 200; n++) {
        const size_t most = (size_t)aw__table_most(n);
        CHECK(2 * most <= INT_MAX && 2 * most <= SIZE_MAX / n);
    }
    CHECK(aw__fd_entry(l, INT_MAX) == NULL);
    CHECK(aw__fd_entry(l, aw__table_most(sizeof *l->fds)) == NULL);
    l->slot_cap = aw__table_most(sizeof *l->slots) + 1;
    CHECK(!aw__slots_grow(l));
    l->slot_cap = had;
    close_loop(l);
}

ASYNC(waits_io, (int64_t ms; int fd;), int rc;)
{
    BEGIN {
        AWAIT_FOR_TO(self->ms, self->rc, aw_readable, self->fd);
        mark(self->rc == AW_READ ? "r" : "!");
    }
}

ASYNC(reads_in_steps, (int fd;))
{
    BEGIN {
        AWAIT(aw_readable, self->fd);
        AWAIT(aw_yield);
        AWAIT(aw_yield);
        RETURN(AW_READ);
    }
}

/* The same, in a function that has more to do when it is ready. */
ASYNC(waits_steps, (int64_t ms; int fd;), int rc;)
{
    BEGIN {
        AWAIT_FOR_TO(self->ms, self->rc, reads_in_steps, self->fd);
        mark(self->rc == AW_READ ? "t" : "!");
    }
}

ASYNC(stalls, (int fd; int64_t ms;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, 10);
        CHECK_EQ(write(self->fd, "x", 1), 1);
        AW_LOOP()->now += self->ms;             /* a long step */
        mark("s");
    }
}

TEST(deadline_vs_ready_after_stall)
{
    int p[2];
    char c;
    aw_loop *l = open_loop();
    CHECK_EQ(pipe(p), 0);
    SPAWN_ON(l, waits_io, 100, p[0]);
    SPAWN_ON(l, stalls, p[1], 5000);
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_STR(trail, "sr");
    CHECK_EQ(read(p[0], &c, 1), 1);
    SPAWN_ON(l, waits_steps, 100, p[0]);
    SPAWN_ON(l, stalls, p[1], 5000);
    run_and_close(l);
    CHECK_STR(trail, "srst");
    close(p[0]);
    close(p[1]);
}

enum { PIPES = 600 };

static int pipes[PIPES][2];

ASYNC(stalls_all, ())
{
    BEGIN {
        int i;
        AWAIT(aw_sleep_ms, 10);
        for (i = 0; i < PIPES; i++)
            CHECK_EQ(write(pipes[i][1], "x", 1), 1);
        AW_LOOP()->now += 5000;
    }
}

/* More than the kernel tells of at once. */
TEST(deadline_vs_hundreds_ready_after_stall)
{
    struct rlimit files = {0, 0};
    aw_loop *l;
    int i;
    getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < 2 * PIPES + 100 && files.rlim_max >= 2 * PIPES + 100) {
        files.rlim_cur = 2 * PIPES + 100;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (files.rlim_cur < 2 * PIPES + 100) return;
    l = open_loop();
    for (i = 0; i < PIPES; i++) {
        CHECK_EQ(pipe(pipes[i]), 0);
        SPAWN_ON(l, waits_io, 100, pipes[i][0]);
    }
    SPAWN_ON(l, stalls_all);
    run_and_close(l);
    CHECK_EQ(strlen(trail), PIPES);
    CHECK(!strchr(trail, '!'));
    for (i = 0; i < PIPES; i++) close(pipes[i][0]), close(pipes[i][1]);
}

ASYNC(arms_late, (), int64_t at;)
{
    BEGIN {
        AWAIT(aw_yield);
        AW_LOOP()->now += 70;       /* a step of 70 ms, and then a sleep */
        self->at = AW_LOOP()->now;
        AWAIT(aw_sleep_ms, 50);
        CHECK_EQ(AW_LOOP()->now - self->at, 50);
        AWAIT(aw_sleep_ms, 50);
        CHECK_EQ(AW_LOOP()->now - self->at, 100);
    }
}

TEST(timer_armed_late_in_turn)
{
    aw_loop *l = open_loop();
    SPAWN_ON(l, arms_late);
    CHECK_EQ(run_and_close(l), 170);
}

ASYNC(spins, (bool *stop;))
{
    BEGIN {
        while (!*self->stop) AWAIT(aw_yield);
    }
}

ASYNC(sleeps_really, (bool *stop;), int64_t before; int i;)
{
    BEGIN {
        for (self->i = 0; self->i < 20; self->i++) {
            struct timespec t;
            clock_gettime(CLOCK_MONOTONIC, &t);
            self->before = t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
            AWAIT(aw_sleep_ms, 2);
            clock_gettime(CLOCK_MONOTONIC, &t);
            CHECK(t.tv_sec * INT64_C(1000000000) + t.tv_nsec - self->before
                  >= 2000000);
        }
        *self->stop = true;
    }
}

/* On the real clock: not even by the part of a millisecond it is read to. */
TEST(timer_never_early)
{
    bool stop = false;
    aw_loop *l = open_loop();
    l->is_virtual = false;
    SPAWN_ON(l, spins, &stop);      /* the poller rounds up: never let it */
    SPAWN_ON(l, sleeps_really, &stop);
    run_and_close(l);
}
