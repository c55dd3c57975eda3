/* core_chaos.c: one rich scenario of the async core, run under seeded chaos,
   cancelled at each of its awaits, and with each allocation and system call
   failing once. Afterwards everything has to balance. And the timer wheel
   against a model that is too simple to be wrong. */
#include "core.h"
#include <limits.h>

static long fault_at, fault_count;      /* fails the n-th call; 0: none */

static int fail_now(const char *call)
{
    if (++fault_count != fault_at) return 0;
    errno = strcmp(call, "epoll_wait") && strcmp(call, "poll") ? ENOMEM : EINTR;
    return 1;
}

/* ---- what has to balance ---- */

static struct {
    int begun, ended;           /* frames, and their FINALLY */
    int deferred, undone;
    int tokens;                 /* items that somebody owns */
    int files;
} world;

static void *token_new(void)
{
    world.tokens++;
    return malloc(1);
}

static void token_free(void *token)
{
    if (token) world.tokens--;
    free(token);
}

static void undo(void *arg)
{
    (void)arg;
    world.undone++;
}

static void close_file(int *fd)
{
    if (*fd < 0) return;
    close(*fd);
    *fd = -1;
    world.files--;
}

/* ---- the scenario ---- */

enum { PERMITS = 2 };

ASYNC(naps, (int64_t ms; int result;))
{
    BEGIN {
        world.begun++;
        AWAIT(aw_sleep_ms, self->ms);
        RETURN(self->result);
    } FINALLY { world.ended++; }
}

ASYNC(uses_permit, (aw_semaphore *s; int times;), bool have; int i;)
{
    BEGIN {
        world.begun++;
        for (self->i = 0; self->i < self->times; self->i++) {
            AWAIT(aw_semaphore_acquire, self->s);
            self->have = true;
            AWAIT(naps, self->i, 0);
            self->have = false;
            aw_semaphore_release(self->s);
            AWAIT(aw_yield);
        }
    } FINALLY {
        if (self->have) aw_semaphore_release(self->s);
        AWAIT(aw_yield);
        world.ended++;
    }
}

ASYNC(produces, (aw_queue *q; int n;), void *item; int i; int rc;)
{
    BEGIN {
        world.begun++;
        for (self->i = 0; self->i < self->n; self->i++) {
            self->item = token_new();
            AWAIT_TO(self->rc, aw_queue_put, self->q, self->item);
            if (self->rc < 0) RETURN(0);
            self->item = NULL;
        }
    } FINALLY {
        token_free(self->item);
        world.ended++;
    }
}

ASYNC(consumes, (aw_queue *q; int64_t pause;), void *item; int rc;)
{
    BEGIN {
        world.begun++;
        for (;;) {
            AWAIT_FOR_TO(4, self->rc, aw_queue_get, self->q, &self->item);
            if (self->rc < 0) RETURN(0);
            token_free(self->item);
            self->item = NULL;
            AWAIT(aw_sleep_ms, self->pause);
        }
    } FINALLY {
        token_free(self->item);
        world.ended++;
    }
}

ASYNC(defers, (aw_event *e;), int i;)
{
    BEGIN {
        world.begun++;
        for (self->i = 0; self->i < 4; self->i++) {
            world.deferred++;
            DEFER(undo, NULL);
            AWAIT(aw_yield);
        }
        AWAIT(aw_event_wait, self->e);
    } FINALLY {
        AWAIT_FOR(1, aw_sleep_ms, 3);
        world.ended++;
    }
}

ASYNC(talks, (aw_event *e;), int p[2]; int rc; char c;)
{
    BEGIN {
        world.begun++;
        self->p[0] = self->p[1] = -1;
        if (pipe(self->p) == 0) world.files += 2;
        AWAIT_FOR_TO(2, self->rc, aw_readable, self->p[0]);
        if (self->rc >= 0) RETURN(AW_EIO);      /* nobody has written */
        if (self->rc != AW_EDEADLINE) RETURN(self->rc);
        AWAIT(aw_writable, self->p[1]);
        if (write(self->p[1], "x", 1) != 1) RETURN(AW_EIO);
        AWAIT(aw_readable_or_writable, self->p[0]);
        close_file(&self->p[1]);
        AWAIT(aw_readable, self->p[0]);
        aw_event_set(self->e);
        AWAIT(aw_yield);
    } FINALLY {
        close_file(&self->p[0]);
        close_file(&self->p[1]);
        world.ended++;
    }
}

