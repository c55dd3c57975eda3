/* names.c: host names that are asked for once and kept, and connections to the
   first of their addresses that answers (RFC 8305). Names and time are made
   up, and the resolver of the C library is this file's. */
#include "core.h"
#include <netdb.h>
#include <pthread.h>

/* Fails the n-th call of one kind, with an errno. */
static struct {
    const char *call;
    int error;
    long at, count;
} broken;

static int breaks(const char *call)
{
    if (strcmp(broken.call, call) != 0 || ++broken.count != broken.at) return 0;
    errno = broken.error;
    return 1;
}

static void break_at(const char *call, int error, long at)
{
    broken.call = call;
    broken.error = error;
    broken.at = at;
    broken.count = 0;
    test_fault = at ? breaks : NULL;
}

/* ---- a loop in memory, and names for it ---- */

/* What a name has, told after so long; never when `ms` is negative. */
typedef struct row {
    const char *host;
    int64_t ms;
    const char *addresses;      /* "": there is no such name */
} row;

static const row zone[] = {
    {"one.test", 0, "192.0.2.1"},
    {"slow.test", 300, "2001:db8::1 192.0.2.1"},
    {"two.test", 0, "2001:db8::1 192.0.2.1"},
    {"three.test", 0, "2001:db8::1 192.0.2.1 2001:db8::2"},
    {"none.test", 10, ""},
    {"never.test", -1, ""},
    {NULL, 5, "198.51.100.7"}   /* any other */
};

typedef struct question {
    aw__call_timer timer;
    aw__job *job;               /* NULL: answered */
    const row *of;
} question;

static question questions[200];
static int asked;               /* how many of them */

static void answer(aw_loop *l, aw__call_timer *timer)
{
    question *q = (question *)timer;
    aw__name *n = (aw__name *)q->job;
    char word[64];
    const char *at = q->of->addresses;
    int used;
    n->found.count = 0;
    n->why = "made up";
    for (; sscanf(at, "%63s%n", word, &used) == 1; at += used) {
        aw__address a;
        CHECK(aw__address_parse(word, 0, &a));
        aw__addresses_add(&n->found, a);
    }
    n->rc = n->found.count ? 0 : AW_EDNS;
    q->job = NULL;
    n->job.done(l, &n->job);
}

static void ask(aw_loop *l, aw__job *job)
{
    question *q = &questions[asked++];
    CHECK(asked < 200);
    q->of = zone;
    while (q->of->host && strcmp(q->of->host, ((aw__name *)job)->host) != 0)
        q->of++;
    q->job = job;
    q->timer.fn = answer;
    if (q->of->ms == 0) answer(l, &q->timer);
    else aw__timer_start(l, &q->timer.timer,
                         q->of->ms < 0 ? AW_FOREVER : q->of->ms,
                         AW__TIMER_CALL);
}

static char mute[200];          /* addresses that say nothing */
static int64_t tried_at[AW__ADDRESSES];
static int tried;
static aw_loop *dialing;

static bool is_mute(const aw__address *a)
{
    char text[AW_PEER_TEXT];
    if (tried < AW__ADDRESSES) tried_at[tried] = dialing->now;
    tried++;
    return strstr(mute, aw__address_format(a, text, sizeof text)) != NULL;
}

/* NULL: no memory for it. */
static aw_loop *open_named_for(int64_t names_ms, const char *mute_ones)
{
    aw_loop_config config;
    aw_loop *l;
    memset(&config, 0, sizeof config);
    config.names_ms = names_ms;
    config.debug = true;
    config.log = keep_log;
    trail[0] = said[0] = 0;
    memset(questions, 0, sizeof questions);
    asked = tried = 0;
    snprintf(mute, sizeof mute, "%s", mute_ones);
    l = aw_loop_new(&config);
    if (l && aw__sim_open(l) < 0) {
        aw_loop_free(l);
        l = NULL;
    }
    dialing = l;
    if (!l) return NULL;
    l->sim->ask = ask;
    l->sim->silent = is_mute;
    return l;
}

static aw_loop *open_named(const char *mute_ones)
{
    return open_named_for(0, mute_ones);
}

/* A job that is under way frees itself, if nobody else does. */
static void end_named(aw_loop *l)
{
    int i;
    CHECK_EQ(l->sim->open, 0);
    CHECK_EQ(aw__loop_end(l), 0);
    for (i = 0; i < asked; i++) aw__plain_put(questions[i].job);
}

