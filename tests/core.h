/* core.h: what the tests of the async core share: a loop on virtual time that
   keeps what is logged, a trail of marks, and a close that finds what is
   left. Debug mode is on throughout: it must never cry wolf. */
#ifndef CORE_H
#define CORE_H

#include "test.h"

static char trail[4096];        /* what has happened, a mark each */
static char said[16384];        /* what was logged */

static void mark(const char *text)
{
    size_t n = strlen(trail);
    snprintf(trail + n, sizeof trail - n, "%s", text);
}

AW__UNUSED
static void mark_arg(void *text)
{
    mark((const char *)text);
}

AW__UNUSED
static void mark_number(const char *before, long long n)
{
    char text[40];
    snprintf(text, sizeof text, "%s%lld ", before, n);
    mark(text);
}

static void keep_log(void *data, aw_log_level level, const char *line)
{
    size_t n = strlen(said);
    (void)data, (void)level;
    snprintf(said + n, sizeof said - n, "%s\n", line);
}

AW__UNUSED
static int times_said(const char *text)
{
    const char *p = said;
    int n = 0;
    for (; (p = strstr(p, text)) != NULL; p++) n++;
    return n;
}

AW__UNUSED
static aw_loop *open_loop_with(int64_t cleanup_ms, size_t max_task_bytes)
{
    aw_loop_config config;
    aw_loop *l;
    memset(&config, 0, sizeof config);
    config.cleanup_ms = cleanup_ms;
    config.max_task_bytes = max_task_bytes;
    config.debug = true;
    config.log = keep_log;
    trail[0] = said[0] = 0;
    l = aw_loop_new(&config);
    if (l) l->is_virtual = true;
    return l;
}

AW__UNUSED
static aw_loop *open_loop(void)
{
    return open_loop_with(0, 0);
}

/* Bytes that tasks hold: all but the tables, which stay as long as the loop. */
AW__UNUSED
static long long held_bytes(const aw_loop *l)
{
    size_t tables = (size_t)l->slot_cap * sizeof *l->slots +
        (size_t)l->fd_cap * sizeof *l->fds;
#ifdef ASYNCWEB_POLL
    tables += (size_t)l->poll_cap * sizeof(struct pollfd);
#endif
    return (long long)l->mem.live - (long long)tables;
}

AW__UNUSED
static void check_idle(const aw_loop *l)
{
    CHECK_EQ(l->tasks, 0);
    CHECK_EQ(l->ready_count, 0);
    CHECK(!l->ready);
    CHECK_EQ(l->wheel.count, l->grace.timer.link.next != NULL);
    CHECK_EQ(l->fd_count, 1);           /* the wake-up descriptor */
    CHECK_EQ(held_bytes(l), 0);
}

/* Frees a loop whose tasks have all ended. */
AW__UNUSED
static void close_loop(aw_loop *l)
{
    check_idle(l);
    aw_loop_free(l);
}

/* Runs until nothing is left and closes. The milliseconds it took. */
AW__UNUSED
static int64_t run_and_close(aw_loop *l)
{
    const int64_t start = aw_now_ms(l);
    int64_t took;
    CHECK_EQ(aw_loop_run(l), 0);
    took = aw_now_ms(l) - start;
    close_loop(l);
    return took;
}

/* ---- async functions that most scenarios need ---- */

/* Sleeps; tells how it ended: F finished, C cancelled, D deadline, E error. */
ASYNC(sleeper, (int64_t ms; int result;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, self->ms);
        RETURN(self->result);
    } FINALLY {
        mark(OUTCOME() == AW_ECANCELED ? "C" : OUTCOME() == AW_EDEADLINE ? "D"
             : OUTCOME() < 0 ? "E" : "F");
    }
}

/* The same, and its clean-up takes a while. */
ASYNC(cleaner, (int64_t ms; int64_t clean_ms;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, self->ms);
    } FINALLY {
        mark("(");
        AWAIT(aw_sleep_ms, self->clean_ms);
        mark(")");
    }
}

/* Cancels a task after a while. */
ASYNC(cancel_after, (int64_t ms; aw_task task;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, self->ms);
        aw_cancel(self->task);
    }
}

#endif /* CORE_H */