ASYNC(flaky, (int *left; char padding[40];))
{
    BEGIN {
        world.begun++;
        AWAIT(aw_sleep_ms, 1);
        RETURN(--*self->left > 0 ? AW_ECONNREFUSED : 7);
    } FINALLY { world.ended++; }
}

ASYNC(retries, (), aw_bound call; int left; int i; int rc;)
{
    BEGIN {
        world.begun++;
        self->left = 3;
        self->call = AW_BIND(flaky, &self->left, "far");
        for (self->i = 0; self->i < 4; self->i++) {
            AWAIT_FOR_TO(20, self->rc, aw_call, self->call);
            if (self->rc >= 0) break;
            AWAIT(aw_sleep_ms, 1 << self->i);
        }
        RETURN(self->rc);
    } FINALLY { world.ended++; }
}

ASYNC(commits, (), int i;)
{
    BEGIN {
        world.begun++;
        SHIELD(naps, 5, 0);
        SHIELD(aw_sleep_ms, 1);
        AWAIT(naps, 2, 0);
    } FINALLY {
        START(naps, 1, 0);
        START(naps, 30, 0);
        GATHER_FOR(3);
        world.ended++;
    }
}

ASYNC(nested, (aw_semaphore *s; int depth;), int rc; int a;)
{
    BEGIN {
        world.begun++;
        if (self->depth > 0) {
            START_TO(self->a, nested, self->s, self->depth - 1);
            AWAIT_FOR_TO(3 + self->depth, self->rc, nested, self->s,
                         self->depth - 1);
        }
        AWAIT(uses_permit, self->s, 1);
        GATHER();
    } FINALLY {
        AWAIT_FOR_TO(2, self->rc, naps, self->depth, 0);
        world.ended++;
    }
}

ASYNC(racer, (), int won; int b;)
{
    BEGIN {
        world.begun++;
        START(naps, 5, 1);
        START(commits);
        START_TO(self->b, naps, 3, AW_EIO);
        RACE_TO(self->won);
        START(naps, 2, AW_EIO);
        START(naps, 9, 0);
        GATHER_TO(self->won);       /* an error, taken */
        START(naps, 1, AW_EBADF);
        AWAIT(naps, 30, 0);         /* an error that interrupts */
        RETURN(AW_EINVAL);
    } FINALLY { world.ended++; }
}

ASYNC(joiner, (), aw_task task; int rc;)
{
    BEGIN {
        world.begun++;
        self->task = SPAWN(nested, NULL, 0);
        aw_cancel(self->task);
        self->task = SPAWN(naps, 4, 9);
        AWAIT_FOR_TO(2, self->rc, aw_join, self->task);
        AWAIT_TO(self->rc, aw_join, self->task);
        self->task = SPAWN(naps, 40, 9);
        AWAIT(aw_yield);
    } FINALLY {
        aw_cancel(self->task);
        AWAIT_TO(self->rc, aw_join, self->task);
        world.ended++;
    }
}

ASYNC(scenario, (aw_semaphore *s; aw_queue *q; aw_event *e;), int rc;
      int got[9]; aw_task child;)
{
    BEGIN {
        world.begun++;
        START_TO(self->got[0], uses_permit, self->s, 3);
        START_TO(self->got[1], uses_permit, self->s, 2);
        self->child = START(uses_permit, self->s, 9);
        START_TO(self->got[2], produces, self->q, 7);
        START_TO(self->got[3], consumes, self->q, 1);
        START_TO(self->got[4], consumes, self->q, 2);
        START_TO(self->got[5], talks, self->e);
        START_TO(self->got[6], defers, self->e);
        AWAIT_TO(self->rc, retries);
        START_TO(self->got[7], racer);
        START_TO(self->got[8], joiner);
        AWAIT_FOR_TO(9, self->rc, nested, self->s, 3);
        aw_cancel(self->child);
        GATHER_FOR_TO(25, self->rc);
    } FINALLY {
        aw_queue_close(self->q);
        START_TO(self->rc, commits);
        AWAIT(naps, 1, 0);
        GATHER();
        world.ended++;
    }
}