static void run_named(aw_loop *l)
{
    CHECK_EQ(aw_loop_run(l), 0);
    end_named(l);
}

static int known(const aw_loop *l)
{
    const aw__name *n;
    int count = 0;
    for (n = l->names; n; n = n->next) count++;
    return count;
}

/* ---- asking ---- */

ASYNC(looks_up, (const char *host; int port;), aw__addresses list; int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw__resolve, self->host, self->port, &self->list);
        if (self->rc < 0) mark_number("e", self->rc);
        else mark_number("n", self->list.count);
        mark_number(":", self->rc < 0 ? 0 : self->list.at[0].port);
        mark_number("@", aw_now_ms(AW_LOOP()));
    } FINALLY { if (OUTCOME() == AW_ECANCELED) mark("C "); }
}

TEST(name_asked_for_once)
{
    aw_loop *l = open_named("");
    int i;
    for (i = 80; i < 83; i++) SPAWN_ON(l, looks_up, "slow.test", i);
    run_named(l);
    CHECK_EQ(asked, 1);
    CHECK_STR(trail, "n2 :80 @300 n2 :81 @300 n2 :82 @300 ");
}

/* Sleeps until then, looks up, as often as there are times. */
ASYNC(looks_at, (const char *host; const int64_t *times;), int64_t at;)
{
    BEGIN {
        for (; *self->times >= 0; self->times++) {
            self->at = *self->times - aw_now_ms(AW_LOOP());
            AWAIT(aw_sleep_ms, self->at);
            AWAIT(looks_up, self->host, 1);
            mark_number("a", asked);
        }
    }
}

TEST(name_kept)
{
    static const int64_t times[] = {0, 300, 30299, 30300, 30700, -1};
    aw_loop *l = open_named("");
    SPAWN_ON(l, looks_at, "slow.test", times);
    run_named(l);
    CHECK_STR(trail, "n2 :1 @300 a1 n2 :1 @300 a1 n2 :1 @30299 a1 "
              "n2 :1 @30600 a2 n2 :1 @30700 a2 ");
}

TEST(name_kept_as_configured)
{
    static const int64_t times[] = {0, 799, 800, -1};
    static const int64_t again[] = {0, 300, 600, -1};
    static const int64_t none[] = {0, 509, 510, -1};
    aw_loop *l = open_named_for(500, "");
    SPAWN_ON(l, looks_at, "slow.test", times);
    run_named(l);
    CHECK_STR(trail, "n2 :1 @300 a1 n2 :1 @799 a1 n2 :1 @1100 a2 ");
    l = open_named_for(AW_OFF, "");
    SPAWN_ON(l, looks_at, "slow.test", again);
    run_named(l);
    CHECK_STR(trail, "n2 :1 @300 a1 n2 :1 @600 a2 n2 :1 @900 a3 ");
    l = open_named_for(500, "");
    SPAWN_ON(l, looks_at, "none.test", none);
    run_named(l);
    CHECK(strstr(trail, "@10 a1 ") && strstr(trail, "@509 a1 ") &&
          strstr(trail, "@520 a2 "));
}

/* For a second, and one line in the log for each question. */
TEST(name_that_is_none)
{
    static const int64_t times[] = {0, 10, 1009, 1010, -1};
    char expected[200];
    aw_loop *l = open_named("");
    SPAWN_ON(l, looks_at, "none.test", times);
    SPAWN_ON(l, looks_up, "none.test", 1);
    run_named(l);
    snprintf(expected, sizeof expected, "e%d :0 @10 e%d :0 @10 a1 e%d :0 @10 "
             "a1 e%d :0 @1009 a1 e%d :0 @1020 a2 ", AW_EDNS, AW_EDNS, AW_EDNS,
             AW_EDNS, AW_EDNS);
    CHECK(strlen(trail) == strlen(expected));
    CHECK(strstr(trail, "@1009 a1") && strstr(trail, "@1020 a2"));
    CHECK_EQ(times_said("asyncweb: no address of none.test: made up\n"), 2);
}

/* Nor is anybody asked for what is no name. */
TEST(name_unfit)
{
    static const char *const bad[] = {"", "a\nb.test", "a\r", "\x7f", "\x01"};
    char longest[AW__HOST_MAX + 2];
    size_t i;
    aw_loop *l = open_named("");
    memset(longest, 'a', sizeof longest);
    longest[AW__HOST_MAX] = 0;
    SPAWN_ON(l, looks_up, longest, 1);
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_EQ(asked, 1);
    longest[AW__HOST_MAX] = 'a';
    longest[AW__HOST_MAX + 1] = 0;
    SPAWN_ON(l, looks_up, longest, 1);
    for (i = 0; i < sizeof bad / sizeof *bad; i++)
        SPAWN_ON(l, looks_up, bad[i], 1);
    SPAWN_ON(l, looks_up, "one.test", 65536);
    run_named(l);
    CHECK_EQ(asked, 1);
    CHECK_STR(said, "");
    CHECK(strstr(trail, "e-19 :0 "));
    CHECK(strstr(trail, "e-3 :0 "));
}

/* The oldest go, of those nobody waits for. */
static char hosts[AW__NAMES + 10][24];

ASYNC(looks_up_many, (), int i;)
{
    BEGIN {
        START(looks_up, "never.test", 1);
        for (self->i = 0; self->i < AW__NAMES + 10; self->i++) {
            snprintf(hosts[self->i], sizeof hosts[0], "n%d.test", self->i);
            AWAIT(looks_up, hosts[self->i], 1);
            AWAIT(looks_up, hosts[0], 1);       /* stays */
            CHECK(known(AW_LOOP()) <= AW__NAMES + 1);
        }
        CHECK_EQ(known(AW_LOOP()), AW__NAMES + 1);
        CHECK_EQ(asked, AW__NAMES + 11);
        AWAIT(looks_up, hosts[AW__NAMES + 9 - 62], 1);
        CHECK_EQ(asked, AW__NAMES + 11);
        AWAIT(looks_up, hosts[AW__NAMES + 9 - 63], 1);
        CHECK_EQ(asked, AW__NAMES + 12);
    }
}

TEST(names_are_few)
{
    aw_loop *l = open_named("");
    SPAWN_ON(l, looks_up_many);
    run_named(l);
}

/* Who leaves is not told; the others are, and the next one. */
ASYNC(leaves, (int staying;), int i; int rc;)
{
    BEGIN {
        for (self->i = 0; self->i < self->staying; self->i++)
            START(looks_up, "slow.test", 1);
        AWAIT_FOR_TO(100, self->rc, looks_up, "slow.test", 2);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        AWAIT(aw_sleep_ms, 250);
        CHECK(!AW_LOOP()->names->asked && !AW_LOOP()->names->waiters);
        AWAIT(looks_up, "slow.test", 3);
    }
}

TEST(name_no_longer_wanted)
{
    aw_loop *l = open_named("");
    SPAWN_ON(l, leaves, 2);
    run_named(l);
    CHECK_EQ(asked, 1);
    CHECK_STR(trail, "n2 :1 @300 n2 :1 @300 n2 :3 @350 ");
    l = open_named("");
    SPAWN_ON(l, leaves, 0);
    run_named(l);
    CHECK_EQ(asked, 1);
    CHECK_STR(trail, "n2 :3 @350 ");
}

/* The loop ends first: who asks frees the name. */
TEST(name_outlives_loop)
{
    aw_loop *l = open_named("");
    SPAWN_ON(l, looks_up, "never.test", 1);
    SPAWN_ON(l, looks_up, "one.test", 1);
    CHECK_EQ(aw_loop_step(l, 0), 1);
    CHECK_EQ(known(l), 2);
    end_named(l);
    CHECK_EQ(asked, 2);
    CHECK_STR(trail, "n1 :1 @0 C ");
}

/* ---- helper threads ---- */

#ifndef ASYNCWEB_NO_THREADS

/* The library's resolver, in this program: "shut" names wait for the gate. */
static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moves = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static int at_gate, at_gate_most, through;      /* threads */
static int memory_asked;

static void gate_set(bool open)
{
    pthread_mutex_lock(&gate_lock);
    gate_open = open;
    if (!open) at_gate = at_gate_most = through = 0;
    pthread_cond_broadcast(&gate_moves);
    pthread_mutex_unlock(&gate_lock);
}