/* One run. chaos 0: none. Gives the suspensions and faults there were. */
typedef struct outcome {
    int64_t suspended;
    long faults;
} outcome;

static outcome run_scenario(uint64_t chaos, int64_t cancel_at, long fail_at)
{
    void *items[2], *item;
    aw_semaphore s = {PERMITS, NULL};
    aw_event e = {NULL, false};
    aw_queue q;
    aw_task t;
    aw_loop *l;
    outcome out = {0, 0};
    memset(&world, 0, sizeof world);
    aw_queue_init(&q, items, 2);
    test_fault = fail_now;
    fault_count = 0;
    fault_at = fail_at;
    l = open_loop();
    if (l) {
        if (chaos) aw__chaos_on(l, chaos);
        /* `nested` of `joiner` gets no semaphore: it is cancelled before. */
        t = SPAWN_ON(l, scenario, &s, &q, &e);
        aw__cancel_at(l, t, cancel_at);
        CHECK_EQ(aw_loop_run(l), 0);
        while (aw_queue_try_get(&q, &item) == 0) token_free(item);
        out.suspended = l->chaos.suspended;
        check_idle(l);
        aw_loop_free(l);
    }
    out.faults = fault_count;
    fault_at = 0;
    CHECK_EQ(world.begun, world.ended);
    CHECK_EQ(world.deferred, world.undone);
    CHECK_EQ(world.tokens, 0);
    CHECK_EQ(world.files, 0);
    CHECK_EQ(s.value, PERMITS);
    CHECK(!s.waiters && !e.waiters && !q.getters && !q.putters);
    return out;
}

TEST(chaos_any_order)
{
    uint64_t seed;
    outcome plain = run_scenario(0, 0, 0);
    CHECK(plain.suspended > 150);
    for (seed = 1; seed <= (uint64_t)test_rounds(1000); seed++) {
        NOTE("seed %d", (int)seed);
        CHECK(run_scenario(seed, 0, 0).suspended > plain.suspended);
    }
}

/* At each await once, in one of three orders; TEST_FULL=1: in all of them. */
TEST(chaos_cancel_at_every_await)
{
    static const uint64_t seeds[] = {0, 5, 77};
    const int64_t step = test_full() ? 1 : 3;
    size_t i;
    for (i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        int64_t k = (int64_t)i % step + 1 - step, reached;
        do {
            k += step;
            NOTE("seed %d, cancelled at %d", (int)seeds[i], (int)k);
            reached = run_scenario(seeds[i], k, 0).suspended;
        } while (k <= reached);
        CHECK(k > 150);
    }
}

/* oom_each_spawn_start_defer_await: whatever fails, it is a result. */
TEST(oom_each_spawn_start_defer_await)
{
    static const uint64_t seeds[] = {0, 3};
    size_t i;
    for (i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        long n = 0, seen;
        do {
            NOTE("seed %d, call %ld fails", (int)seeds[i], n + 1);
            seen = run_scenario(seeds[i], 0, ++n).faults;
        } while (n <= seen);
        CHECK(n > 60);
    }
}

TEST(chaos_cancelled_and_out_of_memory)
{
    uint32_t x = 1;
    int i;
    for (i = 0; i < test_rounds(1000); i++) {
        int k, n;
        x = x * 1664525 + 1013904223;
        k = (int)(x >> 8) % 400;
        x = x * 1664525 + 1013904223;
        n = (int)(x >> 8) % 400;
        NOTE("seed %d, cancelled at %d, call %d fails", i, k, n);
        run_scenario((uint64_t)i, k, n);
    }
}

/* ---- each verb without memory, by name ---- */

static int oom_deferred;

static void count_deferred(void *arg)
{
    (void)arg;
    oom_deferred++;
}

ASYNC(leaf_like, ())
{
    BEGIN { RETURN(3); }
}

ASYNC(runs_out, (int verb;), int rc; int got; aw_task task; aw_bound bound;)
{
    BEGIN {
        (void)aw__frame_get(aw_t, (size_t)(aw__ctx *)aw_t * 0 + 400);
        /* Nothing is left of the chunk: the next call needs memory. */
        while (aw__task_limit((aw__task *)aw_t) - ((aw__task *)aw_t)->at >= 16)
            (void)aw__frame_get(aw_t, 16);
        if (self->verb == 9) START_TO(self->got, leaf_like);
        self->got = 99;
        self->task = AW_SELF();
        test_fault = fail_now;
        fault_count = 0;
        fault_at = 1;
        if (self->verb == 0) AWAIT_TO(self->rc, leaf_like);
        if (self->verb == 1) AWAIT_FOR_TO(10, self->rc, aw_sleep_ms, 20);
        if (self->verb == 2) {
            START(leaf_like);
            GATHER_TO(self->rc);
        }
        if (self->verb == 3) {
            START_TO(self->rc, leaf_like);
            GATHER();
        }
        if (self->verb == 4) {
            self->task = SPAWN(leaf_like);
            CHECK(aw_ended(self->task));
            AWAIT_TO(self->rc, aw_join, self->task);
        }
        if (self->verb == 5) {
            self->bound = AW_BIND(runs_out, 0);
            fault_at = 1;
            CHECK(self->bound.fn != NULL);      /* small: needs none */
            self->rc = AW_ENOMEM;
        }
        if (self->verb == 6) AWAIT_TO(self->rc, aw_readable, 0);
        if (self->verb == 7) {
            START(leaf_like);           /* interrupts the body */
            AWAIT_TO(self->rc, aw_yield);
            mark("never");
        }
        if (self->verb == 8) {
            oom_deferred = 0;
            DEFER(count_deferred, NULL);
            CHECK_EQ(oom_deferred, 0);  /* one is always possible */
            DEFER(count_deferred, NULL);
            mark("never");
        }
        if (self->verb == 9) {
            START(leaf_like);           /* not the first of its frame */
            GATHER_TO(self->rc);
        }
        fault_at = 0;
        RETURN(self->rc);
    } FINALLY { fault_at = 0; }
}

TEST(oom_is_a_result_of_each_verb)
{
    int verb;
    for (verb = 0; verb <= 9; verb++) {
        aw_loop *l = open_loop();
        aw_task t = SPAWN_ON(l, runs_out, verb);
        NOTE("verb %d", verb);
        CHECK_EQ(aw_loop_run(l), 0);
        CHECK_EQ(l->slots[t.slot].u.result, AW_ENOMEM);
        CHECK_STR(trail, "");
        close_loop(l);
    }
    CHECK_EQ(oom_deferred, 2);
}

static int fail_alloc(const char *call)
{
    return strcmp(call, "alloc") == 0 && fail_now(call);
}

/* Its clean-up would take long; there is no memory to bound that. */
ASYNC(cleans_up, (int64_t ms;), int rc;)
{
    BEGIN {
        fault_at = fault_count + 1;
        AWAIT(aw_sleep_ms, self->ms);
        mark("never ");
    } FINALLY {
        mark_number("f", OUTCOME());
        AWAIT_TO(self->rc, aw_sleep_ms, AW_SECONDS(3600));
        mark_number("g", self->rc);
    }
}

ASYNC(goes_on, (), int rc;)
{
    BEGIN {
        AWAIT_FOR_TO(5, self->rc, cleans_up, 1000);
        mark_number("r", self->rc);
        AWAIT(aw_sleep_ms, 20);
        mark("on");
    }
}