static int gate_pass(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&gate_lock);
    if (++at_gate > at_gate_most) at_gate_most = at_gate;
    pthread_cond_broadcast(&gate_moves);
    while (!gate_open) pthread_cond_wait(&gate_moves, &gate_lock);
    at_gate--;
    through++;
    pthread_cond_broadcast(&gate_moves);
    pthread_mutex_unlock(&gate_lock);
    return 5;
}

/* Until so many stand there, or have gone through. */
static void gate_await(const int *count, int n)
{
    pthread_mutex_lock(&gate_lock);
    while (*count < n) pthread_cond_wait(&gate_moves, &gate_lock);
    pthread_mutex_unlock(&gate_lock);
}

typedef struct found {
    struct addrinfo info;
    aw__sys_address at;
} found;

int getaddrinfo(const char *host, const char *service,
                const struct addrinfo *hints, struct addrinfo **out)
{
    static const char *const both[] = {"::1", "127.0.0.1"};
    int i;
    CHECK(!service && hints->ai_socktype == SOCK_STREAM);
    if (strncmp(host, "shut", 4) == 0) gate_pass(NULL);
    if (strcmp(host, "none.test") == 0) return EAI_NONAME;
    if (strcmp(host, "memory.test") == 0) {
        memory_asked++;         /* by one thread at a time */
        return EAI_MEMORY;
    }
    *out = NULL;
    for (i = strcmp(host, "both.test") == 0 ? 0 : 1; i < 2; i++) {
        found *f = (found *)calloc(1, sizeof *f);
        aw__address a;
        CHECK(aw__address_parse(both[i], 0, &a));
        f->info.ai_addrlen = aw__address_to(&a, &f->at);
        f->info.ai_addr = &f->at.any;
        f->info.ai_family = f->at.any.sa_family;
        if (*out) (*out)->ai_next = &f->info;
        else *out = &f->info;
    }
    return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    while (list) {
        struct addrinfo *next = list->ai_next;
        free(list);
        list = next;
    }
}

ASYNC(works, (), int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw_thread, gate_pass, NULL);
        mark_number("w", self->rc);
    }
}

TEST(resolver_errors)
{
    char line[200];
    aw_loop *l = open_loop();
    memory_asked = 0;
    SPAWN_ON(l, looks_up, "none.test", 1);
    SPAWN_ON(l, looks_up, "none.test", 1);
    SPAWN_ON(l, looks_up, "memory.test", 1);
    CHECK_EQ(aw_loop_run(l), 0);
    snprintf(line, sizeof line, "asyncweb: no address of none.test: %s\n",
             gai_strerror(EAI_NONAME));
    CHECK_STR(said, line);
    CHECK(strstr(trail, "e-2 :0"));
    SPAWN_ON(l, looks_up, "memory.test", 1);    /* that is not kept */
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_EQ(memory_asked, 2);
    close_loop(l);
}

/* Slow names do not hold up work, nor the reverse. */
TEST(crews_apart)
{
    static const char *const shut[] = {"shut0", "shut1", "shut2", "shut3",
                                       "shut4", "shut5", "shut6"};
    aw_loop *l = open_loop();
    int i;
    gate_set(false);
    for (i = 0; i < 7; i++) SPAWN_ON(l, looks_up, shut[i], 1);
    CHECK_EQ(aw_loop_step(l, 0), 7);
    gate_await(&at_gate, ASYNCWEB_MAX_THREADS);
    for (i = 0; i < 7; i++) SPAWN_ON(l, works);
    CHECK_EQ(aw_loop_step(l, 0), 14);
    gate_await(&at_gate, 2 * ASYNCWEB_MAX_THREADS);
    CHECK_EQ(l->threads->crews[AW__ASKERS].running, ASYNCWEB_MAX_THREADS);
    CHECK_EQ(l->threads->crews[AW__WORKERS].running, ASYNCWEB_MAX_THREADS);
    gate_set(true);
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_EQ(at_gate_most, 2 * ASYNCWEB_MAX_THREADS);
    CHECK_EQ(through, 14);
    CHECK(strstr(trail, "n1 :1") && strstr(trail, "w5"));
    close_loop(l);
}

/* What no thread has begun with is not asked for any more; the rest of the
   line is as it was. */