/* One timer for all of them: each has cleanup_ms at least, twice at most. */
TEST(cancel_without_memory_takes_longer)
{
    int cancels;
    for (cancels = 0; cancels <= 1; cancels++) {
        char want[80];
        const int why = cancels ? AW_ECANCELED : AW_EDEADLINE;
        aw_loop *l = open_loop_with(1000, 0);
        int64_t begun = aw_now_ms(l);
        aw_task t = cancels ? SPAWN_ON(l, cleans_up, 1000)
            : SPAWN_ON(l, goes_on);
        test_fault = fail_alloc;
        aw_loop_step(l, 0);
        if (cancels) aw_cancel(t);
        CHECK_EQ(aw_loop_run(l), 0);
        CHECK(fault_count >= fault_at);
        snprintf(want, sizeof want, cancels ? "f%d g%d " : "f%d g%d r%d on",
                 why, AW_EDEADLINE, why);
        CHECK_STR(trail, want);
        CHECK_EQ(aw_now_ms(l) - begun, 2000 + (cancels ? 0 : 25));
        fault_at = 0;
        close_loop(l);
    }
}

static int fail_each_alloc(const char *call)
{
    return strcmp(call, "alloc") == 0;
}

ASYNC(cleans_for, (int64_t ms;), int rc;)
{
    BEGIN {
        AWAIT(aw_sleep_ms, AW_FOREVER);
    } FINALLY {
        AWAIT_TO(self->rc, aw_sleep_ms, self->ms);
    }
}

static void cancel_without_memory(aw_task t)
{
    test_fault = fail_each_alloc;
    aw_cancel(t);
    test_fault = NULL;
}

static void run_for(aw_loop *l, int64_t ms)
{
    int64_t until = aw_now_ms(l) + ms;
    while (aw_now_ms(l) < until) aw_loop_step(l, until - aw_now_ms(l));
}

/* Cancelled at 0, 0, 1,200 and with memory; looks are at 1,000, 2,000 ... */
TEST(cleanups_without_memory_share_a_timer)
{
    aw_loop *l = open_loop_with(1000, 0);
    const int64_t begun = aw_now_ms(l);
    aw_task early = SPAWN_ON(l, cleans_for, 9000);
    aw_task brief = SPAWN_ON(l, cleans_for, 1001);
    aw_task late = SPAWN_ON(l, cleans_for, 9000);
    aw_task timed = SPAWN_ON(l, cleans_for, 9000);
    aw_loop_step(l, 0);
    cancel_without_memory(early);
    cancel_without_memory(brief);
    run_for(l, 1200);
    CHECK(aw_ended(brief));
    cancel_without_memory(late);
    aw_cancel(timed);
    run_for(l, 799);
    CHECK(!aw_ended(early));
    run_for(l, 1);
    CHECK(aw_ended(early));
    run_for(l, 200);
    CHECK(aw_ended(timed));
    CHECK(!aw_ended(late));
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_EQ(aw_now_ms(l) - begun, 3000);
    CHECK_EQ(times_said("its clean-up took more than"), 3);
    close_loop(l);
}

ASYNC(lives_on, (), int rc;)
{
    BEGIN {
        AWAIT_FOR_TO(5, self->rc, cleans_for, 10);
        mark_number("r", self->rc);
        AWAIT_TO(self->rc, aw_sleep_ms, 5000);
        mark_number("s", self->rc);
    }
}

/* What is over in time is no longer looked at. */
TEST(cleanup_without_memory_done_in_time)
{
    char want[40];
    aw_loop *l = open_loop_with(1000, 0);
    (void)SPAWN_ON(l, lives_on);
    aw_loop_step(l, 0);
    test_fault = fail_each_alloc;
    run_for(l, 6);
    test_fault = NULL;
    CHECK_EQ(aw_loop_run(l), 0);
    snprintf(want, sizeof want, "r%d s0 ", AW_EDEADLINE);
    CHECK_STR(trail, want);
    CHECK_EQ(times_said("its clean-up took more than"), 0);
    close_loop(l);
}

/* No limit needs no timer, so it needs no memory either. */
TEST(cancel_without_memory_and_limit)
{
    aw_loop *l = open_loop_with(-1, 0);
    int64_t begun = aw_now_ms(l);
    aw_task t = SPAWN_ON(l, cleans_up, 1000);
    char want[40];
    snprintf(want, sizeof want, "f%d g0 ", AW_ECANCELED);
    test_fault = fail_alloc;
    aw_loop_step(l, 0);
    aw_cancel(t);
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_STR(trail, want);
    CHECK_EQ(aw_now_ms(l) - begun, 3600000);
    fault_at = 0;
    close_loop(l);
}