TEST(name_revoked)
{
    static char names[ASYNCWEB_MAX_THREADS + 3][8];
    enum { LAST = ASYNCWEB_MAX_THREADS + 2 };
    aw_task t[LAST + 1], second;
    aw_loop *l = open_loop();
    int i;
    gate_set(false);
    for (i = 0; i <= LAST; i++) {
        snprintf(names[i], sizeof names[i], "shut%d", i);
        t[i] = SPAWN_ON(l, looks_up, names[i], i);
    }
    second = SPAWN_ON(l, looks_up, names[LAST - 1], 0);
    CHECK_EQ(aw_loop_step(l, 0), LAST + 2);
    CHECK_EQ(aw__jobs_unfinished(l), LAST + 1);
    gate_await(&at_gate, ASYNCWEB_MAX_THREADS);
    aw_cancel(t[0]);            /* begun */
    aw_cancel(t[LAST]);         /* the last in the line, and one before */
    aw_cancel(t[LAST - 2]);
    aw_cancel(second);          /* of two that wait */
    CHECK_EQ(aw_loop_step(l, 0), LAST - 2);
    CHECK_EQ(aw__jobs_unfinished(l), LAST - 1);
    CHECK_STR(trail, "C C C C ");
    t[LAST] = SPAWN_ON(l, looks_up, names[LAST], 77);   /* once more */
    CHECK_EQ(aw_loop_step(l, 0), LAST - 1);
    CHECK_EQ(aw__jobs_unfinished(l), LAST);
    gate_set(true);
    CHECK_EQ(aw_loop_run(l), 0);
    while (aw__jobs_unfinished(l)) CHECK(aw_loop_step(l, 0) >= 0);
    CHECK_EQ(through, LAST);
    CHECK(strstr(trail, "n1 :77 ") != NULL);
    CHECK(!strstr(trail, "n1 :0 "));
    close_loop(l);
}

/* Freed while threads ask, and while more stand in line. */
TEST(loop_gone_while_asking)
{
    static const char *const shut[] = {"shut0", "shut1", "shut2", "shut3",
                                       "shut4", "shut5"};
    aw_loop *l = open_loop();
    int i;
    gate_set(false);
    for (i = 0; i < 6; i++) SPAWN_ON(l, looks_up, shut[i], 1);
    SPAWN_ON(l, looks_up, "none.test", 1);
    CHECK_EQ(aw_loop_step(l, 0), 7);
    gate_await(&at_gate, ASYNCWEB_MAX_THREADS);
    CHECK_EQ(aw__loop_end(l), 0);
    gate_set(true);
    gate_await(&through, ASYNCWEB_MAX_THREADS);
}

static int asks_in_child(aw_loop *l)
{
    if (aw_loop_after_fork(l) != 0) return 1;
    if (aw_loop_run(l) != 0) return 2;
    if (!strstr(trail, "e-30 :0")) return 3;
    SPAWN_ON(l, looks_up, "shut", 2);
    gate_open = true;
    if (aw_loop_run(l) != 0) return 4;
    if (!strstr(trail, "n1 :2")) return 5;
    check_idle(l);
    aw_loop_free(l);
    return test_.failures ? 6 : 0;
}

TEST(name_lost_by_fork)
{
    aw_loop *l = open_loop();
    int status = -1;
    pid_t pid;
    gate_set(false);
    SPAWN_ON(l, looks_up, "shut", 1);
    CHECK_EQ(aw_loop_step(l, 0), 1);
    gate_await(&at_gate, 1);
    fflush(stdout);
    pthread_mutex_lock(&gate_lock);     /* so that it is free in the child */
    pid = fork();
    pthread_mutex_unlock(&gate_lock);
    if (pid == 0) {
        int rc = asks_in_child(l);
        TEST_REACHED();
        if (rc == 0) raise(SIGKILL);
        _exit(rc);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    gate_set(true);
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK(strstr(trail, "n1 :1 ") != NULL);
    close_loop(l);
}

/* Over the kernel: nobody listens at the first address. */
ASYNC(connects_to_both, (), aw_listener *x; aw_stream *s; char at[64];)
{
    BEGIN {
        AWAIT(aw_listen, &self->x, "127.0.0.1", 0);
        AWAIT_FOR(AW_SECONDS(20), aw_connect, &self->s, "both.test",
                  aw_listener_port(self->x));
        aw_stream_peer(self->s, self->at, sizeof self->at);
        CHECK(strncmp(self->at, "127.0.0.1:", 10) == 0);
        mark("connected");
    } FINALLY {
        aw_stream_abort(self->s);
        aw_listener_close(self->x);
    }
}

TEST(second_address_of_kernel)
{
    aw_loop *l = open_loop();
    l->is_virtual = false;
    SPAWN_ON(l, connects_to_both);
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_STR(trail, "connected");
    close_loop(l);
}

/* With the poller failing, too, none of them stays open. */
TEST(kernel_will_not_watch)
{
    long k;
    for (k = 1; k == 1 || broken.count >= k - 1; k++) {
        aw_loop *l = open_loop();
        NOTE("%ld", k);
        l->is_virtual = false;
        break_at("epoll_ctl", ENOMEM, k);
        SPAWN_ON(l, connects_to_both);
        CHECK_EQ(aw_loop_run(l), 0);
        test_fault = NULL;
        close_loop(l);
    }
}
#endif

/* ---- the first to connect ---- */

/* Who listens at both addresses of a name, and who connects to it. Where
   that came out, and when, is in the trail. */
ASYNC(connects, (const char *host; int64_t ms;), aw_stream *s; int rc;
      char at[AW_PEER_TEXT];)
{
    BEGIN {
        AWAIT_FOR_TO(self->ms, self->rc, aw_connect, &self->s, self->host, 80);
        CHECK_EQ(self->rc == 0, self->s != NULL);
        if (self->rc == 0)
            mark(aw_stream_peer(self->s, self->at, sizeof self->at));
        else mark(self->rc == AW_EDEADLINE ? "late"
                  : self->rc == AW_ECONNREFUSED ? "refused"
                  : self->rc == AW_EDNS ? "no name" : aw_strerror(self->rc));
        mark_number(" @", aw_now_ms(AW_LOOP()));
        /* All others are closed by now: the listeners, and this one. */
        CHECK_EQ(AW_LOOP()->wheel.count, 0);
        mark_number("tried ", tried);
    } FINALLY { aw_stream_abort(self->s); }
}

ASYNC(answers_at, (const char *first; const char *second; const char *host;
                   int64_t ms;), aw_listener *x[2]; int before; int rc;)
{
    BEGIN {
        if (self->first) AWAIT(aw_listen, &self->x[0], self->first, 80);
        if (self->second) AWAIT(aw_listen, &self->x[1], self->second, 80);
        AWAIT_TO(self->rc, connects, self->host, self->ms);
    } FINALLY {
        aw_listener_close(self->x[0]);
        aw_listener_close(self->x[1]);
    }
}

#define V6 "2001:db8::1"
#define V4 "192.0.2.1"
#define AT_V6 "[2001:db8::1]:80"
#define AT_V4 "192.0.2.1:80"
#define AT_V6_2 "[2001:db8::2]:80"

TEST(first_to_connect)
{
    static const struct {
        const char *host, *first, *second, *mute;
        int64_t ms;
        const char *trail;
    } rows[] = {
        /* One address: nothing else happens. */
        {"one.test", NULL, V4, "", AW_FOREVER, AT_V4 " @0 tried 1 "},
        {"one.test", NULL, NULL, "", AW_FOREVER, "refused @0 tried 1 "},
        {"one.test", NULL, V4, AT_V4, 9000, "late @9000 tried 1 "},
        /* The first answers. */
        {"two.test", V6, V4, "", AW_FOREVER, AT_V6 " @0 tried 1 "},
        /* RFC 8305 section 5: the next after 250 ms... */
        {"two.test", V6, V4, AT_V6, AW_FOREVER, AT_V4 " @250 tried 2 "},
        {"two.test", V6, V4, AT_V6, 249, "late @249 tried 1 "},
        /* ... or at once after a failure. */
        {"two.test", NULL, V4, "", AW_FOREVER, AT_V4 " @0 tried 2 "},
        {"three.test", NULL, "2001:db8::2", AT_V6, AW_FOREVER,
         AT_V6_2 " @250 tried 3 "},
        {"three.test", NULL, "2001:db8::2", AT_V6 " " AT_V4, AW_FOREVER,
         AT_V6_2 " @500 tried 3 "},
        {"three.test", NULL, NULL, "", AW_FOREVER, "refused @0 tried 3 "},
        /* Those that are silent end with the wait. */
        {"two.test", V6, V4, AT_V6 " " AT_V4, 1000, "late @1000 tried 2 "},
        {"three.test", NULL, V4, AT_V6 " " AT_V4 " " AT_V6_2, 1000,
         "late @1000 tried 3 "},
        {"none.test", NULL, NULL, "", AW_FOREVER, "no name @10 tried 0 "},
    };
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_loop *l = open_named(rows[i].mute);
        NOTE("row %d", (int)i);
        SPAWN_ON(l, answers_at, rows[i].first, rows[i].second, rows[i].host,
                 rows[i].ms);
        run_named(l);
        CHECK_STR(trail, rows[i].trail);
    }
}