ASYNC(joins_in_vain, (aw_task task;), int rc;)
{
    BEGIN {
        fault_at = fault_count + 1;
        AWAIT_TO(self->rc, aw_join, self->task);
        fault_at = 0;
        mark_number("", self->rc);
        aw_cancel(self->task);
    }
}

TEST(join_without_memory)
{
    char want[40];
    aw_loop *l = open_loop();
    test_fault = fail_alloc;
    fault_at = 0;
    (void)SPAWN_ON(l, joins_in_vain, SPAWN_ON(l, aw_sleep_ms, AW_FOREVER));
    CHECK_EQ(aw_loop_run(l), 0);
    snprintf(want, sizeof want, "%d ", AW_ENOMEM);
    CHECK_STR(trail, want);
    close_loop(l);
}

/* Waiters leave a list in each order, by cancellation and by their turn. */
ASYNC(waits_its_turn, (aw_semaphore *s; int n;))
{
    BEGIN {
        AWAIT(aw_semaphore_acquire, self->s);
        mark_number("", self->n);
    }
}

TEST(waiters_leave_in_any_order)
{
    enum { MOST = 5 };
    int gone, i;
    for (gone = 0; gone < 1 << MOST; gone++) {
        aw_loop *l = open_loop();
        aw_semaphore s = {0, NULL};
        aw_task t[MOST];
        char want[80] = "";
        for (i = 0; i < MOST; i++) t[i] = SPAWN_ON(l, waits_its_turn, &s, i);
        aw_loop_step(l, 0);
        for (i = gone & 1 ? 0 : MOST - 1; i >= 0 && i < MOST;
             i += gone & 1 ? 1 : -1)
            if (gone >> i & 1) aw_cancel(t[i]);
        for (i = 0; i < MOST; i++) {
            aw_semaphore_release(&s);
            if (!(gone >> i & 1))
                snprintf(want + strlen(want), sizeof want - strlen(want),
                         "%d ", i);
        }
        CHECK_EQ(aw_loop_run(l), 0);
        CHECK_STR(trail, want);
        CHECK(s.waiters == NULL);
        close_loop(l);
    }
}

/* ---- the wheel ---- */

enum { TIMERS = 400 };

typedef struct model_timer {
    aw__call_timer timer;               /* first: the callback casts */
    bool active, stamped;
    int64_t due;                        /* before it is stamped: ms */
    long order;
} model_timer;

static struct {
    model_timer all[TIMERS];
    int fired[TIMERS * 2], count;
    long started;
} model;

static void on_model_timer(aw_loop *l, aw__call_timer *timer)
{
    (void)l;
    if (model.count < TIMERS * 2)
        model.fired[model.count++] = (int)((model_timer *)(void *)timer
                                           - model.all);
}

static uint64_t random_state = 88172645463325252u;