TEST(attempts_are_staggered)
{
    aw_loop *l = open_named(AT_V6 " " AT_V4 " " AT_V6_2);
    SPAWN_ON(l, connects, "three.test", 1000);
    run_named(l);
    CHECK_EQ(tried_at[0], 0);
    CHECK_EQ(tried_at[1], 250);
    CHECK_EQ(tried_at[2], 500);
}

/* The last attempt needs no timer. */
TEST(one_address_costs_no_timer)
{
    aw_loop *l = open_named(AT_V4);
    aw_task t = SPAWN_ON(l, connects, "one.test", AW_FOREVER);
    CHECK_EQ(aw_loop_step(l, 0), 1);
    CHECK_EQ(tried, 1);
    CHECK_EQ(l->wheel.count, 0);
    aw_cancel(t);
    run_named(l);
}

/* The silent find their voice, after `ms`: all in the same turn. */
ASYNC(unmutes, (int64_t ms;), int fd;)
{
    BEGIN {
        AWAIT(aw_sleep_ms, self->ms);
        for (self->fd = 0; self->fd < AW_LOOP()->sim->cap; self->fd++) {
            aw__sim_end *e = aw__sim_find(AW_LOOP(), AW__SIM_FD + self->fd);
            if (!e || !e->silent) continue;
            e->silent = 0;
            aw__sim_touch(AW_LOOP()->sim, e);
        }
    }
}

/* A late answer is an answer; of two, one is taken, the other closed. */
TEST(late_answers)
{
    int seed, first = 0;
    aw_loop *l = open_named(AT_V6 " " AT_V4);
    SPAWN_ON(l, unmutes, 249);
    SPAWN_ON(l, answers_at, V6, V4, "two.test", AW_FOREVER);
    run_named(l);
    CHECK_STR(trail, AT_V6 " @249 tried 1 ");
    for (seed = 1; seed <= 40; seed++) {
        l = open_named(AT_V6 " " AT_V4);
        NOTE("seed %d", seed);
        aw__chaos_on(l, (uint64_t)seed);
        SPAWN_ON(l, unmutes, 400);
        SPAWN_ON(l, answers_at, V6, V4, "two.test", AW_FOREVER);
        run_named(l);
        CHECK(strstr(trail, ":80 @400 tried 2 ") != NULL);
        first += strncmp(trail, AT_V6, 5) == 0;
    }
    CHECK(first > 0 && first < 40);
}

/* That one cannot be reached at all says less than another's refusal; and with
   no descriptors left, the other one is not tried. */
TEST(telling_error)
{
    static const struct {
        int error, at, rc, tried;
    } rows[] = {
        {ENETUNREACH, 1, AW_ECONNREFUSED, 2},
        {ENETUNREACH, 2, AW_ECONNREFUSED, 2},
        {EADDRNOTAVAIL, 2, AW_ECONNREFUSED, 2},
        {EAFNOSUPPORT, 2, AW_ECONNREFUSED, 2},
        {ETIMEDOUT, 2, AW_ETIMEDOUT, 2},
        {EMFILE, 1, AW_EMFILE, 1},
        {EAGAIN, 1, AW_ECONNREFUSED, 2},
    };
    char expected[100];
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_loop *l = open_named("");
        NOTE("row %d", (int)i);
        break_at("connect", rows[i].error, rows[i].at);
        SPAWN_ON(l, connects, "two.test", AW_FOREVER);
        run_named(l);
        test_fault = NULL;
        snprintf(expected, sizeof expected, "%s @0 ",
                 rows[i].rc == AW_ECONNREFUSED ? "refused"
                 : aw_strerror(rows[i].rc));
        CHECK(strncmp(trail, expected, strlen(expected)) == 0);
        /* A call that fails at once is none that anybody was silent to. */
        CHECK_EQ(broken.count, rows[i].tried);
    }
}

/* What was of no use is asked for again; what was, is not. */
ASYNC(connects_twice, (bool listens;), aw_listener *x; int rc;)
{
    BEGIN {
        if (self->listens) AWAIT(aw_listen, &self->x, V4, 80);
        AWAIT_TO(self->rc, connects, "two.test", AW_FOREVER);
        AWAIT_TO(self->rc, connects, "two.test", AW_FOREVER);
        CHECK_EQ(asked, self->listens ? 1 : 2);
    } FINALLY { aw_listener_close(self->x); }
}

TEST(useless_name_forgotten)
{
    int listens;
    for (listens = 0; listens < 2; listens++) {
        aw_loop *l = open_named("");
        SPAWN_ON(l, connects_twice, listens);
        run_named(l);
    }
}

/* ---- adversity ---- */

ASYNC(accepts_all, (aw_listener *x;), aw_stream *s;)
{
    BEGIN {
        for (;;) {
            AWAIT(aw_accept, self->x, &self->s);
            aw_stream_abort(self->s);
            self->s = NULL;
        }
    } FINALLY { aw_stream_abort(self->s); }
}

ASYNC(dials_one, (const char *host; int64_t ms;), aw_stream *s; int rc;)
{
    BEGIN {
        AWAIT_FOR_TO(self->ms, self->rc, aw_connect, &self->s, self->host, 80);
    } FINALLY {
        if (self->rc < 0) CHECK(!self->s);
        AWAIT(aw_close, self->s);
    }
}

/* Several at once: the same name, slow ones, silent ones. */
ASYNC(dials_all, (), aw_listener *x; int rc;)
{
    BEGIN {
        AWAIT(aw_listen, &self->x, V4, 80);
        START_TO(self->rc, accepts_all, self->x);
        START_TO(self->rc, dials_one, "slow.test", AW_FOREVER);
        START_TO(self->rc, dials_one, "slow.test", 300);
        START_TO(self->rc, dials_one, "two.test", AW_FOREVER);
        START_TO(self->rc, dials_one, "none.test", AW_FOREVER);
        START_TO(self->rc, dials_one, "one.test", AW_FOREVER);
        AWAIT_TO(self->rc, dials_one, "three.test", 400);
        AWAIT(aw_sleep_ms, 1000);
    } FINALLY { aw_listener_close(self->x); }
}

/* How often it has waited; 0: there was no memory for a loop. */
static int64_t dial_all(uint64_t chaos, int64_t cancel_at)
{
    int64_t suspended;
    aw_loop *l = open_named(AT_V6);
    if (!l) return 0;
    if (chaos) aw__chaos_on(l, chaos);
    aw__cancel_at(l, SPAWN_ON(l, dials_all), cancel_at);
    CHECK_EQ(aw_loop_run(l), 0);
    suspended = l->chaos.suspended;
    end_named(l);
    return suspended;
}

TEST(dials_in_any_order)
{
    uint64_t seed;
    for (seed = 0; seed <= (uint64_t)test_rounds(500); seed++) {
        NOTE("seed %d", (int)seed);
        CHECK(dial_all(seed, 0) > 12);
    }
}

TEST(dials_cancelled_anywhere)
{
    int64_t k, last = dial_all(0, 0);
    for (k = 1; k <= last; k++) {
        NOTE("suspension %d", (int)k);
        dial_all(0, k);
        dial_all(7, k);
    }
}

/* The errno of each call; EAGAIN means more than one thing. */
TEST(dials_while_calls_fail)
{
    static const char *const calls[] = {"alloc", "getaddrinfo", "connect",
                                        "socket", "getsockopt"};
    static const int errors[] = {ENOMEM, EAGAIN, EMFILE, ECONNRESET};
    size_t i;
    long k;
    for (i = 0; i < 5 * 4; i++) {
        for (k = 1; k == 1 || broken.count >= k - 1; k++) {
            NOTE("%s %ld fails with %d", calls[i / 4], k, errors[i % 4]);
            break_at(calls[i / 4], errors[i % 4], k);
            dial_all(0, 0);
        }
        CHECK(k > 3);
    }
}