static uint64_t random_number(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* A number of up to 2^bits, all magnitudes alike. */
static int64_t random_size(int bits)
{
    uint64_t r = random_number();
    return (int64_t)(random_number() >> 8 &
                     (((uint64_t)1 << (r % (unsigned)(bits + 1))) - 1));
}

static void model_start(aw_loop *l)
{
    model_timer *m = &model.all[random_number() % TIMERS];
    int64_t ms = random_size(random_number() % 8 ? 16 : 48);
    if (m->active) return;
    if (random_number() % 64 == 0) ms = INT64_MAX - 1;
    if (random_number() % 64 == 0) ms = -ms;
    m->timer.fn = on_model_timer;
    aw__timer_start(l, &m->timer.timer, ms, AW__TIMER_CALL);
    m->active = true;
    m->stamped = false;
    m->due = ms < 0 ? 0 : ms > INT64_MAX >> 4 ? INT64_MAX >> 4 : ms;
    m->order = model.started++;
}

static void model_stop(aw_loop *l)
{
    model_timer *m = &model.all[random_number() % TIMERS];
    aw__timer_stop(l, &m->timer.timer);
    m->active = false;
}

static void model_stamp(const aw_loop *l)
{
    int i;
    for (i = 0; i < TIMERS; i++) {
        model_timer *m = &model.all[i];
        if (!m->active || m->stamped) continue;
        m->due += l->now + (m->due == 0 && l->now <= l->wheel.tick);
        m->stamped = true;
    }
}

/* The one that has to fire next, NULL: none is due. */
static model_timer *model_next(int64_t now)
{
    model_timer *best = NULL;
    int i;
    for (i = 0; i < TIMERS; i++) {
        model_timer *m = &model.all[i];
        if (!m->active || !m->stamped || m->due > now) continue;
        if (!best || m->due < best->due ||
            (m->due == best->due && m->order < best->order)) best = m;
    }
    return best;
}

static int64_t model_first(void)
{
    int64_t first = INT64_MAX;
    int i;
    for (i = 0; i < TIMERS; i++)
        if (model.all[i].active && model.all[i].due < first)
            first = model.all[i].due;
    return first;
}

static void model_advance(aw_loop *l)
{
    int64_t first;
    int wait, i;
    model_stamp(l);
    aw__wheel_stamp(l);
    wait = aw__wait_limit(l, AW_FOREVER);
    first = model_first();
    /* Nobody sleeps too long, and not for nothing. */
    if (first == INT64_MAX) CHECK(wait == -1 || l->wheel.count);
    else CHECK(wait >= 0 && wait <= (first > l->now ? first - l->now : 0));
    if (random_number() % 4 == 0) l->now += wait > 0 ? wait : 0;
    else l->now += random_size(random_number() % 16 ? 12 : 40);
    model.count = 0;
    aw__expire(l);
    for (i = 0; i < model.count; i++) {
        model_timer *want = model_next(l->now), *got;
        got = &model.all[model.fired[i]];
        CHECK(want == got);
        got->active = false;
    }
    CHECK(!model_next(l->now));
}

TEST(wheel_against_a_model)
{
    aw_loop *l = open_loop();
    int i, active = 0;
    memset(&model, 0, sizeof model);
    for (i = 0; i < test_rounds(1000000); i++) {
        uint64_t what = random_number() % 64;
        if (what < 36) model_start(l);
        else if (what < 60) model_stop(l);
        else if (what == 60) model_advance(l);
        NOTE("operation %d", i);
    }
    for (i = 0; i < TIMERS; i++) active += model.all[i].active;
    CHECK_EQ(l->wheel.count, active);
    for (i = 0; i < TIMERS; i++)
        aw__timer_stop(l, &model.all[i].timer.timer);
    close_loop(l);
}

ASYNC(sleeps_far, (int64_t ms;), int64_t at;)
{
    BEGIN {
        self->at = aw_now_ms(AW_LOOP());
        AWAIT(aw_sleep_ms, self->ms);
        CHECK_EQ(aw_now_ms(AW_LOOP()) - self->at, self->ms);
    }
}

/* A thousand years take a few turns. */
TEST(wheel_far)
{
    int64_t years = INT64_C(1000) * 365 * 86400 * 1000;
    aw_loop *l = open_loop();
    SPAWN_ON(l, sleeps_far, years);
    SPAWN_ON(l, sleeps_far, years + 1);
    SPAWN_ON(l, sleeps_far, INT64_C(1) << 40);
    CHECK_EQ(run_and_close(l), years + 1);
}

TEST(wheel_million)
{
    enum { MANY = 1000000 };
    aw__timer *timers = (aw__timer *)calloc(MANY, sizeof *timers);
    aw_loop *l = open_loop();
    int i;
    for (i = 0; i < MANY; i++)
        aw__timer_start(l, &timers[i], i % 100000 + 1, AW__TIMER_SLEEP);
    aw__wheel_stamp(l);
    CHECK_EQ(l->wheel.count, MANY);
    CHECK_EQ(aw__wait_limit(l, AW_FOREVER), 1);
    for (i = 0; i < MANY; i++) aw__timer_stop(l, &timers[i]);
    CHECK_EQ(aw__wait_limit(l, AW_FOREVER), -1);
    free(timers);
    close_loop(l);
}
